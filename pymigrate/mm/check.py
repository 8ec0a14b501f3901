"""What is true of every machine between two calls, checked run by run: for a state from a disk.

The kernel checks such things under CONFIG_DEBUG_VM: page_table_check, VM_BUG_ON().
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

from pymigrate.mm.base.memmap import FrameFlag, FrameRun, is_pooled
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.base.runs import RunMap, coalesce
from pymigrate.mm.frames.frames import extents_of
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.node import Device, Node, Zone
from pymigrate.records import NamedTuple
from pymigrate.uapi import MPOL
from pymigrate.units import HPAGE_PMD_ORDER

_PREFERRED = (MPOL.PREFERRED, MPOL.PREFERRED_MANY)  # whose nodes stay: mpol_rebind_preferred()

# What a check can meet in a state that no kernel has left.
_MISFITS = (LookupError, ValueError, TypeError, AttributeError, AssertionError, RuntimeError)


class _Cover(NamedTuple):
    """How many entries map the frames [start, end)."""

    start: int
    end: int
    nr: int


def problems(machine: Machine) -> Iterator[str]:
    """A line for everything that cannot be so: frames owned twice, wrong counts, lost references.

    The cost is that of the runs of pages, however many pages they are.
    """
    for name, check in _CHECKS.items():
        found = check(machine)
        while True:
            try:
                line = next(found)
            except StopIteration:
                break
            except _MISFITS as error:
                yield f"{name} cannot be read: {type(error).__name__}: {error}"
                break
            yield line


def _check_nodes(machine: Machine) -> Iterator[str]:
    for nid, node in machine.nodes.items():
        yield from _order(node.memmap, f"frames of node {nid}")
        for zone in node.zones:
            what = f"zone {zone.name} of node {nid}"
            yield from _order(zone.free, f"free memory of {what}")
            free = sum(extent.nr for extent in zone.free.runs)
            if free != zone.nr_free:
                yield f"{what}: {free} pages are free, and {zone.nr_free} are counted"
            rest = [*zone.free.runs, *zone.offline.runs, *zone.foreign.runs]
            parts = [*_used(node, zone), *rest]
            yield from _partition(parts, zone.start, zone.end, what)
        yield from _outside(node)
        yield from _check_pool(node)
    for device in machine.devices.values():
        yield from _check_device(device)


def _used(node: Node, zone: Zone) -> list[tuple[int, int]]:
    """The frames in use; a bad page is still known as such when its block is offline."""
    return [
        (run.start, run.nr)
        for low, high in zone.parts(zone.start, zone.end)
        for run in node.memmap.between(low, high)
        if not (run.frame.flags & FrameFlag.HWPOISON and zone.offline.at(run.start))
    ]


def _order(runs: RunMap[Any], what: str) -> Iterator[str]:
    """Runs are sorted and disjoint, and none is empty."""
    for run in runs.runs:
        if run.nr <= 0:
            yield f"{what}: a run of no pages at {run.start:#x}"
    for low, high in pairwise(runs.runs):
        if low.start + low.nr > high.start:
            yield f"{what}: two runs overlap at {high.start:#x}"


def _partition(parts: Iterable[tuple[int, int]], start: int, end: int, what: str) -> Iterator[str]:
    """Each frame of [start, end) is in use or free, and never both."""
    at = start
    for first, nr in sorted(parts):
        if first < at:
            yield f"{what}: frame {first:#x} is owned twice"
        elif first > at:
            yield f"{what}: {first - at} frames from {at:#x} are neither free nor in use"
        at = first + nr
    if at < end:
        yield f"{what}: {end - at} frames from {at:#x} are neither free nor in use"


def _outside(node: Node) -> Iterator[str]:
    low, high = node.span
    for run in node.memmap.runs:
        if run.start < low or run.start + run.nr > high:
            yield f"node {node.nid}: frame {run.start:#x} in use lies outside of its memory"


def _check_pool(node: Node) -> Iterator[str]:
    """Every hugetlb page is its node's pool's, and is either free there or in use."""
    what, pool = f"node {node.nid}: its hugetlb pool", node.hugetlb
    pages = [run for run in node.memmap.runs if run.frame.flags & FrameFlag.HUGETLB]
    nr = sum(run.nr for run in pages) >> HPAGE_PMD_ORDER
    if nr != pool.nr:
        yield f"{what} has {nr} pages, and {pool.nr} are counted"
    free = [(run.start, run.nr) for run in pages if is_pooled(run.frame)]
    if coalesce(free) != coalesce(pool.free.runs):
        yield f"{what} lists other pages as free than those that are"
    if not 0 <= pool.surplus <= pool.nr:
        yield f"{what} has {pool.nr} pages, of which {pool.surplus} are surplus"


def _check_reserved(machine: Machine) -> Iterator[str]:
    """The pools have as many free pages as are reserved, and those are somebody's."""
    resv = [mm.resv for mm in machine.mms.values()] + [s.resv for s in machine.spaces.values()]
    nr = sum(extent.nr for runs in resv for extent in runs.runs) >> HPAGE_PMD_ORDER
    restored = sum(
        run.nr
        for node in machine.nodes.values()
        for run in node.memmap.runs
        if run.frame.flags & FrameFlag.RESTORE
    )
    if nr != machine.resv_huge_pages + (restored >> HPAGE_PMD_ORDER):
        yield f"{nr} huge pages are reserved, and {machine.resv_huge_pages} are counted"
    free = sum(node.hugetlb.nr_free for node in machine.nodes.values())
    if free < machine.resv_huge_pages:
        yield f"{machine.resv_huge_pages} huge pages are reserved, of {free} free ones"


