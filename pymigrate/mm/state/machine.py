"""The simulated machine: nodes with their memory, tasks, and what they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from pymigrate.errors import KernelError
from pymigrate.mm.base.costs import Costs
from pymigrate.mm.base.ledger import Entry, Ledger, Raiser
from pymigrate.mm.base.memmap import FolioWork, FrameRun, nid_of
from pymigrate.mm.base.release import RELEASES, Release
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.base.vmstat import Counters
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.node import (
    Allocation,
    CompactKnobs,
    Device,
    Driver,
    KsmKnobs,
    LruBatch,
    MemoryTiers,
    Node,
)
from pymigrate.mm.state.numa import NumaGroup, NumaKnobs
from pymigrate.mm.state.scope import OUTERMOST, UNWATCHED, Scope, Watch
from pymigrate.mm.state.stable_tree import StableTree
from pymigrate.mm.state.task import Cpuset, Left, Pin, Region, Task
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.records import field, record
from pymigrate.units import MAX_NUMNODES, PAGE_SHIFT

P = ParamSpec("P")
T = TypeVar("T")

if TYPE_CHECKING:
    from pymigrate.mm.base.why import Stay
    from pymigrate.mm.state.events import MigrateReason

LOCAL_DISTANCE, REMOTE_DISTANCE = 10, 20
FIRST_REGION = 0x200004000000 >> PAGE_SHIFT


@record
class Machine:
    """All state. Nothing else in the core is remembered between calls."""

    nodes: dict[int, Node] = field(default_factory=dict)
    distances: dict[int, dict[int, int]] = field(default_factory=dict)
    release: Release = RELEASES["6.12"]
    thp: str = "never"
    demotion: bool = False
    numa_balancing: int = 0
    weights: dict[int, int] = field(default_factory=dict)  # weighted interleave, where not 1
    tasks: dict[int, Task] = field(default_factory=dict)
    mms: dict[int, Mm] = field(default_factory=dict)
    spaces: dict[int, AddressSpace] = field(default_factory=dict)
    regions: dict[tuple[str, str], Region] = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)
    lru_batches: dict[int, LruBatch] = field(default_factory=dict)
    pins: list[Pin] = field(default_factory=list)
    busy: dict[int, FolioWork] = field(default_factory=dict)  # first frame of a folio -> work on it
    stable_tree: StableTree = field(default_factory=StableTree)
    resv_huge_pages: int = 0  # hugetlb pages that mappings have reserved and not yet used
    next_nid_to_alloc: int = 0  # the node whose turn it is when hugetlb pools grow together
    next_nid_to_free: int = 0  # and when they shrink
    cpusets: dict[str, Cpuset] = field(default_factory=dict)
    drivers: dict[str, Driver] = field(default_factory=dict)
    next_pid: int = 1000
    next_id: int = 1  # of mms, fork families, anon_vmas and address spaces
    next_region: int = FIRST_REGION
    now: int = 0  # ms of simulated time, which passes while tasks run for so long
    last_call: str = ""  # the last one that was to move pages
    left: list[Left] = field(default_factory=list)  # what it left behind
    devices: dict[str, Device] = field(default_factory=dict)  # with private memory
    contigs: dict[str, Extent] = field(default_factory=dict)  # memory allocated in one piece
    seed: int = 0  # what the next random number follows from
    costs: Costs = field(default_factory=Costs)  # what each part of a migration takes
    numa_knobs: NumaKnobs = field(default_factory=NumaKnobs)
    numa_groups: dict[int, NumaGroup] = field(default_factory=dict)
    num_poisoned_pages: int = 0  # pages that are out of use, or were found to be bad
    bad_zero_pages: tuple[int, ...] = ()  # of the huge zero page, by number; -1: the zero page
    max_ptes_none: int = 0  # pages of a huge page that may hold nothing: khugepaged's limit
    defrag: str = "madvise"  # which faults of huge pages may compact memory
    compact_knobs: CompactKnobs = field(default_factory=CompactKnobs)
    nr_overcommit_huge_pages: int = 0  # how many pages the pools may have as surplus
    ksm_knobs: KsmKnobs = field(default_factory=KsmKnobs)
    can_soft_offline: bool = True  # enable_soft_offline
    allocations: dict[str, Allocation] = field(default_factory=dict)  # of the kernel, by name
    zonelists: dict[int, tuple[int, ...]] = field(default_factory=dict)  # derived, see page_alloc
    tiers: MemoryTiers | None = None  # derived, see memory_tiers
    hopeless: dict[int, int] = field(default_factory=dict)  # derived, see kswapd_shrink_node()
    ledger: Ledger = field(default_factory=Ledger)  # of who has raised counters; kept apart
    scope: Scope = OUTERMOST  # of the call that goes on; not kept
    watch: Watch = UNWATCHED  # of those who look on; not kept

    @property
    def is_watched(self) -> bool:
        """Whether each folio must be seen to go its own way, or may be met by an access."""
        other = self.scope.meanwhile
        return self.watch.events is not None or (other is not None and not other.is_made)

    @property
    def memory_nodes(self) -> Nodemask:
        """The nodes that have memory (N_MEMORY)."""
        return Nodemask.collect(nid for nid, node in self.nodes.items() if node.nr_pages)

    @property
    def normal_nodes(self) -> Nodemask:
        """The nodes that have memory for what cannot be moved (N_HIGH_MEMORY)."""
        return Nodemask.collect(
            nid
            for nid, node in self.nodes.items()
            if any(zone.name != "movable" and zone.managed for zone in node.zones)
        )

    @property
    def possible_nodes(self) -> Nodemask:
        """The nodes that there may be: those that there are, and the gaps between their ids."""
        return Nodemask.collect(range(max(self.nodes) + 1))

    def distance(self, nid: int, other: int) -> int:
        """How far node *other* is from node *nid*, also for nodes that are only possible.

        Mirrors node_distance().
        """
        default = LOCAL_DISTANCE if nid == other else REMOTE_DISTANCE
        return self.distances.get(nid, {}).get(other, default)

    @property
    def cpus(self) -> Cpumask:
        """All CPUs."""
        cpus = Cpumask()
        for node in self.nodes.values():
            cpus |= node.cpus
        return cpus

    def shell_of(self, uid: int) -> Task:
        """A caller of commands, new: user *uid*, on the first CPU of the lowest node that has any.

        What the kernel does for itself it does as the one of root.
        """
        cpu = next(node.cpus.first for node in self.nodes.values() if node.cpus)
        return Task(0, "shell", "sh", uid, Cpumask.of(cpu), Mm(0, 0), self.memory_nodes)

    def memmap_of(self, pfn: int) -> RunMap[FrameRun]:
        """The frames in use on the node, or on the device, that frame *pfn* is of."""
        node = self.nodes.get(nid_of(pfn))
        return node.memmap if node else self.device_of(pfn).memmap

    def device_of(self, pfn: int) -> Device:
        """The device that frame *pfn* is of."""
        number = nid_of(pfn) - MAX_NUMNODES
        return next(device for device in self.devices.values() if device.number == number)

    def counted(self) -> Counter[str]:
        """All events since boot: the machine's, and those of its nodes."""
        found = Counter(self.counters)
        for node in self.nodes.values():
            found.update(node.numa)
        return found

    def open_ledger(self, entries: Iterable[Entry] = ()) -> None:
        """Let a ledger, which begins with *entries*, be told of all that is counted from now on."""
        self.ledger = Ledger(entries)
        for counters in (self.counters, *(node.numa for node in self.nodes.values())):
            counters.ledger = self.ledger

    def new_id(self) -> int:
        """A number that nothing else has."""
        self.next_id += 1
        return self.next_id - 1

    def random_below(self, limit: int) -> int:
        """A number from 0 to *limit* - 1 that follows from the machine's seed."""
        self.seed = (self.seed * 6364136223846793005 + 1442695040888963407) % (1 << 63)
        return (self.seed >> 31) % limit

    def node_of_cpu(self, cpu: int) -> int:
        """The node that *cpu* belongs to."""
        for nid, node in self.nodes.items():
            if cpu in node.cpus:
                return nid
        raise ValueError(f"there is no CPU {cpu}")

    def local_node(self, task: Task) -> int:
        """The node of the CPU that *task* runs on (numa_node_id()); it may have no memory."""
        return self.node_of_cpu(task.cpu)

    def task(self, who: int | str) -> Task:
        """The task with that pid or name. Raises KernelError ESRCH."""
        if isinstance(who, int):
            if who in self.tasks:
                return self.tasks[who]
            raise KernelError("ESRCH", f"there is no process {who}")
        for task in self.tasks.values():
            if task.name == who:
                return task
        raise KernelError("ESRCH", f"there is no process called {who}")

    def take_pid(self) -> int:
        """The next number that no task has."""
        while self.next_pid in self.tasks:
            self.next_pid += 1
        self.next_pid += 1
        return self.next_pid - 1

    @property
    def processes(self) -> list[Task]:
        """The first threads of all processes, by pid."""
        return [task for _, task in sorted(self.tasks.items()) if not task.thread_of]

    def process_of(self, task: Task) -> Task:
        """The process of *task*: its first thread."""
        return self.tasks[task.thread_of] if task.thread_of else task

    def threads_of(self, task: Task) -> list[Task]:
        """All threads of the process of *task*, the first one before those made later."""
        tgid, tasks = task.tgid, sorted(self.tasks.items())
        return [other for pid, other in tasks if (other.thread_of or pid) == tgid] or [task]

    def mm_users(self, mm: Mm) -> int:
        """How many tasks have the address space *mm*."""
        return sum(task.mm is mm for task in self.tasks.values())

    def add_mm(self, mm: Mm) -> None:
        """Let an address space be there; those of a family number their VMAs together."""
        mm.inserted = next((other.inserted for other in self.mms_of(mm.family)), mm.inserted)
        self.mms[mm.mm_id] = mm

    def mms_of(self, family: int) -> Iterator[Mm]:
        """The address spaces of a fork family, in the order of their making."""
        return (mm for mm in self.mms.values() if mm.family == family)


