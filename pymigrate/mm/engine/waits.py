"""Waits that would never end: a call of the engine that must come to one does not begin."""

from __future__ import annotations

from collections.abc import Sequence

from pymigrate.mm.base.memmap import Busy, FrameFlag
from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.engine.migrate_ops import holder, may_wait, obstacle
from pymigrate.mm.frames.busy import endless
from pymigrate.mm.frames.frames import folio_of
from pymigrate.mm.state.events import MigrateMode
from pymigrate.mm.state.machine import Machine


def check_waits(machine: Machine, queue: Sequence[Slice], mode: MigrateMode) -> None:
    """See that no folio of *queue*, for which there is memory, is waited for without end.

    Raises UnsupportedError.
    """
    stuck = {
        pfn: work.kind
        for pfn, work in machine.busy.items()
        if work.left < 0 and may_wait(mode, work.kind)
    }
    if not stuck:
        return
    for start, nr in (extent for part in queue for extent in part.extents()):
        for pfn, kind in stuck.items():
            if start <= pfn < start + nr and _waits(machine, pfn, kind, mode):
                raise endless(kind)


def _waits(machine: Machine, pfn: int, kind: Busy, mode: MigrateMode) -> bool:
    """Whether a folio gets so far: it is not freed, or split, or found held, before."""
    folio = folio_of(machine, pfn)
    if folio.is_anon and not folio.mapcount and not folio.is_held:
        return False
    if folio.flags & FrameFlag.PARTIALLY_MAPPED and machine.release.splits_partially_mapped:
        return False
    if kind != Busy.BUFFER:
        return True
    return holder(folio) is None and obstacle(machine, folio, mode) is not None
