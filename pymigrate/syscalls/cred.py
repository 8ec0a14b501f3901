"""setresuid(2), capset(2), prctl(2): as whom a task acts, and whether others may inspect it."""

from collections.abc import Sequence

from pymigrate.errors import KernelError
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import CAPABILITIES, Cap, Cred, Task


def setresuid(
    machine: Machine, task: Task, ruid: int | None, euid: int | None, suid: int | None
) -> None:
    """Change *task*'s real, effective and saved user, those that are given.

    Its group stays. With the last of them that is 0 go its capabilities; they are effective while
    the effective user is 0. A task whose effective user changes is not dumpable any more.

    Raises KernelError EPERM for users that are none of the three, without CAP_SETUID. Mirrors
    __sys_setresuid(), cap_emulate_setxuid() and commit_creds().
    """
    old, given = task.uids, (ruid, euid, suid)
    if any(id_ not in (None, *old) for id_ in given) and not task.has(Cap.SETUID):
        raise KernelError("EPERM", "only who has CAP_SETUID may become another user")
    new = [before if id_ is None else id_ for id_, before in zip(given, old, strict=True)]
    caps, permitted = task.capabilities, task.permitted_caps
    if 0 in old and 0 not in new:
        caps = permitted = 0
    elif old[1] == 0 and new[1] != 0:
        caps = 0
    elif old[1] != 0 and new[1] == 0:
        caps = permitted
    task.cred = Cred(new[0], new[1], new[2], task.group, caps, permitted)
    if old[1] != new[1]:
        set_dumpable(machine, task, False)


def capset(_: Machine, task: Task, dropped: Sequence[str]) -> None:
    """Take capabilities from *task*, effective and permitted ones, by their words.

    Mirrors cap_capset().
    """
    bits = sum(CAPABILITIES[word] for word in set(dropped))
    task.caps, task.permitted = task.capabilities & ~bits, task.permitted_caps & ~bits


def set_dumpable(machine: Machine, task: Task, is_dumpable: bool) -> None:
    """PR_SET_DUMPABLE: whether others of its user may inspect *task*'s memory.

    Mirrors set_dumpable(), which is about the memory, and so about all that share it.
    """
    for other in (task, *machine.tasks.values()):
        if other.mm is task.mm:
            other.is_dumpable = is_dumpable
