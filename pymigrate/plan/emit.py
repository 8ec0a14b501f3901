"""A plan for the real host: numactl's commands, or a program of its own that makes the calls."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

from pymigrate.mm.state.machine import Machine
from pymigrate.plan.calls import Call, Mbind, MigratePages, MovePages, Offline, SetMems
from pymigrate.plan.plan import Plan, PlanError
from pymigrate.plan.script import SCRIPT
from pymigrate.units import PAGE_SHIFT

_MBIND = (
    "mbind() sets the policy of its caller alone, so no program can do it for another process;"
    " let it call mbind() itself, or start it with numactl"
)


def emit(machine: Machine, plan: Plan, language: str) -> str:
    """The calls of *plan* in *language*: "sh", "python" or "json".

    Raises PlanError for what it cannot say.
    """
    return {"sh": _sh, "python": _python, "json": _json}[language](machine, plan)


def _sh(machine: Machine, plan: Plan) -> str:
    lines = ["#!/bin/sh -e", f"# {plan.goal.title}"]
    for call in plan.calls:
        lines += _command(machine, call)
    return "".join(f"{line}\n" for line in lines)


def _command(machine: Machine, call: Call) -> Iterator[str]:
    match call:
        case MigratePages(pid, old, new):
            comm = shlex.quote(machine.tasks[pid].comm)
            yield f'test "$(cat /proc/{pid}/comm)" = {comm}'
            yield f"migratepages {pid} {old} {new}"
        case SetMems():
            yield f"echo {call.mems} > {shlex.quote(_mems_path(machine, call))}"
        case Offline(node):
            yield "failed=0"
            yield f"for block in /sys/devices/system/node/node{node}/memory[0-9]*; do"
            yield '    if grep -q online "$block/state"; then'
            yield '        echo offline > "$block/state" || failed=1'
            yield "    fi"
            yield "done"
            yield "exit $failed"
        case MovePages():
            raise PlanError("numactl's commands move whole processes; --emit python moves chunks")
        case _:
            raise PlanError(_MBIND)


def _python(machine: Machine, plan: Plan) -> str:
    if any(isinstance(call, Mbind) for call in plan.calls):
        raise PlanError(_MBIND)
    chunks = [call for call in plan.calls if isinstance(call, MovePages)]
    if not chunks and not plan.limits.are_set:
        raise PlanError("a plan in one piece is one command: --emit sh, or cut it by --max-pause")
    comms = {call.pid: machine.tasks[call.pid].comm for call in chunks}
    flags = {call.move_all for call in chunks}
    return SCRIPT.format(
        title=plan.goal.title,
        comms=repr(comms),
        move_all=flags == {True},
        rate=plan.limits.rate,
        rests=bool(plan.limits.max_pause),
        calls="".join(f"    {row},\n" for call in plan.calls for row in _rows(machine, call)),
    )


def _rows(machine: Machine, call: Call) -> Iterator[str]:
    """*call* as the program has it: a chunk, or writes to files."""
    match call:
        case MovePages():
            yield f"({call.pid}, {call.node}, {call.nr << PAGE_SHIFT}, {_ranges(call)})"
        case SetMems():
            yield repr((_mems_path(machine, call), str(call.mems)))
        case Offline(_, blocks):
            for block in blocks:
                yield repr((f"/sys/devices/system/memory/memory{block}/state", "offline"))


def _mems_path(machine: Machine, call: SetMems) -> str:
    root = "/sys/fs/cgroup/cpuset" if machine.release.cpuset_v1 else "/sys/fs/cgroup"
    return f"{root}/{call.name}/cpuset.mems"


def _ranges(call: MovePages) -> str:
    """The ranges of a call as a tuple of first address, number of folios, and distance."""
    rows = (
        f"({part.start << PAGE_SHIFT:#x}, {len(part)}, {part.step << PAGE_SHIFT:#x})"
        for part in call.pages
    )
    return f"({', '.join(rows)},)"


def _json(machine: Machine, plan: Plan) -> str:
    shown = {
        "schema": 1,
        "plan": plan.goal.title,
        "max_pause_us": plan.limits.max_pause,
        "limit": plan.limits.rate,
        "calls": [_object(machine, call) for call in plan.calls],
    }
    return json.dumps(shown, indent=1) + "\n"


def _object(machine: Machine, call: Call) -> dict[str, object]:
    match call:
        case MigratePages(pid, old, new):
            return {
                "call": "migrate_pages",
                "pid": pid,
                "comm": machine.tasks[pid].comm,
                "from": str(old),
                "to": str(new),
            }
        case MovePages(pid, node, pages, move_all, nr):
            return {
                "call": "move_pages",
                "pid": pid,
                "comm": machine.tasks[pid].comm,
                "node": node,
                "move_all": move_all,
                "bytes": nr << PAGE_SHIFT,
                "ranges": [
                    {
                        "address": f"{part.start << PAGE_SHIFT:#x}",
                        "folios": len(part),
                        "step": part.step << PAGE_SHIFT,
                    }
                    for part in pages
                ],
            }
        case Mbind(pid, addr, length, mode, nodes, move_all):
            return {
                "call": "mbind",
                "pid": pid,
                "comm": machine.tasks[pid].comm,
                "address": f"{addr:#x}",
                "length": length,
                "mode": mode,
                "nodes": str(nodes),
                "move_all": move_all,
            }
        case SetMems(name, mems):
            return {"call": "cpuset.mems", "cpuset": name, "mems": str(mems)}
        case Offline(node, blocks):
            return {"call": "offline", "node": node} | ({"blocks": [*blocks]} if blocks else {})
