"""mbind: the walk, the policy, the move."""

import pytest

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
)
from tests.property.invariants import check

DEFAULT, PREFERRED, BIND, INTERLEAVE, LOCAL, MANY, WEIGHTED = range(7)
STATIC, RELATIVE = 0x8000, 0x4000
STRICT, MOVE, MOVE_ALL = 1, 2, 4
N = Nodemask.of


def policies(task: Task) -> list[tuple[int, str]]:
    return [(vma.nr, str(vma.policy)) for vma in task.mm.vmas]


# The walk


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


def test_default_drops_strict(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    hold(machine, task, addr)
    mbind(machine, task, addr, 4 * PAGE, DEFAULT, N(), STRICT)
    mbind(machine, task, addr, 4 * PAGE, DEFAULT, N(), STRICT | MOVE)
    assert machine.counters["pgmigrate_fail"] == 1


def test_strict_alone_is_fine_where_none_is(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    mbind(machine, task, addr, 4 * PAGE, BIND, N(0), STRICT)
    assert policies(task) == [(4, "bind:0")]


def test_a_misplaced_page_before_a_hole_is_eio(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    mbind(machine, task, addr, PAGE, PREFERRED, N(0), 0)
    touch(machine, task, addr, 2 * PAGE)
    munmap(machine, task, addr + 2 * PAGE, PAGE)
    assert errno_of(mbind, machine, task, addr, 4 * PAGE, BIND, N(1), STRICT) == "EIO"


def test_a_hole_right_behind_the_vma_of_a_misplaced_page_is_efault(
    machine: Machine, task: Task
) -> None:
    addr = touched(machine, task, "16KiB")
    munmap(machine, task, addr + 2 * PAGE, PAGE)
    assert errno_of(mbind, machine, task, addr, 4 * PAGE, BIND, N(1), STRICT) == "EFAULT"


def test_strict_counts_pages_that_are_shared_or_in_device_memory(
    machine: Machine, task: Task
) -> None:
    addr = touched(machine, task, "4KiB")
    fork(machine, task, "b")
    assert errno_of(mbind, machine, task, addr, PAGE, BIND, N(1), STRICT) == "EIO"
    addr = touched(machine, task, "4KiB")
    task.mm.vmas[1].flags |= Vm.IO
    assert errno_of(mbind, machine, task, addr, PAGE, BIND, N(1), STRICT | MOVE) == "EIO"
    mbind(machine, task, addr, PAGE, BIND, N(1), MOVE)
    assert nodes_of(machine, task, addr, "4KiB") == [[1, 0]]


# The policy


def test_policies_split_and_join_vmas(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "32KiB")
    mbind(machine, task, addr + 2 * PAGE, 2 * PAGE, BIND, N(1), 0)
    assert policies(task) == [(2, "None"), (2, "bind:1"), (4, "None")]
    mbind(machine, task, addr + 4 * PAGE, PAGE, BIND, N(1), 0)
    assert policies(task) == [(2, "None"), (3, "bind:1"), (3, "None")]
    mbind(machine, task, addr, 8 * PAGE, DEFAULT, N(), 0)
    assert policies(task) == [(8, "None")]


def test_halves_first_touched_apart_stay_apart_with_equal_policies(
    machine: Machine, task: Task
) -> None:
    addr = mapped(machine, task, "16KiB")
    mbind(machine, task, addr + 2 * PAGE, 2 * PAGE, PREFERRED, N(1), 0)
    touch(machine, task, addr, 4 * PAGE)
    mbind(machine, task, addr, 4 * PAGE, BIND, N(0, 1), 0)
    assert policies(task) == [(2, "bind:0-1"), (2, "bind:0-1")]


def test_a_vma_touched_before_it_was_split_becomes_one_again(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    mbind(machine, task, addr + 2 * PAGE, 2 * PAGE, PREFERRED, N(1), 0)
    mbind(machine, task, addr + 2 * PAGE, 2 * PAGE, DEFAULT, N(), 0)
    assert policies(task) == [(4, "None")]


def test_the_same_policy_again_changes_nothing(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    mbind(machine, task, addr, 4 * PAGE, BIND, N(1), 0)
    mbind(machine, task, addr + PAGE, PAGE, BIND, N(1), 0)
    assert policies(task) == [(4, "bind:1")]


def test_shared_memorys_policy_outlives_the_mapping(machine: Machine, task: Task) -> None:
    file = new_file(machine, "16KiB")
    addr = mapped(machine, task, "16KiB", space=file, is_shared=True)
    mbind(machine, task, addr, 4 * PAGE, BIND, N(1), 0)
    munmap(machine, task, addr, 4 * PAGE)
    other = new_task(machine, "b")
    addr = mapped(machine, other, "8KiB", space=file, is_shared=True, offset=4096)
    assert maps(machine, other) == ["bind:1 file=/data"]
    mbind(machine, other, addr, 2 * PAGE, DEFAULT, N(), 0)
    assert maps(machine, other) == ["bind:1 file=/data"]  # its VMA has none, so nothing changes


# The move: which pages lie wrong by each mode, and where they go


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
    check(machine)


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
def test_pages_move_where_a_fault_would_put_them(
    mode: int, first: int, expected: list[list[int]]
) -> None:
    machine = four_nodes()
    machine.weights = {1: 2}
    task = new_task(machine)
    addr = touched(machine, task, "32KiB")
    where = (addr + first * PAGE, (8 - first) * PAGE)
    mbind(machine, task, *where, mode, N(1, 2), MOVE)
    assert nodes_of(machine, task, addr, "32KiB") == expected
    check(machine)


def test_scattered_pages_move_in_turn_too() -> None:
    machine = four_nodes()
    task = new_task(machine)
    addr = mapped(machine, task, "32KiB")
    for page in (5, 2, 7, 0):
        touch(machine, task, addr + page * PAGE, PAGE)
    hold(machine, task, addr + 2 * PAGE)
    mbind(machine, task, addr, 8 * PAGE, INTERLEAVE, N(1, 2), MOVE)
    assert nodes_of(machine, task, addr, "32KiB") == [
        [1, 1],
        [1, -1],
        [1, 0],
        [2, -1],
        [1, 2],
        [1, -1],
        [1, 2],
    ]
    check(machine)


def test_shared_memory_moves_in_turn_from_its_inode() -> None:
    machine = four_nodes()
    task = new_task(machine)
    file = new_file(machine, "16KiB", inode=3)
    addr = touched(machine, task, "16KiB", space=file, is_shared=True)
    mbind(machine, task, addr, 4 * PAGE, INTERLEAVE, N(1, 2), MOVE)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 2], [1, 1]] * 2


def test_a_disk_files_pages_move_in_turn_from_the_start() -> None:
    machine = four_nodes()
    task = new_task(machine)
    addr = mapped(machine, task, "16KiB", space=new_file(machine, "16KiB", "ext4"), is_shared=True)
    touch(machine, task, addr, 4 * PAGE, write=False)
    mbind(machine, task, addr, 4 * PAGE, INTERLEAVE, N(1, 2), MOVE)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 1], [1, 2]] * 2


def test_shared_pages_stay_and_are_no_failure(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    fork(machine, task, "b")
    mbind(machine, task, addr, 4 * PAGE, BIND, N(1), STRICT | MOVE)
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 0]]


