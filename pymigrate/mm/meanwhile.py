"""Accesses that other tasks make in the middle of a migration: those to what is unmapped wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.mm.anon_fault import Fault
from pymigrate.mm.frames import frame_of
from pymigrate.mm.memory import access
from pymigrate.mm.trace import Step, step_event

if TYPE_CHECKING:
    from pymigrate.mm.machine import Machine, Meanwhile
    from pymigrate.mm.migrate_folio import Work


def wait_on(machine: Machine, unmapped: list[Work]) -> None:
    """Let accesses to one of the *unmapped* folios come now; they wait: migration_entry_wait()."""
    for other in machine.meanwhile:
        task = machine.tasks.get(other.pid)
        run = task.mm.page_table.at(other.page) if task else None
        if other.waited or run is None or not run.lanes:
            continue
        pfn = run.pfn(other.page)
        for work in unmapped:
            if work.entries and work.pfn <= pfn < work.pfn + work.nr:
                other.waited = True
                _tell(machine, work, "fault on a migration entry", f"process {other.pid} waits")


def wake(machine: Machine) -> None:
    """Let the accesses that wait be made, for every entry is a real one again."""
    for other in [other for other in machine.meanwhile if other.waited]:
        finish(machine, other)


def finish(machine: Machine, other: Meanwhile) -> None:
    """Make an access that is still to be made."""
    if other not in machine.meanwhile:
        return
    machine.meanwhile.remove(other)
    task = machine.tasks.get(other.pid)
    if task is None:
        return
    try:
        access(machine, task, other.page, other.page + 1, other.write)
    except Fault as fault:
        other.signal = fault.signal


def _tell(machine: Machine, work: Work, name: str, found: str) -> None:
    page = machine.stable_tree.told_page(frame_of(machine, work.pfn), work.page)
    step = Step("4", name, found, "", page, work.pfn, work.nr, work.attempt)
    step_event(machine, step)
