"""Who may migrate what, by migrate_pages and move_pages."""

import pytest

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Cap
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.migrate import check_flags, migrate_pages, move_pages
from pymigrate.syscalls.process import fork
from tests.conftest import errno_of, four_nodes, new_task, nodes_of, nodes_with, touched
from tests.unit.syscalls.conftest import outcome

N = Nodemask.of
ROOT, ALICE, BOB = 0, 1000, 1001


@pytest.mark.parametrize(
    ("caller", "target", "allowed"),
    [(ROOT, ALICE, True), (ALICE, ALICE, True), (ALICE, BOB, False), (ALICE, ROOT, False)],
)
def test_tasks_of_one_uid_and_root_have_access(
    machine: Machine, caller: int, target: int, allowed: bool
) -> None:
    ours, theirs = new_task(machine, "a", uid=caller), new_task(machine, "b", uid=target)
    addr = touched(machine, theirs, "4KiB")
    if allowed:
        assert migrate_pages(machine, ours, theirs, N(0), N(1)) == 0
        assert move_pages(machine, ours, theirs, [addr], None, 0).status == [1]
    else:
        assert errno_of(migrate_pages, machine, ours, theirs, N(0), N(1)) == "EPERM"
        assert errno_of(move_pages, machine, ours, theirs, [addr], None, 0) == "EPERM"


def test_access_is_checked_before_the_nodes(machine: Machine) -> None:
    ours, theirs = new_task(machine, "a", uid=ALICE), new_task(machine, "b", uid=BOB)
    assert errno_of(migrate_pages, machine, ours, theirs, N(), N()) == "EPERM"


@pytest.mark.parametrize(
    ("uid", "new", "answer"),
    [
        pytest.param(ROOT, N(1, 7), 0, id="root: nodes that do not exist are dropped"),
        pytest.param(ROOT, N(7), "EINVAL", id="root: none left"),
        pytest.param(ROOT, N(), "EINVAL", id="root: none given"),
        pytest.param(ALICE, N(1), 0, id="others: fine"),
        pytest.param(ALICE, N(1, 7), "EPERM", id="others: one that does not exist"),
        pytest.param(ALICE, N(), "EINVAL", id="others: none given"),
    ],
)
def test_the_new_nodes(machine: Machine, uid: int, new: Nodemask, answer: int | str) -> None:
    task = new_task(machine, uid=uid)
    touched(machine, task, "4KiB")
    assert outcome(migrate_pages, machine, task, task, N(0), new) == answer


def test_a_node_without_memory_is_eperm_or_dropped() -> None:
    machine = nodes_with("4MiB", "0", "4MiB")
    alice, root = new_task(machine, "a", uid=ALICE), new_task(machine, "b")
    assert errno_of(migrate_pages, machine, alice, alice, N(0), N(1)) == "EPERM"
    assert errno_of(migrate_pages, machine, root, root, N(0), N(1)) == "EINVAL"
    addr = touched(machine, root, "4KiB")
    assert migrate_pages(machine, root, root, N(0), N(1, 2)) == 0
    assert nodes_of(machine, root, addr, "4KiB") == [[1, 2]]


def test_no_old_node_is_nothing_to_do(machine: Machine) -> None:
    task = new_task(machine)
    addr = touched(machine, task, "4KiB")
    assert migrate_pages(machine, task, task, N(), N(1)) == 0
    assert nodes_of(machine, task, addr, "4KiB") == [[1, 0]]


@pytest.mark.parametrize(("uid", "moved"), [(ROOT, True), (ALICE, False)])
def test_only_root_moves_what_is_shared(machine: Machine, uid: int, moved: bool) -> None:
    task = new_task(machine, uid=uid)
    addr = touched(machine, task, "4KiB")
    fork(machine, task, "b")
    assert migrate_pages(machine, task, task, N(0), N(1)) == 0
    assert nodes_of(machine, task, addr, "4KiB") == [[1, 1 if moved else 0]]


def test_cap_sys_nice_alone_moves_what_is_shared(machine: Machine) -> None:
    task = new_task(machine, uid=ALICE)
    task.caps = int(Cap.SYS_NICE)
    addr = touched(machine, task, "4KiB")
    fork(machine, task, "b")
    assert migrate_pages(machine, task, task, N(0), N(1, 7)) == 0
    assert nodes_of(machine, task, addr, "4KiB") == [[1, 1]]


def test_ranks_are_those_of_the_sets_as_given() -> None:
    machine = four_nodes("4MiB")
    task = new_task(machine)
    addr = touched(machine, task, "4KiB", node=1)
    assert migrate_pages(machine, task, task, N(0, 1), N(2, 3)) == 0
    assert nodes_of(machine, task, addr, "4KiB") == [[1, 3]]


@pytest.mark.parametrize(
    ("uid", "flags", "errno"),
    [(ROOT, 1, "EINVAL"), (ROOT, 8, "EINVAL"), (ALICE, 4, "EPERM"), (ALICE, 12, "EINVAL")],
)
def test_flags_that_move_pages_refuses(machine: Machine, uid: int, flags: int, errno: str) -> None:
    task = new_task(machine, uid=uid)
    assert errno_of(check_flags, task, flags) == errno
    assert errno_of(move_pages, machine, task, task, [], None, flags) == errno


@pytest.mark.parametrize(("uid", "flags"), [(ROOT, 4), (ROOT, 6), (ALICE, 0), (ALICE, 2)])
def test_flags_that_move_pages_takes(machine: Machine, uid: int, flags: int) -> None:
    task = new_task(machine, uid=uid)
    assert move_pages(machine, task, task, [], [], flags) == (0, None, [])
