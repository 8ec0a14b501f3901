"""fork(2), clone(2), execve(2), exit(2), sched_setaffinity(2), and plain loads and stores."""

from math import ceil

from pymigrate.errors import KernelError
from pymigrate.mm.calls import execve as _execve
from pymigrate.mm.calls import fork as _fork
from pymigrate.mm.calls.cpuset import cpuset_of, effective_cpus
from pymigrate.mm.clock.simulated_time import Clock
from pymigrate.mm.faults.memory import access, access_strided
from pymigrate.mm.spaces import exit as _exit
from pymigrate.mm.spaces.anon_pages import Fault
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Cpumask
from pymigrate.records import record
from pymigrate.syscalls.checks import system_call
from pymigrate.units import PAGE_SHIFT, PAGE_SIZE


@system_call
def fork(machine: Machine, task: Task, name: str, pid: int = 0) -> Task:
    """A child of *task*, to be called *name*, with the number *pid*, or the next one.

    Raises KernelError ENOMEM for a pinned page.
    """
    return _fork.fork(machine, task, name, pid)


@system_call
def dup_mmap(machine: Machine, parent: Task, child: Task) -> None:
    """Give *child*, which has *parent*'s memory, a copy of it.

    Raises KernelError ENOMEM for a pinned page.
    """
    _fork.dup_mmap(machine, parent, child)


@system_call
def clone(machine: Machine, task: Task, name: str, pid: int = 0) -> Task:
    """Another thread of *task*'s process, called *name*, with the number *pid*, or the next one."""
    return _fork.clone(machine, task, name, pid)


@system_call
def start(machine: Machine, caller: Task, name: str, comm: str | None = None) -> Task:
    """A child of *caller*, to be called *name*, that has executed the program *comm*.

    It has no memory yet. By default *comm* is *name*; 15 bytes of it count.
    """
    task = _execve.spawn(machine, caller)
    _execve.add_task(machine, task, name, name if comm is None else comm)
    return task


@system_call
def exit_task(machine: Machine, task: Task) -> None:
    """End *task*: a thread alone, or a process with all that it has mapped or holds."""
    _exit.exit_task(machine, task)


@system_call
def sched_setaffinity(machine: Machine, task: Task, cpus: Cpumask) -> None:
    """Let *task* run on *cpus*; it runs on the lowest.

    Raises KernelError EINVAL if there is none of them. Mirrors sched_setaffinity().
    """
    there = cpus & effective_cpus(machine, cpuset_of(machine, task))
    if not there:
        raise KernelError("EINVAL", f"none of the CPUs {cpus} exists and is allowed")
    task.cpus = task.user_cpus = there


@system_call
def touch(
    machine: Machine,
    task: Task,
    addr: int,
    length: int,
    write: bool = True,
    *,
    stride: int = PAGE_SIZE,
    seconds: float = 0,
) -> str | None:
    """Load or store at each *stride* of *length* bytes from *addr*, up to the first that faults.

    For so many *seconds* that is done again and again: time passes, and NUMA balancing works.
    Returns the name of the signal that came, or None. This is no call but a whole program, and
    the last two arguments, by name, say how it goes on.
    """
    touching = _Touching(task, addr, length, write, stride)
    try:
        if seconds:
            Clock(machine, [touching]).pass_time(ceil(seconds * 1000))
        else:
            touching.run(machine, machine.now, machine.now)
    except Fault as fault:
        return fault.signal
    return None


@record
class _Touching:
    """A program that accesses a range again and again."""

    task: Task
    addr: int
    length: int
    write: bool
    stride: int

    def run(self, machine: Machine, start: int, end: int) -> None:
        """Make all accesses at once: making them again before the next scan changes nothing."""
        task, addr, write, stride = self.task, self.addr, self.write, self.stride
        if self.length <= 0:
            return
        nr = -(-self.length // stride)
        first, stop = addr >> PAGE_SHIFT, (addr + (nr - 1) * stride >> PAGE_SHIFT) + 1
        if stride <= PAGE_SIZE:
            access(machine, task, first, stop, write)
        elif stride % PAGE_SIZE == 0:
            access_strided(machine, task, range(first, stop, stride >> PAGE_SHIFT), write)
        else:
            for at in range(addr, addr + self.length, stride):
                access(machine, task, at >> PAGE_SHIFT, (at >> PAGE_SHIFT) + 1, write)
