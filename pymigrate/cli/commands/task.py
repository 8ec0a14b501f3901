"""``pymigrate task``: the memory calls of a task, as if it made them itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from pymigrate.cli.call import acting_as, find_range, system_call
from pymigrate.cli.common import CPUMASK, NAME, SIZE, Options, common_options, find_task, shorten
from pymigrate.errors import KernelError
from pymigrate.mm.state.machine import find_file
from pymigrate.syscalls import gup, madvise, mmap, process
from pymigrate.units import PAGE_SIZE

if TYPE_CHECKING:
    from pymigrate.mm.state.machine import Machine
    from pymigrate.mm.state.task import Task
    from pymigrate.nodemask import Cpumask

_RANGE = "ADDR|REGION[+OFFSET[:LENGTH]]"


@click.group()
def command() -> None:
    """Let a task make memory calls: map, touch, lock, fork, exit, ..."""


def _on_range(
    options: Options, name: str, pid: str, text: str, do: Callable[[Machine, Task, int, int], None]
) -> None:
    """Make a call on a range of a task's memory."""
    with system_call(options, name) as call:
        task = call.caller = find_task(call.machine, pid)
        addr, length = find_range(call.machine, task, text)
        if length is None:
            raise click.BadParameter(f"{text!r} has no length; expected ADDR+OFFSET:LENGTH")
        with acting_as(task, options.uid):
            do(call.machine, task, addr, length)


