"""/sys/fs/cgroup: the cpusets, as cgroup v2 has them, or v1 where the kernel has memory_migrate."""

from pymigrate.mm.calls.cpuset import effective_cpus, effective_mems
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Cpuset, Task
from pymigrate.views.entries import Dir, Entries, File, dir_of, file_of
from pymigrate.views.sysfs import memory_numa_stat


def cgroup_dir(machine: Machine) -> Dir:
    """The directory: the files of the cpuset that all tasks begin in, and its children."""
    groups = {name: _files(machine, cpuset) for name, cpuset in machine.cpusets.items()}
    root = groups.pop("", {})
    children: Entries = {
        name: dir_of(files)
        for name, files in groups.items()
        # A program may have called one so, but it cannot be a directory's name.
        if "/" not in name and name not in (".", "..")
    }
    if machine.release.cpuset_v1:
        return dir_of({"cpuset": dir_of(root | children)})
    kept = {name: file for name, file in root.items() if name not in ("cpuset.cpus", "cpuset.mems")}
    kept["memory.numa_stat"] = File(lambda: memory_numa_stat.text(machine))
    return dir_of(kept | children)


def cpuset_path(task: Task) -> str:
    """What /proc/PID/cpuset says."""
    return f"/{task.cpuset}\n"


def cgroup_path(machine: Machine, task: Task) -> str:
    """What /proc/PID/cgroup says."""
    hierarchy = "1:cpuset:" if machine.release.cpuset_v1 else "0::"
    return f"{hierarchy}/{task.cpuset}\n"


def _files(machine: Machine, cpuset: Cpuset) -> Entries:
    tasks = sorted(pid for pid, task in machine.tasks.items() if task.cpuset == cpuset.name)
    files: Entries = {
        "cgroup.procs": File(lambda: "".join(f"{pid}\n" for pid in tasks)),
        "cpuset.cpus": file_of(cpuset.cpus),
        "cpuset.mems": file_of(cpuset.mems),
    }
    if machine.release.cpuset_v1:
        return files | {"cpuset.memory_migrate": file_of(int(cpuset.memory_migrate))}
    return files | {
        "cpuset.cpus.effective": file_of(effective_cpus(machine, cpuset)),
        "cpuset.mems.effective": file_of(effective_mems(machine, cpuset)),
        "memory.reclaim": File(None),
    }