def _check_bad(machine: Machine) -> Iterator[str]:
    """Every bad page is counted; of a bad hugetlb page one is bad."""
    bad = [
        run
        for node in machine.nodes.values()
        for run in node.memmap.runs
        if run.frame.flags & FrameFlag.HWPOISON
    ]
    huge = sum(run.nr for run in bad if run.frame.flags & FrameFlag.HUGETLB)
    nr = sum(run.nr for run in bad) - huge + (huge >> HPAGE_PMD_ORDER)
    nr += len(machine.bad_zero_pages)
    if nr != machine.num_poisoned_pages:
        yield f"{nr} pages are bad, and {machine.num_poisoned_pages} are counted"


def _check_device(device: Device) -> Iterator[str]:
    """Each frame is free, or holds an anonymous base page that nobody holds."""
    what = f"device {device.name}"
    used = [(run.start, run.nr) for run in device.memmap.runs]
    end = device.start + device.nr
    yield from _partition([*used, *device.free.runs], device.start, end, what)
    for run in device.memmap.runs:
        if not run.frame.is_anon or run.frame.order or run.frame.is_held:
            yield f"{what}: frame {run.start:#x} holds what cannot be there"


def _check_maps(machine: Machine) -> Iterator[str]:
    """The mapcounts of every frame are the numbers of entries that name it."""
    small: list[tuple[int, int]] = []
    huge: list[tuple[int, int]] = []
    for mm in machine.mms.values():
        for run in mm.page_table.runs:
            lanes = ((pfn, run.count(i) << run.order) for i, pfn in enumerate(run.lanes))
            (huge if run.order else small).extend(lanes)  # a merged page is in several
    used = [run for node in machine.nodes.values() for run in node.memmap.runs]
    used += [run for device in machine.devices.values() for run in device.memmap.runs]
    used.sort(key=lambda run: run.start)
    yield from _compare(_covers(small), used, "pte_maps")
    yield from _compare(_covers(huge), used, "pmd_maps")


def _covers(extents: list[tuple[int, int]]) -> list[_Cover]:
    """How often the frames of *extents* are named, by ascending frames; those that are."""
    points: dict[int, int] = {}
    for start, nr in extents:
        points[start] = points.get(start, 0) + 1
        points[start + nr] = points.get(start + nr, 0) - 1
    out: list[_Cover] = []
    depth = 0
    ordered = sorted(points)
    for low, high in pairwise(ordered):
        depth += points[low]
        if depth:
            out.append(_Cover(low, high, depth))
    return out


def _compare(covers: list[_Cover], used: list[FrameRun], field: str) -> Iterator[str]:
    """The frames in use are mapped as often as their *field* says, and no others are."""
    i, at = 0, 0
    for run in used:
        end = run.start + run.nr
        while i < len(covers) and covers[i].end <= run.start:
            yield from _mapped_free(covers[i], at, run.start)
            i += 1
        if i < len(covers):
            yield from _mapped_free(covers[i], at, run.start)
        yield from _counted(covers, i, run, getattr(run.frame, field))
        while i < len(covers) and covers[i].end <= end:
            i += 1
        at = end
    for cover in covers[i:]:
        yield from _mapped_free(cover, at, cover.end)


def _mapped_free(cover: _Cover, a: int, b: int) -> Iterator[str]:
    """Of the frames [a, b), which are free, none is mapped."""
    start = max(cover.start, a)
    if start < min(cover.end, b):
        yield f"frame {start:#x} is mapped, and free"


def _counted(covers: list[_Cover], i: int, run: FrameRun, expected: int) -> Iterator[str]:
    """Each frame of *run* is mapped *expected* times."""
    at, end = run.start, run.start + run.nr
    while at < end:
        cover = covers[i] if i < len(covers) and covers[i].start < end else _Cover(end, end, 0)
        if at < cover.start and expected:
            yield f"frame {at:#x} is mapped 0 times, and {expected} are counted"
        at = max(at, cover.start)
        if at < end and cover.nr != expected:
            yield f"frame {at:#x} is mapped {cover.nr} times, and {expected} are counted"
        at, i = max(at, min(cover.end, end)), i + 1


