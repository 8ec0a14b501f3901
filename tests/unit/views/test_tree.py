"""/proc and /sys as a tree: what is where, and what it says."""

import pytest

from pymigrate.errors import KernelError
from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import AccessCoordinate
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls import cpuset, sysctl
from pymigrate.views.entries import Binary, read, walk
from pymigrate.views.tree import tree
from tests.conftest import new_task, nodes_with, touched

SYS_NODE = "sys/devices/system/node"
SYS_CPU = "sys/devices/system/cpu"


@pytest.fixture
def machine() -> Machine:
    """Node 2 has no memory, node 3 no CPUs."""
    return nodes_with(
        "64MiB",
        "64MiB",
        "0",
        "64MiB",
        cpus=("0-2", "3-5", "6-7", ""),
        distances=((10, 21, 31, 17), (21, 10, 31, 28), (31, 31, 10, 31), (17, 28, 31, 10)),
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("possible", "0-3"),
        ("online", "0-3"),
        ("has_memory", "0-1,3"),
        ("has_normal_memory", "0-1,3"),
        ("has_cpu", "0-2"),
        ("has_generic_initiator", ""),
        ("node0/cpulist", "0-2"),
        ("node2/cpumap", "c0"),
        ("node3/cpulist", ""),
        ("node3/cpumap", "00"),
        ("node0/distance", "10 21 31 17"),
        ("node0/hugepages/hugepages-2048kB/nr_hugepages", "0"),
        ("node1/cpu4/topology/core_id", "1"),
        ("node0/memory_failure/total", "0"),
    ],
)
def test_nodes(machine: Machine, name: str, text: str) -> None:
    assert read(tree(machine), f"{SYS_NODE}/{name}") == f"{text}\n"


def test_a_distance_line_begins_with_a_blank_without_node_0() -> None:
    machine = nodes_with("64MiB", "64MiB")
    machine.nodes = {1: machine.nodes[1]}
    assert read(tree(machine), f"{SYS_NODE}/node1/distance") == " 10\n"


def test_numastat_has_names_of_its_own(machine: Machine) -> None:
    touched(machine, new_task(machine), "16KiB", node=1)
    assert read(tree(machine), f"{SYS_NODE}/node1/numastat") == (
        "numa_hit 4\nnuma_miss 0\nnuma_foreign 0\ninterleave_hit 0\nlocal_node 0\nother_node 4\n"
    )


def test_a_nodes_vmstat_is_the_first_three_groups(machine: Machine) -> None:
    lines = read(tree(machine), f"{SYS_NODE}/node1/vmstat").splitlines()
    assert len(lines) == 65
    assert (lines[0], lines[-1]) == ("nr_free_pages 16384", "pgdemote_khugepaged 0")


def test_pools_are_shown_by_node_and_together(machine: Machine) -> None:
    set_nr_hugepages(machine, 3, 1)
    root, pool = tree(machine), "hugepages/hugepages-2048kB"
    assert read(root, f"{SYS_NODE}/node1/{pool}/free_hugepages") == "3\n"
    assert read(root, f"sys/kernel/mm/{pool}/nr_hugepages") == "3\n"
    assert read(root, "proc/sys/vm/nr_hugepages") == "3\n"


def test_all_memory_is_dram_if_nothing_says_otherwise(machine: Machine) -> None:
    root, tiers = tree(machine), "sys/devices/virtual/memory_tiering"
    assert read(root, f"{tiers}/memory_tier4/nodelist") == "0-1,3\n"
    with pytest.raises(KernelError):
        read(root, f"{SYS_NODE}/node0/access0")


