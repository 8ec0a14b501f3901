"""mbind: the walk, the policy, the move."""

from typing import Any

import pytest

from pymigrate.errors import KernelError
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.mempolicy import mbind, set_mempolicy
from pymigrate.syscalls.mmap import mmap, munmap
from pymigrate.syscalls.process import fork, touch
from tests.conftest import (
    PAGE,
    errno_of,
    four_nodes,
    hold,
    mapped,
    maps,
    new_file,
    new_task,
    nodes_of,
    touched,
    two_nodes,
)
from tests.property.invariants import check
from tests.unit.mm.conftest import file_of, with_task

DEFAULT, PREFERRED, BIND, INTERLEAVE, LOCAL, MANY, WEIGHTED = range(7)
STATIC, RELATIVE = 0x8000, 0x4000
STRICT, MOVE, MOVE_ALL = 1, 2, 4
N = Nodemask.of
NO_ORDER = (7, 2, 0, 11, 5, 9, 1, 3, 10, 4, 8, 6)  # so that an explicit table has the frames


@pytest.fixture
def machine() -> Machine:
    return four_nodes("4MiB")


def policies(task: Task) -> list[tuple[int, str]]:
    return [(vma.nr, str(vma.policy)) for vma in task.mm.vmas]


def outcome(*call: Any) -> str | None:
    """The error that mbind() fails with, if it does."""
    try:
        return mbind(*call)
    except KernelError as error:
        return error.name


