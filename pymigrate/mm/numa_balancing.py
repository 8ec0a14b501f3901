"""Automatic NUMA balancing: scans, hint faults, and the pages that come to who uses them.

Simulated time passes only while tasks access memory for so many seconds. Mirrors
kernel/sched/fair.c, do_numa_page() and migrate_misplaced_folio().
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.mm.folio_list import Slice
from pymigrate.mm.frames import extents_of, folio_of, update_frames, whole_folios
from pymigrate.mm.memmap import Folio, FrameFlag, nid_of
from pymigrate.mm.mempolicy import BALANCING, MPOL, Placement, placement
from pymigrate.mm.migrate import migrate_pages
from pymigrate.mm.numa_state import SCAN_DELAY
from pymigrate.mm.pte import Pte, PteRun
from pymigrate.mm.trace import MigrateMode, MigrateReason
from pymigrate.mm.vma import Vm, is_migratable
from pymigrate.units import HPAGE_PMD_NR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymigrate.mm.machine import Machine, Task
    from pymigrate.mm.mempolicy import Mempolicy
    from pymigrate.mm.numa_state import NumaTask
    from pymigrate.mm.vma import Vma

PERIOD_MIN, PERIOD_MAX = 1000, 60000  # ms
SCAN_PAGES = 256 << 8  # base pages that one scan changes: 256 MiB
WINDOW = SCAN_PAGES
NORMAL, TIERING = 1, 2  # bits of kernel.numa_balancing
EARLY_SCANS = 4  # until then the first fault of a page is believed
_END = 1 << 52


def run_for(machine: Machine, task: Task, ms: int) -> Iterator[int]:
    """Let *task* run for *ms*; give the time of each scan, before which it accesses its memory.

    The caller makes the accesses when it gets a time, and once more at the end.
    """
    end = machine.now + ms
    while True:
        at = _next_scan(machine, task)
        if at > end or not machine.numa_balancing:
            break
        _pass(machine, task, at - machine.now)
        numa = task.numa
        if numa.period == SCAN_DELAY and not numa.stamp:
            numa = numa._replace(period=_period_limits(task)[0])
        task.numa = numa._replace(stamp=numa.cpu_time)
        task.mm.numa = task.mm.numa._replace(next_scan=machine.now + numa.period)
        scan(machine, task)
        yield machine.now
    _pass(machine, task, end - machine.now)


def _pass(machine: Machine, task: Task, ms: int) -> None:
    machine.now += ms
    task.numa = task.numa._replace(cpu_time=task.numa.cpu_time + ms)


def _next_scan(machine: Machine, task: Task) -> int:
    """When *task*, running on, scans next. Mirrors task_tick_numa() and task_numa_work()."""
    numa = task.numa
    wait = numa.stamp + numa.period - numa.cpu_time
    return max(machine.now + max(wait, 1), task.mm.numa.next_scan)


def _period_limits(task: Task) -> tuple[int, int]:
    """Mirrors task_scan_min() and task_scan_max()."""
    rss = sum(run.nr for run in task.mm.page_table.runs if run.lanes)
    windows = max(-(-rss // WINDOW), 1)
    low = max(100, PERIOD_MIN // windows)
    return low, max(low, PERIOD_MAX // windows)


def scan(machine: Machine, task: Task) -> None:
    """Make the next part of *task*'s memory fault, as far as it may be misplaced.

    Mirrors task_numa_work() and change_prot_numa().
    """
    mm, left = task.mm, SCAN_PAGES
    at = mm.numa.offset
    parts = list(mm.parts(at, _END)) or list(mm.parts(0, _END))
    for vma, start, end in parts:
        if not _is_scanned(machine, task, vma):
            continue
        while start < end and left > 0:
            stop = min(end, start + left)
            left -= _protect(machine, task, vma, start, stop)
            start = stop
        if left <= 0:
            mm.numa = mm.numa._replace(offset=start)
            return
    mm.numa = mm.numa._replace(offset=0, seq=mm.numa.seq + 1)


def _is_scanned(machine: Machine, task: Task, vma: Vma) -> bool:
    """Whether faults in *vma* may move pages. Mirrors vma_migratable(), vma_policy_mof() etc."""
    space = machine.spaces[vma.space] if vma.space else None
    if not is_migratable(vma) or vma.flags & (Vm.HUGETLB | Vm.MIXEDMAP):
        return False
    if not vma.flags & Vm.ACCESS:
        return False
    if space is not None and vma.flags & (Vm.READ | Vm.WRITE) == Vm.READ:
        return False
    return _may_follow(_policy(machine, task, vma, vma.start))


def _policy(machine: Machine, task: Task, vma: Vma, page: int) -> Mempolicy | None:
    space = machine.spaces[vma.space] if vma.space else None
    own = space.policy_at(vma.index(page)) if space and space.is_shmem else vma.policy
    return own or task.policy


def _may_follow(policy: Mempolicy | None) -> bool:
    """Whether a policy lets pages come to who uses them (MPOL_F_MOF)."""
    return policy is None or bool(policy.flags & BALANCING)


def _protect(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> int:
    """Let accesses to pages [a, b) fault; how many changed. Mirrors change_pte_range()."""
    here = machine.local_node(task)
    changed = 0
    edits = []
    for run in task.mm.page_table.between(a, b):
        if not run.lanes or run.flags & (Pte.HINT | Pte.DEVICE | Pte.KSM):
            continue
        if run.order:
            changed += run.nr
            machine.counters.add("numa_huge_pte_updates", run.nr // HPAGE_PMD_NR)
            edits.append((run.start, run.end, (run.with_flags(run.flags | Pte.HINT),)))
            continue
        for entry in _uniform(run):
            if _is_hinted(machine, vma, entry, here):
                changed += entry.nr
                edits.append((entry.start, entry.end, (entry.with_flags(run.flags | Pte.HINT),)))
    task.mm.page_table.edit(edits)
    machine.counters.add("numa_pte_updates", changed)
    return changed


def _uniform(run: PteRun) -> Iterator[PteRun]:
    """*run*, or its entries one by one if they lie in several lanes."""
    if len(run.lanes) == 1:
        yield run
    else:
        yield from run.entries()


def _is_hinted(machine: Machine, vma: Vma, entry: PteRun, here: int) -> bool:
    """Whether entries in one lane may be misplaced; judged by the first one's folio."""
    pfn = entry.lanes[0]
    folio = folio_of(machine, pfn)
    private = not vma.is_shared
    if private and vma.flags & Vm.WRITE and (folio.pins or folio.likely_shared):
        return False
    if not folio.is_anon and folio.flags & FrameFlag.DIRTY:
        return False
    return not (private and nid_of(pfn) == here)


