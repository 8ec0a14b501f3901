import os
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("paths of Linux", allow_module_level=True)

from pymigrate.errors import KernelError
from pymigrate.native.abi import AT_FDCWD
from pymigrate.native.calls.paths import resolve
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World
from pymigrate.views.entries import Dir, File, Link
from tests.conftest import new_task


def find(world: World, thread: Thread, path: str, dirfd: int = AT_FDCWD) -> tuple[str, type] | None:
    """Where a path leads, and to what."""
    place = resolve(world, thread, dirfd, path)
    return place and (place.path, type(place.entry))


NODE = "/sys/devices/system/node"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (f"{NODE}/node1/cpulist", (f"{NODE}/node1/cpulist", File)),
        (f"{NODE}//./node0/../node1/", (f"{NODE}/node1", Dir)),
        ("/sys/bus/node/devices/node1/cpulist", (f"{NODE}/node1/cpulist", File)),
        ("/proc", ("/proc", Dir)),
        ("/proc/sys/vm/drop_caches", ("/proc/sys/vm/drop_caches", File)),
        ("/proc/filesystems", ("/proc/filesystems", type(None))),
        ("/proc/sys/kernel/ostype", ("/proc/sys/kernel/ostype", type(None))),
        ("/tmp/../sys/devices/system/node/online", (f"{NODE}/online", File)),
        ("/usr/bin/env", None),
        ("/dev/null", None),
        ("", None),
    ],
)
def test_where_it_leads(
    world: World, thread: Thread, path: str, found: tuple[str, type] | None
) -> None:
    assert find(world, thread, path) == found


def test_own_directory(world: World, thread: Thread) -> None:
    pid = os.getpid()
    assert find(world, thread, "/proc/self/numa_maps") == (f"/proc/{pid}/numa_maps", File)
    assert find(world, thread, f"/proc/{pid}/environ") == (f"/proc/{pid}/environ", type(None))
    found = find(world, thread, "/proc/thread-self/status")
    assert found == (f"/proc/{pid}/task/{pid}/status", File)


@pytest.mark.parametrize(
    ("path", "errno"),
    [
        (f"{NODE}/node7", "ENOENT"),
        ("/proc/1/status", "ENOENT"),
        (f"{NODE}/online/x", "ENOTDIR"),
    ],
)
def test_what_is_not_there(world: World, thread: Thread, path: str, errno: str) -> None:
    with pytest.raises(KernelError) as refused:
        resolve(world, thread, AT_FDCWD, path)
    assert refused.value.name == errno


def test_task_of_the_scenario(world: World, thread: Thread) -> None:
    task = new_task(world.machine)
    assert find(world, thread, f"/proc/{task.pid}/numa_maps") == (
        f"/proc/{task.pid}/numa_maps",
        File,
    )


def test_links_of_the_host(world: World, thread: Thread, tmp_path: Path) -> None:
    (tmp_path / "node").symlink_to(NODE)
    (tmp_path / "round").symlink_to("round")
    assert find(world, thread, str(tmp_path / "node" / "node1")) == (f"{NODE}/node1", Dir)
    assert find(world, thread, str(tmp_path / "round")) is None
    place = resolve(world, thread, AT_FDCWD, "/sys/bus/node/devices/node1", follow=False)
    assert place is not None
    assert isinstance(place.entry, Link)


def test_from_a_directory(world: World, thread: Thread, tmp_path: Path) -> None:
    fd = os.open("/", os.O_RDONLY)
    try:
        assert find(world, thread, "proc/vmstat", fd) == ("/proc/vmstat", File)
    finally:
        os.close(fd)
    private = Path(world.root) / "sys/devices/system"
    private.mkdir(parents=True)
    fd = os.open(private, os.O_RDONLY)
    try:
        assert find(world, thread, "node/online", fd) == (f"{NODE}/online", File)
        place = resolve(world, thread, fd, "../../class/net")
        assert place is not None
        assert place.must_be_named
        assert place.entry is None
    finally:
        os.close(fd)
