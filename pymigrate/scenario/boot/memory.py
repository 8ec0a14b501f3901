"""Declared memory: a scenario's regions are mapped and filled without a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from random import Random

from pymigrate.errors import KernelError, ScenarioError
from pymigrate.mm.base.memmap import Frame, FrameFlag, nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import Extent, RunMap, take_extents
from pymigrate.mm.faults.anon_fault import VmFault
from pymigrate.mm.faults.file_fault import cached_entry_flags, map_cached
from pymigrate.mm.faults.memory import access
from pymigrate.mm.frames.frames import FrameEdits, extents_of, new_frames, update_frames
from pymigrate.mm.frames.page_alloc import reserve_blocks, reserve_pages
from pymigrate.mm.spaces.anon_pages import Fault, anon_page_state
from pymigrate.mm.spaces.huge_memory import split_huge_pmd_at
from pymigrate.mm.spaces.rmap import anon_vma_prepare
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import FIRST_REGION, Machine
from pymigrate.mm.state.policy import Mempolicy, new_policy, set_nodemask
from pymigrate.mm.state.task import Region, Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.nodemask import Nodemask
from pymigrate.records import NamedTuple
from pymigrate.scenario.spec.models import PolicySpec, RandomPages, RegionSpec
from pymigrate.syscalls.mmap import mmap, prot_flags
from pymigrate.uapi import MPOL
from pymigrate.units import (
    HPAGE_PMD_NR,
    HPAGE_PMD_ORDER,
    HPAGE_SIZE,
    PAGE_SHIFT,
    format_size,
    huge_ceil,
    huge_floor,
    pages_of,
    size_of_pages,
)

# Where Linux puts them on x86-64 when nothing is randomized.
HEAP_START = 0x555555559000 >> PAGE_SHIFT
STACK_END = 0x7FFFFFFFF000 >> PAGE_SHIFT
_ALIGN = HPAGE_PMD_NR
NOT_PRESENT = -1

Runs = list[tuple[int, int, int]]  # of declared pages: the first page, their number, the node


class Each(NamedTuple):
    """Declared pages from page *start* on, each on its own node."""

    start: int
    nids: list[int]


def policy_of(allowed: Nodemask, spec: PolicySpec | None) -> Mempolicy | None:
    """The policy that a scenario declares, of a task that may use the nodes *allowed*."""
    if spec is None:
        return None
    policy = new_policy(MPOL(spec.mode_number), spec.flag_bits, spec.nodes)
    policy = set_nodemask(policy, allowed)
    if policy is not None and spec.home_node is not None:
        policy = policy._replace(home_node=spec.home_node)
    return policy


def declare(
    machine: Machine, task: Task, spec: RegionSpec, files: Mapping[str, AddressSpace]
) -> None:
    """Map the region *spec* in *task* and fill it; *files* are the scenario's by their names.

    Raises ScenarioError if it does not fit.
    """
    origin = machine.regions[spec.origin] if spec.origin else None
    start = _address(machine, spec, origin)
    nr = pages_of(spec.size)
    if task.mm.vmas_between(start, start + nr):
        raise _error(task, spec, f"{start << PAGE_SHIFT:#x} is taken by another region")
    space, pgoff = _object(machine, spec, origin, files)
    allowed = task.mems_allowed & machine.memory_nodes if spec.policy else task.mems_allowed
    policy = policy_of(allowed, spec.policy)
    if spec.kind == "hugetlb" and not (origin and not spec.is_shared):
        vma = _map_hugetlb(machine, task, spec, start, space, pgoff)
        vma.policy = policy
        machine.regions[task.name, spec.as_] = Region(task.name, spec.as_, start, nr)
        if origin:
            _share(machine, task, vma, spec, origin, start)
        else:
            _fill_hugetlb(machine, task, vma, spec, start)
        return
    flags = prot_flags(spec.prot) | (Vm.SHARED if spec.is_shared else 0)
    if flags & Vm.WRITE and not spec.is_shared:
        flags |= Vm.ACCOUNT
    flags |= Vm.LOCKED if spec.locked else 0
    flags |= Vm.GROWSDOWN if spec.kind == "stack" else 0
    flags |= Vm.HUGETLB | Vm.DONTEXPAND if spec.kind == "hugetlb" else 0
    vma = Vma(
        start, start + nr, flags, pgoff if space else start, space.space_id if space else 0, policy
    )
    if space and space.is_shmem and policy:
        space.set_policy(pgoff, nr, policy)
    if spec.address is None:
        vma = task.mm.insert(machine.release, vma)
    else:
        task.mm.add(vma)
    machine.regions[task.name, spec.as_] = Region(task.name, spec.as_, start, nr)
    if spec.kind == "heap":
        low, high = task.mm.brk
        task.mm.brk = (min(low or start, start), max(high, start + nr))
    elif spec.kind == "stack":
        task.mm.start_stack = start + nr - 1
    _fill(machine, task, vma, spec, origin, start)


def _address(machine: Machine, spec: RegionSpec, origin: Region | None) -> int:
    nr = pages_of(spec.size)
    if spec.address is not None:
        start = spec.address >> PAGE_SHIFT
        if FIRST_REGION <= start < HEAP_START:  # what is mapped later goes behind it
            machine.next_region = max(machine.next_region, start + nr + 1)
        return start
    if origin and not spec.is_shared:
        return origin.start
    if spec.kind == "heap":
        return HEAP_START
    if spec.kind == "stack":
        return STACK_END - nr
    start = -(-machine.next_region // _ALIGN) * _ALIGN
    machine.next_region = start + nr + 1
    return start


def _object(
    machine: Machine, spec: RegionSpec, origin: Region | None, files: Mapping[str, AddressSpace]
) -> tuple[AddressSpace | None, int]:
    """What the region maps, and its first page there."""
    if origin:
        vma = machine.task(origin.task).mm.find_vma(origin.start)
        assert vma is not None, "the loader has seen to it"
        space = machine.spaces[vma.space] if vma.space else None
        return space, vma.index(origin.start)
    if spec.file is not None:
        return files.get(spec.file), spec.offset >> PAGE_SHIFT
    if spec.kind == "shmem":
        space = AddressSpace(machine.new_id(), "", "shm", spec.nr_pages << PAGE_SHIFT)
        machine.spaces[space.space_id] = space
        return space, 0
    return None, 0


def _map_hugetlb(
    machine: Machine,
    task: Task,
    spec: RegionSpec,
    start: int,
    space: AddressSpace | None,
    pgoff: int,
) -> Vma:
    """Map huge pages of the pools, which may have too few."""
    try:
        return mmap(
            machine,
            task,
            start << PAGE_SHIFT,
            spec.size,
            spec.prot,
            is_shared=spec.is_shared,
            space=space,
            offset=pgoff << PAGE_SHIFT,
            hugetlb=True,
        )
    except KernelError as error:
        raise _error(task, spec, error.why) from None


def _fill_hugetlb(machine: Machine, task: Task, vma: Vma, spec: RegionSpec, start: int) -> None:
    """Fault the declared huge pages in, each on its node, or where a fault puts it."""
    policy = vma.policy
    everywhere = [(0, spec.nr_pages, NOT_PRESENT)]
    for at, nr, nid in everywhere if spec.pages is None else _placed(spec, 0):
        if nid != NOT_PRESENT:
            nodes = Nodemask.of(nid)
            vma.policy = Mempolicy(MPOL.BIND, 0, nodes, nodes)
        for i in range(at, at + nr):
            page = start + i * HPAGE_PMD_NR
            try:
                access(machine, task, page, page + 1, write=spec.is_dirty)
            except Fault:
                message = f"no pool has a huge page left for page {i}"
                raise _error(task, spec, message) from None
    vma.policy = policy


def _fill(
    machine: Machine, task: Task, vma: Vma, spec: RegionSpec, origin: Region | None, start: int
) -> None:
    """Give the region its pages."""
    nr = pages_of(spec.size)
    if origin:
        _share(machine, task, vma, spec, origin, start)
    elif spec.pages is None:
        try:
            access(machine, task, start, start + nr, write=spec.is_dirty)
        except Fault as fault:
            done = fault.page - start
            why = f"page {done} lies beyond its file"
            if fault.signal == "SIGKILL":
                size = format_size(spec.size)
                why = f"the nodes it may use hold {size_of_pages(done)} of its {size}"
            raise _error(task, spec, why) from None
    elif isinstance(spec.pages, RandomPages) and not (spec.thp or spec.states or vma.space):
        each = Each(start, _draws(spec, spec.pages))
        _fill_anon(machine, task, vma, spec, each, spec.is_dirty)
    else:
        runs = _placed(spec, start)
        if spec.thp:
            runs = _fill_huge(machine, task, vma, spec, runs)
        for state, part in _by_state(spec, start, runs, bool(vma.space)).items():
            if state == "anon":
                _fill_anon(machine, task, vma, spec, part, True)
            elif vma.space:
                _fill_cache(machine, task, vma, spec, part, state == "dirty")
            else:
                _fill_anon(machine, task, vma, spec, part, state == "dirty")


def _by_state(spec: RegionSpec, start: int, runs: Runs, has_file: bool) -> dict[str, Runs]:
    """*runs* by the states of their pages."""
    is_copied = has_file and not spec.is_shared and spec.is_dirty
    usual = "anon" if is_copied else "dirty" if spec.is_dirty else "clean"
    if not spec.states:
        return {usual: runs}
    ends: list[tuple[int, str]] = []
    at = start
    for nr, state in spec.states:
        at += nr
        ends.append((at, state))
    ends.append((start + spec.nr_pages, usual))
    found: dict[str, Runs] = {}
    i = 0
    for page, nr, nid in runs:
        last = page + nr
        while page < last:
            while ends[i][0] <= page:
                i += 1
            stop = min(last, ends[i][0])
            found.setdefault(ends[i][1], []).append((page, stop - page, nid))
            page = stop
    return found


def _placed(spec: RegionSpec, start: int) -> Runs:
    """The declared pages; the random ones as runs of few pages."""
    runs: Runs = []
    if isinstance(spec.pages, RandomPages):
        return [(start + i, 1, nid) for i, nid in enumerate(_draws(spec, spec.pages))]
    at = start
    for nr, nid in spec.pages or ():
        if nid != NOT_PRESENT and nr:
            runs.append((at, nr, nid))
        at += nr
    return runs


def _draws(spec: RegionSpec, pages: RandomPages) -> list[int]:
    """The node of each page: its own draw, so that a longer region begins like a shorter one."""
    return Random(pages.seed).choices(list(pages.random), k=spec.nr_pages)


def _reserve(
    machine: Machine, task: Task, spec: RegionSpec, runs: Runs, frame: Frame
) -> list[PteRun]:
    """Frames for *runs*, each node's in the order of the pages, in use as *frame*."""
    if all(nr == 1 for _, nr, _ in runs):
        parts = list(_stretches(runs))
        return [r for part in parts for r in _reserve_each(machine, task, spec, part, frame)]
    wanted: dict[int, int] = {}
    for _, nr, nid in runs:
        wanted[nid] = wanted.get(nid, 0) + nr
    fresh = _fresh(machine, task, spec, wanted, frame)
    stacks = {nid: extents[::-1] for nid, extents in fresh.items()}
    out: list[PteRun] = []
    for at, nr, nid in runs:
        page = at
        for extent in take_extents(stacks[nid], nr):
            out.append(PteRun(page, extent.nr, (extent.start,)))
            page += extent.nr
    return out


