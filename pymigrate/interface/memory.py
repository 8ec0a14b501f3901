"""Makes the calls of tasks on their own memory; see the table for what they take and answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.errors import KernelError
from pymigrate.mm.base.memmap import Busy
from pymigrate.mm.state.machine import find_file
from pymigrate.syscalls import devices, gup, process
from pymigrate.syscalls import madvise as _madvise
from pymigrate.syscalls import mmap as _mmap

if TYPE_CHECKING:
    from pymigrate.interface.declare import Answer, Range
    from pymigrate.mm.state.machine import Machine
    from pymigrate.mm.state.task import Task
    from pymigrate.nodemask import Cpumask


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
) -> Answer:
    """Map memory at an address of the machine's choice. Raises ValueError for no such file."""
    addr = _mmap.place_region(machine, task, name, length, align)
    space = find_file(machine, file) if file else None
    if file and space is None:
        raise ValueError(f"there is no file {file!r}")
    if secretmem:
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
    )
    return {"address": f"{addr:#x}"}


def munmap(machine: Machine, task: Task, at: Range) -> Answer:
    """Unmap a part."""
    _mmap.munmap(machine, task, *at)
    return {}


def mprotect(machine: Machine, task: Task, at: Range, prot: str) -> Answer:
    """Protect a part otherwise."""
    _mmap.mprotect(machine, task, *at, prot)
    return {}


def madvise(machine: Machine, task: Task, at: Range, advice: int) -> Answer:
    """Give advice, by its number."""
    _madvise.madvise(machine, task, *at, advice)
    return {}


def touch(
    machine: Machine, task: Task, at: Range, write: bool, stride: int, seconds: float | None
) -> Answer:
    """Access a part; `signal` is None if none came."""
    return {"signal": process.touch(machine, task, *at, write, stride=stride, seconds=seconds or 0)}


def mlock(machine: Machine, task: Task, at: Range) -> Answer:
    """Lock a part."""
    _mmap.mlock(machine, task, *at)
    return {}


def munlock(machine: Machine, task: Task, at: Range) -> Answer:
    """Unlock a part."""
    _mmap.munlock(machine, task, *at)
    return {}


def pin(machine: Machine, task: Task, at: Range, kind: str) -> Answer:
    """Pin a part."""
    gup.pin(machine, task, *at, kind == "long")
    return {}


def unpin(machine: Machine, task: Task, at: Range, kind: str) -> Answer:
    """Drop a pin."""
    gup.unpin(machine, task, *at, kind == "long")
    return {}


def busy(machine: Machine, task: Task, at: Range, kind: str, passes: int | None) -> Answer:
    """Let work on pages begin, or end."""
    work = None if kind == "none" else Busy(kind)
    gup.work_on(machine, task, *at, work, -1 if passes is None else passes)
    return {}


def swap_cache(machine: Machine, task: Task, at: Range) -> Answer:
    """Let pages be in the swap cache."""
    gup.add_to_swap_cache(machine, task, *at)
    return {}


def migrate_vma(machine: Machine, task: Task, at: Range, to: str) -> Answer:
    """Move a part to a device, or back; how many pages moved, and how many did not."""
    return dict(devices.migrate_vma(machine, task, *at, to)._asdict())


def fork(machine: Machine, task: Task, name: str) -> Answer:
    """Make a child; `pid` is the child's."""
    return {"pid": process.fork(machine, task, name).pid}


def exit_task(machine: Machine, task: Task) -> Answer:
    """End a task."""
    process.exit_task(machine, task)
    return {}


def sched_setaffinity(machine: Machine, caller: Task, task: Task, cpus: Cpumask) -> Answer:
    """Bind a task to CPUs. Raises KernelError EPERM if *caller* is neither its owner nor root."""
    if caller.uid not in (0, task.uid):
        raise KernelError("EPERM", "only its owner and root may bind a process to CPUs")
    process.sched_setaffinity(machine, task, cpus)
    return {}
