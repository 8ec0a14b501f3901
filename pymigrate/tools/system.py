"""What a program finds on the machine that it runs on: files of /sys and /proc, system calls."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from pymigrate.errors import KernelError
from pymigrate.mm.calls.execve import add_task, spawn
from pymigrate.mm.state.cost import Tally, estimate
from pymigrate.mm.state.machine import Machine, watching
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.task import Region as NamedRegion
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.tools.program import Libnuma, Policy, Process, Region, Run, Shared
from pymigrate.uapi import MPOL_F_NODE
from pymigrate.units import PAGE_SHIFT, PAGE_SIZE, page_range, pages_of

if TYPE_CHECKING:
    from pymigrate.syscalls.mempolicy import PolicyAnswer

MMAP_TOP = 0x7FFFF7C00000  # below the libraries, when nothing is randomized
_NOTHING: Mapping[str, str] = MappingProxyType({})


# A program needs few of the system calls and views: they are imported when it uses them, so that
# it starts fast.


class System:
    """A process of *machine* that a program runs in; it is *caller*'s child, without memory yet.

    Whatever a system call refuses is a KernelError.

    *pid* is the one that it gets when it first maps memory; by default the machine's next one.
    *aliases* are further numbers for processes: those that the real ones have which stand for them.
    """

    def __init__(
        self,
        machine: Machine,
        caller: Task,
        environ: Mapping[str, str] = _NOTHING,
        terminal_width: int = 0,
        *,
        pid: int | None = None,
        aliases: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        self.machine, self.environ, self.terminal_width = machine, environ, terminal_width
        self.pid, self.aliases = pid, aliases
        self.task = spawn(machine, caller)
        self._top = MMAP_TOP

    @classmethod
    def of(cls, machine: Machine, task: Task, environ: Mapping[str, str] = _NOTHING) -> System:
        """The process that *task* is already."""
        system = cls(machine, task, environ, pid=task.pid)
        system.task = task
        return system

    @property
    def libnuma(self) -> Libnuma:
        """What libnuma finds at the start."""
        machine = self.machine
        return Libnuma(
            allowed=self.task.mems_allowed & machine.memory_nodes,
            nodes=type(machine.memory_nodes).collect(machine.nodes),
            allowed_cpus=self.task.cpus,
            cpus=machine.cpus,
        )

    # its life

    def start(self, comm: str) -> Task:
        """Let the process be one that others see, with a pid and a name; once is enough."""
        machine, task = self.machine, self.task
        if task.pid:
            return task
        pid = self.pid
        if pid is None or pid in machine.tasks:
            pid = machine.take_pid()
        add_task(machine, task, _free_name(machine, comm), comm, pid)
        return task

    def finish(self) -> None:
        """End the process; its memory is free again."""
        end(self.machine, self.task.pid)

    # /sys/devices/system/node

    def node_meminfo(self, nid: int) -> Mapping[str, int]:
        """The rows of a node's meminfo in kB, those of hugetlb in pages."""
        from pymigrate.views.proc.meminfo import node_meminfo

        return node_meminfo(self.machine, nid)

    def node_numastat(self, nid: int) -> Mapping[str, int]:
        """The rows of a node's numastat."""
        from pymigrate.views.sysfs.node import numastat

        return numastat(self.machine.nodes[nid])

    # /proc

    def processes(self) -> list[Process]:
        """All processes but the program's own, by pid."""
        return [self._process(task) for task in self.machine.processes if task is not self.task]

    def find(self, pid: int) -> Process | None:
        """The process that a PID argument means."""
        task = self.machine.tasks.get(self.aliases.get(pid, pid))
        return self._process(task) if task else None

    def memory_of(self, pid: int) -> tuple[int, int]:
        """The kB that a process has mapped, and those that are resident."""
        from pymigrate.views.pictures import ps

        task = self.machine.tasks[pid]
        [row] = [row for row in ps.rows(self.machine) if row.pid == pid]
        size = sum(vma.nr for vma in task.mm.vmas) << (PAGE_SHIFT - 10)
        return size, row.rss_kb

    def numa_maps(self, pid: int) -> list[str]:
        """The lines of /proc/PID/numa_maps. Raises KernelError ENOENT, EACCES."""
        from pymigrate.views.proc import numa_maps

        task = self.machine.tasks.get(self.aliases.get(pid, pid))
        if task is None:
            raise KernelError("ENOENT", f"there is no process {pid}")
        rows = numa_maps.rows_for(self.machine, self.task, task)
        return numa_maps.format_rows(rows).splitlines()

    # system calls

    def migrate_pages(self, pid: int, old: Nodemask, new: Nodemask) -> int:
        """migrate_pages(2); pid 0 is the process itself."""
        from pymigrate.syscalls import migrate

        target = self.machine.task(self.aliases.get(pid, pid)) if pid else self.task
        return migrate.migrate_pages(self.machine, self.task, target, old, new)

    def set_mempolicy(self, policy: Policy) -> None:
        """set_mempolicy(2)."""
        from pymigrate.syscalls import mempolicy

        mempolicy.set_mempolicy(self.machine, self.task, policy.mode, policy.nodes)

    def get_mempolicy(self) -> Policy:
        """The policy of the process."""
        from pymigrate.syscalls import mempolicy

        return _policy(mempolicy.get_mempolicy(self.machine, self.task, 0, 0))

    def interleave_next(self) -> int:
        """The node that the next page goes to if the policy interleaves, else 0."""
        from pymigrate.syscalls import mempolicy

        flags = MPOL_F_NODE
        try:
            return mempolicy.get_mempolicy(self.machine, self.task, 0, flags).node or 0
        except KernelError:
            return 0

    def sched_setaffinity(self, cpus: Cpumask) -> None:
        """sched_setaffinity(2)."""
        from pymigrate.syscalls import process

        process.sched_setaffinity(self.machine, self.task, cpus)

    def mmap(self, length: int, shared: Shared | None = None, offset: int = 0) -> Region:
        """Map anonymous memory, or a file or segment from *offset*; below what is there already."""
        from pymigrate.syscalls.mmap import mmap
        from pymigrate.tools import files

        machine = self.machine
        if not length:
            raise KernelError("EINVAL", "the length is 0")
        total = sum(node.nr_pages for node in machine.nodes.values())
        if pages_of(length) > (total if shared is None else MMAP_TOP >> PAGE_SHIFT):
            raise KernelError("ENOMEM", "the machine has not so much memory")
        task = self.start(self.task.comm)
        space = files.find(machine, shared.name) if shared else None
        align = shared.page_size if shared else PAGE_SIZE
        addr = (self._top - length) // align * align
        mmap(machine, task, addr, length, "rw", is_shared=bool(space), space=space, offset=offset)
        self._top = addr
        return Region(addr, length)

    def mbind(self, region: Region, policy: Policy, flags: int = 0) -> float:
        """mbind(2); returns the seconds that it is estimated to take."""
        from pymigrate.syscalls import mempolicy

        machine, tally = self.machine, Tally()
        start, length = region
        with watching(machine, machine.watch._replace(tally=tally)):
            mempolicy.mbind(machine, self.task, start, length, policy.mode, policy.nodes, flags)
        return estimate(tally, machine.costs, machine.distances).total / 1e6

    def no_hugepage(self, region: Region) -> None:
        """madvise(2) with MADV_NOHUGEPAGE."""
        from pymigrate.syscalls import madvise

        advice = madvise.SIMULATED["nohugepage"]
        madvise.madvise(self.machine, self.task, region.start, region.length, advice)

    def touch(self, region: Region, write: bool = True) -> str | None:
        """Access each page; returns the signal that came, if one came."""
        from pymigrate.syscalls import process

        return process.touch(self.machine, self.task, region.start, region.length, write)

    def policies(self, region: Region) -> list[Run]:
        """The policy of each page."""
        a, b = _pages(region)
        runs: list[Run] = []
        for vma, start, end in self.task.mm.parts(a, b):
            space = self.machine.spaces[vma.space] if vma.space else None
            if space is None or not space.is_shmem:
                runs.append(_run(start, end, vma.policy))
                continue
            shift = start - vma.index(start)
            for low, high, run in space.policies.spans(vma.index(start), vma.index(end)):
                low, high = max(low + shift, start), min(high + shift, end)
                runs.append(_run(low, high, run.policy if run else None))
        return runs

    def places(self, region: Region) -> list[Run]:
        """The policy and the node of each page; absent ones are faulted in for reading."""
        from pymigrate.views.pages import placement

        self.touch(region, write=False)
        runs = []
        for part in self.policies(region):
            at = part.start
            for nr, node in placement.runs(self.machine, self.task, *_pages(Region(*part[:2]))):
                runs.append(Run(at, nr << PAGE_SHIFT, part.policy, node))
                at += nr << PAGE_SHIFT
        return runs

    def _process(self, task: Task) -> Process:
        parent = [t.pid for t in self.machine.tasks.values() if task.parent == t.name != ""]
        return Process(
            task.pid, task.comm, task.comm, task.uid, parent[0] if parent else 1, task.cpu
        )


