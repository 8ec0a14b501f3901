"""Who may inspect another process, and who may write what is root's."""

import pytest

from pymigrate.mm.state.task import Cap
from pymigrate.syscalls.checks import check_access, check_root
from tests.conftest import errno_of, new_task, two_nodes

ALICE, BOB = 1000, 1001


@pytest.mark.parametrize(
    ("ours", "theirs", "allowed"),
    [
        pytest.param({"uid": ALICE}, {"uid": ALICE}, True, id="one uid"),
        pytest.param({"uid": ALICE}, {"uid": BOB}, False, id="two uids"),
        pytest.param({"uid": 0}, {"uid": BOB}, True, id="root"),
        pytest.param(
            {"uid": ALICE, "caps": int(Cap.SYS_PTRACE)}, {"uid": BOB}, True, id="CAP_SYS_PTRACE"
        ),
        pytest.param(
            {"uid": ALICE, "caps": int(Cap.SYS_NICE)}, {"uid": BOB}, False, id="CAP_SYS_NICE"
        ),
        pytest.param(
            {"uid": ALICE}, {"uid": ALICE, "is_dumpable": False}, False, id="not dumpable"
        ),
        pytest.param(
            {"uid": 0}, {"uid": ALICE, "is_dumpable": False}, True, id="root, not dumpable"
        ),
        pytest.param(
            {"uid": ALICE},
            {"uid": ALICE, "caps": int(Cap.SYS_NICE)},
            False,
            id="more capabilities than the caller",
        ),
        pytest.param({"uid": 0, "caps": 0}, {"uid": BOB}, False, id="uid 0 without capabilities"),
    ],
)
def test_who_may_inspect_whom(ours: dict[str, int], theirs: dict[str, int], allowed: bool) -> None:
    machine = two_nodes()
    caller, target = new_task(machine, "a"), new_task(machine, "b")
    for task, state in ((caller, ours), (target, theirs)):
        for name, value in state.items():
            setattr(task, name, value)
    if allowed:
        check_access(caller, target)
    else:
        assert errno_of(check_access, caller, target) == "EPERM"


def test_a_task_may_always_inspect_itself() -> None:
    task = new_task(two_nodes(), uid=ALICE)
    task.is_dumpable = False
    check_access(task, task)


def test_only_root_writes_what_is_roots_whatever_its_capabilities() -> None:
    task = new_task(two_nodes(), uid=ALICE)
    task.caps = int(Cap.SYS_ADMIN)
    assert errno_of(check_root, task, "root's") == "EACCES"
    task.uid, task.caps = 0, 0
    check_root(task, "root's")
