"""Makes the calls of tasks on memory, and about policies; see the table for what they take."""

from __future__ import annotations

from collections.abc import Sequence

from pymigrate.errors import KernelError, UnsupportedError
from pymigrate.interface.declare import Answer
from pymigrate.interface.made import runs
from pymigrate.mm.base.memmap import Busy
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine, find_file
from pymigrate.mm.state.task import Cap, FindLeft, Task
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls import drivers, files, gup, mempolicy, migrate, process
from pymigrate.syscalls import mmap as _mmap
from pymigrate.syscalls import mremap as _mremap
from pymigrate.uapi import (
    MODE_FLAGS,
    MODE_WORDS,
    MPOL_MF_MOVE,
    MPOL_MF_MOVE_ALL,
    MREMAP_FIXED,
    words_of,
)
from pymigrate.units import PAGE_SHIFT, PAGE_SIZE
from pymigrate.views.why import stayed


def mmap(  # its arguments are those that a step has
    machine: Machine,
    task: Task,
    name: str,
    length: int,
    prot: str,
    shared: bool,
    file: str | None,
    offset: int,
    populate: bool,
    hugetlb: bool,
    secretmem: bool,
    align: int,
    over: int | None,
    noreplace: bool,
) -> Answer:
    """Map memory at an address of the machine's choice, or *over* what is at an address.

    Raises ValueError for no such file.
    """
    addr = _mmap.place_region(machine, task, name, length, align, over)
    space = _file(machine, file) if file else None
    if secretmem:
        if space is not None:
            raise KernelError("EINVAL", "secret memory is of no file of the scenario")
        space = _mmap.memfd_secret(machine, length)
    _mmap.mmap(
        machine,
        task,
        addr,
        length,
        prot,
        is_shared=shared,
        space=space,
        offset=offset,
        populate=populate,
        hugetlb=hugetlb,
        noreplace=noreplace,
    )
    return {"address": f"{addr:#x}"}


def mremap(
    machine: Machine,
    task: Task,
    addr: int,
    length: int,
    size: int,
    name: str,
    flags: int,
    over: int | None,
    align: int,
) -> Answer:
    """Let a part grow, shrink, or move: over what is at an address, or behind all regions.

    An address counts for nothing without MREMAP_FIXED.
    """
    where = over if flags & MREMAP_FIXED else None
    room = _mmap.place_region(machine, task, name, size, align, where)
    at = _mremap.mremap(machine, task, addr, length, size, flags, new_addr=room, room=room)
    _mmap.name_region(machine, task, name, at, size)
    return {"address": f"{at:#x}"}


def ftruncate(machine: Machine, task: Task, file: str, size: int) -> Answer:
    """Let a file have another size. Raises ValueError for no such file."""
    files.ftruncate(machine, task, _file(machine, file), size)
    return {}


def punch_hole(machine: Machine, task: Task, file: str, offset: int, length: int) -> Answer:
    """Drop a part of a file. Raises ValueError for no such file."""
    files.fallocate_punch_hole(machine, task, _file(machine, file), offset, length)
    return {}


def unlink(machine: Machine, _task: Task, file: str) -> Answer:
    """Take a file's name away. Raises ValueError for no such file."""
    files.unlink(machine, _file(machine, file))
    return {}


def _file(machine: Machine, name: str) -> AddressSpace:
    space = find_file(machine, name)
    if space is None:
        raise ValueError(f"there is no file {name!r}")
    return space


MAX_TOUCHED = 1 << 20  # pages that are touched one by one; without a stride it is all at once


def touch(
    machine: Machine,
    task: Task,
    addr: int,
    length: int,
    write: bool,
    stride: int,
    seconds: float | None,
) -> Answer:
    """Access a part; `signal` is None if none came. Raises UnsupportedError for too many."""
    if stride > PAGE_SIZE and length // stride > MAX_TOUCHED:
        raise UnsupportedError(
            f"{length // stride} accesses with a stride; expected at most {MAX_TOUCHED}"
        )
    signal = process.touch(machine, task, addr, length, write, stride=stride, seconds=seconds or 0)
    return {"signal": signal}


def pin(machine: Machine, task: Task, addr: int, length: int, kind: str) -> Answer:
    """Pin a part."""
    gup.pin(machine, task, addr, length, kind == "long")
    return {}


def unpin(machine: Machine, task: Task, addr: int, length: int, kind: str) -> Answer:
    """Drop a pin."""
    gup.unpin(machine, task, addr, length, kind == "long")
    return {}


def busy(
    machine: Machine, task: Task, addr: int, length: int, kind: str, passes: int | None
) -> Answer:
    """Let work on pages begin, or end."""
    work = None if kind == "none" else Busy(kind)
    gup.work_on(machine, task, addr, length, work, -1 if passes is None else passes)
    return {}


def migrate_vma(machine: Machine, task: Task, addr: int, length: int, to: str) -> Answer:
    """Move a part to a device, or back; how many pages moved, and how many did not."""
    return dict(drivers.migrate_vma(machine, task, addr, length, to)._asdict())


def fork(machine: Machine, task: Task, name: str) -> Answer:
    """Make a child; `pid` is the child's."""
    return {"pid": process.fork(machine, task, name).pid}


def clone(machine: Machine, task: Task, name: str) -> Answer:
    """Make a thread; `pid` is the thread's."""
    return {"pid": process.clone(machine, task, name).pid}


def start(machine: Machine, caller: Task, name: str, comm: str | None) -> Answer:
    """Start a process; `pid` is its own."""
    return {"pid": process.start(machine, caller, name, comm).pid}


def sched_setaffinity(machine: Machine, caller: Task, task: Task, cpus: Cpumask) -> Answer:
    """Bind a task to CPUs. Raises KernelError EPERM if *caller* is neither its owner nor root."""
    if caller.fsuid not in task.uids[:2] and not caller.has(Cap.SYS_NICE):
        raise KernelError("EPERM", "only its owner and root may bind a process to CPUs")
    process.sched_setaffinity(machine, task, cpus)
    return {}


def left_by_mbind(
    machine: Machine, task: Task, addr: int, length: int, mode: int, nodes: Nodemask, flags: int
) -> FindLeft | None:
    """What finds the pages that mbind() leaves; None where it is to move none."""
    if not flags & (MPOL_MF_MOVE | MPOL_MF_MOVE_ALL):
        return None
    return lambda stays: stayed.mbind_rows(machine, task, addr, length, stays)


def get_mempolicy(machine: Machine, task: Task, flags: int, addr: int | None) -> Answer:
    """A policy in the words of the calls, and `node`, which is None if it was not asked for."""
    answer = mempolicy.get_mempolicy(machine, task, addr or 0, flags)
    return {
        "node": answer.node,
        "mode": MODE_WORDS[answer.mode],
        "nodes": str(answer.nodes),
        "mode_flags": words_of(answer.flags, MODE_FLAGS),
    }


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
        addrs: Sequence[int] = [addr + (page << PAGE_SHIFT) for page in pages]
    else:
        addrs = range(addr, addr + length, stride)
    wanted = (nodes,) * len(addrs) if isinstance(nodes, int) else nodes
    migrate.check_flags(caller, flags)
    task = machine.task(target)
    result = migrate.move_pages(machine, caller, task, addrs, wanted, flags)
    status = result.status
    if result.ret == -1:
        status = [value for value in status if value is not None]
    answer: Answer = {"ret": result.ret, "errno": result.errno, "status": runs(status)}
    if result.errno:
        answer["why"] = stayed.why_ended(machine, task, result.errno, wanted or ())
    return answer