def test_move_all_moves_shared_pages_for_both(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    child = fork(machine, task, "b")
    mbind(machine, task, addr, 4 * PAGE, BIND, N(1), STRICT | MOVE_ALL)
    assert nodes_of(machine, child, addr, "16KiB") == [[4, 1]]


def test_a_pinned_page_stays_silently(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    hold(machine, task, addr + PAGE)
    mbind(machine, task, addr, 4 * PAGE, BIND, N(1), MOVE)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 1], [1, 0], [2, 1]]
    assert policies(task) == [(4, "bind:1")]


def test_a_pinned_page_is_eio_with_strict_and_the_policy_is_in_force(
    machine: Machine, task: Task
) -> None:
    addr = touched(machine, task, "16KiB")
    hold(machine, task, addr + PAGE)
    assert errno_of(mbind, machine, task, addr, 4 * PAGE, BIND, N(1), STRICT | MOVE) == "EIO"
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 1], [1, 0], [2, 1]]
    assert policies(task) == [(4, "bind:1")]


def test_a_file_mapped_twice_in_the_range_is_eio_though_all_moved(
    machine: Machine, task: Task
) -> None:
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
    call = (machine, task, addr, 1 << 20, BIND, N(1), flags)
    if answer:
        assert errno_of(mbind, *call) == answer
    else:
        mbind(*call)
    assert nodes_of(machine, task, addr, "1MiB") == [[211, 1], [45, 0]]
    assert machine.counters["pgmigrate_fail"] == 1
    check(machine)