def test_a_hole_is_efault_and_no_policy_is_set(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    munmap(machine, task, addr + PAGE, PAGE)
    assert errno_of(mbind, machine, task, addr, 4 * PAGE, BIND, N(1), 0) == "EFAULT"
    assert policies(task) == [(1, "None"), (2, "None")]


@pytest.mark.parametrize(
    ("start", "pages"), [(-1, 2), (2, 3), (-2, 1)], ids=["before", "behind", "nothing"]
)
def test_the_range_must_be_mapped(machine: Machine, task: Task, start: int, pages: int) -> None:
    addr = mapped(machine, task, "16KiB")
    where = (addr + start * PAGE, pages * PAGE)
    assert errno_of(mbind, machine, task, *where, BIND, N(1), 0) == "EFAULT"


def test_default_tolerates_holes_but_not_nothing_at_all(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    mbind(machine, task, addr, 4 * PAGE, BIND, N(1), 0)
    munmap(machine, task, addr + PAGE, PAGE)
    mbind(machine, task, addr - PAGE, 9 * PAGE, DEFAULT, N(), 0)
    assert policies(task) == [(1, "None"), (2, "None")]
    assert errno_of(mbind, machine, task, addr + PAGE, PAGE, DEFAULT, N(), 0) == "EFAULT"


def test_strict_alone_is_eio_where_a_page_is_misplaced(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    assert errno_of(mbind, machine, task, addr, 4 * PAGE, BIND, N(1), STRICT) == "EIO"
    assert policies(task) == [(4, "None")]
    assert machine.counters["pgmigrate_fail"] == 0
    mbind(machine, task, addr, 4 * PAGE, BIND, N(0), STRICT)
    assert policies(task) == [(4, "bind:0")]


@pytest.mark.parametrize(
    ("wrong", "errno"), [(1, "EIO"), (2, "EFAULT")], ids=["another vma between", "right behind"]
)
def test_a_hole_behind_the_vma_of_a_misplaced_page(
    machine: Machine, task: Task, wrong: int, errno: str
) -> None:
    addr = mapped(machine, task, "16KiB")
    mbind(machine, task, addr, wrong * PAGE, PREFERRED, N(0), 0)
    touch(machine, task, addr, 2 * PAGE)
    munmap(machine, task, addr + 2 * PAGE, PAGE)
    assert errno_of(mbind, machine, task, addr, 4 * PAGE, BIND, N(1), STRICT) == errno


def test_default_drops_strict(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    hold(machine, task, addr)
    mbind(machine, task, addr, 4 * PAGE, DEFAULT, N(), STRICT)
    mbind(machine, task, addr, 4 * PAGE, DEFAULT, N(), STRICT | MOVE)
    assert machine.counters["pgmigrate_fail"] == 1


def test_strict_counts_shared_pages_and_device_memory(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    fork(machine, task, "b")
    assert errno_of(mbind, machine, task, addr, PAGE, BIND, N(1), STRICT) == "EIO"
    addr = touched(machine, task, "4KiB")
    task.mm.vmas[1].flags |= Vm.IO
    assert errno_of(mbind, machine, task, addr, PAGE, BIND, N(1), STRICT | MOVE) == "EIO"
    mbind(machine, task, addr, PAGE, BIND, N(1), MOVE)
    assert nodes_of(machine, task, addr, "4KiB") == [[1, 0]]


def test_policies_split_and_join_vmas(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "32KiB")
    mbind(machine, task, addr + 2 * PAGE, 2 * PAGE, BIND, N(1), 0)
    assert policies(task) == [(2, "None"), (2, "bind:1"), (4, "None")]
    mbind(machine, task, addr + 4 * PAGE, PAGE, BIND, N(1), 0)
    assert policies(task) == [(2, "None"), (3, "bind:1"), (3, "None")]
    mbind(machine, task, addr, 8 * PAGE, DEFAULT, N(), 0)
    assert policies(task) == [(8, "None")]


def test_the_same_policy_again_changes_nothing(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    mbind(machine, task, addr, 4 * PAGE, BIND, N(1), 0)
    mbind(machine, task, addr + PAGE, PAGE, BIND, N(1), 0)
    assert policies(task) == [(4, "bind:1")]


def test_shared_memorys_policy_outlives_the_mapping(machine: Machine, task: Task) -> None:
    file, addr = file_of(machine, task, "16KiB")
    mbind(machine, task, addr, 4 * PAGE, BIND, N(1), 0)
    munmap(machine, task, addr, 4 * PAGE)
    other = new_task(machine, "b")
    addr = mapped(machine, other, "8KiB", space=file, is_shared=True, offset=4096)
    assert maps(machine, other) == ["bind:1 file=/data"]
    mbind(machine, other, addr, 2 * PAGE, DEFAULT, N(), 0)
    assert maps(machine, other) == ["bind:1 file=/data"]  # its VMA has none, so nothing changes


@pytest.mark.parametrize(
    ("mode", "nodes", "flags", "node", "expected", "moved"),
    [
        pytest.param(BIND, "1", MOVE, 0, [[4, 1]], 4, id="bind"),
        pytest.param(INTERLEAVE, "0-1", MOVE, 0, [[4, 0]], 0, id="interleave, all in the set"),
        pytest.param(PREFERRED, "0-1", MOVE, 1, [[4, 1]], 0, id="preferred, the user's mask"),
        pytest.param(LOCAL, "", MOVE, 0, [[4, 0]], 4, id="local moves everything"),
        pytest.param(PREFERRED, "", MOVE, 0, [[4, 0]], 4, id="preferred of no node too"),
        pytest.param(DEFAULT, "", MOVE, 1, [[4, 0]], 4, id="default too"),
        pytest.param(BIND, "1,7", MOVE, 0, [[4, 1]], 4, id="nodes that do not exist"),
        pytest.param(MANY, "1", MOVE, 0, [[4, 1]], 4, id="preferred-many"),
        pytest.param(BIND, "1", 0, 0, [[4, 0]], 0, id="no move asked for"),
        pytest.param(INTERLEAVE, "1", MOVE_ALL, 0, [[4, 1]], 4, id="move_all"),
    ],
)
def test_where_pages_move(
    machine: Machine,
    task: Task,
    mode: int,
    nodes: str,
    flags: int,
    node: int,
    expected: list[list[int]],
    moved: int,
) -> None:
    addr = touched(machine, task, "16KiB", node=node)
    mbind(machine, task, addr, 4 * PAGE, mode, Nodemask.parse(nodes), flags)
    assert nodes_of(machine, task, addr, "16KiB") == expected
    assert machine.counters["pgmigrate_success"] == moved


def test_default_moves_towards_the_tasks_policy(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    set_mempolicy(machine, task, BIND, N(1))
    mbind(machine, task, addr, 4 * PAGE, DEFAULT, N(), MOVE)
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 1]]


def test_relative_nodes_are_tested_unfolded(machine: Machine, task: Task) -> None:
    task.mems_allowed = N(1)
    addr = touched(machine, task, "16KiB", node=1)
    mbind(machine, task, addr, 4 * PAGE, BIND | RELATIVE, N(0), MOVE)
    assert machine.counters["pgmigrate_success"] == 4
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 1]]


@pytest.mark.parametrize(
    ("mode", "first", "expected"),
    [
        pytest.param(INTERLEAVE, 0, [[1, 1], [1, 2]] * 4, id="by address"),
        pytest.param(INTERLEAVE, 3, [[3, 0]] + [[1, 2], [1, 1]] * 2 + [[1, 2]], id="in the middle"),
        pytest.param(WEIGHTED, 0, [[2, 1], [1, 2], [2, 1], [1, 2], [2, 1]], id="by weight"),
    ],
)
def test_pages_go_where_faults_put_them(
    machine: Machine, task: Task, mode: int, first: int, expected: list[list[int]]
) -> None:
    machine.weights = {1: 2}
    addr = touched(machine, task, "32KiB")
    where = (addr + first * PAGE, (8 - first) * PAGE)
    mbind(machine, task, *where, mode, N(1, 2), MOVE)
    assert nodes_of(machine, task, addr, "32KiB") == expected


def test_scattered_pages_move_in_turn_too(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "32KiB")
    for page in (5, 2, 7, 0):
        touch(machine, task, addr + page * PAGE, PAGE)
    hold(machine, task, addr + 2 * PAGE)
    mbind(machine, task, addr, 8 * PAGE, INTERLEAVE, N(1, 2), MOVE)
    found = nodes_of(machine, task, addr, "32KiB")
    assert found == [[1, 1], [1, -1], [1, 0], [2, -1], [1, 2], [1, -1], [1, 2]]


@pytest.mark.parametrize(
    ("fs", "is_shared", "write", "expected"),
    [
        pytest.param("tmpfs", True, True, [[1, 2], [1, 1]] * 2, id="shared: from its inode"),
        pytest.param("tmpfs", False, True, [[1, 2], [1, 1]] * 2, id="private copies: too"),
        pytest.param("ext4", True, False, [[1, 1], [1, 2]] * 2, id="of a disk: from the start"),
    ],
)
def test_a_files_pages_move_in_turn(
    machine: Machine, task: Task, fs: str, is_shared: bool, write: bool, expected: list[list[int]]
) -> None:
    file = new_file(machine, "16KiB", fs, inode=3)
    addr = mapped(machine, task, "16KiB", space=file, is_shared=is_shared)
    touch(machine, task, addr, 4 * PAGE, write)
    mbind(machine, task, addr, 4 * PAGE, INTERLEAVE, N(1, 2), MOVE)
    assert nodes_of(machine, task, addr, "16KiB") == expected


@pytest.mark.parametrize(("flag", "node"), [(MOVE, 0), (MOVE_ALL, 1)], ids=["move", "move_all"])
def test_shared_pages_stay_and_are_no_failure_or_move_for_both(
    machine: Machine, task: Task, flag: int, node: int
) -> None:
    addr = touched(machine, task, "16KiB")
    child = fork(machine, task, "b")
    mbind(machine, task, addr, 4 * PAGE, BIND, N(1), STRICT | flag)
    for each in (task, child):
        assert nodes_of(machine, each, addr, "16KiB") == [[4, node]]


@pytest.mark.parametrize(("strict", "answer"), [(0, None), (STRICT, "EIO")], ids=["", "strict"])
def test_a_pinned_page_stays_and_the_policy_is_in_force(
    machine: Machine, task: Task, strict: int, answer: str | None
) -> None:
    addr = touched(machine, task, "16KiB")
    hold(machine, task, addr + PAGE)
    assert outcome(machine, task, addr, 4 * PAGE, BIND, N(1), strict | MOVE) == answer
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 1], [1, 0], [2, 1]]
    assert policies(task) == [(4, "bind:1")]


def test_a_file_mapped_twice_is_eio_though_all_moved(machine: Machine, task: Task) -> None:
    file = new_file(machine, "8KiB")
    addr = mapped(machine, task, "16KiB")
    munmap(machine, task, addr, 4 * PAGE)
    for half in (addr, addr + 2 * PAGE):
        mmap(machine, task, half, 2 * PAGE, "rw", space=file, is_shared=True)
    touch(machine, task, addr, 4 * PAGE)
    flags = STRICT | MOVE_ALL
    assert errno_of(mbind, machine, task, addr, 4 * PAGE, BIND, N(1), flags) == "EIO"
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 1]]