def test_the_nearest_cpus_are_who_reaches_memory_best(machine: Machine) -> None:
    for nid, latency in ((0, 80), (1, 80), (3, 250)):
        machine.nodes[nid].perf = AccessCoordinate(latency, latency, 100000, 100000)
    root = tree(machine)
    assert read(root, "sys/devices/virtual/memory_tiering/memory_tier14/nodelist") == "3\n"
    assert read(root, f"{SYS_NODE}/node3/access0/initiators") == (
        "node0 -> ../../../node0\nread_bandwidth\nread_latency\nwrite_bandwidth\nwrite_latency\n"
    )
    assert read(root, f"{SYS_NODE}/node3/access1/initiators/read_latency") == "250\n"
    assert read(root, f"{SYS_NODE}/node0/access0/targets").split("\n")[:2] == [
        "node0 -> ../../../node0",
        "node3 -> ../../../node3",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("online", "0-7"),
        ("offline", ""),
        ("kernel_max", "8191"),
        ("smt/active", "0"),
        ("cpu4/online", "1"),
        ("cpu4/topology/physical_package_id", "1"),
        ("cpu4/topology/core_id", "1"),
        ("cpu4/topology/core_cpus", "10"),
        ("cpu4/topology/thread_siblings_list", "4"),
        ("cpu4/topology/package_cpus", "38"),
        ("cpu4/topology/package_cpus_list", "3-5"),
        ("cpu4/node1/cpulist", "3-5"),
    ],
)
def test_cpus(machine: Machine, name: str, text: str) -> None:
    assert read(tree(machine), f"{SYS_CPU}/{name}") == f"{text}\n"


def test_the_first_cpu_cannot_be_taken_offline(machine: Machine) -> None:
    assert "online" not in read(tree(machine), f"{SYS_CPU}/cpu0").split()


def test_cpuinfo_has_a_block_for_each_cpu(machine: Machine) -> None:
    blocks = read(tree(machine), "proc/cpuinfo").split("\n\n")
    assert blocks.pop() == ""
    assert len(blocks) == 8
    assert blocks[3].splitlines()[0] == "processor\t: 3"
    assert "physical id\t: 1\nsiblings\t: 3\ncore id\t\t: 0\ncpu cores\t: 3" in blocks[3]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never"),
        ("sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152"),
        ("sys/kernel/mm/mempolicy/weighted_interleave/node1", "3"),
        ("sys/kernel/mm/numa/demotion_enabled", "false"),
        ("proc/sys/kernel/numa_balancing", "1"),
        ("proc/sys/kernel/numa_balancing_promote_rate_limit_MBps", "65536"),
        ("proc/sys/vm/min_free_kbytes", "9828"),
        ("sys/kernel/debug/sched/numa_balancing/scan_size_mb", "256"),
        ("sys/devices/system/memory/block_size_bytes", "8000000"),
    ],
)
def test_settings(machine: Machine, path: str, text: str) -> None:
    for name, value in (("thp", "madvise"), ("weighted_interleave/node1", "3")):
        sysctl.write(machine, machine.shell_of(0), name, value)
    sysctl.write(machine, machine.shell_of(0), "numa_balancing", "1")
    assert read(tree(machine), path) == f"{text}\n"


@pytest.mark.parametrize("path", [f"{SYS_NODE}/node0/compact", "proc/sys/vm/compact_memory"])
def test_what_can_only_be_written_cannot_be_read(machine: Machine, path: str) -> None:
    with pytest.raises(KernelError) as refused:
        read(tree(machine), path)
    assert refused.value.name == "EACCES"


def test_a_process_has_its_files(machine: Machine) -> None:
    task = new_task(machine)
    listed = read(tree(machine), f"proc/{task.pid}").split()
    files = "cgroup cmdline comm cpuset io limits maps mounts numa_maps pagemap sched"
    files += " smaps smaps_rollup"
    assert listed == [*files.split(), "stat", "statm", "status", "task/"]
    assert read(tree(machine), f"proc/{task.pid}/task/{task.pid}") == (
        "comm\npagemap\nsched\nstat\nstatus\n"
    )
    assert read(tree(machine), f"proc/{task.pid}/cmdline") == "a\0"
    assert read(tree(machine), f"proc/{task.pid}/comm") == "a\n"


