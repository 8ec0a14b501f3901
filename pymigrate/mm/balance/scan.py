"""Scans: a task makes parts of its memory inaccessible, to learn who uses them from where.

Mirrors task_tick_numa() and task_numa_work(), kernel/sched/fair.c, and change_prot_numa().
"""

from __future__ import annotations

from collections.abc import Iterator

from pymigrate.mm.base.memmap import Folio, FrameFlag, nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import Edit
from pymigrate.mm.frames.frames import folio_of, uniform_parts, update_frames, whole_folios
from pymigrate.mm.frames.hot_pages import NORMAL, access_time, uses_access_time
from pymigrate.mm.frames.memory_tiers import node_is_toptier
from pymigrate.mm.state.machine import Machine, because
from pymigrate.mm.state.numa import TICK, NumaVma
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma, is_migratable
from pymigrate.uapi import BALANCING
from pymigrate.units import HPAGE_PMD_NR, PAGE_SHIFT, huge_ceil

_MAX_SCAN_WINDOW = 2560  # MB that are scanned in a second at most
_VIRTUAL = 8  # times what a scan changes may be looked at
_PID_RESET = 4  # scan delays, after which marks of tasks that have faulted grow old
_TRIED_FIRST = 2  # rounds in which a VMA is scanned whether it is used or not


def task_tick_numa(machine: Machine, task: Task) -> bool:
    """Whether *task*, which has run up to now, is to scan. Mirrors task_tick_numa()."""
    numa = task.numa
    if numa.runtime <= (numa.stamp + numa.period) * 1000:
        return False
    period = numa.period if numa.stamp else scan_start(machine, task)
    task.numa = numa._replace(period=period, stamp=numa.stamp + numa.period)
    return machine.now >= task.mm.numa.next_scan