def _reserve_each(
    machine: Machine, task: Task, spec: RegionSpec, part: Each, frame: Frame
) -> list[PteRun]:
    """The same for pages each of which has its own node, as explicit tables."""
    fresh = _fresh(machine, task, spec, Counter(part.nids), frame)
    pfns = {
        nid: chain.from_iterable(range(first, first + nr) for first, nr in extents)
        for nid, extents in fresh.items()
    }
    each = tuple(map(next, map(pfns.__getitem__, part.nids)))
    return PteRun(part.start, len(each), each).tables()


def _stretches(runs: Runs) -> Iterator[Each]:
    """Single pages, as far as they follow each other."""
    i = 0
    for j in range(1, len(runs) + 1):
        if j == len(runs) or runs[j][0] != runs[j - 1][0] + 1:
            yield Each(runs[i][0], [nid for _, _, nid in runs[i:j]])
            i = j


def _fresh(
    machine: Machine, task: Task, spec: RegionSpec, wanted: Mapping[int, int], frame: Frame
) -> dict[int, list[Extent]]:
    """As many frames of each node as are *wanted*."""
    fresh: dict[int, list[Extent]] = {}
    edits = FrameEdits(machine)
    for nid, nr in wanted.items():
        free = machine.nodes[nid].nr_free
        if free < nr:
            raise _error(task, spec, f"node {nid} has {free} free pages, expected at least {nr}")
        fresh[nid] = reserve_pages(machine.nodes[nid], nr)
        edits.set(fresh[nid], frame)
    edits.commit()
    return fresh


