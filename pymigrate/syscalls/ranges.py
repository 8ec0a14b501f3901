"""The ranges of addresses that calls are given."""

from pymigrate.errors import KernelError
from pymigrate.units import PAGE_SHIFT, pages_of

_ADDRESS_BITS = 64


def checked_range(addr: int, length: int) -> tuple[int, int]:
    """The pages [a, b) that a call is given: *length* bytes from *addr*, which is aligned.

    Raises KernelError EINVAL if the range wraps; a length that wraps when it is rounded is 0.
    """
    nr = pages_of(length) & ((1 << (_ADDRESS_BITS - PAGE_SHIFT)) - 1)
    a = addr >> PAGE_SHIFT
    if (a + nr) << PAGE_SHIFT >= 1 << _ADDRESS_BITS:
        raise KernelError("EINVAL", "the range wraps around the end of the address space")
    return a, a + nr
