"""psutil, pointed at the exported proc."""

from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import MIB


@pytest.fixture
def psutil(exported: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = pytest.importorskip("psutil", reason="psutil is not installed (pip install psutil)")
    if not module.LINUX:
        pytest.skip("psutil reads /proc on Linux alone")
    monkeypatch.setattr(module, "PROCFS_PATH", str(exported / "proc"))
    assert isinstance(module, ModuleType)
    return module


def test_the_processes_are_the_scenarios(psutil: ModuleType) -> None:
    assert psutil.pids() == [4321, 4400]
    process = psutil.Process(4321)
    assert (process.name(), process.cmdline(), process.status()) == (
        "mapper",
        ["mapper"],
        "sleeping",
    )
    assert process.uids().real == 26
    assert process.num_threads() == 1


def test_memory_of_a_process(psutil: ModuleType) -> None:
    info = psutil.Process(4321).memory_full_info()
    resident = 32 * MIB + 8 * MIB + 2 * MIB + 3 * 4096
    assert info.rss == resident
    assert info.vms == 42 * MIB + (132 << 10)
    assert info.shared == 10 * MIB
    # The shared memory is the worker's, too.
    assert info.uss == resident - 8 * MIB
    assert info.pss == resident - 4 * MIB
    assert info.swap == 0


def test_each_mapping(psutil: ModuleType) -> None:
    maps = psutil.Process(4321).memory_maps(grouped=False)
    assert [(m.path.removesuffix(" (deleted)"), m.perms, m.rss, m.size) for m in maps] == [
        ("/dev/zero", "rw-s", 8 * MIB, 8 * MIB),
        ("/lib/c.so", "r-xp", 2 * MIB, 2 * MIB),
        ("[heap]", "rw-p", 32 * MIB, 32 * MIB),
        ("[stack]", "rw-p", 12 << 10, 132 << 10),
    ]
    assert [m.pss for m in maps] == [4 * MIB, 2 * MIB, 32 * MIB, 12 << 10]
    assert maps[0].shared_dirty == 8 * MIB
    assert maps[1].private_clean == 2 * MIB
    assert maps[2].private_dirty == maps[2].anonymous == 32 * MIB


def test_memory_of_the_machine(psutil: ModuleType) -> None:
    memory = psutil.virtual_memory()
    assert memory.total == 576 * MIB
    pools, resident = 12 * MIB, 42 * MIB + 3 * 4096
    assert memory.free == 576 * MIB - pools - resident
    assert memory.cached == 10 * MIB
    assert memory.shared == 8 * MIB
    assert memory.active == resident
    # Half of what the page cache has of files, and less by what the zones keep back.
    assert memory.available == 529984 << 10
    assert psutil.swap_memory().total == 0