def hint_fault(machine: Machine, task: Task, vma: Vma, run: PteRun) -> None:
    """Accesses to what a scan made fault: pages come to *task*'s node, if they may.

    Mirrors do_numa_page() and do_huge_pmd_numa_page().
    """
    here = machine.local_node(task)
    table = task.mm.page_table
    for part in _uniform(run):
        nr = part.nr >> part.order
        is_local = nid_of(part.lanes[0]) == here
        machine.counters.add("numa_hint_faults", nr)
        machine.counters.add("numa_hint_faults_local", nr if is_local else 0)
        machine.counters.add("pgfault", nr)
        table.put(part.start, part.end, part.with_flags(part.flags & ~Pte.HINT))
        target = _target(machine, task, vma, part, here)
        moved = 0
        if target is not None and _should_migrate(machine, task, part, here):
            moved = _migrate(machine, task, vma, part, target)
        _account(machine, task, part, here, target, moved)


def _target(machine: Machine, task: Task, vma: Vma, part: PteRun, here: int) -> int | None:
    """The node that a page should rather lie on. Mirrors mpol_misplaced()."""
    policy = _policy(machine, task, vma, part.start)
    nid = nid_of(part.lanes[0])
    wanted = here
    if policy is not None:
        if not policy.flags & BALANCING:
            return None
        if policy.mode in (MPOL.BIND, MPOL.PREFERRED_MANY) and here not in policy.nodes:
            return None
        if policy.is_interleaving:
            cycle = placement(machine, task, policy).cycle
            wanted = cycle[vma.index(part.start) % len(cycle)]
    return None if wanted == nid else wanted


def _should_migrate(machine: Machine, task: Task, part: PteRun, here: int) -> bool:
    """Whether a folio may follow this fault. Mirrors should_numa_migrate_memory().

    A folio that another task was seen to use has to be used twice in a row from one node.
    """
    if not machine.nodes[here].zones:
        return False
    mine = _cpupid(task)
    extents = whole_folios(machine, extents_of(part))
    last = {
        found.frame.cpupid
        for start, nr in extents
        for found in machine.nodes[nid_of(start)].memmap.between(start, start + nr)
    }
    update_frames(machine, extents, lambda frame: frame._replace(cpupid=mine))
    numa = task.numa
    unset_or_mine = all(seen in (-1, mine) for seen in last)
    if (numa.preferred < 0 or task.mm.numa.seq <= EARLY_SCANS) and unset_or_mine:
        return True
    return all(seen == -1 or machine.node_of_cpu(seen & 0xFFFF) == here for seen in last)


