"""What lies on a node's LRU lists: found by its owners, and dropped if nobody needs it."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter

from pymigrate.mm.base.memmap import Frame, FrameFlag, nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.engine.queue_folios import Queue, Walk
from pymigrate.mm.frames.frames import frame_runs, uniform_parts, update_frames
from pymigrate.mm.spaces.rmap import mappings, remove_rmap
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.node import Node
from pymigrate.mm.state.vma import Vm, is_migratable
from pymigrate.units import END_OF_MEMORY

_UNEVICTABLE_FS = ("ramfs", "secretmem", "hugetlbfs", "hugetlb")
_OFF_LRU = FrameFlag.HUGETLB | FrameFlag.MOVABLE | FrameFlag.CLEARED  # of a pool or a driver
_OFF_LRU |= FrameFlag.HWPOISON  # or bad: delete_from_lru_cache()

Range = tuple["Mm", int, int]  # pages [a, b) of an address space
Keep = Callable[["Machine", Frame], bool]


def evictable(machine: Machine, nid: int, mms: list[Mm] | None = None) -> Iterator[Slice]:
    """The folios on the evictable lists of node *nid*; only what *mms* map, if they are given."""
    ranges = [(mm, 0, END_OF_MEMORY) for mm in (machine.mms.values() if mms is None else mms)]
    yield from mapped_folios(machine, nid, ranges, _is_evictable)
    if mms is None:
        yield from cached_folios(machine, nid, _is_evictable)


def mapped_folios(
    machine: Machine, nid: int, ranges: Iterable[Range], keep: Keep
) -> Iterator[Slice]:
    """The folios of node *nid* that *ranges* map, those that *keep* takes."""
    queue = Queue(machine, Walk(lambda node: node == nid, move_all=True))
    for mm, low, high in ranges:
        for vma, a, b in mm.parts(low, high):
            if is_migratable(vma) and not vma.flags & Vm.HUGETLB:
                queue.add_vma(mm, vma, a, b)
    for part in queue.slices:
        yield from _filtered(machine, part, keep)


def cached_folios(machine: Machine, nid: int, keep: Keep) -> Iterator[Slice]:
    """The page cache on node *nid* that nobody maps, what *keep* takes of it."""
    for space in machine.spaces.values():
        for run in space.pages.runs:
            for part, states in uniform_parts(machine, run):
                picked = tuple([i for i, pfn in enumerate(part.lanes) if nid_of(pfn) == nid])
                if picked:
                    found = Slice(part, picked, states.at(picked), part.start)
                    yield from _filtered(
                        machine, found, lambda m, frame: not frame.mapcount and keep(m, frame)
                    )


def _filtered(machine: Machine, part: Slice, keep: Keep) -> Iterator[Slice]:
    """*part* with those folios that *keep* takes; nothing if any was isolated by somebody else."""
    off_lru = machine.scope.off_lru
    if off_lru.runs and any(off_lru.between(e.start, e.start + e.nr) for e in part.extents()):
        return
    kept = {frame for frame in part.states.distinct if keep(machine, frame)}
    if len(kept) == len(part.states.distinct):
        yield part
    elif kept:
        yield part.only([i for i, frame in enumerate(part.states.each) if frame in kept])


def is_on_lru(_: Machine, frame: Frame) -> bool:
    """Whether it is on an LRU list, also the unevictable one, and not locked."""
    return not frame.flags & (_OFF_LRU | FrameFlag.LOCKED)


def _is_evictable(machine: Machine, frame: Frame) -> bool:
    """Mirrors folio_evictable()."""
    if frame.flags & (_OFF_LRU | FrameFlag.MLOCKED):
        return False
    if frame.is_anon or frame.flags & FrameFlag.KSM:
        return True
    return frame.owner in machine.spaces and machine.spaces[frame.owner].fs not in _UNEVICTABLE_FS


def awaits_writeback(frame: Frame) -> bool:
    """Whether it is locked, or is to be written, and passed over: sort_folio()."""
    if frame.flags & (FrameFlag.LOCKED | FrameFlag.WRITEBACK):
        return True
    return frame.flags & (FrameFlag.DIRTY | FrameFlag.SWAPBACKED) == FrameFlag.DIRTY


def take_folios(
    source: Iterator[Slice], pushed: list[Slice] | deque[Slice], nr: int
) -> list[Slice]:
    """Folios of *nr* pages, first those *pushed* back; the last may be larger than what is left."""
    taken: list[Slice] = []
    while nr > 0:
        part = pushed.pop() if pushed else next(source, None)
        if part is None:
            break
        folios = -(-nr >> part.run.order)
        if part.nr_folios > folios:
            part, rest = part.split_picked(folios)
            pushed.append(rest)
        taken.append(part)
        nr -= part.nr
    return taken


def without_frames(part: Slice, pfns: Iterable[int]) -> Iterator[Slice]:
    """*part* without the folios that begin at *pfns*."""
    rest = [part]
    for pfn in pfns:
        rest = [piece for found in rest for piece in _without(found, pfn)]
    yield from rest


def _without(part: Slice, pfn: int) -> Iterator[Slice]:
    run = part.run
    k, order = len(run.lanes), run.order
    for lane in part.picked:
        row, is_inside = divmod(pfn - run.lanes[lane], 1 << order)
        if is_inside or not 0 <= row < run.count(lane):
            continue
        at = run.start + (row * k + lane << order)
        if at > run.start:
            head, part = part.split(at)
            yield head
        if at + (1 << order) < run.end:
            yield part.split(at + (1 << order))[1]
        return
    yield part


def is_file_lru(part: Slice) -> bool:
    """Whether it is on the lists of files' pages. Mirrors folio_is_file_lru()."""
    return not part.states.first.flags & FrameFlag.SWAPBACKED


