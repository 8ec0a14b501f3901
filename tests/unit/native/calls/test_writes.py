import pytest

from pymigrate.errors import KernelError
from pymigrate.mm.state.machine import Machine
from pymigrate.native.calls.writes import Write, _find, is_writable
from tests.conftest import nodes_with


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


def write(machine: Machine, path: str, text: str) -> str:
    """Write *text* to a file of the machine; the errno, if it fails."""
    found = _find(path)
    assert found is not None
    action, match = found
    try:
        action(Write(machine, machine.shell_of(0), match, text))
    except KernelError as error:
        return error.name
    return ""


@pytest.mark.parametrize(
    ("file", "text", "errno", "zones"),
    [
        ("state", "online", "", ["normal"]),
        ("state", "online_movable", "", ["movable"]),
        ("state", "1", "EINVAL", []),
        ("online", "1", "", ["normal"]),
        ("online", "Yes", "", ["normal"]),
        ("online", "0", "EINVAL", []),
        ("online", "x", "EINVAL", []),
    ],
)
def test_memory_block_comes_back_as_it_is_told(
    file: str, text: str, errno: str, zones: list[str]
) -> None:
    machine = nodes_with("128MiB", "128MiB")
    path = "/sys/devices/system/memory/memory1/"
    assert not write(machine, path + "state", "offline")
    assert write(machine, path + file, text) == errno
    assert [zone.name for zone in machine.nodes[1].zones if zone.managed] == zones
