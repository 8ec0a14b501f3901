"""What is true of every machine between two system calls, whatever was called.

Page by page: a model of what check.py says of runs, for mapcounts, holders and caches, and what
it leaves out. Memory that is free or in use, pools, devices and tasks are its own.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pymigrate.mm.base.memmap import Frame, FrameFlag, is_movable, is_pooled, looks_movable, nid_of
from pymigrate.mm.base.pte import MAX_TABLE, Pte, PteRun
from pymigrate.mm.base.runs import RunMap
from pymigrate.mm.check import problems
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vma
from pymigrate.store.codec import maps_of
from pymigrate.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER, MAX_NUMNODES
from pymigrate.views.pages import placement
from pymigrate.views.proc import numa_maps, vmstat
from tests.property import agreement

_MASK = HPAGE_PMD_NR - 1
Place = tuple[int, int]  # mm, page
Sharing = dict[Place, tuple[Place, int]]


def check(machine: Machine) -> None:
    """Assert all that holds of *machine*."""
    assert list(problems(machine)) == []
    for (kind, _), runs in maps_of(machine).items():
        check_run_map(runs, is_maximal=kind not in ("page_table", "pages", "stable_tree"))
    frames = used_frames(machine)
    check_maps(machine, frames)
    check_folios(frames)
    check_drivers(machine, frames)
    check_page_cache(machine, frames)
    check_holders(machine, frames)
    check_lru_batches(machine)
    check_stable_tree(machine, frames)
    for mm in machine.mms.values():
        check_entries(machine, mm, frames)
    check_views(machine, frames)


def used_frames(machine: Machine) -> dict[int, Frame]:
    """Every frame in use, with its state: those of nodes and those of devices."""
    owners = [*machine.nodes.values(), *machine.devices.values()]
    return {
        pfn: run.frame
        for owner in owners
        for run in owner.memmap.runs
        for pfn in range(run.start, run.start + run.nr)
    }


def entries(mm: Mm) -> Iterator[PteRun]:
    """The entries with a frame, one by one."""
    for run in mm.page_table.runs:
        if run.lanes:
            yield from run.entries()


def mapped_pages(mm: Mm) -> Iterator[tuple[int, int, int]]:
    """Each page with a frame: page, frame, flags of its entry."""
    for entry in entries(mm):
        for i in range(entry.nr):
            yield entry.start + i, entry.lanes[0] + i, entry.flags


def sharing(machine: Machine) -> Sharing:
    """What migration keeps: each entry's flags, and which entries have one frame in common.

    A frame is named by its first entry.
    """
    names: dict[int, Place] = {}
    found = {}
    for mm in machine.mms.values():
        for entry in entries(mm):
            place = mm.mm_id, entry.start
            found[place] = names.setdefault(entry.lanes[0], place), entry.flags
    return found


def check_run_map(runs: RunMap[Any], is_maximal: bool) -> None:
    """Runs are sorted and disjoint; of extents and frames, neighbours that are alike are one."""
    assert runs.starts == [run.start for run in runs.runs], "starts differ from the runs"
    assert all(run.nr > 0 for run in runs.runs), "a run is empty"
    for low, high in pairwise(runs.runs):
        assert low.start + low.nr <= high.start, f"{low} and {high} overlap"
        if is_maximal and low.start + low.nr == high.start:
            assert low.join(high) is None, f"{low} and {high} are one"


def check_maps(machine: Machine, frames: dict[int, Frame]) -> None:
    """The mapcounts of every frame are the numbers of entries that name it, or its folio."""
    maps: Counter[int] = Counter()
    huge: Counter[int] = Counter()
    for mm in machine.mms.values():
        for entry in entries(mm):
            (huge if entry.order else maps)[entry.lanes[0]] += 1
    for pfn in {*maps, *huge}:
        assert pfn in frames, f"frame {pfn:#x} is mapped, and free"
    for pfn, frame in frames.items():
        head = pfn >> frame.order << frame.order
        assert frame.pte_maps == maps[pfn], f"{pfn:#x} is mapped {maps[pfn]} times: {frame}"
        assert frame.pmd_maps == (huge[head] if frame.order else 0), f"{pfn:#x}: {frame}"
    for pfn in huge:
        assert frames[pfn].order == HPAGE_PMD_ORDER, f"a huge entry maps {pfn:#x}: {frames[pfn]}"


def check_folios(frames: dict[int, Frame]) -> None:
    """All pages of a large folio are there, and know the same of it."""
    of_page = FrameFlag.ZEROED | FrameFlag.HWPOISON
    for pfn, frame in frames.items():
        if not frame.order or pfn & _MASK:
            assert not frame.order or pfn & ~_MASK in frames, f"{pfn:#x} has no head"
            continue
        assert frame.order == HPAGE_PMD_ORDER
        for tail in range(pfn, pfn + HPAGE_PMD_NR):
            other = frames[tail]
            assert other.order == frame.order, f"{tail:#x} is no part of {pfn:#x}"
            assert other.owner == frame.owner
            assert other.pmd_maps == frame.pmd_maps
            assert (other.flags ^ frame.flags) & ~of_page == 0, f"{tail:#x}: {other}, {frame}"


def check_drivers(machine: Machine, frames: dict[int, Frame]) -> None:
    """A driver's pages are movable, and nothing of theirs is isolated between two calls."""
    owned = [pfn for driver in machine.drivers.values() for pfn in driver.pages if pfn >= 0]
    assert len(set(owned)) == len(owned)
    assert set(owned) == {pfn for pfn, frame in frames.items() if looks_movable(frame)}
    for pfn in owned:
        assert is_movable(frames[pfn]), f"{pfn:#x} has no owner"
        assert not frames[pfn].flags & FrameFlag.ISOLATED


