"""The system calls of NUMA placement, as a program makes them: pointers first, in kernel order."""

from __future__ import annotations

import struct
from array import array
from itertools import groupby

from pymigrate.errors import KernelError
from pymigrate.interface.noted import Noted
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.state.task import Cap, Task
from pymigrate.native.abi import signed
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls import mempolicy, migrate, process
from pymigrate.syscalls.checks import check_access
from pymigrate.uapi import MPOL_F_ADDR, MPOL_F_NODE, MPOL_MF_MOVE, MPOL_MF_MOVE_ALL
from pymigrate.units import MAX_NUMNODES, PAGE_SHIFT, PAGE_SIZE
from pymigrate.views.why import stayed

Args = tuple[int, ...]
_MAX_BITS = PAGE_SIZE * 8
_KNOWN_FLAGS = 7  # of get_mempolicy
_WORD = 64
_TOP = 1 << 47
_MAX_PAGES = 1 << 26  # of one move_pages(); the addresses alone take 512 MiB


def set_mempolicy(world: World, thread: Thread, args: Args) -> int:
    """set_mempolicy(mode, nodemask, maxnode)."""
    nodes = _nodes(thread, args[1], args[2])
    world.sync(thread)  # what was touched until now had the old policy
    mempolicy.set_mempolicy(world.machine, world.task(thread), signed(args[0]), nodes)
    return 0


def get_mempolicy(world: World, thread: Thread, args: Args) -> int:
    """get_mempolicy(mode, nodemask, maxnode, addr, flags)."""
    mode, mask, maxnode, addr, flags = args[:5]
    if mask and maxnode < _nr_node_ids(world):
        raise KernelError("EINVAL", f"maxnode {maxnode} is less than there are nodes")
    task = world.task(thread)
    if flags & MPOL_F_ADDR and flags <= _KNOWN_FLAGS:
        if not _is_known(task, addr >> PAGE_SHIFT):
            world.sync_range(thread, addr & -PAGE_SIZE, PAGE_SIZE)
    elif flags & MPOL_F_NODE:
        world.sync(thread)  # the turn of an interleave moves with each page
    answer = mempolicy.get_mempolicy(world.machine, task, addr, flags & 0xFFFFFFFF)
    value = answer.node if flags & MPOL_F_NODE else int(answer.mode) | answer.flags
    if mode:
        thread.write(mode, struct.pack("=i", value or 0))
    if mask:
        thread.write(mask, _mask_bytes(world, answer.nodes, maxnode))
    return 0


def mbind(world: World, thread: Thread, args: Args) -> int:
    """mbind(addr, len, mode, nodemask, maxnode, flags)."""
    addr, length, mode, mask, maxnode, flags = args
    nodes = _nodes(thread, mask, maxnode)
    task = world.note_credentials(thread)
    noted = Noted(world.machine, "mbind")
    if flags & (MPOL_MF_MOVE | MPOL_MF_MOVE_ALL):
        world.sync_all(thread)  # others may map the same pages
        noted.find_left = lambda stays: stayed.mbind_rows(noted.machine, task, addr, length, stays)
    else:
        world.sync_range(thread, addr & -PAGE_SIZE, min(length, _TOP))
    with noted.noting(world.machine.watch):
        mempolicy.mbind(world.machine, task, addr, length, signed(mode), nodes, flags & 0xFFFFFFFF)
    return 0


def set_mempolicy_home_node(world: World, thread: Thread, args: Args) -> int:
    """set_mempolicy_home_node(start, len, home_node, flags)."""
    addr, length, node, flags = args[:4]
    world.sync_range(thread, addr & -PAGE_SIZE, min(length, _TOP))
    task = world.task(thread)
    mempolicy.set_mempolicy_home_node(world.machine, task, addr, length, node, flags)
    return 0


def migrate_pages(world: World, thread: Thread, args: Args) -> int:
    """migrate_pages(pid, maxnode, old_nodes, new_nodes); returns how many pages stayed."""
    old, new = (_nodes(thread, pointer, args[1]) for pointer in args[2:4])
    caller = world.note_credentials(thread)
    target = _target(world, thread, signed(args[0]))
    world.sync_all(thread)
    machine = world.machine
    noted = Noted(machine, "migrate_pages", lambda stays: stayed.rows(machine, target, stays))
    with noted.noting(machine.watch):
        return migrate.migrate_pages(machine, caller, target, old, new)


