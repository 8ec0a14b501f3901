"""ftruncate(2), fallocate(2), unlink(2): what becomes of a file whose pages may be mapped."""

from pymigrate.errors import KernelError
from pymigrate.mm.calls.truncate import punch_hole, truncate_setsize
from pymigrate.mm.spaces.zap import drop_unmapped_shm
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.checks import system_call
from pymigrate.units import HPAGE_SIZE

MAX_FILE_SIZE = (1 << 63) - 1


@system_call
def ftruncate(machine: Machine, task: Task, space: AddressSpace, size: int) -> None:
    """Let a file be *size* bytes long; what is mapped beyond gets SIGBUS when it is accessed.

    Raises KernelError EINVAL. Mirrors do_ftruncate().
    """
    check_size(space, size)
    truncate_setsize(machine, task, space, size)


def check_size(space: AddressSpace, size: int) -> None:
    """Raise KernelError EINVAL if a file cannot become *size* bytes long.

    Mirrors do_ftruncate(), hugetlbfs_setattr() and secretmem_setattr().
    """
    if size > MAX_FILE_SIZE:
        raise KernelError("EINVAL", "a file cannot be so long")
    if space.is_hugetlb and size % HPAGE_SIZE:
        raise KernelError("EINVAL", "a file of hugetlbfs consists of whole huge pages")
    if space.fs == "secretmem" and space.size:
        raise KernelError("EINVAL", "secret memory keeps its size")


@system_call
def fallocate_punch_hole(
    machine: Machine, task: Task, space: AddressSpace, offset: int, length: int
) -> None:
    """Drop *length* bytes of a file from *offset*; they read as zeroes, and the size stays.

    Raises KernelError EINVAL, EFBIG. Mirrors vfs_fallocate() with FALLOC_FL_PUNCH_HOLE.
    """
    if not length:
        raise KernelError("EINVAL", "the length is 0")
    if offset + length > MAX_FILE_SIZE:
        raise KernelError("EFBIG", "a file cannot be so long")
    if space.is_disk:
        length = min(length, max(space.size - offset, 0))
    if length:
        punch_hole(machine, task, space, offset, offset + length)


def unlink(machine: Machine, space: AddressSpace) -> None:
    """Take a file's name away, which nobody has open; it goes with its last mapping.

    Mirrors do_unlinkat().
    """
    space.is_deleted = True
    drop_unmapped_shm(machine, {space.space_id})
