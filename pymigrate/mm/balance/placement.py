"""What hint faults teach: which node a task's memory is on, with whom it shares, how often to scan.

Mirrors task_numa_fault(), task_numa_placement(), task_numa_group() and update_task_scan_period(),
kernel/sched/fair.c. That the scheduler moves tasks to their preferred nodes is not simulated.
"""

from __future__ import annotations

from pymigrate.mm.balance.scan import scan_max, scan_min
from pymigrate.mm.frames.hot_pages import TIERING
from pymigrate.mm.frames.memory_tiers import node_is_toptier
from pymigrate.mm.spaces.exit import leave_group
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.numa import Faults, FaultTable, NumaGroup
from pymigrate.mm.state.task import Task
from pymigrate.records import NamedTuple

NO_CPUPID = -1
_SLOTS, _THRESHOLD = 10, 7  # NUMA_PERIOD_SLOTS, NUMA_PERIOD_THRESHOLD
_ACTIVE_NODE_FRACTION = 3
_RETRY_MAX, _RETRY_PART = 1000, 16  # ms; of a scan period
_FULL_WEIGHT = 1 << 16  # of a task that had a CPU all the time
_CPU_BITS = 16


class HintFault(NamedTuple):
    """Hint faults at folios that are alike: what task_numa_fault() is told of them."""

    last: int  # who took the last one: a cpupid
    nid: int  # where the folio is now
    pages: int
    is_local: bool  # before it was moved
    is_shared: bool  # by several entries, in a shared mapping
    may_group: bool
    has_failed: bool = False  # to move
    has_moved: bool = False


def cpupid_of(task: Task) -> int:
    """Who uses a page: the last eight bits of the pid, and the CPU."""
    return (task.pid & 0xFF) << _CPU_BITS | task.cpu


def cpu_of(cpupid: int) -> int:
    """The CPU of a cpupid."""
    return cpupid & ((1 << _CPU_BITS) - 1)


def is_same_pid(task: Task, cpupid: int) -> bool:
    """Whether a cpupid may be *task*'s. Mirrors cpupid_match_pid()."""
    return cpupid >> _CPU_BITS == task.pid & 0xFF


def is_placement_due(machine: Machine, task: Task) -> bool:
    """Whether the next hint fault looks anew at where *task* should be."""
    return machine.now >= task.numa.retry and task.numa.seq != task.mm.numa.seq


def task_numa_fault(machine: Machine, task: Task, fault: HintFault) -> None:
    """Remember where memory was used from. Mirrors task_numa_fault()."""
    if not node_is_toptier(machine, fault.nid) and (
        machine.numa_balancing & TIERING or fault.last == NO_CPUPID
    ):
        return
    is_private = fault.last == NO_CPUPID or is_same_pid(task, fault.last)
    if not is_private and fault.may_group:
        is_private = task_numa_group(machine, task, fault)
    here = machine.local_node(task)
    is_local = fault.is_local or (not is_private and _is_active(machine, task, here, fault.nid))
    if is_placement_due(machine, task):
        task_numa_placement(machine, task)
    pages, numa = fault.pages, task.numa
    task.numa = numa._replace(
        local=numa.local + pages * is_local,
        remote=numa.remote + pages * (not is_local),
        failed=numa.failed + pages * fault.has_failed,
        migrated=numa.migrated + pages * fault.has_moved,
    )
    table, private = task.numa_faults, int(is_private)
    mem = table.get((fault.nid, private), Faults())
    table[fault.nid, private] = mem._replace(mem_buffer=mem.mem_buffer + pages)
    cpu = table.get((here, private), Faults())
    table[here, private] = cpu._replace(cpu_buffer=cpu.cpu_buffer + pages)


def _is_active(machine: Machine, task: Task, *nids: int) -> bool:
    """Whether *task*'s group uses several nodes, and all *nids* among them."""
    group = machine.numa_groups.get(task.numa.group)
    return (
        group is not None
        and group.active_nodes > 1
        and all(_is_active_node(group, nid) for nid in nids)
    )


def _is_active_node(group: NumaGroup, nid: int) -> bool:
    return group.cpu(nid) * _ACTIVE_NODE_FRACTION > group.max_faults_cpu