def _check_mms(machine: Machine) -> Iterator[str]:
    for mm in machine.mms.values():
        what = f"address space {mm.mm_id}"
        yield from _order(mm.page_table, f"page table of {what}")
        for low, high in pairwise(mm.vmas):
            if low.end > high.start:
                yield f"{what}: two mappings overlap at {high.start << 12:#x}"
        for vma in mm.vmas:
            if vma.start >= vma.end or not (vma.space or vma.pgoff == vma.name(vma.start)):
                yield f"{what}: the mapping at {vma.start << 12:#x} is empty, or displaced"
            if vma.space and vma.space not in machine.spaces:
                yield f"{what}: the mapping at {vma.start << 12:#x} maps a file that is gone"
            policy = vma.policy if vma.policy and vma.policy.mode not in _PREFERRED else None
            if policy and policy.nodes - machine.memory_nodes:
                yield f"{what}: the policy at {vma.start << 12:#x} names nodes that are not there"
        yield from _check_entries(mm, what)


def _check_entries(mm: Mm, what: str) -> Iterator[str]:
    for run in mm.page_table.runs:
        if mm.has_hole(run.start, run.end):
            yield f"{what}: an entry at {run.start << 12:#x} lies in no mapping"
        is_bad = bool(run.flags & Pte.HWPOISON)
        if is_bad and (run.lanes or run.flags & ~(Pte.HWPOISON | Pte.ANON | Pte.DIRTY)):
            yield f"{what}: the entry of a bad page at {run.start << 12:#x} is that of another, too"
        if not (is_bad or run.lanes or run.flags & Pte.PRESENT):
            yield f"{what}: the entry at {run.start << 12:#x} is that of nothing"


def _check_caches(machine: Machine) -> Iterator[str]:
    """What a file has cached is in use, and owned by it."""
    for space in machine.spaces.values():
        what = f"file {space.name or space.space_id}"
        yield from _order(space.pages, f"page cache of {what}")
        for run in space.pages.runs:
            if run.end > space.nr_pages:
                yield f"{what}: page {run.start} is cached beyond its end"
            for start, nr in extents_of(run):
                found = machine.memmap_of(start).between(start, start + nr)
                there = sum(used.nr for used in found)
                if there != nr or any(used.frame.owner != space.space_id for used in found):
                    yield f"{what}: frame {start:#x} is cached, and not its own"


def _check_tasks(machine: Machine) -> Iterator[str]:
    for name in machine.cpusets:
        if name and name.rpartition("/")[0] not in machine.cpusets:
            yield f"cpuset {name}: it lies in none that is there"
    for pid, task in machine.tasks.items():
        if task.pid != pid:
            yield f"process {pid}: its pid is wrong"
        if machine.mms.get(task.mm.mm_id) is not task.mm:
            yield f"process {pid}: its address space is not the machine's"
        if task.cpuset not in machine.cpusets:
            yield f"process {pid}: its cpuset {task.cpuset} is gone"
        if not task.cpus or not task.cpus.is_subset(machine.cpus):
            yield f"process {pid}: its CPUs {task.cpus or '-'} are not there"
    orphans = machine.mms.keys() - {task.mm.mm_id for task in machine.tasks.values()}
    for mm_id in sorted(orphans):
        yield f"address space {mm_id} belongs to no process"


def _check_holders(machine: Machine) -> Iterator[str]:
    """What is pinned, or waits for its LRU list, is in use."""
    for pin in machine.pins:
        if pin.pid not in machine.tasks:
            yield f"a pin of process {pin.pid} has outlived it"
        for start, nr in pin.extents():
            for pfn, _, found in machine.memmap_of(start).spans(start, start + nr):
                if found is None:
                    yield f"frame {pfn:#x} is pinned, and free"
    for cpu, batch in machine.lru_batches.items():
        for pfn in (*batch.waiting, *batch.mlocked, *batch.deactivated, *batch.lazyfreed):
            if machine.memmap_of(pfn).at(pfn) is None:
                yield f"frame {pfn:#x} is free, and waits for its LRU list on CPU {cpu}"


_CHECKS: dict[str, Callable[[Machine], Iterator[str]]] = {
    "the memory of the nodes": _check_nodes,
    "the hugetlb pools": _check_reserved,
    "the bad pages": _check_bad,
    "the mapcounts": _check_maps,
    "the address spaces": _check_mms,
    "the page cache": _check_caches,
    "the processes": _check_tasks,
    "what is held": _check_holders,
}