def add_device(machine: Machine, name: str, nr: int) -> Device:
    """Give the machine a device with *nr* free frames of private memory."""
    device = Device(name, len(machine.devices), nr)
    device.free.put(device.start, device.start + nr, Extent(device.start, nr))
    machine.devices[name] = device
    return device


def find_file(machine: Machine, name: str) -> AddressSpace | None:
    """The scenario's file of that name."""
    spaces = machine.spaces.values() if name else ()
    named = (space for space in spaces if space.name == name and not space.is_deleted)
    return next(named, None)


def is_mapped(machine: Machine, task: Task, name: str) -> bool:
    """Whether *task* calls some memory *name* that it has not unmapped."""
    known = machine.regions.get((machine.process_of(task).name, name))
    return bool(known and task.mm.vmas_between(known.start, known.start + known.nr))


@contextmanager
def telling(machine: Machine, scope: Scope) -> Iterator[None]:
    """Let *scope* hold while the block runs. Mirrors memalloc_flags_save() and its like."""
    outer, machine.scope = machine.scope, scope
    try:
        yield
    finally:
        machine.scope = outer


def as_task(machine: Machine, task: Task) -> AbstractContextManager[None]:
    """Let it be the process of *task* that raises counters while the block runs."""
    process = machine.tasks.get(task.tgid, task)
    return machine.ledger.raised_by(Raiser(process.name, process.pid))


