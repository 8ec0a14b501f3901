"""/sys/kernel/mm, and the settings below /proc/sys: what the kernel is told about memory.

Settings that are not simulated have the value that they have at boot.
"""

from pymigrate.mm.calls import ksm
from pymigrate.mm.frames.watermarks import min_free_kbytes
from pymigrate.mm.spaces.hugetlb_pool import nr_free
from pymigrate.mm.state.machine import Machine
from pymigrate.syscalls import sysctl
from pymigrate.units import HPAGE_SIZE
from pymigrate.views.entries import Dir, Entries, File, dir_of, file_of

# Of a pool whose pages can be taken apart for another one.
DEMOTION: Entries = {"demote": File(None), "demote_size": file_of("2048kB")}


def kernel_mm_dir(machine: Machine) -> Dir:
    """/sys/kernel/mm."""
    thp: Entries = {
        "enabled": _setting(machine, "thp"),
        "defrag": _setting(machine, "thp_defrag"),
        "shmem_enabled": file_of("always within_size advise [never] deny force"),
        "use_zero_page": file_of(1),
        "hpage_pmd_size": file_of(HPAGE_SIZE),
        "khugepaged": dir_of({"max_ptes_none": _setting(machine, "max_ptes_none")}),
    }
    entries: Entries = {
        "transparent_hugepage": dir_of(thp),
        "hugepages": dir_of(
            {"hugepages-2048kB": Dir(lambda: _pool(machine)), "hugepages-1048576kB": _gigantic()}
        ),
        "ksm": Dir(lambda: _ksm(machine)),
        "numa": dir_of({"demotion_enabled": _setting(machine, "demotion_enabled")}),
    }
    if machine.release.weighted_interleave:
        weights: Entries = {
            f"node{nid}": _setting(machine, f"weighted_interleave/node{nid}")
            for nid in machine.nodes
        }
        entries["mempolicy"] = dir_of({"weighted_interleave": dir_of(weights)})
    return dir_of(entries)


def _ksm(machine: Machine) -> Entries:
    """What ksmd has merged, and how it is told to."""
    knobs = ("run", "merge_across_nodes", "max_page_sharing")
    counts = ksm.state(machine)._asdict()
    return {
        **{name: _setting(machine, f"ksm/{name}") for name in knobs},
        **{name: file_of(number) for name, number in counts.items()},
    }


def sysctl_dir(machine: Machine) -> Dir:
    """/proc/sys."""
    balancing = ("numa_balancing", "numa_balancing_promote_rate_limit_MBps")
    kernel: Entries = {name: _setting(machine, name) for name in balancing}
    kernel["osrelease"] = file_of(release_of(machine))
    vm: Entries = {
        "zone_reclaim_mode": _setting(machine, "zone_reclaim_mode"),
        "numa_stat": file_of(1),
        "stat_interval": _setting(machine, "stat_interval"),
        "nr_hugepages": _setting(machine, "nr_hugepages"),
        "nr_hugepages_mempolicy": _setting(machine, "nr_hugepages"),
        "nr_overcommit_hugepages": _setting(machine, "nr_overcommit_hugepages"),
        "compact_memory": File(None),
        "drop_caches": File(None),
        "min_free_kbytes": File(lambda: f"{min_free_kbytes(machine)}\n"),
        "numa_zonelist_order": file_of("Node"),
    }
    if machine.release.has_enable_soft_offline:
        vm["enable_soft_offline"] = _setting(machine, "enable_soft_offline")
    compaction = "compact_unevictable_allowed", "compaction_proactiveness", "extfrag_threshold"
    vm |= {name: _setting(machine, name) for name in compaction}
    return dir_of({"kernel": dir_of(kernel), "vm": dir_of(vm)})


def release_of(machine: Machine) -> str:
    """What /proc calls the kernel: the simulated one's first version."""
    return f"{machine.release.name}.0"


def debug_sched_dir(machine: Machine) -> Dir:
    """/sys/kernel/debug/sched: how NUMA balancing scans."""
    knobs: Entries = {
        name.partition("/")[2]: _setting(machine, name)
        for name in sysctl.SETTINGS
        if name.startswith("numa_balancing/")
    }
    return dir_of({"numa_balancing": dir_of(knobs)})


def _setting(machine: Machine, name: str) -> File:
    return File(lambda: f"{sysctl.read(machine, name)}\n")


def _gigantic() -> Dir:
    """The pool of 1 GiB pages, which the CPU has, and nobody here uses."""
    names = """
        nr_hugepages nr_hugepages_mempolicy nr_overcommit_hugepages free_hugepages resv_hugepages
        surplus_hugepages
    """
    return dir_of({**dict.fromkeys(names.split(), file_of(0)), **DEMOTION})


def _pool(machine: Machine) -> Entries:
    pools = [node.hugetlb for node in machine.nodes.values()]
    total = sum(pool.nr for pool in pools)
    return {
        "nr_hugepages": file_of(total),
        "nr_hugepages_mempolicy": file_of(total),
        "nr_overcommit_hugepages": file_of(machine.nr_overcommit_huge_pages),
        "free_hugepages": file_of(nr_free(machine)),
        "resv_hugepages": file_of(machine.resv_huge_pages),
        "surplus_hugepages": file_of(sum(pool.surplus for pool in pools)),
    }
