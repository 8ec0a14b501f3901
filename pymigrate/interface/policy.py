"""Makes the calls about policies, and those that move pages; see the table."""

from __future__ import annotations

from collections.abc import Sequence

from pymigrate.interface.declare import Answer
from pymigrate.interface.made import runs
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import FindLeft, Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls import mempolicy as _mempolicy
from pymigrate.syscalls import migrate as _migrate
from pymigrate.uapi import MODE_FLAGS, MODE_WORDS, MPOL_MF_MOVE, MPOL_MF_MOVE_ALL, words_of
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.why import stayed


def left_by_mbind(
    machine: Machine, task: Task, addr: int, length: int, mode: int, nodes: Nodemask, flags: int
) -> FindLeft | None:
    """What finds the pages that mbind() leaves; None where it is to move none."""
    if not flags & (MPOL_MF_MOVE | MPOL_MF_MOVE_ALL):
        return None
    return lambda stays: stayed.mbind_rows(machine, task, addr, length, stays)


def get_mempolicy(machine: Machine, task: Task, flags: int, addr: int | None) -> Answer:
    """A policy in the words of the calls, and `node`, which is None if it was not asked for."""
    answer = _mempolicy.get_mempolicy(machine, task, addr or 0, flags)
    return {
        "node": answer.node,
        "mode": MODE_WORDS[answer.mode],
        "nodes": str(answer.nodes),
        "mode_flags": words_of(answer.flags, MODE_FLAGS),
    }


def migrate_pages(
    machine: Machine, caller: Task, target: Task, old: Nodemask, new: Nodemask
) -> Answer:
    """Move a task's pages; `ret` is how many folios stayed."""
    return {"ret": _migrate.migrate_pages(machine, caller, target, old, new)}


def move_pages(
    machine: Machine,
    caller: Task,
    target: int,
    addr: int,
    length: int,
    stride: int,
    pages: Sequence[int] | None,
    nodes: int | Sequence[int] | None,
    flags: int,
) -> Answer:
    """Move the pages at each stride of a part, or those numbered from its beginning, of a pid.

    `status` is as runs [count, value], None where nothing was written; after an error only what
    was written.
    """
    if pages is not None:
        addrs = [addr + (page << PAGE_SHIFT) for page in pages]
    else:
        addrs = list(range(addr, addr + length, stride))
    wanted = (nodes,) * len(addrs) if isinstance(nodes, int) else nodes
    _migrate.check_flags(caller, flags)
    result = _migrate.move_pages(machine, caller, machine.task(target), addrs, wanted, flags)
    status = result.status
    if result.ret == -1:
        status = [value for value in status if value is not None]
    return {"ret": result.ret, "errno": result.errno, "status": runs(status)}
