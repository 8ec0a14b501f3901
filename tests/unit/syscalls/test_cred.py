"""As whom tasks act: users, capabilities, and who may look at whose memory."""

import pytest

from pymigrate.errors import KernelError
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import CAP_FULL, Cap, Cred, Task
from pymigrate.syscalls.checks import check_access
from pymigrate.syscalls.cred import capset, set_dumpable, setresuid
from pymigrate.syscalls.process import clone, fork
from tests.conftest import errno_of, new_task


def user(machine: Machine, name: str, uid: int) -> Task:
    return new_task(machine, name, uid=uid)


def may(caller: Task, target: Task, **how: bool) -> bool:
    try:
        check_access(caller, target, **how)
    except KernelError:
        return False
    return True


def test_ids_follow_from_the_real_user(machine: Machine) -> None:
    task = user(machine, "b", 7)
    assert (task.uids, task.fsuid, task.group, task.permitted_caps) == ((7, 7, 7), 7, 7, 0)


@pytest.mark.parametrize(
    ("given", "uids", "caps", "permitted"),
    [
        ((None, 1000, None), (0, 1000, 0), 0, CAP_FULL),
        ((1000, None, None), (1000, 0, 0), CAP_FULL, CAP_FULL),
        ((1000, 1000, 1000), (1000, 1000, 1000), 0, 0),
        ((None, None, None), (0, 0, 0), CAP_FULL, CAP_FULL),
        ((1, 2, 0), (1, 2, 0), 0, CAP_FULL),
    ],
)
def test_capabilities_go_with_root(
    machine: Machine,
    given: tuple[int | None, int | None, int | None],
    uids: tuple[int, int, int],
    caps: int,
    permitted: int,
) -> None:
    task = user(machine, "b", 0)
    setresuid(machine, task, *given)
    assert (task.uids, task.capabilities, task.permitted_caps) == (uids, caps, permitted)
    assert (task.group, task.is_dumpable) == (0, uids[1] == 0)


def test_they_come_back_with_the_effective_user(machine: Machine) -> None:
    task = user(machine, "b", 0)
    capset(machine, task, ["sys_nice"])
    setresuid(machine, task, None, 1000, None)
    assert not task.has(Cap.SYS_PTRACE)
    setresuid(machine, task, None, 0, None)
    assert task.has(Cap.SYS_PTRACE)
    assert not task.has(Cap.SYS_NICE)


def test_others_only_change_places(machine: Machine) -> None:
    task = user(machine, "b", 1000)
    task.cred = Cred(1000, 1001, 1002)
    setresuid(machine, task, 1002, 1000, 1001)
    assert task.uids == (1002, 1000, 1001)
    assert errno_of(setresuid, machine, task, None, 0, None) == "EPERM"
    assert errno_of(setresuid, machine, task, 1003, None, None) == "EPERM"
    assert task.uids == (1002, 1000, 1001)


@pytest.mark.parametrize(
    ("cred", "by_call", "by_file"),
    [
        (Cred(1000), True, True),
        (Cred(1000, 1001, 1001, 1000), True, False),
        (Cred(1001, 1000, 1000, 1000), False, True),
        (Cred(1001), False, False),
        (Cred(1000, gid=5), False, False),
        (Cred(0), True, True),
        (Cred(0, 1001, caps=0, permitted=CAP_FULL), False, False),
        (Cred(0, caps=0), False, False),
        (Cred(1001, caps=Cap.SYS_PTRACE), True, True),
        (Cred(1001, caps=Cap.SYS_NICE), False, False),
    ],
)
def test_calls_look_at_the_real_user_and_files_at_the_effective_one(
    machine: Machine, cred: Cred, by_call: bool, by_file: bool
) -> None:
    target, caller = user(machine, "b", 1000), user(machine, "c", 0)
    caller.cred = cred
    assert (may(caller, target), may(caller, target, for_file=True)) == (by_call, by_file)


@pytest.mark.parametrize(
    "cred", [Cred(1000, 1001), Cred(1000, suid=1001), Cred(1001, 1000, 1000), Cred(1000, gid=7)]
)
def test_all_users_of_the_target_count(machine: Machine, cred: Cred) -> None:
    target, caller = user(machine, "b", 0), user(machine, "c", 1000)
    target.cred = cred
    assert not may(caller, target)


def test_permitted_capabilities_of_the_target_count(machine: Machine) -> None:
    target, caller = user(machine, "b", 1000), user(machine, "c", 1000)
    target.cred = Cred(1000, caps=0, permitted=Cap.SYS_NICE)
    assert not may(caller, target)
    caller.cred = Cred(1000, caps=0, permitted=Cap.SYS_NICE)
    assert may(caller, target)
    assert not may(caller, target, for_file=True)


def test_dumpable_is_said_of_memory(machine: Machine) -> None:
    task, caller = user(machine, "b", 1000), user(machine, "c", 1000)
    thread = clone(machine, task, "t")
    set_dumpable(machine, thread, False)
    child = fork(machine, task, "f")
    assert not may(caller, task)
    assert not may(caller, child)
    assert may(thread, task)
    set_dumpable(machine, task, True)
    assert (may(caller, thread), may(caller, child)) == (True, False)
