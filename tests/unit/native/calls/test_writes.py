import pytest

from pymigrate.native.calls.writes import is_writable


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sys/kernel/numa_balancing",
        "/proc/sys/vm/drop_caches",
        "/proc/sys/vm/nr_hugepages",
        "/sys/devices/system/memory/memory3/state",
        "/sys/devices/system/node/node1/compact",
        "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages",
        "/sys/fs/cgroup/batch/cpuset.mems",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/memory.reclaim",
        "/sys/kernel/debug/sched/numa_balancing/scan_size_mb",
        "/sys/kernel/mm/mempolicy/weighted_interleave/node0",
        "/sys/kernel/mm/numa/demotion_enabled",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    ],
)
def test_files_that_act(path: str) -> None:
    assert is_writable(path)


@pytest.mark.parametrize(
    "path",
    [
        "/proc/vmstat",
        "/sys/devices/system/node/node1/meminfo",
        "/sys/devices/system/node/online",
        "/sys/fs/cgroup/batch/cpuset.mems.effective",
        "/sys/kernel/mm/transparent_hugepage/use_zero_page",
    ],
)
def test_files_that_only_tell(path: str) -> None:
    assert not is_writable(path)
