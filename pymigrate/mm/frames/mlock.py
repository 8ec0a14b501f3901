"""Pages that are locked in memory, and what is counted of them. Mirrors mm/mlock.c."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pymigrate.mm.base.memmap import Folio, Frame, FrameFlag, States
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.frames.frames import frame_runs, update_frames
from pymigrate.mm.state.machine import Machine


def mlock_folios(machine: Machine, extents: Sequence[Extent]) -> None:
    """Put those frames of *extents* on the unevictable list that are not there."""
    nr = _nr_mlocked(machine, extents, 0)
    if nr:
        count_mlocked(machine, nr)
        update_frames(machine, extents, lambda frame: frame.with_flags(FrameFlag.MLOCKED))


def count_mlocked(machine: Machine, nr: int) -> None:
    """Count *nr* base pages that come to the unevictable list."""
    machine.counters.add("unevictable_pgs_mlocked", nr)
    machine.counters.add("unevictable_pgs_culled", nr)


def munlock_folios(machine: Machine, extents: Sequence[Extent]) -> None:
    """Take those frames of *extents* off the unevictable list that are there."""
    nr = _nr_mlocked(machine, extents, FrameFlag.MLOCKED)
    if nr:
        count_munlocked(machine, nr)
        update_frames(machine, extents, _not_mlocked)


def count_munlocked(machine: Machine, nr: int) -> None:
    """Count *nr* base pages that leave the unevictable list."""
    machine.counters.add("unevictable_pgs_munlocked", nr)
    machine.counters.add("unevictable_pgs_rescued", nr)


def migrated(machine: Machine, states: States, counts: Counter[Frame]) -> list[Frame]:
    """What becomes of frames that are in *states* and have moved: *counts* base pages of each.

    Mlocked ones lose that while they are off their list, where they are stranded; the new ones
    leave the unevictable list, and come there again with the entries: huge pages only on some
    kernels. Mirrors migrate_folio_move().
    """
    return [
        _moved(machine, frame, counts[frame]) if frame.flags & FrameFlag.MLOCKED else frame
        for frame in states.distinct
    ]


def mapped_again(machine: Machine, folio: Folio) -> None:
    """Count what a folio that was unmapped and stays loses and has again of its mlock.

    It stays on the unevictable list, but for a large one that is not mlocked any more.
    """
    for start, nr, frame in folio.runs:
        if frame.flags & FrameFlag.MLOCKED:
            machine.counters.add("unevictable_pgs_stranded", nr)
            if _stays_mlocked(machine, frame):
                machine.counters.add("unevictable_pgs_mlocked", nr)
            else:
                machine.counters.add("unevictable_pgs_rescued", nr)
                update_frames(machine, [(start, nr)], _not_mlocked)


def _stays_mlocked(machine: Machine, frame: Frame) -> bool:
    """Whether entries that are put back mlock a folio. Mirrors folio_add_anon_rmap_pmd()."""
    kept = machine.release.migrated_thp_stays_mlocked and frame.pmd_maps
    return bool(not frame.order or kept)


def _moved(machine: Machine, frame: Frame, nr: int) -> Frame:
    machine.counters.add("unevictable_pgs_stranded", nr)
    machine.counters.add("unevictable_pgs_rescued", nr)
    if not _stays_mlocked(machine, frame):
        return frame.without_flags(FrameFlag.MLOCKED)
    count_mlocked(machine, nr)
    return frame


def _not_mlocked(frame: Frame) -> Frame:
    return frame.without_flags(FrameFlag.MLOCKED)


def _nr_mlocked(machine: Machine, extents: Sequence[Extent], flag: int) -> int:
    runs = frame_runs(machine, extents)
    return sum(run.nr for run in runs if run.frame.flags & FrameFlag.MLOCKED == flag)
