"""Whether a claim holds, and what it is instead."""

from pymigrate.claims.parse import OPERATORS, Claim, Named, Number, Percent, Size, Term, Text
from pymigrate.claims.sources import Found, Record, find
from pymigrate.errors import KernelError
from pymigrate.mm.state.machine import Machine
from pymigrate.records import NamedTuple
from pymigrate.units import format_size


class Verdict(NamedTuple):
    """A claim, whether it holds, and what is there."""

    claim: str
    holds: bool
    actual: str

    def __bool__(self) -> bool:
        return self.holds

    def __str__(self) -> str:
        return self.claim if self.holds else f"{self.claim}: it is {self.actual}"


def judge(machine: Machine, claim: Claim, record: Record | None = None) -> Verdict:
    """What *claim* comes to on the machine; names of a step's *record* are known too.

    A process that is not there makes no claim true. Raises ValueError for a claim that cannot be
    judged: what it names is not known, or its sides cannot be compared.
    """
    try:
        left, right = (_found(machine, term, record) for term in (claim.left, claim.right))
    except KernelError as error:
        return Verdict(claim.text, False, f"unknown: {error.why or error}")
    x, y = _comparable(claim, left, right)
    holds = OPERATORS[claim.compare](x, y)
    sides = [
        _told(found, other)
        for term, found, other in (
            (claim.left, left, claim.right),
            (claim.right, right, claim.left),
        )
        if isinstance(term, Named) and isinstance(found, Found)
    ]
    return Verdict(claim.text, holds, " and ".join(sides))


def _found(machine: Machine, term: Term, record: Record | None) -> Term | Found:
    return find(machine, term, record) if isinstance(term, Named) else term


def _comparable(claim: Claim, left: Term | Found, right: Term | Found) -> tuple[object, object]:
    """Both sides in one unit."""
    for one, other, is_left in ((left, right, True), (right, left, False)):
        if isinstance(other, Percent):
            if not isinstance(one, Found) or one.whole is None:
                raise ValueError(f"{claim.text}: {_name(claim, is_left)} is no part of a whole")
            pair = _share(one), other.value
            return pair if is_left else pair[::-1]
        if isinstance(other, Size):
            if not isinstance(one, Found) or not one.unit or isinstance(one.value, str):
                raise ValueError(f"{claim.text}: {_name(claim, is_left)} is no amount of memory")
            pair = one.value * one.unit, other.value
            return pair if is_left else pair[::-1]
    x, y = _plain(claim, left), _plain(claim, right)
    if isinstance(x, str) != isinstance(y, str):
        raise ValueError(f"{claim.text}: a text and a number cannot be compared")
    if isinstance(x, str) and claim.compare not in ("==", "!="):
        raise ValueError(f"{claim.text}: texts are equal or not; expected == or !=")
    units = [side.unit for side in (left, right) if isinstance(side, Found) and side.unit]
    if len(units) == 2 and isinstance(x, float | int) and isinstance(y, float | int):
        return x * units[0], y * units[1]
    if 1 in units and (x and y):
        raise ValueError(f"{claim.text}: it is in bytes; expected a size such as 64MiB or 2GiB")
    return x, y


def _plain(claim: Claim, side: Term | Found) -> float | str:
    assert isinstance(side, Found | Number | Text), claim
    return side.value


def _name(claim: Claim, is_left: bool) -> str:
    term = claim.left if is_left else claim.right
    return term.text if isinstance(term, Named) else "the other side"


def _share(found: Found) -> float:
    """In percent; 0 of nothing."""
    assert found.whole is not None
    assert not isinstance(found.value, str)
    return 100 * found.value / found.whole if found.whole else 0.0


def _told(found: Found, other: Term) -> str:
    """The value as the other side is written."""
    if isinstance(found.value, str):
        return repr(found.value)
    if isinstance(other, Percent) and found.whole is not None:
        what = " pages" if found.unit > 1 else ""
        return f"{_share(found):.3g}%: {found.value:g} of {found.whole:g}{what}"
    if isinstance(other, Size) or found.unit == 1:
        return format_size(int(found.value * found.unit))
    return f"{found.value:.10g}"