def test_a_cpuset_is_a_group_with_its_masks(machine: Machine) -> None:
    task = new_task(machine)
    mems = Nodemask.of(1)
    cpuset.create(
        machine, machine.shell_of(0), "batch", Cpumask.parse("3-5"), mems, memory_migrate=True
    )
    cpuset.attach_task(machine, machine.shell_of(0), task, "batch")
    root, group = tree(machine), "sys/fs/cgroup/batch"
    assert read(root, f"{group}/cgroup.procs") == "1000\n"
    assert read(root, f"{group}/cpuset.cpus") == "3-5\n"
    assert read(root, f"{group}/cpuset.mems.effective") == "1\n"
    assert read(root, "sys/fs/cgroup/cpuset.mems.effective") == "0-1,3\n"
    assert read(root, "proc/1000/cpuset") == "/batch\n"
    assert read(root, "proc/1000/cgroup") == "0::/batch\n"


def test_version_1_has_a_hierarchy_of_cpusets() -> None:
    machine = nodes_with("64MiB", kernel="6.1")
    task = new_task(machine)
    path = "sys/fs/cgroup/cpuset"
    nodes, cpus = Nodemask.of(0), Cpumask.of(0)
    cpuset.create(machine, machine.shell_of(0), "batch", cpus, nodes, memory_migrate=True)
    assert read(tree(machine), f"{path}/batch/cpuset.memory_migrate") == "1\n"
    assert read(tree(machine), f"{path}/cgroup.procs") == "1000\n"
    assert read(tree(machine), f"proc/{task.pid}/cgroup") == "1:cpuset:/\n"


def test_a_cpuset_lies_in_its_parents_directory(machine: Machine) -> None:
    shell, top = machine.shell_of(0), "sys/fs/cgroup"
    cpuset.create(machine, shell, "a", Cpumask.of(0), Nodemask.of(0), memory_migrate=True)
    cpuset.make(machine, shell, "a/b")
    found = {path for path, _ in walk(tree(machine)) if path.startswith(f"{top}/a/b/")}
    assert {path.rpartition("/")[2] for path in found} == {
        "cgroup.controllers",
        "cgroup.events",
        "cgroup.procs",
        "cgroup.subtree_control",
        "cgroup.threads",
    }
    assert read(tree(machine), f"{top}/cgroup.subtree_control") == "cpuset memory\n"
    assert read(tree(machine), f"{top}/a/b/cgroup.events") == "populated 0\nfrozen 0\n"
    cpuset.subtree_control(machine, shell, "a", "+cpuset")
    assert read(tree(machine), f"{top}/a/cgroup.subtree_control") == "cpuset\n"
    assert read(tree(machine), f"{top}/a/b/cgroup.controllers") == "cpuset\n"
    assert read(tree(machine), f"{top}/a/b/cpuset.mems") == "\n"
    assert read(tree(machine), f"{top}/a/b/cpuset.mems.effective") == "0\n"


def test_self_is_the_shell_of_commands(machine: Machine) -> None:
    assert "\nMems_allowed_list:\t0-1,3\n" in read(tree(machine), "proc/self/status")


def test_stat_has_a_line_for_each_cpu(machine: Machine) -> None:
    lines = read(tree(machine), "proc/stat").splitlines()
    assert [line.split()[0] for line in lines[:9]] == ["cpu", *(f"cpu{i}" for i in range(8))]
    assert "btime 0" in lines


def test_every_file_ends_with_a_newline(machine: Machine) -> None:
    touched(machine, new_task(machine), "16KiB")
    root = tree(machine)
    texts = [path for path, entry in walk(root) if not isinstance(entry, Binary)]
    odd = [path for path in texts if not read(root, path).endswith("\n")]
    # A command line ends with NUL, links lead to directories, and the shell has no memory.
    empty = [f"proc/self/{name}" for name in ("maps", "numa_maps", "smaps")]
    assert sorted(odd) == sorted(["proc/1000/cmdline", "proc/self/cmdline", *empty])


def test_every_link_leads_somewhere(machine: Machine) -> None:
    root = tree(machine)
    links = [path for path, entry in walk(root) if hasattr(entry, "target")]
    assert len(links) > 20
    assert all(read(root, path) for path in links)
