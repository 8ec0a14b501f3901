"""Accesses that other tasks make in the middle of a migration: those to what is unmapped wait."""

from __future__ import annotations

from pymigrate.mm.faults.memory import access
from pymigrate.mm.spaces.anon_pages import Fault
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Meanwhile


def finish(machine: Machine, other: Meanwhile) -> None:
    """Make an access that is still to be made."""
    if other.is_made:
        return
    other.is_made = True
    task = machine.tasks.get(other.pid)
    if task is None:
        return
    try:
        access(machine, task, other.page, other.page + 1, other.write)
    except Fault as fault:
        other.signal = fault.signal
