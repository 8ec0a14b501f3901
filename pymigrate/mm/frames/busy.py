"""Folios that something works on: locks, writeback, reads in flight, buffers in use, lookups.

Work ends by itself after so many attempts to get hold of the folio, or never. A caller that may
wait finds it ended.
"""

from __future__ import annotations

from pymigrate.errors import UnsupportedError
from pymigrate.mm.base.memmap import Busy, FolioWork, FrameFlag
from pymigrate.mm.frames.frames import folio_of, update_folio
from pymigrate.mm.state.machine import Machine

_FLAGS = {
    Busy.LOCKED: FrameFlag.LOCKED,
    Busy.READING: FrameFlag.LOCKED,
    Busy.WRITEBACK: FrameFlag.WRITEBACK,
    Busy.BUFFER: FrameFlag.PRIVATE | FrameFlag.LOCKED_BUFFER,
    Busy.BUFFER_REF: FrameFlag.PRIVATE | FrameFlag.LOCKED_BUFFER,
    Busy.LOOKUP: FrameFlag.LOCKED_BUFFER,
}


def begin(machine: Machine, pfn: int, kind: Busy, passes: int = -1) -> None:
    """Let the folio that *pfn* belongs to be worked on for *passes* attempts (-1: for ever)."""
    folio = folio_of(machine, pfn)
    end(machine, folio.pfn)
    machine.busy[folio.pfn] = FolioWork(kind, passes)
    update_folio(machine, pfn, lambda frame: frame.with_flags(_FLAGS[kind]))


def end(machine: Machine, pfn: int) -> None:
    """Let the work on the folio at *pfn* be done."""
    work = machine.busy.pop(pfn, None)
    if work is not None:
        flags = _FLAGS[work.kind] & ~FrameFlag.PRIVATE
        update_folio(machine, pfn, lambda frame: frame.without_flags(flags))


def endless(kind: Busy) -> UnsupportedError:
    """What is raised for a wait for work of *kind* that would never end."""
    return UnsupportedError(f"the call would wait for ever for a folio that is {kind.value}")


def wait_for(machine: Machine, pfn: int, kind: Busy, may_wait: bool) -> bool:
    """Try to get hold of a folio that work of *kind* may be done on; False if that goes on.

    Raises UnsupportedError for a wait that would never end.
    """
    work = machine.busy.get(pfn)
    if work is None or work.kind != kind:
        return True
    if may_wait:
        if work.left < 0:
            raise endless(kind)
        end(machine, pfn)
        return True
    if work.left > 0:
        machine.busy[pfn] = FolioWork(kind, work.left - 1)
    if work.left == 1:
        end(machine, pfn)
    return False