def _fill_anon(
    machine: Machine, task: Task, vma: Vma, spec: RegionSpec, runs: Runs | Each, is_dirty: bool
) -> None:
    if not runs:
        return
    anon_vma_prepare(machine, task, vma)
    flags, frame = anon_page_state(task, vma)
    flags &= -1 if is_dirty else ~Pte.DIRTY
    if isinstance(runs, Each):
        fresh = _reserve_each(machine, task, spec, runs, frame)
    else:
        fresh = _reserve(machine, task, spec, runs, frame)
    made = [run.with_flags(flags) for run in fresh]
    task.mm.page_table.edit([(run.start, run.end, (run,)) for run in made])


def _fill_huge(machine: Machine, task: Task, vma: Vma, spec: RegionSpec, runs: Runs) -> Runs:
    """Map huge pages for the first blocks of *runs*, as many as are declared; gives what is left.

    Raises ScenarioError if the blocks, or a node's free memory, are too few.
    """
    anon_vma_prepare(machine, task, vma)
    flags, frame = anon_page_state(task, vma, HPAGE_PMD_ORDER)
    flags &= -1 if spec.is_dirty else ~Pte.DIRTY
    wanted = spec.thp // HPAGE_SIZE
    rest: Runs = []
    made: list[PteRun] = []
    for at, nr, nid in runs:
        first = huge_ceil(at)
        taken = max(min(wanted, huge_floor(at + nr) - first >> HPAGE_PMD_ORDER), 0)
        wanted -= taken
        end = first + taken * HPAGE_PMD_NR if taken else at
        rest += [(at, first - at, nid)] if taken and first > at else []
        rest += [(end, at + nr - end, nid)] if at + nr > end else []
        page = first
        for block in reserve_blocks(machine.nodes[nid], taken):
            made.append(PteRun(page, block.nr, (block.start,), HPAGE_PMD_ORDER, flags))
            page += block.nr
        if taken and page < end:
            raise _error(task, spec, f"node {nid} has too few free blocks of 2 MiB for its thp")
    if wanted:
        size = format_size(wanted * HPAGE_SIZE)
        raise _error(task, spec, f"{size} of its thp lie in no block of 2 MiB on one node")
    new_frames(machine, made, frame)
    task.mm.page_table.edit([(run.start, run.end, (run,)) for run in made])
    return rest