def end(machine: Machine, pid: int) -> None:
    """End a task that a program or a command was; one that is gone already may be named."""
    task = machine.tasks.get(pid)
    if task is None:
        return
    from pymigrate.syscalls import process

    process.exit_task(machine, task)
    for key in [key for key in machine.regions if key[0] == task.name]:
        del machine.regions[key]


def name_region(machine: Machine, task: Task, name: str, region: Region) -> None:
    """Let other commands know memory of *task* by a name."""
    a, b = _pages(region)
    machine.regions[task.name, name] = NamedRegion(task.name, name, a, b - a)


def _free_name(machine: Machine, comm: str) -> str:
    """A name for a task that no other has, made of its comm."""
    word = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in comm)
    word = word if word[:1].isalpha() else f"_{word}"
    taken = {task.name for task in machine.tasks.values()}
    names = [word, *(f"{word}-{i}" for i in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def _pages(region: Region) -> tuple[int, int]:
    return page_range(region.start, region.length)


def _run(start: int, end: int, policy: Mempolicy | None) -> Run:
    from pymigrate.syscalls import mempolicy

    answer = _policy(mempolicy.answer(policy))
    return Run(start << PAGE_SHIFT, (end - start) << PAGE_SHIFT, answer)


def _policy(answer: PolicyAnswer) -> Policy:
    return Policy(answer.mode | answer.flags, answer.nodes)
