"""From what is asked to the calls that do it in one piece."""

from __future__ import annotations

import re

from pymigrate.arguments import ModeAndNodes
from pymigrate.errors import KernelError
from pymigrate.mm.calls.cgroup import processes_below
from pymigrate.mm.calls.mempolicy import node_pairs
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.plan.calls import Mbind, MigratePages, Offline, SetMems
from pymigrate.plan.plan import Goal
from pymigrate.units import END_OF_MEMORY, PAGE_SHIFT, parse_size


def parse_time(text: str) -> float:
    """Microseconds of "20ms", "500us" or "1.5s". Raises ValueError.

    >>> parse_time("20ms"), parse_time("1.5s")
    (20000.0, 1500000.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s)", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time; expected one such as 20ms, 500us, 1s")
    return float(match[1]) * {"us": 1.0, "ms": 1e3, "s": 1e6}[match[2]]


def parse_rate(text: str) -> int:
    """Bytes a second of "2GiB/s". Raises ValueError.

    >>> parse_rate("64MiB/s")
    67108864
    """
    size, slash, second = text.strip().partition("/")
    if slash and second != "s":
        raise ValueError(f"{text!r} is not a rate; expected one such as 2GiB/s")
    return parse_size(size)


def to_nodes(machine: Machine, uid: int, task: Task, old: Nodemask | None, new: Nodemask) -> Goal:
    """The pages of a process go from nodes *old* (None: all others) to nodes *new*."""
    old = machine.memory_nodes - new if old is None else old
    pairs = node_pairs(old, new, Nodemask.collect(machine.nodes))
    wanted = Nodemask.collect(target for _, target in pairs)
    source = f"from node {old}" if old else "from no other node"
    title = f"plan: process {task.pid} ({task.name}) {source} to node {new or '-'}"
    calls = (MigratePages(task.pid, old, new),)
    return Goal(title, uid, (task.pid,), wanted or new, calls)


def to_policy(machine: Machine, uid: int, task: Task, policy: ModeAndNodes, text: str) -> Goal:
    """All memory of a process gets a policy, by calls of its own, and its pages follow."""
    move_all = machine.shell_of(uid).caps is None and uid == 0
    ranges: list[list[int]] = []
    for _, a, b in task.mm.parts(0, END_OF_MEMORY):
        if ranges and ranges[-1][1] == a:
            ranges[-1][1] = b
        else:
            ranges.append([a, b])
    calls = tuple(
        Mbind(task.pid, a << PAGE_SHIFT, b - a << PAGE_SHIFT, *policy, move_all) for a, b in ranges
    )
    title = f"plan: process {task.pid} ({task.name}) with policy {text}"
    wanted = policy.nodes & machine.memory_nodes or machine.memory_nodes
    return Goal(title, uid, (task.pid,), wanted, calls)


def to_mems(machine: Machine, uid: int, name: str, mems: Nodemask) -> Goal:
    """A cpuset gets other nodes, and the memory of its tasks follows. Raises KernelError ENOENT."""
    if name not in machine.cpusets:
        raise KernelError("ENOENT", f"there is no cpuset {name}")
    pids = tuple(task.pid for task in processes_below(machine, name))
    title = f"plan: cpuset {name or '/'} with nodes {mems or '-'}"
    return Goal(title, uid, pids, mems & machine.memory_nodes, (SetMems(name, mems),))


def without_node(machine: Machine, uid: int, node: int) -> Goal:
    """A node's memory is taken away, and what lies on it goes elsewhere. Raises KernelError."""
    if node not in machine.memory_nodes:
        raise KernelError("ENODEV", f"node {node} has no memory")
    pids = tuple(task.pid for task in machine.processes)
    wanted = machine.memory_nodes - Nodemask.of(node)
    return Goal(f"plan: node {node} without its memory", uid, pids, wanted, (Offline(node),))
