"""A booted machine that a program calls: every system call and every view, with typed answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as AnyMapping
from contextlib import contextmanager
from html import escape
from typing import TypeVar

from pymigrate.api.arguments import Place, Set, Size, Who, place_of, range_of, set_of
from pymigrate.api.checked import checked
from pymigrate.api.movers import Movers
from pymigrate.api.results import (
    Explanation,
    Group,
    Mapping,
    Migrated,
    MovedPages,
    MovePagesError,
    NodeInfo,
    Placed,
    Policy,
    Process,
    Region,
    Stayed,
    Trace,
    mapping_of,
    node_of,
    outlook_of,
    policy_of,
    statuses_of,
    stayed_of,
)
from pymigrate.arguments import parse_mode, parse_name
from pymigrate.claims.judge import Verdict, judge
from pymigrate.claims.parse import parse
from pymigrate.interface import memory
from pymigrate.interface.noted import Noted, acting_as
from pymigrate.mm.base.why import Stay
from pymigrate.mm.calls.cgroup import processes_below
from pymigrate.mm.state import machine as core
from pymigrate.mm.state import task as core_task
from pymigrate.mm.state.events import Event, Step
from pymigrate.mm.state.machine import is_mapped, regions_of, watching
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.scenario.record import Record
from pymigrate.session import save_state
from pymigrate.store.codec import copy_machine
from pymigrate.store.store import Boot
from pymigrate.syscalls import cpuset, gup, madvise, mempolicy, migrate, mmap, process, sysctl
from pymigrate.uapi import MPOL_F_ADDR, MPOL_F_NODE, MPOL_MF_MOVE, MPOL_MF_MOVE_ALL, MPOL_MF_STRICT
from pymigrate.units import PAGE_SHIFT, PAGE_SIZE, pages_of, parse_size
from pymigrate.views import entries, tree
from pymigrate.views.pages import placement
from pymigrate.views.pictures import ps, show
from pymigrate.views.proc import numa_maps, vmstat
from pymigrate.views.proc.numa_maps import NumaMapsRow
from pymigrate.views.told import trace
from pymigrate.views.why import explain, stayed

TYPE_CHECKING = False  # the one of typing
if TYPE_CHECKING:
    from pymigrate.api.programs import Finished

T = TypeVar("T")


@checked
class Machine(Movers):
    """A simulated machine; `pymigrate.boot()` and `pymigrate.load()` make one.

    A task is named by its pid, its name in the scenario, or its comm; memory by its address or as
    `REGION[+OFFSET[:LENGTH]]`; nodes as `1`, `"0-1"` or `[0, 1]`; sizes as bytes or `"4MiB"`.
    *uid* is the user who makes a call: for calls on a process root by default, for calls that a
    task makes on its own memory the task's own user (None).

    All methods raise KernelError for what the kernel refuses, with what it did before it refused
    done, ValueError for arguments that mean nothing, and UnsupportedError for what is not
    simulated.
    """

    __slots__ = ("_boot", "_counted")

    def __init__(self, machine: core.Machine, boot: Boot) -> None:
        super().__init__(machine)
        self._boot = boot
        self._counted: dict[str, int] = {}  # what the last step `vmstat` saw

    # What there is

    @property
    def kernel(self) -> str:
        """The kernel whose rules hold: "6.12", "6.1" or "7.2"."""
        return self._core.release.name

    @property
    def nodes(self) -> dict[int, NodeInfo]:
        """The nodes by their numbers."""
        return {nid: node_of(self._core, node) for nid, node in self._core.nodes.items()}

    @property
    def tasks(self) -> dict[str, int]:
        """The pid of each task by the task's name."""
        return {task.name: task.pid for task in self._core.tasks.values()}

    @property
    def cpusets(self) -> dict[str, Group]:
        """The cpusets by their names; tasks begin in the one called "/"."""
        return {
            name or "/": Group(
                tuple(group.cpus),
                tuple(group.mems),
                group.memory_migrate,
                tuple(task.pid for task in self._core.processes if task.cpuset == name),
            )
            for name, group in self._core.cpusets.items()
        }

    def regions(self, who: Who) -> dict[str, Region]:
        """The memory of a task that has a name, by name; a child's is called as its parent's."""
        known = regions_of(self._core, self._task(who))
        return {
            name: Region(name, region.start << PAGE_SHIFT, region.nr << PAGE_SHIFT)
            for name, region in known.items()
        }

    # Calls on a process

    def migrate_pages(
        self, who: Who, from_nodes: Set, to_nodes: Set, *, uid: int = 0, caller: Who | None = None
    ) -> Migrated:
        """Move a task's pages from nodes to other nodes, as migratepages does.

        *caller* is a task that makes the call; without one it is a shell of user *uid*.
        """
        machine, task, shell = self._core, self._task(who), self._caller(caller, uid)
        old, new = set_of(Nodemask, from_nodes), set_of(Nodemask, to_nodes)
        return self._watched(
            "migrate_pages",
            lambda: migrate.migrate_pages(machine, shell, task, old, new),
            lambda stays: stayed.rows(machine, task, stays),
        )

    def move_pages(
        self,
        who: Who,
        pages: Place | Iterable[int],
        nodes: int | Sequence[int] | None = None,
        *,
        move_all: bool = False,
        uid: int = 0,
        caller: Who | None = None,
    ) -> MovedPages:
        """Move the pages of a place, or at addresses, to a node, or each to its own of *nodes*.

        Without *nodes* nothing moves; `pages` of the answer says where they are. Raises
        MovePagesError, which holds what had been written, if it fails once it looks at pages.
        """
        machine, task, shell = self._core, self._task(who), self._caller(caller, uid)
        addrs = self._addresses(task, pages)
        wanted = [nodes] * len(addrs) if isinstance(nodes, int) else nodes
        if wanted is not None and len(wanted) != len(addrs):
            raise ValueError(f"{len(wanted)} nodes for {len(addrs)} pages; expected one for each")
        flags = MPOL_MF_MOVE_ALL if move_all else MPOL_MF_MOVE
        noted = Noted(machine, "move_pages")
        with noted.noting(machine.watch):
            result = migrate.move_pages(machine, shell, task, addrs, wanted, flags)
            if wanted is not None:
                noted.find_left = lambda stays: stayed.move_pages_rows(
                    machine, task, addrs, wanted, result, stays
                )
        statuses = statuses_of(addrs, result.status)
        if result.errno:
            why = stayed.why_ended(machine, task, result.errno, wanted or ())
            raise MovePagesError(result.errno, why, statuses)
        return MovedPages(result.ret, statuses, noted.moved, stayed_of(noted.left or ()))

    def cpuset_create(
        self, name: str, cpus: Set, mems: Set, *, memory_migrate: bool = False, uid: int = 0
    ) -> None:
        """Make a cpuset, or one in another (`a/b`); *memory_migrate* matters on Linux 6.1 only."""
        shell = self._caller(None, uid)
        cpuset.create(
            self._core, shell, name, set_of(Cpumask, cpus), set_of(Nodemask, mems), memory_migrate
        )

    def cpuset_set(
        self,
        name: str,
        *,
        cpus: Set | None = None,
        mems: Set | None = None,
        memory_migrate: bool | None = None,
        uid: int = 0,
    ) -> Migrated:
        """Change a cpuset; policies of its tasks are rebound, and their memory follows."""
        name = "" if name == "/" else name
        new_cpus = None if cpus is None else set_of(Cpumask, cpus)
        new_mems = None if mems is None else set_of(Nodemask, mems)
        shell = self._caller(None, uid)
        members = processes_below(self._core, name)
        return self._followed(
            members,
            lambda: cpuset.change(self._core, shell, name, new_cpus, new_mems, memory_migrate),
        )

    def cpuset_remove(self, name: str, *, uid: int = 0) -> None:
        """Remove a cpuset that has no tasks, and no others in it."""
        cpuset.remove(self._core, self._caller(None, uid), "" if name == "/" else name)

    def cpuset_attach(self, name: str, who: Who, *, uid: int = 0) -> Migrated:
        """Move a task into a cpuset ("/": where all tasks begin), with its memory."""
        task, shell = self._task(who), self._caller(None, uid)
        name = "" if name == "/" else name
        return self._followed([task], lambda: cpuset.attach_task(self._core, shell, task, name))

    # Calls that a task makes

    def mbind(
        self,
        who: Who,
        place: Place,
        policy: str | Policy,
        *,
        length: Size | None = None,
        move: bool = False,
        move_all: bool = False,
        strict: bool = False,
        uid: int | None = None,
    ) -> Migrated:
        """Give a range a policy (`"bind:0-1"`); with *move*, pages that are elsewhere follow."""
        machine, (task, addr, size) = self._core, self._part(who, place, length)
        mode, nodes = parse_mode(str(policy))
        flags = MPOL_MF_STRICT * strict | MPOL_MF_MOVE * move
        flags |= MPOL_MF_MOVE_ALL * move_all

        def call() -> int:
            with acting_as(task, uid):
                mempolicy.mbind(machine, task, addr, size, mode, nodes, flags)
            return 0

        def find(stays: list[Stay]) -> list[core_task.Left]:
            return stayed.mbind_rows(machine, task, addr, size, stays)

        return self._watched("mbind", call, find if move or move_all else None)

    def set_mempolicy(self, who: Who, policy: str | Policy) -> None:
        """Replace a task's policy, which decides where pages that are faulted in from now on go."""
        mode, nodes = parse_mode(str(policy))
        mempolicy.set_mempolicy(self._core, self._task(who), mode, nodes)

    def get_mempolicy(self, who: Who, place: Place | None = None) -> Policy:
        """The policy of a task, or of a place in its memory."""
        task = self._task(who)
        if place is None:
            return policy_of(mempolicy.get_mempolicy(self._core, task, 0, 0))
        addr = place_of(self._core, task, place)[0]
        answer = mempolicy.get_mempolicy(self._core, task, addr, MPOL_F_ADDR)
        return policy_of(answer)

    def node_of(self, who: Who, place: Place) -> int:
        """The node of the page there, which is read, and so faulted in if it is absent."""
        task = self._task(who)
        flags = MPOL_F_ADDR | MPOL_F_NODE
        addr = place_of(self._core, task, place)[0]
        node = mempolicy.get_mempolicy(self._core, task, addr, flags).node
        assert node is not None, "the flag asks for it"
        return node

    def mems_allowed(self, who: Who) -> tuple[int, ...]:
        """The nodes that the task's cpuset allows."""
        return tuple(self._task(who).mems_allowed)

    def set_mempolicy_home_node(
        self, who: Who, place: Place, node: int, *, length: Size | None = None
    ) -> None:
        """Let the bind and preferred-many policies of a range begin their search at *node*."""
        mempolicy.set_mempolicy_home_node(self._core, *self._part(who, place, length), node)

    def mmap(
        self,
        who: Who,
        name: str,
        length: Size,
        *,
        prot: str = "rw",
        shared: bool = False,
        file: str | None = None,
        offset: Size = 0,
        populate: bool = False,
        hugetlb: bool = False,
        secretmem: bool = False,
        align: Size = "2MiB",
        over: Place | None = None,
        noreplace: bool = False,
    ) -> Region:
        """Map memory that gets a name: anonymous, or of one of the scenario's files.

        It has mmap()'s arguments, each flag as one of its own, and memfd_secret() as another. It
        lies behind all regions, or *over* what is at a place (MAP_FIXED).
        """
        machine, task, size = self._core, self._task(who), parse_size(length)
        if is_mapped(machine, task, parse_name(name)):
            raise ValueError(f"{name!r} is mapped already")
        answer = memory.mmap(
            machine,
            task,
            name,
            size,
            prot,
            shared,
            file,
            parse_size(offset),
            populate,
            hugetlb,
            secretmem,
            parse_size(align),
            None if over is None else place_of(machine, task, over)[0],
            noreplace,
        )
        addr = int(str(answer["address"]), 16)
        return Region(name, addr, pages_of(size) * PAGE_SIZE)

    def munmap(self, who: Who, place: Place, *, length: Size | None = None) -> None:
        """Unmap a range."""
        mmap.munmap(self._core, *self._part(who, place, length))

    def mprotect(self, who: Who, place: Place, prot: str, *, length: Size | None = None) -> None:
        """Change the protection of a range: of r, w and x, or "none"."""
        mmap.mprotect(self._core, *self._part(who, place, length), prot)

    def madvise(self, who: Who, place: Place, advice: str, *, length: Size | None = None) -> None:
        """Give advice for a range: "hugepage", "dontneed", "collapse", ..."""
        number = madvise.SIMULATED.get(advice.lower())
        if number is None:
            names = ", ".join(madvise.SIMULATED)
            raise ValueError(f"{advice!r} is not an advice; expected one of {names}")
        madvise.madvise(self._core, *self._part(who, place, length), number)

    def mlock(self, who: Who, place: Place, *, length: Size | None = None) -> None:
        """Lock a range in memory, and fault it in."""
        mmap.mlock(self._core, *self._part(who, place, length))

    def munlock(self, who: Who, place: Place, *, length: Size | None = None) -> None:
        """Unlock a range."""
        mmap.munlock(self._core, *self._part(who, place, length))

    def touch(
        self,
        who: Who,
        place: Place,
        *,
        length: Size | None = None,
        write: bool = True,
        stride: Size = PAGE_SIZE,
        seconds: float | None = None,
    ) -> str | None:
        """Store into each page of a range (or load), for so many simulated seconds.

        Returns the signal that ended it, if one did: "SIGSEGV" or "SIGBUS".
        """
        task, step = self._task(who), parse_size(stride)
        if not step or (seconds or 0) < 0:
            raise ValueError("expected a stride of at least a byte, and no negative seconds")
        addr, size = range_of(self._core, task, place, length)
        return process.touch(self._core, task, addr, size, write, stride=step, seconds=seconds or 0)

    def sched_setaffinity(self, who: Who, cpus: Set) -> None:
        """Let a task run on *cpus*; it runs on the lowest."""
        process.sched_setaffinity(self._core, self._task(who), set_of(Cpumask, cpus))

    def pin(
        self, who: Who, place: Place, *, length: Size | None = None, kind: str = "long"
    ) -> None:
        """Pin a range: "long" as io_uring's buffers are, or "short", a reference (vmsplice)."""
        gup.pin(self._core, *self._part(who, place, length), _is_long(kind))

    def unpin(
        self, who: Who, place: Place, *, length: Size | None = None, kind: str = "long"
    ) -> None:
        """Drop the pins of a range."""
        gup.unpin(self._core, *self._part(who, place, length), _is_long(kind))

    # Settings

    def sysctl(self, name: str) -> str:
        """The value of a setting, such as "numa_balancing", as its file reads."""
        return sysctl.read(self._core, name)

    def set_sysctl(
        self, name: str, value: str | int, *, node: int | None = None, uid: int = 0
    ) -> None:
        """Change a setting; of nr_hugepages that of *node*, or of all nodes together."""
        sysctl.write(self._core, self._caller(None, uid), name, str(value), node)

    # Views

    def numa_maps(self, who: Who, *, uid: int = 0) -> list[Mapping]:
        """The lines of /proc/PID/numa_maps, read by user *uid*."""
        return [mapping_of(row) for row in self._numa_maps(who, uid)]

    def numa_maps_text(self, who: Who, *, uid: int = 0) -> str:
        """/proc/PID/numa_maps as the kernel prints it, read by user *uid*."""
        return numa_maps.format_rows(self._numa_maps(who, uid))

    def vmstat(self) -> dict[str, int]:
        """Every counter of /proc/vmstat, in its order."""
        return vmstat.rows(self._core)

    def read(self, path: str) -> str:
        """What a file below /proc or /sys says, such as `proc/4321/smaps`; a directory lists.

        Raises ValueError for a file that is no text: read_bytes() has it.
        """
        return entries.read(tree.tree(self._core), path)

    def placement(self, who: Who, place: Place, *, length: Size | None = None) -> list[Placed]:
        """The nodes of a range's pages, run by run."""
        task, addr, size = self._part(who, place, length)
        runs = placement.runs(self._core, task, addr >> PAGE_SHIFT, pages_of(addr + size))
        return [Placed(nr, None if node < 0 else node) for nr, node in runs]

    def ps(self) -> list[Process]:
        """The tasks by pid, with their resident base pages on each node."""
        return ps.rows(self._core)

    def show(self, who: Who | None = None, *, width: int = 80) -> str:
        """A drawing of the nodes, and of the memory of each task, or of one."""
        tasks = self._core.processes if who is None else [self._task(who)]
        cells = show.cells_that_fit(self._core, tasks, width)
        return show.format_rows(show.rows(self._core, tasks, show.Draw(cells)), width)

    def explain(
        self,
        who: Who,
        place: Place | None = None,
        *,
        to: int | None = None,
        length: Size | None = None,
        uid: int = 0,
    ) -> Explanation:
        """What would keep pages from moving to node *to*, or to any other node, and the cure."""
        task = self._task(who)
        question = explain.Question(self._caller(None, uid), to)
        if place is not None:
            addr, size = range_of(self._core, task, place, length)
            question = question._replace(a=addr >> PAGE_SHIFT, b=pages_of(addr + size))
        refused = explain.refusals(self._core, task, question)
        runs = explain.rows(self._core, task, question)
        return Explanation(tuple(refused), tuple(outlook_of(row) for row in runs))

    def check(self, claim: str) -> Verdict:
        """Whether *claim*, such as `numa_maps(db).heap.N1 >= 90%`, holds: docs/check.md.

        The verdict is true if it does; as a text it says what is there instead. Raises ValueError
        for what is no claim, or names what there is not.
        """
        return judge(self._core, parse(claim))

    def stayed(self) -> tuple[Stayed, ...]:
        """The pages that the last call that moves pages left behind, even if it failed."""
        return stayed_of(self._core.left)

    @contextmanager
    def trace(self, *, steps: bool = False) -> Iterator[Trace]:
        """Note the migration tracepoints while the block runs, *steps* of each folio with them."""
        machine, found = self._core, Trace()
        events: list[Event | Step] = []
        try:
            with watching(machine, machine.watch._replace(events=events, steps=steps)):
                yield found
        finally:
            found.lines = (trace.all_lines if steps else trace.lines)(machine, events)
            found.events = trace.as_json(machine, trace.Part(trace.Actor("", 0, 0), events))

    # Steps, copies, files

    def step(self, step: AnyMapping[str, object]) -> Record:
        """Execute a step as scenarios have it: `{"op": "mmap", "task": "a", ...}`; its record.

        What the kernel refuses is in the record. Raises ScenarioError for a step that is none.
        """
        from pymigrate.scenario.read.single_step import read_step
        from pymigrate.scenario.spec.runner import Runner

        machine = self._core
        runner = Runner(machine)
        runner.counted = self._counted
        checked = read_step(machine, runner.names, step)
        outer = machine.watch.events
        events: list[Event | Step] | None = None if outer is None else []
        with watching(machine, machine.watch._replace(events=events)):
            record = runner.step(checked)
        if outer is not None:
            outer += events or ()
        self._counted = runner.counted
        return record

    def copy(self) -> Machine:
        """Another machine in the same state; what happens to one does not show in the other."""
        twin = Machine(copy_machine(self._core), self._boot)
        twin._counted = dict(self._counted)
        return twin

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the machine to a state file, which the commands take with `--state`."""
        save_state(os.fspath(path), self._core, self._boot)

    # Real programs

    def run(
        self,
        args: Sequence[str | os.PathLike[str]],
        *,
        env: AnyMapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        input: str | None = None,
        timeout: float | None = None,
    ) -> Finished:
        """Run a real program on the machine, as `pymigrate exec` does, until all of it has ended.

        The arguments are subprocess.run()'s; without *input* it has nothing to read. Output is
        text. A trace() around it notes nothing of what programs do. Raises UnsupportedError where
        programs cannot be traced (not Linux on x86-64, ...), and TimeoutExpired, with all that
        ran killed and the machine as it was.
        """
        from pymigrate.api import programs  # which needs what nothing else here does

        return programs.run(self._core, args, programs.How(env, cwd, input, timeout))

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing has to be closed; the name of a `with` block says how far a machine is used."""

    def _repr_html_(self) -> str:
        """What a notebook shows: the drawing of show()."""
        return f"<pre>{escape(repr(self))}\n\n{escape(self.show(width=100))}</pre>"

    def __repr__(self) -> str:
        nodes, tasks = len(self._core.nodes), len(self._core.tasks)
        return f"<Machine: Linux {self.kernel}, {nodes} nodes, {tasks} tasks>"

    def _addresses(self, task: core_task.Task, pages: Place | Iterable[int]) -> Sequence[int]:
        if not isinstance(pages, int | str | Region):
            return list(pages)
        addr, size = place_of(self._core, task, pages)
        return range(addr, addr + (1 if size is None else size), PAGE_SIZE)

    def _numa_maps(self, who: Who, uid: int) -> list[NumaMapsRow]:
        return numa_maps.rows_for(self._core, self._caller(None, uid), self._task(who))

    def _followed(self, tasks: list[core_task.Task], call: Callable[[], None]) -> Migrated:
        """Change a cpuset, and look for memory of *tasks* that did not follow."""
        machine = self._core

        def change() -> int:
            call()
            return 0

        return self._watched(
            "cpuset", change, lambda stays: stayed.cpuset_rows(machine, tasks, stays)
        )

    def _watched(
        self,
        name: str,
        call: Callable[[], int],
        find: Callable[[list[Stay]], list[core_task.Left]] | None,
    ) -> Migrated:
        """Make a call that moves pages; note which stayed, also if it fails half way."""
        noted = Noted(self._core, name, find)
        with noted.noting(self._core.watch):
            ret = call()
        return Migrated(ret, noted.moved, stayed_of(noted.left or ()))


def _is_long(kind: str) -> bool:
    if kind not in ("long", "short"):
        raise ValueError(f"{kind!r} is no kind of pin; expected 'long' or 'short'")
    return kind == "long"