def _fill_cache(
    machine: Machine, task: Task, vma: Vma, spec: RegionSpec, runs: Runs, is_dirty: bool
) -> None:
    """Pages of a file or of shared memory; those that are cached already must lie as declared."""
    space = machine.spaces[vma.space]
    missing: Runs = []
    cached: list[PteRun] = []
    for at, nr, nid in runs:
        if vma.index(at + nr) > space.nr_pages:
            raise _error(task, spec, f"its pages reach beyond the end of {space.name}")
        for a, b, run in space.pages.spans(vma.index(at), vma.index(at + nr)):
            if run is None:
                missing.append((a, b - a, nid))
            elif any(nid_of(pfn) != nid for pfn in run.lanes):
                there = nid_of(next(pfn for pfn in run.lanes if nid_of(pfn) != nid))
                raise _error(task, spec, f"page {a} of {space.name} lies on node {there} already")
            else:
                cached.append(run)
    vmf = VmFault(machine, task, vma)
    stored = Pte.DIRTY | Pte.WRITE if is_dirty and vma.is_shared else 0
    if cached:
        map_cached(vmf, cached, stored)
    if is_dirty:
        extents = [extent for run in cached for extent in extents_of(run)]
        update_frames(machine, extents, lambda frame: frame.with_flags(FrameFlag.DIRTY))
    state = FrameFlag.DIRTY if is_dirty else 0
    state |= FrameFlag.SWAPBACKED if space.is_shmem else 0
    state |= FrameFlag.MLOCKED if vma.flags & Vm.LOCKED else 0
    made = _reserve(machine, task, spec, missing, Frame(space.space_id, state, 1))
    space.pages.edit([(run.start, run.end, (run,)) for run in made])
    flags, shift = cached_entry_flags(vmf) | stored, vma.start - vma.pgoff
    mapped = [run.moved(run.start + shift).with_flags(flags) for run in made]
    task.mm.page_table.edit([(run.start, run.end, (run,)) for run in mapped])


