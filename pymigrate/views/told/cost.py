"""The estimated time of what a call did."""

from pymigrate.mm.state.cost import Estimate, Tally, estimate
from pymigrate.mm.state.machine import Machine

_UNITS = ((1e6, "s"), (1e3, "ms"))


def taken(machine: Machine, tally: Tally | None) -> Estimate | None:
    """The time of what *tally* counts; None if that takes no time, or nobody asked for it."""
    if tally is None or tally.is_empty:
        return None
    return estimate(tally, machine.costs, machine.distances)


def format_line(time: Estimate) -> str:
    """A line for people.

    >>> format_line(Estimate(450.0, 1.0, 372.4, 450.0, 0.0))
    'estimated 1.27 ms: unmap 450 us, flush 1 us, copy 372 us, remap 450 us'
    """
    parts = (f"{name} {_time(us)}" for name, us in time._asdict().items() if us)
    return f"estimated {_time(time.total)}: {', '.join(parts)}"


def as_json(time: Estimate) -> dict[str, float]:
    """The estimate by its parts, in microseconds."""
    parts = {f"{name}_us": round(us, 3) for name, us in time._asdict().items()}
    return {"total_us": round(time.total, 3), **parts}


def from_json(parts: dict[str, float]) -> Estimate:
    """What as_json() made of an estimate."""
    return Estimate(*[parts[f"{name}_us"] for name in Estimate._fields])


def _time(us: float) -> str:
    for size, unit in _UNITS:
        if us >= size:
            return f"{us / size:.3g} {unit}"
    return f"{us:.3g} us"
