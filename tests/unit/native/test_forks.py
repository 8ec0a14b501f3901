"""Children whose memory is copied when somebody looks, and no sooner."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("processes of a Linux host", allow_module_level=True)

from pymigrate.mm import check
from pymigrate.mm.faults.memory import access
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.native import abi, hostmem
from pymigrate.native.calls.table import HANDLERS
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls import mempolicy, mmap, process
from pymigrate.tools.system import end
from pymigrate.uapi import MPOL
from pymigrate.views.pages import placement
from pymigrate.views.proc.vmstat import node_rows, rows
from tests.conftest import two_nodes

# A child that has stored into pages of its parent and into some of its own, and waits.
PROGRAM = """
import mmap, os, sys
def area(): return mmap.mmap(-1, 16 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
shared, other = area(), area()
for page in range(16): shared[page * 4096] = 1
child = os.fork()
if child:
    print(child, flush=True)
    sys.stdin.readline()
    os.kill(child, 9)
else:
    for page in range(3): shared[page * 4096] = other[page * 4096] = 2
    while True: os.read(0, 0) or __import__("time").sleep(60)
"""


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """The pids of a process and its child."""
    command = [sys.executable, "-I", "-S", "-c", PROGRAM]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        while "S" not in Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]:
            pass
        yield parent.pid, child
        parent.communicate("\n")


def new_world(tmp_path: Path) -> World:
    machine = two_nodes("8GiB")
    machine.next_pid = 1 << 22
    return World(machine, str(tmp_path), [].append)


def outcome(machine: Machine) -> tuple[object, ...]:
    assert [*check.problems(machine)] == []
    places = [
        placement.runs(machine, task, vma.start, vma.end)
        for task in machine.processes
        for vma in task.mm.vmas
    ]
    turns = [(task.pid, task.il_prev) for task in machine.processes]
    nodes = [node_rows(machine, node) for node in machine.nodes.values()]
    return rows(machine), nodes, places, turns


def set_policy(world: World, thread: Thread, mode: MPOL) -> None:
    nodes = {MPOL.BIND: Nodemask.of(1), MPOL.INTERLEAVE: Nodemask.of(0, 1)}
    mempolicy.set_mempolicy(world.machine, world.task(thread), mode, nodes.get(mode, Nodemask()))


def in_place(machine: Machine, task: Task, only_new: bool) -> None:
    """What a process has of its own, page by page where it lies."""
    text = hostmem.maps_text(task.pid)
    pagemap = hostmem.Pagemap(task.pid)
    for mapping in hostmem.mappings(text):
        vmas = task.mm.vmas_between(mapping.start, mapping.end)
        is_anon = not mapping.inode and not mapping.path.startswith("/")
        if not is_anon and not any(vma.anon_vma for vma in vmas):
            continue
        if not vmas:
            addr, length = mapping.start << 12, mapping.end - mapping.start << 12
            mmap.mmap(machine, task, addr, length, "rw")
        for start, stop, flags in pagemap.regions([(mapping.start, mapping.end)]):
            is_written = not flags & (hostmem.FILE | hostmem.ZERO)
            low, high = max(start, mapping.start), min(stop, mapping.end)
            parts = pagemap.exclusive(low, high) if only_new else [(low, high)]
            for page in [page for a, b in parts for page in range(a, b)]:
                run = task.mm.page_table.at(page)
                if run is None or frame_of(machine, run.pfn(page)).mapcount > 1:
                    access(machine, task, page, page + 1, is_written)
    pagemap.close()


def parts(task: Task) -> Callable[[int], bool]:
    return lambda page: task.mm.page_table.at(page) is not None


@pytest.mark.parametrize("mode", [MPOL.DEFAULT, MPOL.BIND, MPOL.INTERLEAVE])
def test_child_that_ends_counts_as_if_it_had_a_copy(
    family: tuple[int, int], tmp_path: Path, mode: MPOL
) -> None:
    pid, child = family
    late, soon = new_world(tmp_path), new_world(tmp_path)
    for world in (late, soon):
        thread = world.begin(pid, "python")
        set_policy(world, thread, mode)
        world.sync(thread)
    late.exits(late.forked(late.threads[pid], child, shares_memory=False))
    task = process.fork(soon.machine, soon.machine.tasks[pid], "child", child)
    in_place(soon.machine, task, only_new=True)
    end(soon.machine, child)
    assert child not in late.machine.tasks
    assert outcome(late.machine) == outcome(soon.machine)
    assert late.machine.counters["pgfault"] > 20


@pytest.mark.parametrize("mode", [MPOL.DEFAULT, MPOL.BIND, MPOL.INTERLEAVE])
def test_process_that_nobody_looked_at_counts_as_if_its_pages_lay_where_they_do(
    family: tuple[int, int], tmp_path: Path, mode: MPOL
) -> None:
    pid, _ = family
    late, soon = new_world(tmp_path), new_world(tmp_path)
    for world in (late, soon):
        thread = world.begin(pid, "python")
        thread.process.is_begun = True
        set_policy(world, thread, mode)
    late.exits(late.threads[pid])
    in_place(soon.machine, soon.machine.tasks[pid], only_new=False)
    end(soon.machine, pid)
    assert outcome(late.machine) == outcome(soon.machine)
    assert late.machine.counters["pgfault"] > 100


def test_child_that_executes_leaves_its_parent_as_it_was(
    family: tuple[int, int], tmp_path: Path
) -> None:
    pid, child = family
    late, soon = new_world(tmp_path), new_world(tmp_path)
    for world in (late, soon):
        thread = world.begin(pid, "python")
        world.sync(thread)
        made = world.forked(thread, child, shares_memory=False)
        if world is soon:
            world.part(made.process)
            assert world.machine.mm_users(world.task(made).mm) == 1
        world.executed(made, child)
    assert outcome(late.machine) == outcome(soon.machine)
    assert late.processes[pid].forks == []


def shared_area(world: World, pid: int, child: int) -> int:
    """The first page of memory of which the child has three pages of its own."""
    pagemap = hostmem.Pagemap(child)
    mm = world.machine.tasks[pid].mm
    found = [
        page
        for vma in mm.vmas
        if not vma.space
        for page in range(vma.start, vma.end - 15)
        if mm.page_table.at(page) and mm.page_table.at(page + 15)
        if pagemap.exclusive(page, page + 16) == [(page, page + 3)]
    ]
    pagemap.close()
    return found[0]


def test_child_keeps_what_its_parent_unmaps(family: tuple[int, int], tmp_path: Path) -> None:
    pid, child = family
    world = new_world(tmp_path)
    thread = world.begin(pid, "python")
    world.sync(thread)
    made = world.forked(thread, child, shares_memory=False)
    assert world.machine.mm_users(world.task(thread).mm) == 2
    page = shared_area(world, pid, child)
    HANDLERS[abi.CALLS["munmap"]](world, thread, (page << 12, 16 << 12, 0, 0, 0, 0))
    parent_has, child_has = parts(world.task(thread)), parts(world.task(made))
    assert [parent_has(page), child_has(page)] == [False, True]
    assert [*check.problems(world.machine)] == []


def test_child_that_is_looked_at_has_its_own_pages(family: tuple[int, int], tmp_path: Path) -> None:
    pid, child = family
    world = new_world(tmp_path)
    thread = world.begin(pid, "python")
    world.sync(thread)
    made = world.forked(thread, child, shares_memory=False)
    mempolicy.set_mempolicy(world.machine, world.task(made), MPOL.BIND, Nodemask.of(1))
    world.sync(made)
    page = shared_area(world, pid, child)
    runs = placement.runs(world.machine, world.task(made), page, page + 16)
    assert runs == [[3, 1], [13, 0]]


def test_parent_that_is_gone_leaves_its_memory(family: tuple[int, int], tmp_path: Path) -> None:
    pid, child = family
    world = new_world(tmp_path)
    thread = world.begin(pid, "python")
    world.sync(thread)
    made = world.forked(thread, child, shares_memory=False)
    page = shared_area(world, pid, child)
    world.gone(pid)
    assert list(world.machine.tasks) == [child]
    assert parts(world.task(made))(page)
    world.part(made.process)
    world.exits(made)
    world.gone(child)
    assert world.machine.mms == {}
    assert [*check.problems(world.machine)] == []
    assert os.path.exists(f"/proc/{child}")
