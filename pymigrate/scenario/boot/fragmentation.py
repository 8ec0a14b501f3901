"""Declared fragmentation: patterns of pages that are in use when a machine boots."""

from collections.abc import Iterator
from random import Random

from pymigrate.mm.base.memmap import Frame, FrameFlag
from pymigrate.mm.base.pageblock import PAGEBLOCK_NR, MigrateType
from pymigrate.mm.base.pte import Pte, PteRun, weave
from pymigrate.mm.base.runs import Extent, coalesce
from pymigrate.mm.frames.buddy import set_pageblocks
from pymigrate.mm.frames.frames import FrameEdits
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Node, Zone
from pymigrate.scenario.spec.models import PatternSpec
from pymigrate.units import PAGE_SHIFT, PAGE_SIZE

FILE = "[fragmentation]"  # whose page cache the movable pages are; no file can be called so
_TABLE = 512  # entries of an explicit table
_KERNEL = {
    "unmovable": FrameFlag.KERNEL,
    "reclaimable": FrameFlag.KERNEL | FrameFlag.RECLAIMABLE,
}


def fragment(machine: Machine, node: Node, pattern: PatternSpec) -> None:
    """Let *pattern* lie on *node*: what is not free there stays as it is."""
    kind = pattern.type or (pattern.pages if pattern.pages in _KERNEL else None)
    if kind is not None:
        for zone in node.zones:
            for start, end in _chosen(node, zone, pattern):
                set_pageblocks(zone, start, end, migratetype=MigrateType[kind.upper()])
    if pattern.pages == "none":
        return
    taken: list[Extent] = []
    for zone in node.zones:
        parts = coalesce(_free_parts(node, zone, pattern))
        zone.free.edit([(start, start + nr, ()) for start, nr in parts])
        zone.nr_free -= sum(part.nr for part in parts)
        taken += parts
    edits = FrameEdits(machine)
    if pattern.pages == "movable":
        edits.set(taken, Frame(_cache(machine, taken).space_id, 0))
    else:
        edits.set(taken, Frame(0, _KERNEL[pattern.pages]))
    edits.commit()


def occupy(machine: Machine, node: Node, kernel: int, cache: int) -> None:
    """Let *kernel* bytes at the beginning of *node* be the kernel's, and *cache* behind them.

    That is clean page cache, which nobody maps.
    """
    for pages, offset, size in (("unmovable", 0, kernel), ("movable", kernel, cache)):
        if size:
            pattern = {"pages": pages, "stride": 1, "offset": offset, "size": size}
            fragment(machine, node, PatternSpec.model_validate(pattern))


def _span(node: Node, pattern: PatternSpec) -> tuple[int, int]:
    """The frames that the pattern concerns."""
    first = node.zones[0].start
    start = first + (pattern.offset >> PAGE_SHIFT)
    end = first + node.nr_pages
    return start, end if pattern.size is None else min(start + (pattern.size >> PAGE_SHIFT), end)


def _chosen(node: Node, zone: Zone, pattern: PatternSpec) -> Iterator[tuple[int, int]]:
    """The parts of *zone* that the pattern concerns; if it is choosy, pageblock by pageblock."""
    low, high = _span(node, pattern)
    low, high = max(low, zone.start), min(high, zone.end)
    if low >= high:
        return
    if pattern.blocks == 100:
        yield low, high
        return
    first, last = low // PAGEBLOCK_NR, -(-high // PAGEBLOCK_NR)
    nr = round((last - first) * pattern.blocks / 100)
    for block in sorted(Random(pattern.seed).sample(range(first, last), nr)):
        yield max(block * PAGEBLOCK_NR, low), min((block + 1) * PAGEBLOCK_NR, high)


def _free_parts(node: Node, zone: Zone, pattern: PatternSpec) -> Iterator[tuple[int, int]]:
    """The first `run` frames of each `stride`, as far as they are free."""
    origin = _span(node, pattern)[0]
    for low, high in _chosen(node, zone, pattern):
        at = origin + (low - origin) // pattern.stride * pattern.stride
        step = high - at if pattern.run == pattern.stride else pattern.stride
        run = step if pattern.run == pattern.stride else pattern.run
        for first in range(at, high, step):
            a, b = max(first, low), min(first + run, high)
            for part in zone.free.between(a, b) if a < b else ():
                yield part.start, part.nr


def _cache(machine: Machine, taken: list[Extent]) -> AddressSpace:
    """A file on disk whose clean page cache *taken* is, in the order of the frames."""
    nr = sum(extent.nr for extent in taken)
    space = AddressSpace(machine.new_id(), FILE, "ext4", nr * PAGE_SIZE)
    machine.spaces[space.space_id] = space
    if len(taken) * 8 < nr:
        runs = weave(0, nr, [taken], 0, Pte.PRESENT)
    else:
        pfns = [pfn for start, length in taken for pfn in range(start, start + length)]
        tables = [tuple(pfns[i : i + _TABLE]) for i in range(0, nr, _TABLE)]
        runs = [
            PteRun(i * _TABLE, len(table), table, 0, Pte.PRESENT) for i, table in enumerate(tables)
        ]
    space.pages.edit([(run.start, run.end, (run,)) for run in runs])
    return space