@pytest.mark.parametrize(("flags", "answer"), [(MOVE, None), (MOVE | STRICT, "EIO")])
def test_a_full_target_shows_only_with_strict(
    machine: Machine, task: Task, flags: int, answer: str | None
) -> None:
    addr = touched(machine, task, "1MiB")
    touched(machine, task, "3MiB", node=1)
    assert outcome(machine, task, addr, 1 << 20, BIND, N(1), flags) == answer
    assert nodes_of(machine, task, addr, "1MiB") == [[224, 1], [32, 0]]
    assert machine.counters["pgmigrate_fail"] == 1


def test_to_fall_back_onto_the_source_counts_as_moved() -> None:
    machine, task = with_task(two_nodes("4MiB"))
    addr = touched(machine, task, "1MiB")
    touched(machine, task, "3800KiB", node=1)
    mbind(machine, task, addr, 1 << 20, PREFERRED, N(1), STRICT | MOVE)
    assert machine.counters["pgmigrate_success"] == 256
    assert nodes_of(machine, task, addr, "1MiB") == [[18, 1], [238, 0]]
    check(machine)


def test_interleaved_targets_that_are_full_fall_back(machine: Machine, task: Task) -> None:
    touched(machine, task, "3800KiB", node=1)
    addr = touched(machine, task, "256KiB")
    mbind(machine, task, addr, 256 << 10, INTERLEAVE, N(1, 2), STRICT | MOVE)
    assert machine.counters["pgmigrate_success"] == 64