def check_page_cache(machine: Machine, frames: dict[int, Frame]) -> None:
    """A cached page's frame is owned by its object; a file's frame is cached."""
    cached: dict[int, int] = {}
    for space in machine.spaces.values():
        for run in space.pages.runs:
            for pfn in pages_of(run):
                assert pfn not in cached, f"frame {pfn:#x} is cached twice"
                cached[pfn] = space.space_id
    for pfn, frame in frames.items():
        apart = FrameFlag.KERNEL | FrameFlag.HWPOISON | FrameFlag.CONTIG
        if is_pooled(frame) or looks_movable(frame) or frame.flags & apart:
            continue
        owner = None if frame.is_anon else frame.owner
        if owner is not None and pfn not in cached:
            head = pfn >> frame.order << frame.order
            held = any(frames[p].is_held for p in range(head, head + (1 << frame.order)))
            assert held, f"{pfn:#x} is in no cache"
            assert not frame.mapcount, f"{pfn:#x} is mapped, and no longer cached"
        else:
            assert cached.get(pfn) == owner, f"{pfn:#x} is cached in another object: {frame}"
        if owner in machine.spaces:
            swapbacked = bool(frame.flags & FrameFlag.SWAPBACKED)
            assert swapbacked == machine.spaces[owner].is_shmem, f"{pfn:#x}: {frame}"
            huge = bool(frame.flags & FrameFlag.HUGETLB)
            assert huge == machine.spaces[owner].is_hugetlb, f"{pfn:#x}: {frame}"


def check_holders(machine: Machine, frames: dict[int, Frame]) -> None:
    """An anonymous frame is in use because its folio is mapped or held."""
    needed = {
        pfn >> frame.order << frame.order
        for pfn, frame in frames.items()
        if frame.mapcount or frame.is_held
    }
    for pfn, frame in frames.items():
        if frame.is_anon:
            assert pfn >> frame.order << frame.order in needed, f"nobody holds {pfn:#x}: {frame}"
            assert not frame.flags & FrameFlag.READAHEAD, f"{pfn:#x}: {frame}"
            assert not frame.flags & FrameFlag.MIXED, f"{pfn:#x}: {frame}"


def check_pins(machine: Machine, frames: dict[int, Frame]) -> None:
    """Every frame is held as often as the tasks' pins say. (Unit tests may hold frames without.)"""
    pins: Counter[int] = Counter()
    references: Counter[int] = Counter()
    for pin in machine.pins:
        held = pins if pin.is_long else references
        held.update(pfn for start, nr in pin.extents() for pfn in range(start, start + nr))
    for pfn, frame in frames.items():
        assert frame.pins == pins[pfn], f"{pfn:#x} is pinned {pins[pfn]} times: {frame}"
        assert frame.extra_refs == references[pfn], f"{pfn:#x}: {references[pfn]}, {frame}"


