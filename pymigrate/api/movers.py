"""What else moves pages, as methods of a Machine: balancing, reclaim, compaction, hotplug; time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any

from pymigrate.api.arguments import Place, Set, Size, Who, place_of, range_of, set_of
from pymigrate.api.checked import checked
from pymigrate.api.results import Placed, Region
from pymigrate.arguments import find_task, parse_name
from pymigrate.interface import memory, system
from pymigrate.interface.noted import Access, acting_as, meanwhile
from pymigrate.interface.system import WHOLE
from pymigrate.mm.calls import ksm
from pymigrate.mm.calls.ksm import KsmState
from pymigrate.mm.clock import simulated_time
from pymigrate.mm.faults.migrate_device import Moved as DeviceMoved
from pymigrate.mm.offline.memory_failure import num_poisoned_kb
from pymigrate.mm.offline.memory_hotplug import physical
from pymigrate.mm.state import machine as core
from pymigrate.mm.state import task as core_task
from pymigrate.mm.state.cost import Estimate, Tally
from pymigrate.mm.state.machine import watching
from pymigrate.mm.state.node import Called
from pymigrate.nodemask import Nodemask
from pymigrate.records import NamedTuple
from pymigrate.syscalls import (
    cma,
    compact,
    cred,
    drivers,
    gup,
    kernel_pages,
    memory_blocks,
    memory_failure,
    mmap,
    process,
    reclaim,
)
from pymigrate.uapi import (
    MCL_CURRENT,
    MCL_FUTURE,
    MCL_ONFAULT,
    MREMAP_DONTUNMAP,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
)
from pymigrate.units import PAGE_SHIFT, PAGE_SIZE, pages_of, parse_size
from pymigrate.views import entries, tree
from pymigrate.views.proc import buddyinfo
from pymigrate.views.proc.buddyinfo import BuddyRow
from pymigrate.views.sysfs.node import numastat
from pymigrate.views.told import accesses, balance, cost, ledger, memory_tiering
from pymigrate.views.told.accesses import AccessRow as Reach
from pymigrate.views.told.balance import BalanceRow as Balanced
from pymigrate.views.told.memory_tiering import TierRow
from pymigrate.views.why import page
from pymigrate.views.why.page import PageRow

TYPE_CHECKING = False  # the one of typing
if TYPE_CHECKING:
    from pymigrate.plan.plan import Plan


class Compacted(NamedTuple):
    """A run of compaction: the zone, how it ended ("complete", ...), and the pages that moved."""

    node: int
    zone: str
    result: str
    moved: int


class DriverMoved(NamedTuple):
    """What became of a driver's pages: *ret* stayed, or the call failed with *errno*.

    *calls* are those of the driver's functions in their order, *nodes* where its pages lie then.
    """

    ret: int
    errno: str | None
    calls: tuple[Called, ...]
    nodes: tuple[Placed, ...]


@dataclass(slots=True)
class Meanwhile:
    """An access in the middle of a call: whether it had to wait, and the signal that it got."""

    waited: bool = False
    signal: str | None = None


class Block(NamedTuple):
    """A memory block that was to go offline, or to come back; *errno* is None if it did."""

    number: int
    errno: str | None
    why: str


_NO_TIME = Estimate(0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(slots=True)
class Timed:
    """The estimated time of what happened, in microseconds; filled when the `with` block ends."""

    time: Estimate = _NO_TIME

    @property
    def total(self) -> float:
        """All parts together."""
        return self.time.total


@checked
class Movers:
    """The part of Machine that others than system calls are asked by."""

    __slots__ = ("_core",)

    def __init__(self, machine: core.Machine) -> None:
        self._core = machine

    def _task(self, who: Who) -> core_task.Task:
        """The task that is meant. Raises KernelError ESRCH."""
        return self._core.task(who) if isinstance(who, int) else find_task(self._core, who)

    def _part(self, who: Who, place: Place, length: Size | None) -> tuple[core_task.Task, int, int]:
        """A task, and the address and length of a part of its memory."""
        task = self._task(who)
        return task, *range_of(self._core, task, place, length)

    def _caller(self, caller: Who | None, uid: int) -> core_task.Task:
        """Who makes a call on a process."""
        if caller is not None:
            return self._task(caller)
        return self._core.shell_of(uid)

    def _new(self, name: str) -> str:
        """*name*, for a task. Raises ValueError if it is none, or if one is called so."""
        parse_name(name)
        if any(task.name == name for task in self._core.tasks.values()):
            raise ValueError(f"a task is called {name!r} already")
        return name

    def page(self, who: Who, place: Place) -> PageRow:
        """All that is known of the page at a place: frame, flags, references, who maps it, ...

        Raises KernelError EFAULT where nothing is mapped.
        """
        task = self._task(who)
        addr, _ = place_of(self._core, task, place)
        return page.row(self._core, task, addr >> PAGE_SHIFT)

    def read_bytes(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """A part of what a file below /proc or /sys holds, such as `proc/4321/pagemap`.

        Of pagemap, kpageflags and kpagecount whole records of 8 bytes; without *length* all of
        them, which is much. Raises KernelError EINVAL for half a record.
        """
        return b"".join(entries.read_bytes(tree.tree(self._core), path, offset, length))

    def raised(
        self, by: ledger.By = "reason", since: Mapping[str, int] | None = None
    ) -> list[ledger.Share]:
        """What has raised each counter since boot, or since vmstat() was *since*: shares of it.

        Raises ValueError if *since* is no earlier state of this machine.
        """
        return ledger.shares(self._core, by, since)

    def fork(self, who: Who, name: str) -> int:
        """Fork a child, to be called *name*; returns its pid."""
        return process.fork(self._core, self._task(who), self._new(name)).pid

    def clone(self, who: Who, name: str) -> int:
        """Make a thread of a task's process, to be called *name*; returns its pid."""
        return process.clone(self._core, self._task(who), self._new(name)).pid

    def start(
        self, name: str, *, comm: str | None = None, caller: Who | None = None, uid: int = 0
    ) -> int:
        """Start a process, to be called *name*, without memory; returns its pid."""
        return process.start(self._core, self._caller(caller, uid), self._new(name), comm).pid

    def exit(self, who: Who) -> None:
        """End a thread, or a process with all its threads."""
        process.exit_task(self._core, self._task(who))

    def mremap(
        self,
        who: Who,
        place: Place,
        size: Size,
        name: str,
        *,
        length: Size | None = None,
        maymove: bool = False,
        fixed: bool = False,
        dontunmap: bool = False,
        over: Place | None = None,
        align: Size = "2MiB",
    ) -> Region:
        """Grow, shrink or move a range, which is then *size* bytes and called *name*.

        It goes behind all regions if it must, or, with *fixed*, *over* what is at a place.
        """
        task, addr, old = self._part(who, place, length)
        to = None if over is None else place_of(self._core, task, over)[0]
        flags = MREMAP_MAYMOVE * maymove | MREMAP_FIXED * fixed | MREMAP_DONTUNMAP * dontunmap
        new, step = parse_size(size), parse_size(align)
        answer = memory.mremap(self._core, task, addr, old, new, name, flags, to, step)
        return Region(name, int(str(answer["address"]), 16), pages_of(new) * PAGE_SIZE)

    def mlockall(
        self, who: Who, *, current: bool = False, future: bool = False, onfault: bool = False
    ) -> None:
        """Lock all memory, mapped now or later; *onfault*: only pages that are touched."""
        flags = MCL_CURRENT * current | MCL_FUTURE * future | MCL_ONFAULT * onfault
        mmap.mlockall(self._core, self._task(who), flags)

    def munlockall(self, who: Who) -> None:
        """Unlock all memory, mapped now or later."""
        mmap.munlockall(self._core, self._task(who))

    def setresuid(
        self, who: Who, *, ruid: int | None = None, euid: int | None = None, suid: int | None = None
    ) -> None:
        """Change a task's real, effective and saved user; capabilities go as the kernel has it."""
        cred.setresuid(self._core, self._task(who), ruid, euid, suid)

    def capset(self, who: Who, *, drop: Iterable[str] = ()) -> None:
        """Take capabilities from a task: "sys_nice", "sys_ptrace"."""
        cred.capset(self._core, self._task(who), tuple(drop))

    def prctl(self, who: Who, *, dumpable: bool = False) -> None:
        """Say whether others of its user may inspect a task."""
        cred.set_dumpable(self._core, self._task(who), dumpable)

    def ftruncate(self, who: Who, file: str, size: Size) -> None:
        """Make a file *size* bytes long; pages beyond go wherever they are mapped."""
        memory.ftruncate(self._core, self._task(who), file, parse_size(size))

    def punch_hole(self, who: Who, file: str, offset: Size, length: Size) -> None:
        """Drop the pages of a part of a file, wherever they are mapped; private copies stay."""
        start, size = parse_size(offset), parse_size(length)
        memory.punch_hole(self._core, self._task(who), file, start, size)

    def unlink(self, who: Who, file: str) -> None:
        """Remove a file's name; the file goes with its last mapping."""
        memory.unlink(self._core, self._task(who), file)

    def balance(self, seconds: float) -> list[Balanced]:
        """Let time pass while tasks use their memory as declared, and NUMA balancing acts.

        A row for each task that ran.
        """
        if not seconds >= 0:
            raise ValueError(f"balance(): seconds is {seconds}; expected 0 or more")
        done = simulated_time.balance(self._core, ceil(seconds * 1000))
        return balance.rows(self._core, done)

    def plan(
        self,
        who: Who,
        to: Set,
        *,
        from_nodes: Set | None = None,
        max_pause: float | str = 0.0,
        limit: Size = 0,
        uid: int = 0,
    ) -> Plan:
        """What moving a process to nodes *to*, from all others or *from_nodes*, would do.

        With *max_pause*, microseconds or "20ms", or *limit*, bytes a second, in chunks that keep
        them.
        Nothing is changed. What the call would be refused with is in the plan's `refused`. Raises
        PymigrateError for a plan that cannot be cut so, KernelError for one that may not.
        """
        from pymigrate.plan import chunked, goal
        from pymigrate.plan import plan as plans

        machine, task = self._core, self._core.process_of(self._task(who))
        old = None if from_nodes is None else set_of(Nodemask, from_nodes)
        wanted = goal.to_nodes(machine, uid, task, old, set_of(Nodemask, to))
        pause = goal.parse_time(max_pause) if isinstance(max_pause, str) else max_pause
        limits = plans.Limits(pause, parse_size(limit))
        if limits.are_set:
            return chunked.make_chunked(machine, wanted, limits)
        return plans.make_plan(machine, wanted)

    def accesses(self) -> list[Reach]:
        """How far tasks reach with the accesses that they declare: a row for each such task."""
        return accesses.rows(self._core)

    def reclaim(
        self,
        size: Size,
        *,
        node: int | None = None,
        who: Who | None = None,
        cpuset: str | None = None,
        swappiness: int | None = None,
        uid: int = 0,
    ) -> int:
        """Reclaim *size*, of a node and of what a task, or the tasks of a cpuset, map, if given.

        *swappiness* 0 leaves anonymous memory alone. Returns how many base pages it was. Raises
        KernelError EAGAIN if there was less.
        """
        if who is not None and cpuset is not None:
            raise ValueError("who and cpuset exclude each other")
        tasks = None if who is None else [self._task(who)]
        if cpuset is not None:
            tasks = reclaim.cpuset_tasks(self._core, "" if cpuset == "/" else cpuset)
        caller, nr = self._caller(None, uid), parse_size(size)
        return reclaim.reclaim(self._core, caller, nr, node, tasks, swappiness)

    def damon(
        self,
        action: str,
        to: int,
        *,
        node: int | None = None,
        who: Who | None = None,
        place: Place | None = None,
        length: Size | None = None,
        quota: Size | None = None,
        exclude: Iterable[str] = (),
        uid: int = 0,
    ) -> int:
        """Apply a scheme of DAMON's, "migrate_hot" or "migrate_cold", towards node *to*.

        To the memory of a node, or of a task, or of a place in that, which are filters of the one
        scheme: hence the many arguments. *exclude*: "anon", "file", "young", "old". Returns how
        many base pages moved.
        """
        if (node is None) == (who is None) or (who is None and place is not None):
            raise ValueError("expected either node, or who with or without place")
        task = None if who is None else self._task(who)
        at = WHOLE
        if task is not None and place is not None:
            at = range_of(self._core, task, place, length)
        size = None if quota is None else parse_size(quota)
        shell = self._caller(None, uid)
        answer = system.damon(self._core, shell, action, to, node, task, *at, size, tuple(exclude))
        return _number(answer["migrated"])

    def cma_alloc(self, name: str, size: Size, *, node: int | None = None, uid: int = 0) -> int:
        """Allocate memory in one piece from a node's area for CMA; its physical address."""
        shell = self._caller(None, uid)
        found = cma.alloc(self._core, shell, name, parse_size(size), node)
        return physical(self._core, found.start) << PAGE_SHIFT

    def cma_release(self, name: str, *, uid: int = 0) -> None:
        """Release what cma_alloc() got under that name."""
        cma.release(self._core, self._caller(None, uid), name)

    def hard_offline(
        self,
        who: Who | None = None,
        place: Place | None = None,
        *,
        length: Size | None = None,
        address: int | None = None,
        uid: int | None = None,
    ) -> int:
        """Let pages of a place, or the one at a physical address, go bad: contents are lost.

        Returns how many kB are out of use then.
        """
        how = memory_failure.HARD
        return self._offline(how, who, place, length=length, address=address, uid=uid)

    def soft_offline(
        self,
        who: Who | None = None,
        place: Place | None = None,
        *,
        length: Size | None = None,
        address: int | None = None,
        uid: int | None = None,
    ) -> int:
        """Take the pages of a place, or the one at a physical address, out of use.

        Returns how many kB are out of use then.
        """
        how = memory_failure.SOFT
        return self._offline(how, who, place, length=length, address=address, uid=uid)

    def _offline(
        self,
        how: memory_failure.Offline,
        who: Who | None,
        place: Place | None,
        *,
        length: Size | None,
        address: int | None,
        uid: int | None,
    ) -> int:
        if (who is None) == (address is None) or (who is None) != (place is None):
            raise ValueError("expected either who and place, or address")
        if address is not None:
            how.store(self._core, self._caller(None, uid or 0), address)
        elif who is not None and place is not None:
            task = self._task(who)
            with acting_as(task, uid):
                how.of_task(self._core, task, *range_of(self._core, task, place, length))
        return num_poisoned_kb(self._core)

    def ksm(self) -> KsmState:
        """Merge mergeable pages with the same contents; what /sys/kernel/mm/ksm shows then."""
        ksm.scan(self._core)
        return ksm.state(self._core)

    def alloc(
        self,
        name: str,
        *,
        order: int = 0,
        count: int = 1,
        node: int | None = None,
        this_node: bool = False,
        movable: bool = False,
        mode: str = "kernel",
        uid: int = 0,
    ) -> int:
        """Let the kernel allocate *count* blocks of 2**order pages; how many there were.

        *node* is asked first, no other if *this_node*. *mode* says what is done if there is none:
        "kernel", "nofs", "nowait", "noretry", "retry_mayfail", "none". They are the gfp flags, one
        argument each. Raises KernelError EEXIST, ENODEV, ENOMEM.
        """
        if mode not in kernel_pages.MODES:
            raise ValueError(
                f"{mode!r} is no mode; expected one of {', '.join(kernel_pages.MODES)}"
            )
        shell = self._caller(None, uid)
        answer = system.alloc(self._core, shell, name, order, count, node, this_node, movable, mode)
        return _number(answer["ret"])

    def free(self, name: str) -> int:
        """Let the kernel free the blocks that alloc() got under that name; how many there were."""
        return kernel_pages.free(self._core, name)

    def migrate_driver(
        self,
        driver: str,
        to: int,
        *,
        pages: Iterable[int] | None = None,
        mode: str = "sync",
        isolated: Iterable[int] | None = None,
    ) -> DriverMoved:
        """Move pages of a driver, by their numbers, or all, to node *to*, as compaction does.

        *mode* is "async", "sync_light" or "sync". Another CPU has isolated the pages *isolated*
        before, and gives them back at the end.
        """
        numbers = None if pages is None else tuple(pages)
        answer = system.migrate_driver(self._core, driver, to, numbers, mode, tuple(isolated or ()))
        calls = tuple(Called(*call) for call in _rows(answer["calls"]))
        nodes = tuple(Placed(nr, None if node < 0 else node) for nr, node in _rows(answer["nodes"]))
        errno = answer.get("errno")
        return DriverMoved(_number(answer["ret"]), str(errno) if errno else None, calls, nodes)

    # Of a task's memory

    def busy(
        self,
        who: Who,
        place: Place,
        kind: str,
        *,
        length: Size | None = None,
        passes: int | None = None,
    ) -> None:
        """Let something work on each page of a range, for so many attempts to get hold of one.

        *kind* is "locked", "reading", "writeback", "buffer", "buffer-ref", "lookup", or "none":
        it ends.
        """
        memory.busy(self._core, *self._part(who, place, length), kind, passes)

    def swap_cache(self, who: Who, place: Place, *, length: Size | None = None) -> None:
        """Put the anonymous pages of a range into the swap cache, as after a swap out and in."""
        gup.add_to_swap_cache(self._core, *self._part(who, place, length))

    def migrate_vma(
        self, who: Who, place: Place, to: str, *, length: Size | None = None
    ) -> DeviceMoved:
        """Move a range to the private memory of device *to*, or back ("ram")."""
        return drivers.migrate_vma(self._core, *self._part(who, place, length), to)

    @contextmanager
    def meanwhile(self, who: Who, place: Place, *, write: bool = True) -> Iterator[Meanwhile]:
        """Let another task access a page as soon as a call in the block has unmapped it.

        What became of that is known when the block ends.
        """
        task, found, told = self._task(who), Meanwhile(), dict[str, object]()
        page = place_of(self._core, task, place)[0] >> PAGE_SHIFT
        try:
            with meanwhile(self._core, Access(task, page, write), told):
                yield found
        finally:
            other = told["meanwhile"]
            assert isinstance(other, dict)
            found.waited, found.signal = other["waited"], other["signal"]

    # Looks

    def tiers(self) -> list[TierRow]:
        """The memory tier of each node with memory, and where its pages may be demoted to."""
        return memory_tiering.rows(self._core)

    def numastat(self) -> dict[int, dict[str, int]]:
        """The allocator's events on each node, by their names in its file numastat."""
        return {nid: numastat(node) for nid, node in self._core.nodes.items()}

    def buddyinfo(self) -> list[BuddyRow]:
        """How many free blocks of each order each zone has."""
        return buddyinfo.rows(self._core)

    def compact(
        self, node: int | None = None, *, order: int | None = None, uid: int = 0
    ) -> list[Compacted]:
        """Compact a node, or all: whole zones, or until a block of 2**order pages is free."""
        found = compact.compact(self._core, self._caller(None, uid), node, order)
        return [Compacted(run.node, run.zone, run.result.name.lower(), run.moved) for run in found]

    def offline(self, node: int, blocks: list[int] | None = None, *, uid: int = 0) -> list[Block]:
        """Take memory blocks of a node offline, or all of them; what became of each."""
        shell = self._caller(None, uid)
        return _blocks(memory_blocks.offline(self._core, shell, node, blocks))

    def online(
        self,
        node: int,
        blocks: list[int] | None = None,
        *,
        online_type: str | None = None,
        uid: int = 0,
    ) -> list[Block]:
        """Bring memory blocks of a node back online, or all of them; what became of each.

        *online_type* is what to write to their `state` files, which chooses the zone: online,
        online_kernel or online_movable; default: what returns a block to its old zone.
        """
        shell = self._caller(None, uid)
        return _blocks(memory_blocks.online(self._core, shell, node, blocks, online_type))

    @contextmanager
    def timed(self) -> Iterator[Timed]:
        """Estimate the time of the migrations that happen while the block runs."""
        machine, found, tally = self._core, Timed(), Tally()
        try:
            with watching(machine, machine.watch._replace(tally=tally)):
                yield found
        finally:
            found.time = cost.taken(machine, tally) or found.time


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value


def _rows(value: object) -> list[list[Any]]:  # of an answer, as JSON has it
    assert isinstance(value, list)
    return value


def _blocks(outcomes: list[memory_blocks.Outcome]) -> list[Block]:
    return [
        Block(number, error.name if error else None, error.why if error else "")
        for number, error in outcomes
    ]
