"""The kernel's migration tracepoints, noted while somebody watches."""

from __future__ import annotations

from collections.abc import Iterable

from pymigrate.mm.base.memmap import Folio, FrameFlag
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.state.events import Event, MigrateMode, MigrateReason, Step
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm

SET, REMOVE = "set_migration", "remove_migration"
STACK = "stack"  # an event whose text is a mode, a reason, and functions, the innermost first


def step_event(machine: Machine, step: Step) -> None:
    """Note a step of a folio's migration, if somebody wants to see them."""
    if machine.watch.events is not None and machine.watch.steps:
        machine.watch.events.append(step)


def call_event(machine: Machine, name: str, text: str) -> None:
    """Note an event of a whole call."""
    if machine.watch.events is not None:
        machine.watch.events.append(Event(name, text))


def stack_event(machine: Machine, mode: MigrateMode, reason: MigrateReason) -> None:
    """Note through which functions the engine was called, if somebody wants to see that."""
    if machine.watch.stack is not None:
        call_event(machine, STACK, f"{mode.name} {reason.name} {machine.watch.stack()}")


def pid_of(machine: Machine, mm: Mm) -> int:
    """The process whose page table *mm* has; 0 if there is none."""
    return next((task.pid for task in machine.tasks.values() if task.mm is mm), 0)


def entry_events(machine: Machine, kind: str, mm: Mm, runs: Iterable[PteRun], folio: Folio) -> None:
    """Note that entries *runs* of *folio* in *mm* become migration entries (SET), or real again.

    An entry that becomes a real one again is told with the folio's order only if it maps the
    folio's first page.
    """
    events = machine.watch.events
    if events is None:
        return
    is_hugetlb, pid = bool(folio.flags & FrameFlag.HUGETLB), pid_of(machine, mm)
    for run in runs:
        value = _value(run.flags) if kind == SET else ""
        for entry in run.entries():
            if entry.order and not is_hugetlb:
                text = value and f"pmd={value}"
                events.append(Event(f"{kind}_pmd", text, entry.start, pid, folio.pfn))
                continue
            order = folio.order if kind == SET or entry.lanes[0] == folio.pfn else 0
            text = f"pte={value} order={order}" if kind == SET else f"order={order}"
            events.append(Event(f"{kind}_pte", text, entry.start, pid, folio.pfn))


def _value(flags: int) -> str:
    """What kind of migration entry one with *flags* becomes."""
    kind = "write" if flags & Pte.WRITE else "read-exclusive" if flags & Pte.EXCLUSIVE else "read"
    young = ",young" if flags & Pte.YOUNG else ""
    return kind + young + (",dirty" if flags & Pte.DIRTY else "")
