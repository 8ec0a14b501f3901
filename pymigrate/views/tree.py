"""The machine as a tree of files: what a path below /proc and /sys reads."""

import re
from collections.abc import Callable
from functools import cache

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.views.entries import Dir, Entries, Entry, File, Link, dir_of, file_of
from pymigrate.views.proc import (
    buddyinfo,
    extfrag,
    maps,
    meminfo,
    numa_maps,
    pagemap,
    pagetypeinfo,
    sched,
    smaps,
    status,
    vmstat,
    zoneinfo,
)
from pymigrate.views.sysfs.cgroup import cgroup_dir, cgroup_path, cpuset_path
from pymigrate.views.sysfs.cpu import cpu_dir, cpuinfo
from pymigrate.views.sysfs.memory_blocks import memory_entries
from pymigrate.views.sysfs.mm import debug_sched_dir, kernel_mm_dir, release_of, sysctl_dir
from pymigrate.views.sysfs.node import memory_tiering_dir, node_dir

_OF_PAGES = re.compile(r"proc/(kpage(count|flags)|.*/pagemap)")
_MOUNTS = "".join(
    f"{name} {where} {name} rw,nosuid,nodev,noexec,relatime 0 0\n"
    for name, where in (("sysfs", "/sys"), ("proc", "/proc"))
)
_IO = "".join(
    f"{name}: 0\n"
    for name in "rchar wchar syscr syscw read_bytes write_bytes cancelled_write_bytes".split()
)


def is_of_pages(path: str) -> bool:
    """Whether a file has a number for each page, so that it is as large as the machine."""
    return _OF_PAGES.fullmatch(path) is not None


def tree(machine: Machine) -> Dir:
    """The root. What files say is computed when they are read, so the state must not change."""
    return dir_of({"proc": Dir(lambda: _proc(machine)), "sys": Dir(lambda: _sys(machine))})


def _proc(machine: Machine) -> Entries:
    entries: Entries = {
        "buddyinfo": File(lambda: buddyinfo.format_rows(buddyinfo.rows(machine))),
        "cpuinfo": File(lambda: cpuinfo(machine)),
        "meminfo": File(lambda: meminfo.format_rows(meminfo.meminfo(machine))),
        "mounts": Link("self/mounts"),
        "kpagecount": pagemap.kpagecount(machine),
        "kpageflags": pagemap.kpageflags(machine),
        "pagetypeinfo": File(lambda: pagetypeinfo.format_rows(pagetypeinfo.rows(machine))),
        "stat": File(lambda: _stat(machine)),
        "sys": sysctl_dir(machine),
        "version": file_of(f"Linux version {release_of(machine)} (pymigrate) #1 SMP"),
        "vmstat": File(lambda: vmstat.format_rows(vmstat.rows(machine))),
        "zoneinfo": File(lambda: zoneinfo.format_rows(machine, zoneinfo.rows(machine))),
        "self": _dir_of_task(machine, machine.shell_of(0)),
    }
    tasks: dict[str, Entry] = {
        str(task.pid): _dir_of_task(machine, task) for task in machine.processes
    }
    return entries | tasks


def _dir_of_task(machine: Machine, task: Task) -> Dir:
    """The files of /proc/PID. There are no arguments: the command line is the comm."""
    rows = cache(lambda: smaps.rows(machine, task))
    threads: Entries = {
        str(thread.pid): dir_of(_files_of_thread(machine, thread, rows))
        for thread in machine.threads_of(task)
    }
    entries: Entries = {
        "cgroup": File(lambda: cgroup_path(machine, task)),
        "cmdline": File(lambda: f"{task.comm}\0"),
        "cpuset": File(lambda: cpuset_path(task)),
        "io": File(lambda: _IO),
        "limits": File(lambda: sched.limits(machine)),
        "maps": File(lambda: maps.format_rows(maps.rows(machine, task))),
        "mounts": File(lambda: _MOUNTS),
        "numa_maps": File(lambda: numa_maps.format_rows(numa_maps.rows(machine, task))),
        "smaps": File(lambda: smaps.format_rows(rows())),
        "smaps_rollup": File(lambda: smaps.format_rollup(rows())),
        "statm": File(lambda: status.statm(machine, task, rows())),
        "task": dir_of(threads),
    }
    return dir_of(entries | _files_of_thread(machine, task, rows))


def _files_of_thread(
    machine: Machine, thread: Task, rows: Callable[[], list[smaps.SmapsRow]]
) -> Entries:
    return {
        "comm": file_of(thread.comm),
        "pagemap": pagemap.pagemap(machine, thread),
        "sched": File(lambda: sched.sched(machine, thread)),
        "stat": File(lambda: status.stat(machine, thread, rows())),
        "status": File(lambda: status.format_status(status.status(machine, thread, rows()))),
    }


def _stat(machine: Machine) -> str:
    """/proc/stat of a machine that was booted at the epoch and has spent no time."""
    times = " ".join("0" * 10)
    cpus = "".join(f"cpu{cpu} {times}\n" for cpu in machine.cpus)
    names = ("intr", "ctxt", "btime", "processes", "procs_running", "procs_blocked")
    counts = "".join(f"{name} 0\n" for name in names)
    return f"cpu  {times}\n{cpus}{counts}softirq {' '.join('0' * 11)}\n"


def _sys(machine: Machine) -> Entries:
    nodes: Entries = {
        f"node{nid}": Link(f"../../../devices/system/node/node{nid}") for nid in machine.nodes
    }
    cpus: Entries = {
        f"cpu{cpu}": Link(f"../../../devices/system/cpu/cpu{cpu}") for cpu in machine.cpus
    }
    buses = {
        "node": dir_of({"devices": dir_of(nodes)}),
        "cpu": dir_of({"devices": dir_of(cpus)}),
    }
    system = {
        "cpu": cpu_dir(machine),
        "memory": Dir(lambda: memory_entries(machine)),
        "node": node_dir(machine),
    }
    indexes = {
        "extfrag_index": File(lambda: extfrag.format_extfrag(extfrag.rows(machine))),
        "unusable_index": File(lambda: extfrag.format_unusable(extfrag.rows(machine))),
    }
    debug = dir_of({"extfrag": dir_of({**indexes}), "sched": debug_sched_dir(machine)})
    virtual = {"memory_tiering": memory_tiering_dir(machine)}
    return {
        "bus": dir_of({**buses}),
        "fs": dir_of({"cgroup": cgroup_dir(machine)}),
        "devices": dir_of({"system": dir_of({**system}), "virtual": dir_of({**virtual})}),
        "kernel": dir_of({"debug": debug, "mm": kernel_mm_dir(machine)}),
    }
