"""Waits that would never end: a call of the engine that must come to one does not begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.mm.base.memmap import Busy, FrameFlag
from pymigrate.mm.engine.migrate_ops import Method, may_wait, ops_of
from pymigrate.mm.frames.busy import endless
from pymigrate.mm.frames.frames import folio_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymigrate.mm.base.memmap import Folio
    from pymigrate.mm.engine.folio_list import Slice
    from pymigrate.mm.state.events import MigrateMode
    from pymigrate.mm.state.machine import Machine

_BUFFERS = (Method.BUFFERS, Method.BUFFERS_NOREFS)


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
    for part in queue:
        for start, nr in part.extents():
            for pfn, kind in stuck.items():
                if start <= pfn < start + nr and _waits(machine, folio_of(machine, pfn), kind):
                    raise endless(kind)


def _waits(machine: Machine, folio: Folio, kind: Busy) -> bool:
    """Whether *folio* gets so far: it is not freed, or split, or found held, before."""
    if folio.is_anon and not folio.mapcount and not folio.is_held:
        return False
    if folio.flags & FrameFlag.PARTIALLY_MAPPED and machine.release.splits_partially_mapped:
        return False
    if kind != Busy.BUFFER:
        return True
    return not folio.is_held and ops_of(machine, folio).method in _BUFFERS