def test_preferred_falls_back_onto_the_source_and_that_counts_as_moved(
    machine: Machine, task: Task
) -> None:
    addr = touched(machine, task, "1MiB")
    touched(machine, task, "3800KiB", node=1)
    mbind(machine, task, addr, 1 << 20, PREFERRED, N(1), STRICT | MOVE)
    assert machine.counters["pgmigrate_success"] == 256
    assert nodes_of(machine, task, addr, "1MiB") == [[18, 1], [238, 0]]
    check(machine)


def test_interleaved_targets_that_are_full_fall_back() -> None:
    machine = four_nodes("4MiB")
    task = new_task(machine)
    touched(machine, task, "3800KiB", node=1)
    addr = touched(machine, task, "256KiB")
    mbind(machine, task, addr, 256 << 10, INTERLEAVE, N(1, 2), STRICT | MOVE)
    assert machine.counters["pgmigrate_success"] == 64
    check(machine)


@pytest.mark.parametrize("is_scattered", [False, True], ids=["striped", "table"])
def test_part_of_an_interleaved_range_moves_in_turn(is_scattered: bool) -> None:
    machine = four_nodes()
    task = new_task(machine)
    addr = mapped(machine, task, "48KiB")
    set_mempolicy(machine, task, INTERLEAVE, N(0, 1, 2))
    for page in (7, 2, 0, 11, 5, 9, 1, 3, 10, 4, 8, 6) if is_scattered else (0,):
        touch(machine, task, addr + page * PAGE, PAGE if is_scattered else 12 * PAGE)
    mbind(machine, task, addr, 12 * PAGE, INTERLEAVE, N(2, 3), MOVE)
    found = [node for nr, node in nodes_of(machine, task, addr, "48KiB") for _ in range(nr)]
    # What lay on node 2 stays; the others go where a fault would put them.
    assert found == [2 if page % 3 == 2 else 2 + page % 2 for page in range(12)]
    check(machine)


def test_private_copies_of_shared_memory_move_in_turn_from_its_inode_too() -> None:
    machine = four_nodes()
    task = new_task(machine)
    file = new_file(machine, "16KiB", inode=3)
    addr = touched(machine, task, "16KiB", space=file)
    mbind(machine, task, addr, 4 * PAGE, INTERLEAVE, N(2, 3), MOVE)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 3], [1, 2], [1, 3], [1, 2]]
    check(machine)


def test_turns_are_taken_page_by_page_where_frames_differ() -> None:
    machine = four_nodes()
    task = new_task(machine)
    addr = mapped(machine, task, "48KiB")
    for page in (7, 2, 0, 11, 5, 9, 1, 3, 10, 4, 8, 6):
        touch(machine, task, addr + page * PAGE, PAGE)
    child = fork(machine, task, "b")
    for page in (1, 2, 6):
        touch(machine, child, addr + page * PAGE, PAGE)
    mbind(machine, task, addr, 12 * PAGE, INTERLEAVE, N(2, 3), MOVE_ALL)
    assert nodes_of(machine, task, addr, "48KiB") == [[1, 2], [1, 3]] * 6
    check(machine)


def test_held_pages_behind_one_in_turn_are_passed_over() -> None:
    machine = four_nodes()
    task = new_task(machine)
    addr = touched(machine, task, "2100KiB")
    hold(machine, task, addr + 3 * PAGE)
    mbind(machine, task, addr, 2100 << 10, INTERLEAVE, N(2, 3), MOVE)
    assert nodes_of(machine, task, addr, "24KiB") == [
        [1, 2],
        [1, 3],
        [1, 2],
        [1, 0],
        [1, 2],
        [1, 3],
    ]
    assert machine.counters["pgmigrate_success"] == 524
    check(machine)
