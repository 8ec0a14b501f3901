"""/proc/PID/sched and /proc/PID/limits, in 6.12's formats.

Of scheduling there is a task's CPU time and what NUMA balancing remembers; all else is 0, or what
it is for a task that has just begun. No limit is in force but the kernel's own.
"""

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.numa import Faults
from pymigrate.mm.state.task import Task
from pymigrate.units import PAGE_SIZE

_RULE = 67 * "-"
_WEIGHT = 1 << 20  # of nice 0 (NICE_0_LOAD)
_PRIO, _SLICE = 120, 2800000  # of nice 0; ns
_LOAD = [
    f"se.avg.{name}"
    for name in (
        "load_sum runnable_sum util_sum load_avg runnable_avg util_avg last_update_time util_est"
    ).split()
]
_NS_PER_MS, _US_PER_MS = 10**6, 1000
_NAMES = 45  # columns
_THREAD_SIZE = 16384  # bytes: a thread's stack in the kernel
_MIN_THREADS, _MAX_THREADS = 20, (1 << 30) - 1

# Name, soft limit, hard limit (None: unlimited), unit: as of init, by INIT_RLIMITS.
_PER_MEMORY = -1  # a number that follows from how much memory there is
_LIMITS = (
    ("Max cpu time", None, None, "seconds"),
    ("Max file size", None, None, "bytes"),
    ("Max data size", None, None, "bytes"),
    ("Max stack size", 8 << 20, None, "bytes"),
    ("Max core file size", 0, None, "bytes"),
    ("Max resident set", None, None, "bytes"),
    ("Max processes", _PER_MEMORY, _PER_MEMORY, "processes"),
    ("Max open files", 1024, 4096, "files"),
    ("Max locked memory", None, None, "bytes"),
    ("Max address space", None, None, "bytes"),
    ("Max file locks", None, None, "locks"),
    ("Max pending signals", _PER_MEMORY, _PER_MEMORY, "signals"),
    ("Max msgqueue size", 819200, 819200, "bytes"),
    ("Max nice priority", 0, 0, ""),
    ("Max realtime priority", 0, 0, ""),
    ("Max realtime timeout", None, None, "us"),
)


def sched(machine: Machine, task: Task) -> str:
    """Text of /proc/PID/sched. Mirrors proc_sched_show_task(), kernel/sched/debug.c."""
    runtime = task.numa.runtime
    times = {"se.exec_start": 0, "se.vruntime": runtime, "se.sum_exec_runtime": runtime}
    numbers = {
        "se.nr_migrations": 0,
        "nr_switches": 0,
        "nr_voluntary_switches": 0,
        "nr_involuntary_switches": 0,
        "se.load.weight": _WEIGHT,
        **dict.fromkeys(_LOAD, 0),
        "policy": 0,
        "prio": _PRIO,
        "se.slice": _SLICE,
        "clock-delta": 0,
        "mm->numa_scan_seq": task.mm.numa.seq,
        "numa_pages_migrated": task.numa.migrated,
        "numa_preferred_nid": task.numa.preferred,
        "total_numa_faults": sum(faults.mem for faults in task.numa_faults.values()),
    }
    lines = [f"{task.comm} ({task.pid}, #threads: 1)", _RULE]
    lines += [f"{name:{_NAMES}}:{_milliseconds(us):>21}" for name, us in times.items()]
    lines += [f"{name:{_NAMES}}:{number:21}" for name, number in numbers.items()]
    return "".join(f"{line}\n" for line in [*lines, *_numa(machine, task)])


def limits(machine: Machine) -> str:
    """Text of /proc/PID/limits. Mirrors proc_pid_limits(), fs/proc/base.c."""
    nr = max_threads(machine) // 2
    rows = [("Limit", "Soft Limit", "Hard Limit", "Units")]
    rows += [(name, _limit(soft, nr), _limit(hard, nr), unit) for name, soft, hard, unit in _LIMITS]
    return "".join(
        f"{name:25} {soft:20} {hard:20} " + (f"{unit:10}\n" if unit else "\n")
        for name, soft, hard, unit in rows
    )


def max_threads(machine: Machine) -> int:
    """kernel.threads-max: the threads whose stacks take an eighth of the memory there is at boot.

    Mirrors set_max_threads(), kernel/fork.c.
    """
    nr_pages = sum(zone.nr for node in machine.nodes.values() for zone in node.zones)
    return min(max(nr_pages * PAGE_SIZE // (_THREAD_SIZE * 8), _MIN_THREADS), _MAX_THREADS)


def _numa(machine: Machine, task: Task) -> list[str]:
    """What sched_show_numa() adds: faults by node, the task's own and its group's."""
    group = machine.numa_groups.get(task.numa.group)
    leader = group.leader if group else 0
    lines = [f"current_node={machine.local_node(task)}, numa_group_id={leader}"]
    for nid in machine.nodes:
        own = [task.numa_faults.get((nid, private), Faults()).mem for private in (1, 0)]
        all_of_group = [
            group.faults.get((nid, private), Faults()).mem if group else 0 for private in (1, 0)
        ]
        lines.append(
            f"numa_faults node={nid} task_private={own[0]} task_shared={own[1]}"
            f" group_private={all_of_group[0]} group_shared={all_of_group[1]}"
        )
    return lines


def _milliseconds(us: int) -> str:
    """With six digits behind the point, as SPLIT_NS() prints nanoseconds."""
    whole, rest = divmod(us * _US_PER_MS, _NS_PER_MS)
    return f"{whole}.{rest:06}"


def _limit(value: int | None, per_memory: int) -> str:
    if value is None:
        return "unlimited"
    return str(per_memory if value == _PER_MEMORY else value)