def _cpupid(task: Task) -> int:
    """The last eight bits of the pid, and the CPU."""
    return (task.pid & 0xFF) << 16 | task.cpu


def _migrate(machine: Machine, task: Task, vma: Vma, part: PteRun, target: int) -> int:
    """Let the folios of *part* come to node *target*; how many base pages did.

    As many as there is room for above the high watermark. Mirrors migrate_misplaced_folio().
    """
    node = machine.nodes[target]
    marks = sum(zone.watermark_high for zone in node.zones)
    where = Placement((target,), this_node=True)
    moved = 0
    for piece in _pieces(machine, part):
        folio = folio_of(machine, piece.lanes[0])
        room = node.nr_free - marks - folio.nr
        if room <= 0 or _refuses(vma, folio):
            continue
        count = min(piece.nr, max(room, folio.nr)) >> piece.order << piece.order
        if count < piece.nr:
            piece = piece.clip(piece.start, piece.start + count)
        first = piece.start - (piece.lanes[0] - folio.pfn)
        index = vma.index(first)
        start = first if folio.is_anon else index
        nr = max(piece.nr, folio.nr)
        moving = PteRun(start, nr, (folio.pfn,), folio.order, piece.flags)
        queue = [Slice(moving, (0,), (folio.merged(),), index)]
        result = migrate_pages(
            machine, task, queue, where, MigrateReason.NUMA_MISPLACED, mode=MigrateMode.ASYNC
        )
        moved += result.succeeded
    machine.counters.add("numa_pages_migrated", moved)
    return moved


def _pieces(machine: Machine, part: PteRun) -> Iterator[PteRun]:
    """*part* in pieces whose folios are alike; folio by folio if somebody watches."""
    if machine.events is not None:
        seen: set[int] = set()
        for entry in part.entries():
            folio = folio_of(machine, entry.lanes[0])
            if folio.pfn not in seen:
                seen.add(folio.pfn)
                yield entry
        return
    memmap = machine.nodes[nid_of(part.lanes[0])].memmap
    pfn = part.lanes[0]
    for found in memmap.between(pfn, pfn + part.nr):
        if found.frame.order and found.nr & (HPAGE_PMD_NR - 1):
            # Pages of a large folio that differ: it is met by its first one.
            if found.start == pfn or not found.start & (HPAGE_PMD_NR - 1):
                page = part.start + found.start - pfn
                yield PteRun(page, 1 << part.order, (found.start,), part.order, part.flags)
            continue
        page = part.start + found.start - pfn
        yield PteRun(page, found.nr, (found.start,), part.order, part.flags)


def _refuses(vma: Vma, folio: Folio) -> bool:
    """Mirrors migrate_misplaced_folio_prepare()."""
    if folio.is_anon:
        return False
    if vma.flags & Vm.EXEC and folio.likely_shared:
        return True
    return bool(folio.flags & FrameFlag.DIRTY)


def _account(
    machine: Machine, task: Task, part: PteRun, here: int, target: int | None, moved: int
) -> None:
    """Remember where the pages were used. Mirrors task_numa_fault() and task_numa_placement()."""
    numa = task.numa
    node = target if moved and target is not None else nid_of(part.lanes[0])
    local = part.nr if node == here else 0
    failed = numa.failed + (part.nr - moved if target is not None else 0)
    numa = numa._replace(
        local=numa.local + local, remote=numa.remote + part.nr - local, failed=failed
    )
    seq = task.mm.numa.seq
    if seq != numa.placed:
        numa = numa._replace(
            placed=seq, preferred=node, period=_next_period(task, numa), local=0, remote=0, failed=0
        )
    task.numa = numa


def _next_period(task: Task, numa: NumaTask) -> int:
    """How long until the next scan. Mirrors update_task_scan_period(), all faults private."""
    low, high = _period_limits(task)
    if numa.failed or not numa.local:
        return min(numa.period * 2, high)
    slot = -(-numa.period // 10)
    return max(min(numa.period + 3 * slot, high), low)
