"""Hint faults: accesses to what a scan has made inaccessible, and the pages that follow them.

Mirrors do_numa_page(), mm/memory.c, do_huge_pmd_numa_page(), mpol_misplaced(),
should_numa_migrate_memory() and migrate_misplaced_folio().
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

from pymigrate.mm.balance.placement import (
    NO_CPUPID,
    HintFault,
    cpu_of,
    cpupid_of,
    is_placement_due,
    is_same_pid,
    task_numa_fault,
)
from pymigrate.mm.balance.promotion import Answer, may_promote
from pymigrate.mm.balance.scan import in_one_lane, is_dirty_file
from pymigrate.mm.base.memmap import Folio, Frame, FrameFlag, nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import Extent, coalesce
from pymigrate.mm.engine.folio_list import Slice, mapped_folio, named
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.frames.frames import extents_of, folio_of, uniform_parts, update_frames
from pymigrate.mm.frames.hot_pages import TIERING, access_time, uses_access_time
from pymigrate.mm.frames.memory_tiers import node_is_toptier
from pymigrate.mm.frames.page_alloc import available
from pymigrate.mm.frames.placement import ThisNode
from pymigrate.mm.reclaim.shrink import can_demote
from pymigrate.mm.reclaim.vmscan import wakeup_kswapd
from pymigrate.mm.spaces.anon_pages import vma_policy
from pymigrate.mm.state.events import MigrateMode, MigrateReason
from pymigrate.mm.state.machine import Machine, migrating
from pymigrate.mm.state.node import Node
from pymigrate.mm.state.numa import NumaVma
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.records import NamedTuple
from pymigrate.uapi import BALANCING
from pymigrate.units import huge_ceil, huge_floor

_EARLY_ROUNDS = 4  # of scans, in which the first fault of a page is believed
_GROUP_FRACTION = 3  # ACTIVE_NODE_FRACTION
_FEW = 4  # runs, of which the faults need not be taken many at once


def hint_fault(machine: Machine, task: Task, vma: Vma, run: PteRun) -> None:
    """Accesses to *run*, which a scan has made inaccessible: pages come to *task*, if they may.

    Each folio takes one fault. Mirrors do_numa_page() and do_huge_pmd_numa_page().
    """
    note_fault(task, vma)
    for lane in in_one_lane(run):
        for alike in _folios(machine, lane):
            fault_alike(machine, task, vma, [alike])


def fault_alike(machine: Machine, task: Task, vma: Vma, parts: list[PteRun]) -> None:
    """One fault for each folio of *parts*, which lie on one node and are alike, as its entries are.

    Those that end alike are taken together: what a fault counts and notes adds up, and folios
    that are alike get the same answer until memory or a rate limit gives out, see Answer.
    """
    while parts:
        parts = _fault(machine, task, vma, parts)


def note_fault(task: Task, vma: Vma) -> None:
    """Note that *task* uses *vma*, so that its scans do not pass it over.

    Mirrors vma_set_access_pid_bit().
    """
    if vma.numab is not None:
        faulted = vma.numab.faulted | NumaVma.bit_of(task.pid)
        vma.numab = vma.numab._replace(faulted=faulted)


def _folios(machine: Machine, run: PteRun) -> Iterator[PteRun]:
    """*run* in parts whose folios are alike; a large folio that is mapped by pages is alone."""
    memmap = machine.memmap_of(run.lanes[0])
    at, end = run.lanes[0], run.lanes[0] + run.nr
    while at < end:
        found = memmap.at(at)
        assert found is not None, f"frame {at:#x} is mapped but in nobody's use"
        stop, order = min(found.start + found.nr, end), found.frame.order
        if order and run.order:
            stop = at + (((stop - at) >> order or 1) << order)
        elif order:
            stop = min(((at >> order) + 1) << order, end)
        page = run.start + at - run.lanes[0]
        yield PteRun(page, stop - at, (at,), run.order, run.flags)
        at = stop


def _fault(machine: Machine, task: Task, vma: Vma, parts: list[PteRun]) -> list[PteRun]:
    """Hint faults at *parts*, as far as all end alike; what is left of them."""
    folio, here = folio_of(machine, parts[0].lanes[0]), machine.local_node(task)
    nid, folios = nid_of(folio.pfn), _nr_folios(parts, folio)
    answer = Answer(may=False, nr=1 if is_placement_due(machine, task) else folios)
    last = NO_CPUPID if uses_access_time(machine, nid) else folio.frame.cpupid
    has_memory, first = machine.nodes[here].nr_pages > 0, parts[0].start
    is_asked = has_memory and _may_follow(machine, task, vma, first, here)
    if is_asked:
        nr = _until_kswapd(machine, here, folio, answer.nr)
        answer = _should_migrate(machine, task, folio, nr, here)
    parts, rest = _cut(parts, answer.nr << folio.order)
    if is_asked:
        _remember(machine, task, folio, parts)
    is_local, can_write = nid == here, _may_write(vma, parts[0])
    machine.counters.add("numa_hint_faults", answer.nr)
    machine.counters.add("numa_hint_faults_local", answer.nr * is_local)
    if machine.watch.tally is not None:
        machine.watch.tally.hint_faults += answer.nr
    machine.counters.add("pgfault", answer.nr)
    _restore(task, vma, parts, folio, can_write)
    is_shared = vma.is_shared and folio.likely_shared
    moved = _migrate(machine, task, vma, parts, here) if answer.may and not is_local else 0
    fault = HintFault(last, nid, 0, is_local, is_shared, can_write)
    failed = (answer.nr << folio.order) - moved
    if moved:
        task_numa_fault(machine, task, fault._replace(nid=here, pages=moved, has_moved=True))
    if failed:
        has_failed = answer.may and not is_local
        task_numa_fault(machine, task, fault._replace(pages=failed, has_failed=has_failed))
    return rest


def _nr_folios(parts: list[PteRun], folio: Folio) -> int:
    """How many folios *parts* are, all like *folio*, of which a part may be mapped by pages."""
    return max(sum(part.nr for part in parts) >> folio.order, 1)


def _cut(parts: list[PteRun], nr: int) -> tuple[list[PteRun], list[PteRun]]:
    """The first *nr* base pages of *parts*, and the others."""
    for i, part in enumerate(parts):
        if not nr:
            return parts[:i], parts[i:]
        if part.nr > nr:
            head, rest = part.split(part.start + nr)
            return [*parts[:i], head], [rest, *parts[i + 1 :]]
        nr -= part.nr
    return parts, []


def _until_kswapd(machine: Machine, here: int, folio: Folio, folios: int) -> int:
    """How many of *folios* may follow before kswapd is woken, which may make room for more."""
    if not machine.numa_balancing & TIERING or not can_demote(machine, here):
        return folios
    return min(folios, max(balanced_room(machine.nodes[here], folio.nr), 1))


def _may_write(vma: Vma, part: PteRun) -> bool:
    """Whether the task may store into *part*, at once or once this fault is handled."""
    if part.flags & Pte.WRITE:
        return True
    return bool(part.flags & Pte.EXCLUSIVE and vma.flags & Vm.WRITE)


def _restore(task: Task, vma: Vma, parts: list[PteRun], folio: Folio, may_write: bool) -> None:
    """Make pages accessible again, all of a folio's that are mapped by one page table.

    Mirrors numa_rebuild_single_mapping() and numa_rebuild_large_mapping().
    """
    table, order = task.mm.page_table, parts[0].order
    if folio.order and not order:
        page = parts[0].start
        first = page - (parts[0].lanes[0] - folio.pfn)
        a = max(first, huge_floor(page), vma.start)
        b = min(first + folio.nr, huge_ceil(page + 1), vma.end)
        parts = [run for run in table.between(a, b) if run.flags & Pte.HINT and not run.order]
    gain = Pte.WRITE if may_write else 0
    restored = [part.with_flags(part.flags & ~Pte.HINT | gain) for part in parts]
    table.edit([(run.start, run.end, (run,)) for run in restored])


def _may_follow(machine: Machine, task: Task, vma: Vma, page: int, here: int) -> bool:
    """Whether the policy lets a page come to node *here*. Mirrors mpol_misplaced().

    Without a policy pages that are there already are left alone, and not asked who uses them.
    """
    policy = vma_policy(machine, vma, page) or task.policy
    if policy is not None:
        return bool(policy.flags & BALANCING) and here in policy.nodes
    run = task.mm.page_table.at(page)
    return run is not None and nid_of(run.pfn(page)) != here


def _should_migrate(machine: Machine, task: Task, folio: Folio, folios: int, here: int) -> Answer:
    """Whether the first of *folios* alike may follow this fault, and for how many that holds.

    Mirrors should_numa_migrate_memory().
    """
    if uses_access_time(machine, nid_of(folio.pfn)):
        return may_promote(machine, here, folio.frame.cpupid, folio.nr, folios)
    return Answer(is_used_from(machine, task, folio, here), folios)


def _remember(machine: Machine, task: Task, folio: Folio, parts: list[PteRun]) -> None:
    """Let the folios of *parts* remember the fault: when it was, or who took it."""
    timed = uses_access_time(machine, nid_of(folio.pfn))
    mine = access_time(machine) if timed else cpupid_of(task)
    extents = [Extent(folio.pfn, folio.nr)]
    if parts[0].order == folio.order:
        extents = coalesce(extent for part in parts for extent in extents_of(part))
    update_frames(machine, extents, lambda frame: frame._replace(cpupid=mine))


def is_used_from(machine: Machine, task: Task, folio: Folio, here: int) -> bool:
    """Whether a folio is used from node *here* rather than from where it is.

    One that another task was seen to use has to be used twice in a row from there.
    """
    last, nid, numa = folio.frame.cpupid, nid_of(folio.pfn), task.numa
    if last == NO_CPUPID and not (
        machine.numa_balancing & TIERING or node_is_toptier(machine, nid)
    ):
        return False
    is_mine = is_same_pid(task, last)
    if (numa.preferred < 0 or numa.seq <= _EARLY_ROUNDS) and (last == NO_CPUPID or is_mine):
        return True
    if last != NO_CPUPID and machine.node_of_cpu(cpu_of(last)) != here:
        return False
    group = machine.numa_groups.get(numa.group)
    if is_mine or group is None:
        return True
    there_cpu, here_cpu = group.cpu(nid), group.cpu(here)
    if here_cpu > there_cpu * _GROUP_FRACTION:
        return True
    return here_cpu * group.mem(nid) * 3 > there_cpu * group.mem(here) * 4


def _migrate(machine: Machine, task: Task, vma: Vma, parts: list[PteRun], target: int) -> int:
    """Let the folios of *parts* come to node *target*; how many base pages did.

    As many as there is room for above the high watermark. Counts numa_pages_migrated and
    pgpromote_success. Mirrors migrate_misplaced_folio_prepare() and migrate_misplaced_folio().
    """
    node, folio = machine.nodes[target], folio_of(machine, parts[0].lanes[0])
    nid, order = nid_of(folio.pfn), folio.order
    if _refuses(vma, folio):
        return 0
    folios = min(_nr_folios(parts, folio), balanced_room(node, folio.nr))
    if not folios and machine.numa_balancing & TIERING:
        wakeup_kswapd(machine, target)
        return 0
    is_scarce = bool(order) and available(node, to_min=False, order=order) < folios
    step = 1 if machine.watch.events is not None or is_scarce else max(folios, 1)
    with migrating(machine, MigrateReason.NUMA_MISPLACED):
        moved = 0
        for _ in range(0, folios, step):
            head, parts = _cut(parts, step << order)
            moved += _migrate_alike(machine, task, vma, head, target)
        machine.counters.add("numa_pages_migrated", moved)
        is_promoted = uses_access_time(machine, nid) and node_is_toptier(machine, target)
        node.numa.add("pgpromote_success", moved * is_promoted)
    return moved


def _migrate_alike(machine: Machine, task: Task, vma: Vma, parts: list[PteRun], target: int) -> int:
    """Move the folios of *parts* in one call of the engine; how many base pages it did."""
    folio = folio_of(machine, parts[0].lanes[0])
    queue = []
    for part in parts:
        run = part.with_flags(part.flags & ~Pte.HINT)
        if run.order == folio.order:
            whole = Slice.whole(run, folio.merged(), vma.index(run.start))
            queue.append(named(machine, vma, whole))
        else:  # mapped by pages, it moves as a whole
            queue.append(mapped_folio(machine, vma, run, run.start))
    where, reason, mode = ThisNode(target), MigrateReason.NUMA_MISPLACED, MigrateMode.ASYNC
    return migrate_pages(machine, task, queue, where, reason, mode=mode).succeeded


def _refuses(vma: Vma, folio: Folio) -> bool:
    """Whether a page of a file stays: it is code that others run too, or dirty."""
    if folio.flags & FrameFlag.SWAPBACKED:
        return False
    return bool(vma.flags & Vm.EXEC and folio.likely_shared) or is_dirty_file(folio)


def balanced_room(node: Node, nr: int) -> int:
    """How many folios of *nr* pages may come while a zone has more free than its high watermark.

    They are taken from the highest zone first. Mirrors migrate_balanced_pgdat().
    """
    room = above = 0
    for zone in reversed(node.zones):
        spare = zone.nr_free - zone.watermark_high - zone.reserve - nr
        if spare > 0:
            room = above + spare
        above += max(zone.nr_free - zone.watermark_low - zone.reserve, 0)
    return -(-room // nr)


class _Alike(NamedTuple):
    """What pages have in common whose faults end alike."""

    nid: int
    frame: Frame
    flags: int  # of the entry


def hint_faults(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> None:
    """Take the hint faults of private pages [a, b), if they are many, and none can fail.

    The others are left to hint_fault(). It is asked before a whole range is accessed. The order of
    the faults shows only where they meet a limit: of memory, of a rate of promotion, or of faults
    before tasks and memory are placed anew. Where none does, those that are alike come together.
    """
    if vma.space or machine.watch.events is not None or machine.numa_balancing & TIERING:
        return
    runs = _hinted(task, a, b)
    if len(runs) <= _FEW and all(len(run.lanes) == 1 for run in runs):
        return
    here = machine.local_node(task)
    if sum(run.nr for run in runs) > balanced_room(machine.nodes[here], 1):
        return
    if is_placement_due(machine, task):
        first = runs[0].start
        hint_fault(machine, task, vma, runs[0].clip(first, first + 1))
        runs = _hinted(task, first + 1, b)
    note_fault(task, vma)
    groups: dict[_Alike, list[PteRun]] = {}
    for run in runs:
        for part, alike in _parts(machine, run):
            groups.setdefault(alike, []).append(part)
    for parts in groups.values():
        fault_alike(machine, task, vma, parts)


def _hinted(task: Task, a: int, b: int) -> list[PteRun]:
    """The entries of base pages that a scan has made inaccessible."""
    found = task.mm.page_table.between(a, b)
    return [run for run in found if run.flags & Pte.HINT and run.lanes and not run.order]


def _parts(machine: Machine, run: PteRun) -> Iterator[tuple[PteRun, _Alike]]:
    """*run* in parts of base pages that lie on one node and are alike."""
    for part, states in uniform_parts(machine, run):
        is_alike = states.is_alike and len({nid_of(pfn) for pfn in part.lanes}) == 1
        pieces = iter((part,)) if is_alike else part.entries()
        for piece, frame in zip(pieces, cycle(states.each), strict=False):
            if not frame.order:
                yield piece, _Alike(nid_of(piece.lanes[0]), frame, piece.flags)
