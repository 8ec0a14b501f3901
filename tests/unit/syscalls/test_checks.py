"""Who may inspect another process, and who may write what is root's."""

import pytest

from pymigrate.mm.state.task import Cap
from pymigrate.syscalls.checks import check_access, check_root
from tests.conftest import errno_of, new_task, two_nodes
from tests.unit.syscalls.conftest import outcome

ALICE, BOB = 1000, 1001
PTRACE, NICE = int(Cap.SYS_PTRACE), int(Cap.SYS_NICE)


@pytest.mark.parametrize(
    ("ours", "theirs", "answer"),
    [
        pytest.param({"uid": ALICE}, {"uid": ALICE}, None, id="one uid"),
        pytest.param({"uid": ALICE}, {"uid": BOB}, "EPERM", id="two uids"),
        pytest.param({"uid": 0}, {"uid": BOB}, None, id="root"),
        pytest.param({"uid": ALICE, "caps": PTRACE}, {"uid": BOB}, None, id="CAP_SYS_PTRACE"),
        pytest.param({"uid": ALICE, "caps": NICE}, {"uid": BOB}, "EPERM", id="CAP_SYS_NICE"),
        pytest.param(
            {"uid": ALICE}, {"uid": ALICE, "is_dumpable": False}, "EPERM", id="not dumpable"
        ),
        pytest.param(
            {"uid": 0}, {"uid": ALICE, "is_dumpable": False}, None, id="root, not dumpable"
        ),
        pytest.param(
            {"uid": ALICE},
            {"uid": ALICE, "caps": NICE},
            "EPERM",
            id="more capabilities than the caller",
        ),
        pytest.param({"uid": 0, "caps": 0}, {"uid": BOB}, "EPERM", id="uid 0 without capabilities"),
    ],
)
def test_who_may_inspect_whom(
    ours: dict[str, int], theirs: dict[str, int], answer: str | None
) -> None:
    machine = two_nodes()
    caller, target = new_task(machine, "a"), new_task(machine, "b")
    for task, state in ((caller, ours), (target, theirs)):
        for name, value in state.items():
            setattr(task, name, value)
    assert outcome(check_access, caller, target) == answer


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
