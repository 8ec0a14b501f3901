"""From pages of an owner to every table that maps them. Mirrors the walks of mm/rmap.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymigrate.mm.machine import Machine
    from pymigrate.mm.memmap import Frame
    from pymigrate.mm.pte import PteRun
    from pymigrate.mm.runs import RunMap


class Mapping(NamedTuple):
    """A table in which pages [start, end) of an owner may stand, at ``page + shift``."""

    table: RunMap[PteRun]
    start: int
    end: int
    shift: int
    is_cache: bool = False


def mappings(machine: Machine, frame: Frame, a: int, b: int) -> Iterator[Mapping]:
    """Where pages [a, b) of *frame*'s owner may be mapped; for a file the page cache comes first.

    Pages of an anonymous owner are named by their virtual page, which is the same in all
    processes of the fork family; those of a file by their index. Whether an entry really names
    the frame is for the caller to compare. Mirrors rmap_walk_anon() and rmap_walk_file().
    """
    if frame.is_anon:
        for mm in machine.mms_of(frame.owner):
            yield Mapping(mm.page_table, a, b, 0)
        return
    space = machine.spaces[frame.owner]
    yield Mapping(space.pages, a, b, 0, is_cache=True)
    for mm in machine.mms.values():
        for vma in mm.vmas:
            if vma.space == space.space_id:
                start, end = max(a, vma.pgoff), min(b, vma.pgoff + vma.nr)
                if start < end:
                    yield Mapping(mm.page_table, start, end, vma.start - vma.pgoff)