def task_numa_placement(machine: Machine, task: Task) -> None:
    """Find *task*'s preferred node, and how soon to scan again. Mirrors task_numa_placement()."""
    numa = task.numa
    total = numa.local + numa.remote
    weight = _FULL_WEIGHT
    if numa.placed_at:
        ran, passed = numa.runtime - numa.placed_runtime, machine.now - numa.placed_at
        weight = _FULL_WEIGHT * ran // (passed * 1000 + 1)
    group = machine.numa_groups.get(numa.group)
    private, shared = (
        sum(f.mem_buffer for (_, kind), f in task.numa_faults.items() if kind == wanted)
        for wanted in (1, 0)
    )
    _decay(task.numa_faults, group, weight, total)
    found = group.faults if group else task.numa_faults
    preferred = _busiest(machine, found)
    if group:
        _count_active_nodes(machine, group)
    numa = numa._replace(seq=task.mm.numa.seq, placed_at=machine.now, placed_runtime=numa.runtime)
    if preferred >= 0:
        numa = numa._replace(preferred=preferred)
    task.numa = numa
    _update_scan_period(machine, task, private, shared)
    if task.numa.preferred >= 0:
        # numa_migrate_preferred() is tried again after so long.
        wait = min(_RETRY_MAX, task.numa.period // _RETRY_PART)
        task.numa = task.numa._replace(retry=machine.now + wait + 1)


def _decay(table: FaultTable, group: NumaGroup | None, weight: int, total: int) -> None:
    """Halve what earlier rounds have found, and add this one's faults."""
    for key, faults in table.items():
        cpu = weight * faults.cpu_buffer // (total + 1)
        new = Faults(faults.mem - faults.mem // 2 + faults.mem_buffer)
        new = new._replace(cpu=faults.cpu - faults.cpu // 2 + cpu)
        table[key] = new
        if group is not None:
            old = group.faults.get(key, Faults())
            group.faults[key] = Faults(
                old.mem + new.mem - faults.mem, old.cpu + new.cpu - faults.cpu
            )


def _busiest(machine: Machine, table: FaultTable) -> int:
    """The node with the most faults, or the nearest one with CPUs; -1 if there were none."""
    best, most = -1, 0
    for nid in machine.nodes:
        faults = sum(table.get((nid, kind), Faults()).mem for kind in (0, 1))
        if faults > most:
            best, most = nid, faults
    if best < 0 or machine.nodes[best].cpus:
        return best
    with_cpus = [nid for nid, node in machine.nodes.items() if node.cpus]
    return min(with_cpus, key=lambda nid: (machine.distances[best][nid], nid))


def _count_active_nodes(machine: Machine, group: NumaGroup) -> None:
    """Mirrors numa_group_count_active_nodes()."""
    group.max_faults_cpu = max(group.cpu(nid) for nid in machine.nodes)
    group.active_nodes = sum(_is_active_node(group, nid) for nid in machine.nodes)


def _update_scan_period(machine: Machine, task: Task, private: int, shared: int) -> None:
    """Scan faster while memory is far, slower when it is near. Mirrors update_task_scan_period().

    *private* and *shared* are the pages of this round's faults.
    """
    numa = task.numa
    if numa.local + shared == 0 or numa.failed:
        # What was counted stays: one failure slows the scans down for good.
        period = min(numa.period * 2, scan_max(machine, task))
        task.numa = numa._replace(period=period)
        task.mm.numa = task.mm.numa._replace(next_scan=machine.now + period)
        return
    slot = -(-numa.period // _SLOTS)
    near = _SLOTS * numa.local // max(numa.local + numa.remote, 1)
    own = _SLOTS * private // max(private + shared, 1)
    if own >= _THRESHOLD:
        change = max(own - _THRESHOLD, 1) * slot
    elif near >= _THRESHOLD:
        change = max(near - _THRESHOLD, 1) * slot
    else:
        change = -(_THRESHOLD - max(near, own)) * slot
    low, high = scan_min(machine, task), scan_max(machine, task)
    period = min(max(numa.period + change, low), high)
    task.numa = numa._replace(period=period, local=0, remote=0, failed=0)


def task_numa_group(machine: Machine, task: Task, fault: HintFault) -> bool:
    """Put *task* into one group with the task that used the page before, if they share it.

    Whether the fault counts as private. Mirrors task_numa_group().
    """
    mine = machine.numa_groups.get(task.numa.group)
    if mine is None:
        table = {key: Faults(f.mem, f.cpu) for key, f in task.numa_faults.items()}
        mine = NumaGroup(machine.new_id(), faults=table, leader=task.pid)
        machine.numa_groups[mine.gid] = mine
        task.numa = task.numa._replace(group=mine.gid)
    other = _runs_on(machine, task, fault.last)
    group = machine.numa_groups.get(other.numa.group) if other else None
    if group is None or group is mine or mine.nr_tasks > group.nr_tasks:
        return False
    if mine.nr_tasks == group.nr_tasks and mine.gid > group.gid:
        return False
    if not fault.is_shared:
        return True
    leave_group(machine, task)
    for key, faults in task.numa_faults.items():
        old = group.faults.get(key, Faults())
        group.faults[key] = Faults(old.mem + faults.mem, old.cpu + faults.cpu)
    group.nr_tasks += 1
    task.numa = task.numa._replace(group=group.gid)
    return False


def _runs_on(machine: Machine, task: Task, cpupid: int) -> Task | None:
    """The task that a cpupid means, if it is still on that CPU."""
    for other in machine.tasks.values():
        if other is not task and other.cpu == cpu_of(cpupid) and is_same_pid(other, cpupid):
            return other
    return None