def in_lru_order(node: Node, parts: Iterable[Slice], hand: int) -> list[Slice]:
    """*parts* of *node* in the order of their frames, beginning with frame *hand*.

    Higher zones come first, as they are allocated from first.
    """
    ranks = {zone.name: -i for i, zone in enumerate(node.zones)}

    def place(pfn: int) -> tuple[int, int]:
        return ranks[node.zone_of(pfn).name], pfn

    ahead, behind = [], []
    for part in parts:
        first = first_frame(part)
        if hand and place(first) <= place(hand - 1):
            nr = _nr_before(part, hand)
            if 0 < nr < part.nr_folios:
                part, rest = part.split_picked(nr)
                ahead.append((place(first_frame(rest)), rest))
            behind.append((place(first), part))
        else:
            ahead.append((place(first), part))
    return [part for found in (ahead, behind) for _, part in sorted(found, key=itemgetter(0))]


def first_frame(part: Slice) -> int:
    """The lowest frame of *part*."""
    return min(part.run.lanes[lane] for lane in part.picked)


def next_frame(part: Slice) -> int:
    """The frame where reclaim goes on behind *part*."""
    start, nr = part.extents()[-1]
    return start + nr


def _nr_before(part: Slice, hand: int) -> int:
    """How many folios of *part*, if they follow each other, lie below frame *hand*."""
    if len(part.picked) > 1:
        return 0
    return (hand - part.run.lanes[part.picked[0]]) >> part.run.order


def was_used(machine: Machine, part: Slice) -> bool:
    """Whether an entry of *part* was used since it was last looked at.

    Mirrors folio_referenced().
    """
    states = part.states
    if not states.first.mapcount:
        return False
    if all(f.mapcount == 1 and not (f.order and f.pte_maps) for f in states.distinct):
        return bool(part.run.flags & Pte.YOUNG)
    return any(run.flags & Pte.YOUNG for _, run in _mapped(machine, part))


def mark_old(machine: Machine, part: Slice) -> None:
    """Let the entries of *part* be looked at: they have not been used since.

    Mirrors walk_mm() of the aging.
    """
    for mm, run in list(_mapped(machine, part)):
        if run.flags & Pte.YOUNG:
            mm.page_table.put(run.start, run.end, run.with_flags(run.flags & ~Pte.YOUNG))


def drop(machine: Machine, parts: Iterable[Slice]) -> int:
    """Free what of *parts* is clean and can be had again; how many base pages.

    Files' pages that an entry has dirtied are unmapped, and stay. Mirrors shrink_folio_list()
    without swap.
    """
    dropped = 0
    for part in parts:
        if is_file_lru(part):
            for found in frame_runs(machine, part.extents()):
                if not found.frame.is_held and not awaits_writeback(found.frame):
                    dropped += _drop(machine, part, found.start, found.start + found.nr)
    return dropped


def nr_droppable(machine: Machine, nid: int) -> tuple[int, int]:
    """How many base pages drop() would free on node *nid*: page cache, and lazily freed memory."""
    cache = freed = 0
    for part in evictable(machine, nid):
        for run in frame_runs(machine, part.extents()):
            if is_droppable(machine, run.frame):
                cache += run.nr
            elif is_freed(run.frame, part.run.flags):
                freed += run.nr
    return cache, freed


