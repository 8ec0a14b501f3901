"""/sys/fs/cgroup: the cpusets, as cgroup v2 has them, or v1 where the kernel has memory_migrate."""

from pymigrate.mm.calls.cgroup import children_of, controllers, is_populated
from pymigrate.mm.calls.cpuset import effective_cpus, effective_mems
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Cpuset, Task
from pymigrate.units import HPAGE_SIZE, PAGE_SIZE
from pymigrate.views.entries import Dir, Entries, File, dir_of, file_of
from pymigrate.views.proc.vmstat import node_rows

# Names in memory.numa_stat, and the node's counter with the unit of each (memory_stats[],
# mm/memcontrol.c).
_STATS = {
    "anon": ("nr_anon_pages", PAGE_SIZE),
    "file": ("nr_file_pages", PAGE_SIZE),
    "kernel_stack": ("nr_kernel_stack", 1024),
    "pagetables": ("nr_page_table_pages", PAGE_SIZE),
    "sec_pagetables": ("nr_sec_page_table_pages", PAGE_SIZE),
    "shmem": ("nr_shmem", PAGE_SIZE),
    "file_mapped": ("nr_mapped", PAGE_SIZE),
    "file_dirty": ("nr_dirty", PAGE_SIZE),
    "file_writeback": ("nr_writeback", PAGE_SIZE),
    "swapcached": ("nr_swapcached", PAGE_SIZE),
    "anon_thp": ("nr_anon_transparent_hugepages", HPAGE_SIZE),
    "file_thp": ("nr_file_hugepages", HPAGE_SIZE),
    "shmem_thp": ("nr_shmem_hugepages", HPAGE_SIZE),
    "inactive_anon": ("nr_inactive_anon", PAGE_SIZE),
    "active_anon": ("nr_active_anon", PAGE_SIZE),
    "inactive_file": ("nr_inactive_file", PAGE_SIZE),
    "active_file": ("nr_active_file", PAGE_SIZE),
    "unevictable": ("nr_unevictable", PAGE_SIZE),
    "slab_reclaimable": ("nr_slab_reclaimable", PAGE_SIZE),
    "slab_unreclaimable": ("nr_slab_unreclaimable", PAGE_SIZE),
    "workingset_refault_anon": ("workingset_refault_anon", 1),
    "workingset_refault_file": ("workingset_refault_file", 1),
    "workingset_activate_anon": ("workingset_activate_anon", 1),
    "workingset_activate_file": ("workingset_activate_file", 1),
    "workingset_restore_anon": ("workingset_restore_anon", 1),
    "workingset_restore_file": ("workingset_restore_file", 1),
    "workingset_nodereclaim": ("workingset_nodereclaim", 1),
    "pgdemote_kswapd": ("pgdemote_kswapd", 1),
    "pgdemote_direct": ("pgdemote_direct", 1),
    "pgdemote_khugepaged": ("pgdemote_khugepaged", 1),
    "pgpromote_success": ("pgpromote_success", 1),
}


def cgroup_dir(machine: Machine) -> Dir:
    """The directory: the files of the cpuset that all tasks begin in, and its children."""
    top = machine.cpusets.get("")
    if top is None:
        return dir_of({})
    if machine.release.cpuset_v1:
        return dir_of({"cpuset": _dir(machine, top)})
    return _dir(machine, top)


def cpuset_path(task: Task) -> str:
    """What /proc/PID/cpuset says."""
    return f"/{task.cpuset}\n"


def cgroup_path(machine: Machine, task: Task) -> str:
    """What /proc/PID/cgroup says."""
    hierarchy = "1:cpuset:" if machine.release.cpuset_v1 else "0::"
    return f"{hierarchy}/{task.cpuset}\n"


def _dir(machine: Machine, group: Cpuset) -> Dir:
    """The directory of a cpuset, with those that lie in it."""
    children = children_of(machine, group)
    below: Entries = {each.name.rpartition("/")[2]: _dir(machine, each) for each in children}
    files = _v1_files if machine.release.cpuset_v1 else _files
    return dir_of(files(machine, group) | below)


def _v1_files(machine: Machine, group: Cpuset) -> Entries:
    return {
        "cgroup.procs": File(lambda: _pids(machine, group, threads=False)),
        "cpuset.cpus": file_of(group.cpus),
        "cpuset.mems": file_of(group.mems),
        "tasks": File(lambda: _pids(machine, group, threads=True)),
        "cpuset.memory_migrate": file_of(int(group.memory_migrate)),
    }


def _files(machine: Machine, group: Cpuset) -> Entries:
    """The files of v2: those of the controllers that the group has."""
    known = controllers(machine, group)
    files: Entries = {
        "cgroup.procs": File(lambda: _pids(machine, group, threads=False)),
        "cgroup.threads": File(lambda: _pids(machine, group, threads=True)),
        "cgroup.controllers": file_of(" ".join(known)),
        "cgroup.subtree_control": file_of(group.subtree_control),
    }
    if group.name:
        populated = int(is_populated(machine, group))
        files["cgroup.events"] = File(lambda: f"populated {populated}\nfrozen 0\n")
    else:
        files["memory.numa_stat"] = File(lambda: _numa_stat(machine))
    if "cpuset" in known:
        if group.name:
            files |= {"cpuset.cpus": file_of(group.cpus), "cpuset.mems": file_of(group.mems)}
        files["cpuset.cpus.effective"] = file_of(effective_cpus(machine, group))
        files["cpuset.mems.effective"] = file_of(effective_mems(machine, group))
    if "memory" in known:
        files["memory.reclaim"] = File(None)
    return files


def _pids(machine: Machine, group: Cpuset, *, threads: bool) -> str:
    """The processes, or threads, that are in a group and none of those in it."""
    tasks = [task for task in machine.tasks.values() if task.cpuset == group.name]
    pids = sorted(task.pid for task in tasks if threads or not task.thread_of)
    return "".join(f"{pid}\n" for pid in pids)


def _numa_stat(machine: Machine) -> str:
    """What each node that has memory holds, in bytes. Mirrors memory_numa_stat_show().

    Which cgroup a page is charged to is not simulated, so that only the root, with all of it, has
    such a file.
    """
    rows = {nid: node_rows(machine, machine.nodes[nid]) for nid in machine.memory_nodes}
    return "".join(
        f"{name}{''.join(f' N{nid}={row[counter] * unit}' for nid, row in rows.items())}\n"
        for name, (counter, unit) in _STATS.items()
    )
