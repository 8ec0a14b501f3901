import ctypes
import mmap
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("what a Linux host knows of memory", allow_module_level=True)

from pymigrate.mm import check
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.native import abi, hostmem
from pymigrate.native.calls.table import HANDLERS
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls import mempolicy
from pymigrate.uapi import MPOL
from pymigrate.views.pages import placement

PAGES = 16


@pytest.fixture
def area() -> mmap.mmap:
    memory = mmap.mmap(-1, PAGES * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory


def start_of(area: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(area)) >> 12


def places(world: World, thread: Thread, area: mmap.mmap) -> list[int]:
    """The node of each page, -1 for those that are not there."""
    first = start_of(area)
    task = world.task(thread)
    runs = placement.runs(world.machine, task, first, first + PAGES)
    return [-1 if node is None else node for nr, node in runs for _ in range(nr)]


def touch(area: mmap.mmap, *pages: int) -> None:
    for page in pages:
        area[page * 4096] = 1


def test_what_is_touched_comes_to_the_policys_node(
    world: World, thread: Thread, area: mmap.mmap
) -> None:
    touch(area, 0, 1)
    world.sync(thread)
    mempolicy.set_mempolicy(world.machine, world.task(thread), MPOL.BIND, Nodemask.of(1))
    touch(area, 5)
    world.sync(thread)
    assert places(world, thread, area)[:7] == [0, 0, -1, -1, -1, 1, -1]
    assert [*check.problems(world.machine)] == []


def test_second_look_adds_nothing(world: World, thread: Thread, area: mmap.mmap) -> None:
    touch(area, *range(PAGES))
    world.sync(thread)
    before = places(world, thread, area)
    world.sync(thread)
    assert places(world, thread, area) == before == [0] * PAGES


@pytest.mark.parametrize("is_told", [True, False])
def test_part_of_memory(
    world: World, thread: Thread, area: mmap.mmap, monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    """Also where the kernel does not tell of single mappings."""
    if not is_told:
        monkeypatch.setattr(hostmem, "mappings_between", lambda *_: None)
    touch(area, 2, 9)
    world.sync_range(thread, (start_of(area) + 9) << 12, 4096)
    assert [page for page, node in enumerate(places(world, thread, area)) if node == 0] == [9]


def test_page_that_was_only_read_is_the_zero_page(
    world: World, thread: Thread, area: mmap.mmap
) -> None:
    assert area[3 * 4096] == 0
    world.sync(thread)
    table = world.task(thread).mm.page_table
    run = table.at(start_of(area) + 3)
    assert run is not None
    assert run.lanes == ()
    touch(area, 3)
    world.sync(thread)
    run = table.at(start_of(area) + 3)
    assert run is not None
    assert len(run.lanes) == 1


def test_mapping_that_is_gone_goes(world: World, thread: Thread, area: mmap.mmap) -> None:
    first = start_of(area)
    touch(area, 0)
    world.sync(thread)
    task = world.task(thread)
    assert task.mm.page_table.at(first) is not None
    with mmap.mmap(-1, 4096):
        pass
    libc = ctypes.CDLL(None)
    libc.mprotect(ctypes.c_void_p(first << 12), ctypes.c_size_t(4096), 0)
    world.sync(thread)
    assert [vma.flags & 7 for vma in task.mm.vmas_between(first, first + 2)] == [0, 3]
    assert isinstance(task.policy, Mempolicy | None)


def test_room_is_found_where_nothing_is(world: World, thread: Thread) -> None:
    world.sync(thread)
    at = thread.process.memory.find_room(4 << 20, 2 << 20)
    assert at % (2 << 20) == 0
    task = world.task(thread)
    assert task.mm.vmas_between(at >> 12, (at + (4 << 20)) >> 12) == []


def test_page_that_is_mapped_anew_where_one_was_is_another(
    world: World, thread: Thread, area: mmap.mmap
) -> None:
    """Its mapping looks the same, and so does what is there of it."""
    first = start_of(area)
    touch(area, 0, 9)
    world.sync(thread)
    munmap = HANDLERS[abi.CALLS["munmap"]]
    munmap(world, thread, (first + 9 << 12, 4096, 0, 0, 0, 0))
    assert places(world, thread, area)[:10:9] == [0, -1]
    mempolicy.set_mempolicy(world.machine, world.task(thread), MPOL.BIND, Nodemask.of(1))
    world.sync(thread)
    assert places(world, thread, area)[:10:9] == [0, 1]


def test_part_of_memory_is_looked_at_alone(
    world: World, thread: Thread, area: mmap.mmap, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sync(thread)
    first = start_of(area)
    if hostmem.mappings_between(thread.tid, first, first + 1, 16) is None:
        pytest.skip("the kernel does not tell of single mappings")
    monkeypatch.setattr(hostmem, "maps_text", lambda _: pytest.fail("all mappings were read"))
    other = mmap.mmap(-1, 4 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    other.madvise(mmap.MADV_NOHUGEPAGE)
    other[0] = 1
    page = start_of(other)
    world.sync_range(thread, page << 12, 4096)
    assert world.task(thread).mm.page_table.at(page) is not None


def test_mapping_that_went_unseen_goes_from_its_range(
    world: World, thread: Thread, area: mmap.mmap
) -> None:
    other = mmap.mmap(-1, 4 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    page, task = ctypes.addressof(ctypes.c_char.from_buffer(other)) >> 12, world.task(thread)
    world.sync(thread)
    assert task.mm.find_vma(page)
    libc = ctypes.CDLL(None)
    libc.munmap(ctypes.c_void_p(page << 12), ctypes.c_size_t(4 * 4096))
    world.sync_range(thread, page << 12, 4 * 4096)
    assert task.mm.find_vma(page) is None
    libc.mmap.restype = ctypes.c_void_p
    where, size = ctypes.c_void_p(page << 12), ctypes.c_size_t(4 * 4096)
    libc.mmap(where, size, 3, 0x32, -1, 0)  # its object unmaps it again


def test_end_leaves_no_task(world: World, thread: Thread, area: mmap.mmap) -> None:
    touch(area, 0)
    world.exits(thread)
    assert world.machine.tasks == {}
    world.gone(thread.tid)
    assert world.processes == {}
    assert [*check.problems(world.machine)] == []


def test_memory_that_is_mapped_anew_while_it_is_looked_at(
    world: World,
    thread: Thread,
    area: mmap.mmap,
    monkeypatch: pytest.MonkeyPatch,
    said: list[str],
    tmp_path: Path,
) -> None:
    """As a loader does: first all of a file, then memory where that has no more pages."""
    touch(area, 2)
    file = tmp_path / "library"
    file.write_bytes(bytes(4096))
    span = f"{start_of(area) << 12:x}-{start_of(area) + PAGES << 12:x}"
    before = f"{span} r--p 00000000 fe:00 {file.stat().st_ino} {file}\n"
    real, looks = hostmem.maps_text, []

    def maps_text(pid: int) -> str:
        looks.append(pid)
        return real(pid) if len(looks) > 1 else before

    monkeypatch.setattr(hostmem, "maps_text", maps_text)
    monkeypatch.setattr("pymigrate.native.sync.os.kill", lambda *_: pytest.fail("it is killed"))
    world.sync(thread)
    assert said == []
    assert places(world, thread, area)[:4] == [-1, -1, 0, -1]


def test_what_changes_at_each_look_is_left_for_the_next(
    world: World, thread: Thread, area: mmap.mmap, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(area, 2)
    real, looks = hostmem.maps_text, []

    def maps_text(pid: int) -> str:
        looks.append(pid)
        return real(pid) + f"{len(looks):x}000-{len(looks):x}fff rw-p 00000000 00:00 0 \n"

    monkeypatch.setattr(hostmem, "maps_text", maps_text)
    world.sync(thread)
    assert places(world, thread, area)[2] == -1
    world.stopped = thread
    looks.clear()
    world.sync(thread)
    assert places(world, thread, area)[2] == 0
    assert len(looks) == 1