def check_lru_batches(machine: Machine) -> None:
    """What waits for its LRU list waits once, and never fills a batch."""
    seen: set[int] = set()
    for batch in machine.lru_batches.values():
        for queue in (batch.waiting, batch.mlocked, batch.deactivated, batch.lazyfreed):
            assert len(queue) < machine.release.pagevec_size
            assert len(set(queue)) == len(queue), "a frame waits twice"
            assert not seen & set(queue), "a frame waits on two lists"
            seen |= set(queue)


def check_entries(machine: Machine, mm: Mm, frames: dict[int, Frame]) -> None:
    """Every entry names a frame that may be there."""
    for run in mm.page_table.runs:
        check_run(run)
        for vma, a, b in mm.parts(run.start, run.end):
            check_part(mm, vma, run.clip(a, b), frames, machine)


def check_run(run: PteRun) -> None:
    """A run has as many lanes as make sense."""
    assert run.order in (0, HPAGE_PMD_ORDER)
    kinds = Pte.PRESENT | Pte.DEVICE | Pte.HWPOISON
    assert run.flags & kinds in (Pte.PRESENT, Pte.DEVICE, Pte.HWPOISON)
    on_device = {nid_of(pfn) >= MAX_NUMNODES for pfn in run.lanes}
    if run.flags & Pte.DEVICE:
        assert on_device == {True}, f"{run} is not on a device"
        assert not run.flags & (Pte.YOUNG | Pte.DIRTY | Pte.HINT), f"{run} was used there"
    else:
        assert True not in on_device, f"{run} is on a device"
    nr = run.nr >> run.order
    assert run.nr == nr << run.order, f"{run} has half an entry"
    assert not run.order or not run.start & _MASK, f"{run} is not aligned"
    assert len(run.lanes) <= nr, f"{run} has idle lanes"
    if len(run.lanes) == nr > 1:
        assert nr <= MAX_TABLE, f"a table of {nr} entries is too long"
    if run.flags & Pte.HWPOISON:
        assert not run.lanes, "a bad page is mapped"
        assert not run.flags & ~(Pte.HWPOISON | Pte.ANON | Pte.DIRTY)
    elif not run.lanes:
        assert not run.flags & (Pte.WRITE | Pte.DIRTY | Pte.EXCLUSIVE), "the zero page is written"


def check_part(mm: Mm, vma: Vma, run: PteRun, frames: dict[int, Frame], machine: Machine) -> None:
    """The entries of *run*, which lie in *vma*, name frames that belong there."""
    if run.flags & Pte.HWPOISON:
        assert not (run.flags & Pte.ANON and vma.is_shared), f"{vma} shares an anonymous page"
        return
    if not run.lanes:
        assert vma.is_anonymous, f"{vma} maps the zero page"
        return
    space = machine.spaces[vma.space] if vma.space else None
    for page, pfn in zip(range(run.start, run.end), pages_of(run), strict=True):
        frame = frames[pfn]
        if frame.is_anon:
            assert not vma.is_shared, f"{vma} shares an anonymous page"
            assert vma.anon_vma, f"{vma} has pages, but no anon_vma"
            check_owner(machine, mm, page, run, frame)
        else:
            assert space is not None, f"anonymous {vma} maps a file's page {page:#x}"
            cached = space.pages.at(vma.index(page))
            assert cached is not None, f"page {page:#x} is mapped, but not cached"
            assert cached.pfn(vma.index(page)) == pfn, f"page {page:#x} is not the cached one"
            assert vma.is_shared or not run.flags & (Pte.WRITE | Pte.EXCLUSIVE)
        if run.flags & Pte.EXCLUSIVE:
            assert frame.is_anon, f"page {page:#x} is exclusive: {frame}"
            assert frame.mapcount == 1, f"page {page:#x} is exclusive: {frame}"
        elif run.flags & Pte.WRITE:
            assert vma.is_shared, f"page {page:#x} can be written, and is not exclusive"


def check_owner(machine: Machine, mm: Mm, page: int, run: PteRun, frame: Frame) -> None:
    """An anonymous page is its fork family's; a merged one that of a node."""
    is_merged = bool(frame.flags & FrameFlag.KSM)
    assert bool(run.flags & Pte.KSM) == is_merged, f"page {page:#x}: {run}, {frame}"
    if not is_merged:
        assert frame.owner == mm.family, f"page {page:#x} belongs to a stranger: {frame}"
        return
    assert not run.flags & (Pte.WRITE | Pte.EXCLUSIVE), f"page {page:#x} is merged: {run}"
    node = machine.stable_tree.pages.at(frame.owner)
    assert node is not None, f"page {page:#x} has no node: {frame}"
    assert node.pfn(frame.owner) == run.pfn(page), f"the node has another page: {frame}"