def is_droppable(machine: Machine, frame: Frame) -> bool:
    """Whether it is clean page cache, which can be had again, and nobody holds it."""
    is_file = not frame.is_anon and not frame.flags & (FrameFlag.SWAPBACKED | FrameFlag.DIRTY)
    is_kept = frame.is_held or awaits_writeback(frame)
    return is_file and not is_kept and _is_evictable(machine, frame)


def is_freed(frame: Frame, flags: int) -> bool:
    """Whether it was lazily freed, and its entry's *flags* say that nobody stored into it since."""
    clean = not frame.flags & (FrameFlag.SWAPBACKED | FrameFlag.DIRTY) and not flags & Pte.DIRTY
    return frame.is_anon and clean and not frame.is_held


def _drop(machine: Machine, part: Slice, low: int, high: int) -> int:
    """Drop the folios of *part* that have the frames [low, high), all alike."""
    frame = part.states.first
    mapped = [
        (mm, piece) for mm, run in _mapped(machine, part) for piece in _naming(run, low, high)
    ]
    if frame.is_anon and any(run.flags & Pte.DIRTY for _, run in mapped):
        return 0
    for mm, run in mapped:
        mm.page_table.put(run.start, run.end)
        if not run.order:
            mm.note_tables([(run.start, run.end)])
        remove_rmap(machine, [run])
    if frame.is_anon:
        machine.counters.add("pglazyfreed", high - low)
        return high - low
    return _remove_mapping(machine, part, low, high)


def _remove_mapping(machine: Machine, part: Slice, low: int, high: int) -> int:
    """Free what is clean of unmapped page cache in frames [low, high).

    Mirrors __remove_mapping().
    """
    space = machine.spaces[part.states.first.owner]
    clean = [
        found
        for found in machine.memmap_of(low).between(low, high)
        if not found.frame.flags & FrameFlag.DIRTY
    ]
    pieces = [
        piece
        for run in space.pages.between(part.run.start, part.run.end)
        for found in clean
        for piece in _naming(run, found.start, found.start + found.nr)
    ]
    space.pages.edit(sorted((piece.start, piece.end, ()) for piece in pieces))
    update_frames(machine, [(found.start, found.nr) for found in clean], lambda _: None)
    dropped = sum(found.nr for found in clean)
    if machine.watch.dropped is not None:
        nid = nid_of(low)
        machine.watch.dropped[nid] = machine.watch.dropped.get(nid, 0) + dropped
    return dropped


def _naming(run: PteRun, low: int, high: int) -> Iterator[PteRun]:
    """The parts of *run* that name frames [low, high)."""
    if len(run.lanes) > 1:
        yield from (entry for entry in run.entries() if low <= entry.lanes[0] < high)
        return
    page = run.start - run.lanes[0]  # of frame 0
    a, b = max(run.start, low + page), min(run.end, high + page)
    if a < b:
        yield run.clip(a, b)


def _mapped(machine: Machine, part: Slice) -> Iterator[tuple[Mm, PteRun]]:
    """The entries that map folios of *part*, with their address spaces.

    Where many pages take turns, those between them on other nodes, too: apart, each would be a run.
    """
    extents = sorted(part.extents())
    for mapping in mappings(machine, part.states.first, part.run.start, part.run.end):
        if mapping.mm is not None:
            a, b = mapping.start + mapping.shift, mapping.end + mapping.shift
            for run in mapping.table.between(a, b):
                for piece in _meeting(run, extents):
                    yield mapping.mm, piece


def _meeting(run: PteRun, extents: list[Extent]) -> Iterator[PteRun]:
    """What of *run* names frames of *extents*, which are in order."""
    starts = [start for start, _ in extents]
    if len(run.lanes) != 1:
        places = [(bisect_right(starts, pfn) - 1, pfn) for pfn in run.lanes]
        named = [i >= 0 and pfn < extents[i].start + extents[i].nr for i, pfn in places]
        if len(named) < run.nr >> run.order:
            yield from [run] if any(named) else []
        else:
            yield from (
                entry for entry, is_named in zip(run.entries(), named, strict=True) if is_named
            )
        return
    first, end = run.lanes[0], run.lanes[0] + run.nr
    for low, nr in extents[max(bisect_right(starts, first) - 1, 0) :]:
        if low >= end:
            return
        yield from _naming(run, low, low + nr)