def move_pages(world: World, thread: Thread, args: Args) -> int:
    """move_pages(pid, count, pages, nodes, status, flags)."""
    pid, count, pages, nodes, status, flags = args
    caller = world.note_credentials(thread)
    migrate.check_flags(caller, flags & 0xFFFFFFFF)
    target = _target(world, thread, signed(pid))
    check_access(caller, target)
    addrs = _array(thread, "Q", pages, count)
    wanted = _array(thread, "i", nodes, count) if nodes else None
    world.sync_all(thread)
    machine = world.machine
    noted = Noted(machine, "move_pages")
    with noted.noting(machine.watch):
        result = migrate.move_pages(machine, caller, target, addrs, wanted, flags & 0xFFFFFFFF)
        if wanted is not None:
            noted.find_left = lambda stays: stayed.move_pages_rows(
                machine, target, addrs, wanted, result, stays
            )
    _write_statuses(thread, status, result.status)
    if result.errno:
        raise KernelError(result.errno)
    return result.ret


def getcpu(world: World, thread: Thread, args: Args) -> int:
    """getcpu(cpu, node, unused)."""
    cpu = world.task(thread).cpu
    for pointer, value in ((args[0], cpu), (args[1], world.machine.node_of_cpu(cpu))):
        if pointer:
            thread.write(pointer, struct.pack("=I", value))
    return 0


def sched_getaffinity(world: World, thread: Thread, args: Args) -> int:
    """sched_getaffinity(pid, len, mask); returns how many bytes were written."""
    pid, length, mask = signed(args[0]), args[1] & 0xFFFFFFFF, args[2]
    needed = -(-(max(world.machine.cpus) + 1) // _WORD) * 8
    if length < needed or length % 8:
        raise KernelError("EINVAL", f"{length} bytes are no mask of the CPUs")
    cpus = world.find(pid, thread).cpus
    thread.write(mask, int(cpus).to_bytes(needed, "little"))
    return needed


def sched_setaffinity(world: World, thread: Thread, args: Args) -> int:
    """sched_setaffinity(pid, len, mask)."""
    pid, length = signed(args[0]), args[1] & 0xFFFFFFFF
    bits = int.from_bytes(thread.read(args[2], min(length, Cpumask.limit // 8)), "little")
    cpus = Cpumask(bits & int(world.machine.cpus))
    caller, task = world.note_credentials(thread), world.find(pid, thread)
    if caller.fsuid not in task.uids[:2] and not caller.has(Cap.SYS_NICE):
        raise KernelError("EPERM", f"process {pid} is of another user")
    other = world.threads.get(task.pid)
    if other is not None:
        world.sync(other)  # what was touched until now was touched on the old CPU
    process.sched_setaffinity(world.machine, task, cpus)
    return 0


def _is_known(task: Task, page: int) -> bool:
    """Whether *page* is there, and can be no other than the process's."""
    run = task.mm.page_table.at(page)
    return run is not None and bool(run.lanes and run.flags & (Pte.EXCLUSIVE | Pte.WRITE))


def _target(world: World, thread: Thread, pid: int) -> Task:
    """The task that a call on another process is about, with its credentials."""
    task = world.find(pid, thread)
    other = world.threads.get(task.pid)
    return task if other is None else world.note_credentials(other)


def _nr_node_ids(world: World) -> int:
    return max(world.machine.nodes) + 1


def _nodes(thread: Thread, pointer: int, maxnode: int) -> Nodemask:
    """The nodes of a mask of *maxnode* - 1 bits. Mirrors get_nodes().

    Raises KernelError EINVAL, EFAULT.
    """
    nr = (maxnode - 1) & (1 << 64) - 1
    if not nr or not pointer:
        return Nodemask()
    if nr > _MAX_BITS:
        raise KernelError("EINVAL", f"maxnode {maxnode} is more than a page of bits")
    data = thread.read(pointer, -(-nr // _WORD) * 8)
    bits = int.from_bytes(data, "little") & (1 << nr) - 1
    if bits >> MAX_NUMNODES:
        raise KernelError("EINVAL", f"there are no nodes from {MAX_NUMNODES} on")
    return Nodemask(bits)


def _mask_bytes(world: World, nodes: Nodemask, maxnode: int) -> bytes:
    """A mask as it is written to a caller who has room for *maxnode*.

    Mirrors copy_nodes_to_user().
    """
    room = -(-(maxnode - 1) // _WORD) * 8
    known = -(-_nr_node_ids(world) // _WORD) * 8
    return int(nodes).to_bytes(known, "little")[:room].ljust(min(room, PAGE_SIZE), b"\0")


def _array(thread: Thread, kind: str, addr: int, count: int) -> array[int]:
    if count > _MAX_PAGES:
        raise KernelError("ENOMEM", f"{count} pages are too many")
    values = array(kind)
    return array(kind, thread.read(addr, count * values.itemsize))


def _write_statuses(thread: Thread, addr: int, statuses: list[int | None]) -> None:
    """Write the statuses that there are; of some pages the kernel writes none."""
    at = 0
    for is_known, group in groupby(statuses, lambda status: status is not None):
        part = list(group)
        if is_known:
            thread.write(addr + 4 * at, array("i", [s for s in part if s is not None]).tobytes())
        at += len(part)