def scan_windows(machine: Machine, task: Task) -> int:
    """How many scans it takes to see all of *task*'s memory. Mirrors task_nr_scan_windows()."""
    rss = sum(run.nr for run in task.mm.page_table.runs if run.lanes)
    return max(-(-rss // _scan_pages(machine)), 1)


def scan_min(machine: Machine, task: Task) -> int:
    """The shortest scan period, in ms. Mirrors task_scan_min()."""
    knobs = machine.numa_knobs
    floor = 1000 // max(_MAX_SCAN_WINDOW // knobs.scan_size_mb, 1)
    return max(floor, knobs.scan_period_min_ms // scan_windows(machine, task))


def scan_start(machine: Machine, task: Task) -> int:
    """The first scan period, in ms. Mirrors task_scan_start()."""
    low = scan_min(machine, task)
    return max(low, _scaled(machine, task, low))


def scan_max(machine: Machine, task: Task) -> int:
    """The longest scan period, in ms. Mirrors task_scan_max()."""
    high = machine.numa_knobs.scan_period_max_ms // scan_windows(machine, task)
    return max(scan_min(machine, task), high, _scaled(machine, task, high))


def _scaled(machine: Machine, task: Task, period: int) -> int:
    """*period*, the longer the more tasks share memory; 0 without a group."""
    group = machine.numa_groups.get(task.numa.group)
    if group is None:
        return 0
    shared, private = group.total(0), group.total(1)
    return period * group.nr_tasks * (shared + 1) // (private + shared + 1)


def _scan_pages(machine: Machine) -> int:
    """How many base pages a scan changes at most."""
    return machine.numa_knobs.scan_size_mb << (20 - PAGE_SHIFT)


@because("numa_scan")
def task_numa_work(machine: Machine, task: Task) -> int:
    """Make the next part of *task*'s memory inaccessible; how many base pages changed.

    Mirrors task_numa_work().
    """
    numa, mm = task.numa, task.mm
    mm.numa = mm.numa._replace(next_scan=machine.now + numa.period)
    task.numa = numa._replace(stamp=numa.stamp + 2 * TICK, scans=numa.scans + 1)
    before = machine.counters["numa_pte_updates"]
    walk = _Walk(machine, task)
    if not walk.run() and walk.has_skipped:
        walk.run(is_forced=True)
    return machine.counters["numa_pte_updates"] - before


class _Walk:
    """One scan's way through the VMAs, and what it may still look at."""

    def __init__(self, machine: Machine, task: Task) -> None:
        self.machine, self.task, self.mm = machine, task, task.mm
        self.pages = _scan_pages(machine)
        self.virtual = self.pages * _VIRTUAL
        self.has_skipped = False  # a VMA that the task does not seem to use

    def run(self, is_forced: bool = False) -> bool:
        """Scan from where the last scan has ended; False if no VMA is left.

        *is_forced*: one VMA that the task does not seem to use is scanned, too.
        """
        mm = self.mm
        if not any(vma.end > mm.numa.offset for vma in mm.vmas):
            self._end_round()
        start = mm.numa.offset
        for vma in [vma for vma in mm.vmas if vma.end > start]:
            if not self._is_due(vma, is_forced):
                continue
            start = self._scan(vma, start)
            if self.pages <= 0 or self.virtual <= 0:
                mm.numa = mm.numa._replace(offset=start)
                return True
            assert vma.numab is not None
            vma.numab = vma.numab._replace(prev_seq=mm.numa.seq)
            if is_forced:
                mm.numa = mm.numa._replace(offset=start)
                return True
        if is_forced or not self.has_skipped:
            self._end_round()
        return False

    def _end_round(self) -> None:
        """Mirrors reset_ptenuma_scan()."""
        self.mm.numa = self.mm.numa._replace(offset=0, seq=self.mm.numa.seq + 1)

    def _is_due(self, vma: Vma, is_forced: bool) -> bool:
        """Whether *vma* is to be scanned now."""
        machine, mm = self.machine, self.mm
        if not is_scanned(machine, self.task, vma):
            return False
        delay = machine.numa_knobs.scan_delay_ms
        if vma.numab is None:
            first = machine.now + delay
            reset = first + _PID_RESET * delay
            vma.numab = NumaVma(mm.numa.seq, mm.numa.seq - 1, first, reset)
        state = vma.numab
        if mm.numa.seq and machine.now < state.next_scan:
            return False
        if mm.numa.seq and machine.now > state.reset:
            state = state._replace(
                reset=state.reset + _PID_RESET * delay, faulted=0, faulted_before=state.faulted
            )
            vma.numab = state
        if state.prev_seq == mm.numa.seq:
            mm.numa = mm.numa._replace(offset=vma.end)
            return False
        if is_forced or self._is_accessed(vma, state):
            return True
        self.has_skipped = True
        return False

    def _is_accessed(self, vma: Vma, state: NumaVma) -> bool:
        """Mirrors vma_is_accessed()."""
        numa = self.mm.numa
        return (
            numa.seq - state.start_seq < _TRIED_FIRST
            or bool((state.faulted | state.faulted_before) & NumaVma.bit_of(self.task.pid))
            or numa.offset > vma.start
            or numa.seq > state.prev_seq + 1
        )

    def _scan(self, vma: Vma, start: int) -> int:
        """Scan *vma* from page *start*, or from its own, as far as may be; return the end."""
        at = max(start, vma.start)
        while at < vma.end and self.pages > 0 and self.virtual > 0:
            end = min(huge_ceil(at + self.pages), vma.end)
            if change_prot_numa(self.machine, self.task, vma, at, end):
                self.pages -= end - at
            self.virtual -= end - at
            at = end
        return at


def is_scanned(machine: Machine, task: Task, vma: Vma) -> bool:
    """Whether scans look at *vma*. Mirrors vma_migratable(), vma_policy_mof() and what follows."""
    space = machine.spaces[vma.space] if vma.space else None
    if not is_migratable(vma) or vma.flags & (Vm.HUGETLB | Vm.MIXEDMAP):
        return False
    if not vma.flags & Vm.ACCESS:
        return False
    if space is not None and vma.flags & (Vm.READ | Vm.WRITE) == Vm.READ:
        return False
    policy = vma.policy
    if space is not None and space.is_shmem:
        policy = space.policy_at(vma.index(vma.start))
        if policy is None and not machine.release.scans_shared:
            return False
    policy = policy or task.policy
    return policy is None or bool(policy.flags & BALANCING)


def change_prot_numa(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> int:
    """Let accesses to pages [a, b) fault; how many base pages changed.

    Counts numa_pte_updates and numa_huge_pte_updates. Mirrors change_pte_range() and
    change_huge_pmd().
    """
    is_alone = not vma.is_shared and machine.mm_users(task.mm) == 1
    here = machine.local_node(task) if is_alone else -1
    nids = (nid for nid, node in machine.nodes.items() if node.zones)
    wanted = {nid for nid in nids if _is_wanted(machine, nid)}
    changed = huge = 0
    edits: list[Edit[PteRun]] = []
    stamped: list[tuple[int, int]] = []
    for run in task.mm.page_table.between(a, b):
        if not run.lanes or run.flags & (Pte.HINT | Pte.DEVICE | Pte.KSM):
            continue
        for part in _hinted(machine, vma, run, wanted, here):
            changed += part.nr
            huge += part.nr // HPAGE_PMD_NR if part.order else 0
            edits.append((part.start, part.end, (part.with_flags(part.flags | Pte.HINT),)))
            if uses_access_time(machine, nid_of(part.lanes[0])):
                stamped += part.extents()
    task.mm.page_table.edit(edits)
    if stamped:
        now = access_time(machine)
        folios = whole_folios(machine, stamped)
        update_frames(machine, folios, lambda frame: frame._replace(cpupid=now))
    machine.counters.add("numa_pte_updates", changed)
    machine.counters.add("numa_huge_pte_updates", huge)
    return changed


def in_one_lane(run: PteRun) -> Iterator[PteRun]:
    """*run*, or its entries one by one if they lie in several lanes."""
    if len(run.lanes) == 1:
        yield run
    else:
        yield from run.entries()


def _is_wanted(machine: Machine, nid: int) -> bool:
    """Whether pages on node *nid* are looked at: not in fast memory, if only tiers matter."""
    return bool(machine.numa_balancing & NORMAL) or not node_is_toptier(machine, nid)


def _hinted(
    machine: Machine, vma: Vma, run: PteRun, wanted: set[int], here: int
) -> Iterator[PteRun]:
    """The parts of *run* that may be misplaced; they lie on nodes that are *wanted*.

    *here* is the node of a private mapping's only user, which base pages may lie on.
    """
    if run.order:
        for part in in_one_lane(run):
            if nid_of(part.lanes[0]) in wanted:
                yield part
        return
    remote = wanted - {here}
    for part, states in uniform_parts(machine, run):
        nids = {nid_of(pfn) for pfn in part.lanes}
        if not nids & remote:
            continue
        is_alike = states.is_alike and not states.first.order
        if is_alike and not _may_be_misplaced(vma, folio_of(machine, part.lanes[0])):
            continue
        if is_alike and nids <= remote:
            yield part
            continue
        for entry in part.entries():
            pfn = entry.lanes[0]
            is_remote = nid_of(pfn) in remote
            if is_remote and (is_alike or _may_be_misplaced(vma, folio_of(machine, pfn))):
                yield entry


def _may_be_misplaced(vma: Vma, folio: Folio) -> bool:
    """Whether a base page that is somewhere else may be moved."""
    if not vma.is_shared and (folio.pins or folio.likely_shared):
        return False
    return not is_dirty_file(folio)


def is_dirty_file(folio: Folio) -> bool:
    """Whether it is of a file on disk, and dirty. Mirrors folio_is_file_lru()."""
    return not folio.flags & FrameFlag.SWAPBACKED and bool(folio.flags & FrameFlag.DIRTY)