def as_thread(machine: Machine, comm: str, reason: str) -> AbstractContextManager[None]:
    """Let it be a thread of the kernel that raises counters while the block runs."""
    return machine.ledger.raised_by(Raiser(comm, reason=reason))


def because(
    reason: str,
) -> Callable[[Callable[Concatenate[Machine, P], T]], Callable[Concatenate[Machine, P], T]]:
    """Let what raises counters do so for *reason* while the function runs."""

    def wrapper(
        function: Callable[Concatenate[Machine, P], T],
    ) -> Callable[Concatenate[Machine, P], T]:
        @wraps(function)
        def call(machine: Machine, /, *args: P.args, **kwargs: P.kwargs) -> T:
            ledger = machine.ledger
            with ledger.raised_by(ledger.raiser._replace(reason=reason)):
                return function(machine, *args, **kwargs)

        return call

    return wrapper


def migrating(machine: Machine, reason: MigrateReason) -> AbstractContextManager[None]:
    """Let what raises counters while the block runs do so for a migration."""
    ledger = machine.ledger
    return ledger.raised_by(ledger.raiser._replace(reason=reason.text))


@contextmanager
def watching(machine: Machine, watch: Watch) -> Iterator[Watch]:
    """Let *watch* take notes while the block runs."""
    outer, machine.watch = machine.watch, watch
    try:
        yield watch
    finally:
        machine.watch = outer


def parents_of(machine: Machine) -> dict[str, str]:
    """The parent of each task that has a copy of its parent's memory, both by name."""
    return {task.name: task.parent for task in machine.tasks.values() if task.mm.ancestors}


def owners_of(machine: Machine, task: Task) -> list[str]:
    """The process of *task* and those that its memory was copied from, by name, nearest first."""
    parents = parents_of(machine)
    owners = [machine.process_of(task).name]
    while parents.get(owners[-1]):
        owners.append(parents[owners[-1]])
    return owners


def region_of(machine: Machine, task: Task, name: str) -> Region | None:
    """The memory that *task* calls *name*, or else the nearest of its parents that has it.

    The steps of a scenario have a stricter rule (scenario/spec/names.py): a child can name what
    its parent had when it forked. It is checked before there is a machine.
    """
    return regions_of(machine, task).get(name)


def regions_of(machine: Machine, task: Task) -> dict[str, Region]:
    """All names that *task* and its parents have, each with what region_of() finds."""
    known: dict[str, Region] = {}
    for owner in owners_of(machine, task):
        for (who, name), region in machine.regions.items():
            if who == owner:
                known.setdefault(name, region)
    return known


def note_left(machine: Machine, stays: Iterable[Stay]) -> None:
    """Note what a system call leaves where it is, if somebody wants to know."""
    if machine.watch.left is not None:
        machine.watch.left.extend(stays)