def _share(
    machine: Machine, task: Task, vma: Vma, spec: RegionSpec, origin: Region, start: int
) -> None:
    """Map the pages of another region too: shared memory as it is, private as after a fork."""
    nr = pages_of(spec.size)
    owner = machine.task(origin.task)
    table = owner.mm.page_table
    split_huge_pmd_at(machine, owner.mm, origin.start + nr)
    theirs = _shared_runs(table, origin, spec, nr)
    flags = Pte.PRESENT
    if not vma.is_shared:
        flags = ~(Pte.WRITE | Pte.EXCLUSIVE)
        table.edit([(r.start, r.end, (r.with_flags(r.flags & flags),)) for r in theirs])
        if vma.is_anonymous or vma.flags & Vm.HUGETLB:
            vma.anon_vma, vma.anon_chained = machine.new_id(), True
    locked = FrameFlag.MLOCKED if vma.flags & Vm.LOCKED else 0
    ours = [
        run.moved(run.start - origin.start + start).with_flags(
            run.flags & ~(Pte.EXCLUSIVE | (0 if vma.is_shared else Pte.WRITE))
        )
        for run in theirs
    ]
    task.mm.page_table.edit([(run.start, run.end, (run,)) for run in ours])
    small = [extent for run in theirs if not run.order for extent in extents_of(run)]
    huge = [extent for run in theirs if run.order for extent in extents_of(run)]
    update_frames(machine, small, lambda frame: frame.mapped(1).with_flags(locked))
    update_frames(machine, huge, lambda frame: frame.pmd_mapped(1).with_flags(locked))


def _shared_runs(table: RunMap[PteRun], origin: Region, spec: RegionSpec, nr: int) -> list[PteRun]:
    """The entries of *origin* that a region maps too: all, or those where `pages` names a node."""
    here = [(origin.start, origin.start + nr)]
    if spec.pages is not None:
        start = origin.start
        here = [(at, at + count) for at, count, _ in _placed(spec, start)]
    return [run for a, b in here for run in table.between(a, b) if run.lanes]


def _error(task: Task, spec: RegionSpec, message: str) -> ScenarioError:
    return ScenarioError(f"task {task.name}, region {spec.as_}: {message}")