@pytest.mark.parametrize("is_scattered", [False, True], ids=["striped", "table"])
def test_part_of_an_interleaved_range_moves_in_turn(
    machine: Machine, task: Task, is_scattered: bool
) -> None:
    addr = mapped(machine, task, "48KiB")
    set_mempolicy(machine, task, INTERLEAVE, N(0, 1, 2))
    for page in NO_ORDER if is_scattered else (0,):
        touch(machine, task, addr + page * PAGE, PAGE if is_scattered else 12 * PAGE)
    mbind(machine, task, addr, 12 * PAGE, INTERLEAVE, N(2, 3), MOVE)
    found = [node for nr, node in nodes_of(machine, task, addr, "48KiB") for _ in range(nr)]
    # What lay on node 2 stays; the others go where a fault would put them.
    assert found == [2 if page % 3 == 2 else 2 + page % 2 for page in range(12)]


def test_turns_are_taken_page_by_page_where_frames_differ(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "48KiB")
    for page in NO_ORDER:
        touch(machine, task, addr + page * PAGE, PAGE)
    child = fork(machine, task, "b")
    for page in (1, 2, 6):
        touch(machine, child, addr + page * PAGE, PAGE)
    mbind(machine, task, addr, 12 * PAGE, INTERLEAVE, N(2, 3), MOVE_ALL)
    assert nodes_of(machine, task, addr, "48KiB") == [[1, 2], [1, 3]] * 6


def test_held_pages_behind_one_in_turn_are_passed_over(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "2100KiB")
    hold(machine, task, addr + 3 * PAGE)
    mbind(machine, task, addr, 2100 << 10, INTERLEAVE, N(2, 3), MOVE)
    found = nodes_of(machine, task, addr, "24KiB")
    assert found == [[1, 2], [1, 3], [1, 2], [1, 0], [1, 2], [1, 3]]
    assert machine.counters["pgmigrate_success"] == 524
