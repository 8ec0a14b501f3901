"""The calls that a plan is made of, as values: made on the simulated machine, or written out."""

from __future__ import annotations

from pymigrate.errors import KernelError
from pymigrate.interface.noted import acting_as
from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Nodemask
from pymigrate.records import NamedTuple
from pymigrate.syscalls import cpuset, memory_blocks, mempolicy, migrate
from pymigrate.uapi import MPOL_MF_MOVE, MPOL_MF_MOVE_ALL
from pymigrate.units import PAGE_SHIFT


class MigratePages(NamedTuple):
    """migrate_pages(): a process's pages go from nodes to nodes, paired by rank."""

    pid: int
    old: Nodemask
    new: Nodemask


class MovePages(NamedTuple):
    """move_pages(): folios go to *node*, named by one of their *pages* each, by number."""

    pid: int
    node: int
    pages: tuple[range, ...]
    move_all: bool
    nr: int  # base pages of the folios


class Mbind(NamedTuple):
    """mbind() that the process makes itself: a range gets a policy, and its pages follow."""

    pid: int
    addr: int
    length: int
    mode: int
    nodes: Nodemask
    move_all: bool


class SetMems(NamedTuple):
    """A write to cpuset.mems: memory of all tasks of the cpuset follows."""

    name: str
    mems: Nodemask


class Offline(NamedTuple):
    """Memory blocks of a node go offline, all if none is named, one after the other."""

    node: int
    blocks: tuple[int, ...] = ()


Call = MigratePages | MovePages | Mbind | SetMems | Offline


def make(machine: Machine, uid: int, call: Call) -> list[str]:
    """Make *call* as user *uid*; what became of memory blocks that stay online, else nothing.

    Raises KernelError.
    """
    shell = machine.shell_of(uid)
    match call:
        case MigratePages(pid, old, new):
            migrate.migrate_pages(machine, shell, machine.task(pid), old, new)
        case MovePages(pid, node, pages, move_all, _):
            addrs = [page << PAGE_SHIFT for part in pages for page in part]
            flags = MPOL_MF_MOVE_ALL if move_all else MPOL_MF_MOVE
            task, nodes = machine.task(pid), [node] * len(addrs)
            answer = migrate.move_pages(machine, shell, task, addrs, nodes, flags)
            if answer.errno and answer.errno != "ENOMEM":
                raise KernelError(answer.errno, f"pages of process {pid} cannot go to node {node}")
        case Mbind(pid, addr, length, mode, nodes, move_all):
            flags = MPOL_MF_MOVE_ALL if move_all else MPOL_MF_MOVE
            with acting_as(machine.task(pid), uid) as task:
                mempolicy.mbind(machine, task, addr, length, mode, nodes, flags)
        case SetMems(name, mems):
            cpuset.change(machine, shell, name, None, mems)
        case Offline(node, blocks):
            done = memory_blocks.offline(machine, shell, node, blocks or None)
            return [
                f"memory{each.number}: {each.error}: {each.error.why}"
                for each in done
                if each.error
            ]
    return []