@command.command("mmap")
@click.argument("pid")
@click.argument("name", type=NAME)
@click.argument("length", type=SIZE)
@click.option("--prot", default="rw", help="Of r, w, x, or none.  [default: rw]")
@click.option("--shared", is_flag=True, help="MAP_SHARED.")
@click.option("--file", "file_name", help="A file of the scenario; else anonymous memory.")
@click.option("--offset", type=SIZE, default=0, help="Where in the file it begins.")
@click.option("--populate", is_flag=True, help="MAP_POPULATE.")
@click.option("--hugetlb", is_flag=True, help="MAP_HUGETLB: pages of the hugetlb pools.")
@click.option("--align", type=SIZE, default="2MiB", help="Of the address.  [default: 2MiB]")
@common_options(changes=True, calls=True)
def mmap_command(
    options: Options,
    pid: str,
    name: str,
    length: int,
    prot: str,
    shared: bool,
    file_name: str | None,
    offset: int,
    populate: bool,
    hugetlb: bool,
    align: int,
) -> None:
    """Map LENGTH bytes, to be called NAME; prints the address."""
    with system_call(options, "mmap") as call:
        machine = call.machine
        task = find_task(machine, pid)
        known = machine.regions.get((task.name, name))
        if known and task.mm.vmas_between(known.start, known.start + known.nr):
            raise click.BadParameter(f"{name} is mapped already", param_hint="NAME")
        space = find_file(machine, file_name) if file_name else None
        if file_name and space is None:
            raise click.BadParameter(f"there is no file {shorten(file_name)}", param_hint="--file")
        addr = mmap.place_region(machine, task, name, length, align)
        mmap.mmap(
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
        call.answer["address"] = f"{addr:#x}"
        call.text = f"{addr:#x}\n"


@command.command()
@click.argument("pid")
@click.argument("place", metavar=_RANGE)
@common_options(changes=True, calls=True)
def munmap(options: Options, pid: str, place: str) -> None:
    """Unmap a range."""
    _on_range(options, "munmap", pid, place, mmap.munmap)


@command.command()
@click.argument("pid")
@click.argument("place", metavar=_RANGE)
@click.argument("prot")
@common_options(changes=True, calls=True)
def mprotect(options: Options, pid: str, place: str, prot: str) -> None:
    """Change the protection of a range to PROT: of r, w, x, or none."""
    _on_range(
        options,
        "mprotect",
        pid,
        place,
        lambda machine, task, addr, length: mmap.mprotect(machine, task, addr, length, prot),
    )


@command.command("madvise")
@click.argument("pid")
@click.argument("place", metavar=_RANGE)
@click.argument("advice", type=click.Choice(list(madvise.SIMULATED)))
@common_options(changes=True, calls=True)
def madvise_command(options: Options, pid: str, place: str, advice: str) -> None:
    """Give advice for a range."""
    number = madvise.SIMULATED[advice]
    _on_range(
        options,
        "madvise",
        pid,
        place,
        lambda machine, task, addr, length: madvise.madvise(machine, task, addr, length, number),
    )


@command.command()
@click.argument("pid")
@click.argument("place", metavar=_RANGE)
@common_options(changes=True, calls=True)
def mlock(options: Options, pid: str, place: str) -> None:
    """Lock a range in memory, and fault it in."""
    _on_range(options, "mlock", pid, place, mmap.mlock)


@command.command()
@click.argument("pid")
@click.argument("place", metavar=_RANGE)
@common_options(changes=True, calls=True)
def munlock(options: Options, pid: str, place: str) -> None:
    """Unlock a range."""
    _on_range(options, "munlock", pid, place, mmap.munlock)


@command.command()
@click.argument("pid")
@click.argument("place", metavar=_RANGE)
@click.option("--read", is_flag=True, help="Load instead of store.")
@click.option("--stride", type=SIZE, default=PAGE_SIZE, help="One access at each.  [default: 4KiB]")
@common_options(changes=True, calls=True)
def touch(options: Options, pid: str, place: str, read: bool, stride: int) -> None:
    """Store into each page of a range, up to the first that faults; prints the signal."""
    with system_call(options, "touch") as call:
        task = call.caller = find_task(call.machine, pid)
        addr, length = find_range(call.machine, task, place)
        if not stride:
            raise click.BadParameter("is 0, expected at least a byte", param_hint="--stride")
        signal = process.touch(
            call.machine, task, addr, 1 if length is None else length, not read, stride
        )
        call.answer["signal"] = signal
        call.text = f"{signal}\n" if signal else ""


@command.command()
@click.argument("pid")
@click.argument("name", type=NAME)
@common_options(changes=True, calls=True)
def fork(options: Options, pid: str, name: str) -> None:
    """Fork a child, to be called NAME; prints its pid."""
    with system_call(options, "fork") as call:
        if any(task.name == name for task in call.machine.tasks.values()):
            raise click.BadParameter(f"a task is called {name} already", param_hint="NAME")
        child = process.fork(call.machine, find_task(call.machine, pid), name)
        call.answer["pid"] = child.pid
        call.text = f"{child.pid}\n"


@command.command("exit")
@click.argument("pid")
@common_options(changes=True, calls=True)
def exit_command(options: Options, pid: str) -> None:
    """End the task."""
    with system_call(options, "exit") as call:
        process.exit_task(call.machine, find_task(call.machine, pid))


@command.command("sched_setaffinity")
@click.argument("pid")
@click.argument("cpus", type=CPUMASK)
@common_options(changes=True, calls=True)
def sched_setaffinity(options: Options, pid: str, cpus: Cpumask) -> None:
    """Let the task run on CPUS; it runs on the lowest."""
    with system_call(options, "sched_setaffinity") as call:
        task = find_task(call.machine, pid)
        if options.uid not in (0, task.uid):
            raise KernelError("EPERM", "only its owner and root may bind a process to CPUs")
        process.sched_setaffinity(call.machine, task, cpus)


@command.command()
@click.argument("pid")
@click.argument("place", metavar=_RANGE)
@click.option("--short", is_flag=True, help="A plain reference (vmsplice), not a long-term pin.")
@common_options(changes=True, calls=True)
def pin(options: Options, pid: str, place: str, short: bool) -> None:
    """Pin a range for long, as io_uring's registered buffers do."""
    _on_range(
        options,
        "pin",
        pid,
        place,
        lambda machine, task, addr, length: gup.pin(machine, task, addr, length, not short),
    )


@command.command()
@click.argument("pid")
@click.argument("place", metavar=_RANGE)
@click.option("--short", is_flag=True, help="What was pinned with --short.")
@common_options(changes=True, calls=True)
def unpin(options: Options, pid: str, place: str, short: bool) -> None:
    """Let go of a range that was pinned."""
    _on_range(
        options,
        "unpin",
        pid,
        place,
        lambda machine, task, addr, length: gup.unpin(machine, task, addr, length, not short),
    )