def check_stable_tree(machine: Machine, frames: dict[int, Frame]) -> None:
    """A walk from a node finds each entry of its page, and none twice."""
    tree, mms = machine.stable_tree, machine.mms
    assert set(tree.items) == {
        node for run in tree.pages.runs for node in range(run.start, run.end)
    }
    mapped = {
        (frames[entry.lanes[0]].owner, mm.mm_id, entry.start)
        for mm in mms.values()
        for run in mm.page_table.runs
        if run.flags & Pte.KSM
        for entry in run.entries()
    }
    walked = [
        (node, mm.mm_id, page) for node in tree.items for mm, page in tree.walk(mms.values(), node)
    ]
    assert len(set(walked)) == len(walked), "a walk finds an entry twice"
    for node, mm_id, page in mapped - set(walked):  # that of an ancestor, or of its other children
        items = tree.items[node]
        assert any(mms[mm_id].family == item.family for item in items), f"{page:#x} is missed"
        assert not any(mm_id == item.mm_id or item.mm_id in mms[mm_id].ancestors for item in items)


def pages_of(run: PteRun) -> Iterator[int]:
    """The frame of each page of *run*."""
    for pfn in run.pfns():
        yield from range(pfn, pfn + (1 << run.order))


def check_views(machine: Machine, frames: dict[int, Frame]) -> None:
    """The views agree with each other and with the memmap."""
    agreement.check(machine)
    for task in machine.tasks.values():
        for row, vma in zip(numa_maps.rows(machine, task), task.mm.vmas, strict=True):
            check_row(machine, task, row, vma)
    values = vmstat.rows(machine)
    total = sum(node.nr_pages for node in machine.nodes.values())
    on_devices = sum(device.nr - device.nr_free for device in machine.devices.values())
    frames = {pfn: frame for pfn, frame in frames.items() if is_online(machine, pfn)}
    assert values["nr_free_pages"] == total - len(frames)
    apart = FrameFlag.HUGETLB | FrameFlag.MOVABLE | FrameFlag.CLEARED | FrameFlag.KERNEL
    apart |= FrameFlag.CONTIG
    normal = [frame for frame in frames.values() if not frame.flags & apart]
    normal = [f for f in normal if not f.flags & FrameFlag.HWPOISON or f.owner]
    anon = [frame for frame in normal if frame.is_anon]
    swapcached = sum(bool(frame.flags & FrameFlag.SWAPCACHE) for frame in anon)
    assert values["nr_swapcached"] == swapcached
    assert values["nr_file_pages"] == len(normal) - len(anon) + swapcached
    on_nodes = sum(frame.mapcount > 0 for frame in anon)
    assert values["nr_anon_pages"] == on_nodes + on_devices
    huge = sum(f.order > 0 and f.pmd_maps > 0 for f in anon)
    assert values["nr_anon_transparent_hugepages"] == huge // HPAGE_PMD_NR
    assert all(value >= 0 for value in values.values())


def is_online(machine: Machine, pfn: int) -> bool:
    """Whether a frame is of a node, in a memory block that is online."""
    if nid_of(pfn) >= MAX_NUMNODES:
        return False
    return machine.nodes[nid_of(pfn)].zone_of(pfn).offline.at(pfn) is None


def check_row(machine: Machine, task: Task, row: numa_maps.NumaMapsRow, vma: Vma) -> None:
    """A line of numa_maps counts what the placement view shows."""
    nodes: Counter[int] = Counter()
    for nr, nid in placement.runs(machine, task, vma.start, vma.end):
        nodes[nid] += nr
    hidden = machine.release.prot_none_is_absent and not vma.flags & 7
    if not hidden:
        nodes.pop(placement.NOT_PRESENT, 0)
        unit = HPAGE_PMD_NR if row.is_huge else 1
        assert {nid: nr * unit for nid, nr in row.nodes.items()} == dict(nodes)
    assert row.pages == sum(row.nodes.values())
    assert 0 <= row.active <= row.pages, f"{row.active} of {row.pages} pages are active"
    assert row.anon <= row.pages
    assert row.dirty <= row.pages
