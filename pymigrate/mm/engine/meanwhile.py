"""Accesses that others make in the middle of a migration: those to what is unmapped wait."""

from __future__ import annotations

from pymigrate.mm.engine.work import Work
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.state.events import Step
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.trace import step_event


def wait_on(machine: Machine, unmapped: list[Work]) -> None:
    """Let an access to one of the *unmapped* folios come now; it waits: migration_entry_wait()."""
    other = machine.scope.meanwhile
    if other is None or other.waited:
        return
    task = machine.tasks.get(other.pid)
    run = task.mm.page_table.at(other.page) if task else None
    if run is None or not run.lanes:
        return
    pfn = run.pfn(other.page)
    for work in unmapped:
        if work.entries and work.pfn <= pfn < work.pfn + work.nr:
            other.waited = True
            _tell(machine, work, "fault on a migration entry", f"process {other.pid} waits")


def wake(machine: Machine) -> None:
    """Let an access that waits be made, for every entry is a real one again."""
    other = machine.scope.meanwhile
    if other is not None and other.waited:
        other.make(machine, other)


def _tell(machine: Machine, work: Work, name: str, found: str) -> None:
    page = machine.stable_tree.told_page(frame_of(machine, work.pfn), work.page)
    step = Step("4", name, found, "", page, work.pfn, work.nr, work.attempt)
    step_event(machine, step)
