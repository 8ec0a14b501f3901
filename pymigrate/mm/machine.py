"""The simulated machine: nodes with their memory, tasks, and what they share."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pymigrate.errors import KernelError
from pymigrate.mm.access import AccessPattern
from pymigrate.mm.address_space import AddressSpace
from pymigrate.mm.compact_state import CompactKnobs, CompactState
from pymigrate.mm.cost import Costs
from pymigrate.mm.cred import CAP_FULL, CAP_NONE, Cap
from pymigrate.mm.driver import Called, Driver
from pymigrate.mm.memmap import NODE_SHIFT, FolioWork, FrameRun
from pymigrate.mm.mempolicy import Mempolicy
from pymigrate.mm.mm import Mm
from pymigrate.mm.numa_state import FaultTable, NumaGroup, NumaKnobs, NumaTask, Promotion
from pymigrate.mm.pageblock import BlockRun
from pymigrate.mm.release import RELEASES, Release
from pymigrate.mm.runs import Extent, RunMap
from pymigrate.mm.stable_tree import StableTree
from pymigrate.mm.swap import LruBatch
from pymigrate.mm.tier_state import AccessCoordinate, MemoryTiers
from pymigrate.mm.vmstat import Counters
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.units import HPAGE_PMD_ORDER, MAX_NUMNODES, PAGE_SHIFT

if TYPE_CHECKING:
    from pymigrate.mm.tally import Tally
    from pymigrate.mm.trace import Event, Step

FIRST_REGION = 0x200004000000 >> PAGE_SHIFT
LOCAL_DISTANCE, REMOTE_DISTANCE = 10, 20


@dataclass(slots=True, eq=False)
class Zone:
    """A part of a node's memory: *nr* frames from pfn *start*, of which *free* are."""

    name: str
    start: int
    nr: int
    free: RunMap[Extent]
    nr_free: int
    watermark_min: int = 0
    watermark_low: int = 0
    watermark_high: int = 0
    reserve: int = 0  # lowmem_reserve against allocations that may use higher zones
    pageblocks: RunMap[BlockRun] = field(default_factory=RunMap)  # those not as at boot
    offline: RunMap[Extent] = field(default_factory=RunMap)  # memory blocks that were taken away
    compact: CompactState = field(default_factory=CompactState)

    @property
    def end(self) -> int:
        """The first pfn behind the zone."""
        return self.start + self.nr

    @property
    def managed(self) -> int:
        """Its frames without those of memory blocks that are offline."""
        return self.nr - sum(extent.nr for extent in self.offline.runs)

    @property
    def span(self) -> tuple[int, int]:
        """The frames [a, b) from its first one to its last one that is not offline."""
        online = [(a, b) for a, b, gone in self.offline.spans(self.start, self.end) if gone is None]
        return (online[0][0], online[-1][1]) if online else (self.start, self.start)

    def blocks_of(self, extent: Extent, order: int) -> tuple[int, int]:
        """The frames [a, b) of *extent* that make up aligned blocks of ``1 << order``."""
        return -(-extent.start >> order) << order, extent.start + extent.nr >> order << order

    def nr_blocks(self, order: int) -> int:
        """How many aligned blocks of ``1 << order`` frames are free."""
        nr = 0
        for extent in self.free.runs:
            low, high = self.blocks_of(extent, order)
            if high > low:
                nr += high - low >> order
        return nr


@dataclass(slots=True, eq=False)
class HugePool:
    """A node's pool of hugetlb pages: *nr* of them, of which *surplus* go when they are freed."""

    free: RunMap[Extent] = field(default_factory=RunMap)  # frames
    nr: int = 0
    surplus: int = 0

    @property
    def nr_free(self) -> int:
        """Its free huge pages."""
        return sum(extent.nr for extent in self.free.runs) >> HPAGE_PMD_ORDER


@dataclass(slots=True, eq=False)
class Node:
    """A NUMA node: its CPUs, its zones (lowest first), and the frames in use."""

    nid: int
    cpus: Cpumask
    zones: list[Zone] = field(default_factory=list)
    memmap: RunMap[FrameRun] = field(default_factory=RunMap)
    numa: Counters = field(default_factory=Counters)  # events that are kept for each node
    hugetlb: HugePool = field(default_factory=HugePool)
    perf: AccessCoordinate | None = None  # of its memory, as the HMAT says
    adistance: int = 0  # its memory's abstract distance, if a driver gives one
    promotion: Promotion = field(default_factory=Promotion)
    hands: tuple[int, int] = (0, 0)  # frames where reclaim goes on: of files' pages, of the others
    next_proactive: int = 0  # ms: when its kcompactd may look again how scattered its memory is

    @property
    def nr_pages(self) -> int:
        """Its memory in base pages, but for what is offline."""
        return sum(zone.managed for zone in self.zones)

    @property
    def nr_free(self) -> int:
        """Its free base pages."""
        return sum(zone.nr_free for zone in self.zones)

    def zone_of(self, pfn: int) -> Zone:
        """The zone that *pfn* lies in."""
        for zone in self.zones:
            if pfn < zone.start + zone.nr:
                return zone
        raise AssertionError(f"pfn {pfn:#x} lies in no zone of node {self.nid}")


@dataclass(slots=True, eq=False)
class Device:
    """Memory of a device, *nr* frames, that no CPU can reach: those free, and those in use."""

    name: str
    number: int  # among the devices
    nr: int
    free: RunMap[Extent] = field(default_factory=RunMap)
    memmap: RunMap[FrameRun] = field(default_factory=RunMap)

    @property
    def start(self) -> int:
        """Its first frame: devices are numbered on behind the nodes."""
        return (MAX_NUMNODES + self.number) << NODE_SHIFT

    @property
    def nr_free(self) -> int:
        """How many of its frames are free."""
        return sum(extent.nr for extent in self.free.runs)


class Region(NamedTuple):
    """A name for an address range: what a scenario calls memory that a task maps."""

    task: str
    name: str
    start: int  # base pages
    nr: int


@dataclass(slots=True, eq=False)
class Cpuset:
    """A group of tasks that share nodes and CPUs.

    Tasks begin in the one called "", the parent of all others, which has all there is.
    """

    name: str
    cpus: Cpumask
    mems: Nodemask
    memory_migrate: bool
    old_mems: Nodemask  # those that its tasks' memory was last moved to


class Allocation(NamedTuple):
    """Blocks of ``1 << order`` frames that the kernel has allocated, by their first frames."""

    alloc_id: int
    order: int
    pfns: tuple[int, ...]


class Pin(NamedTuple):
    """The frames that a task holds: for long (FOLL_PIN), or by plain references in a pipe."""

    pid: int
    start: int  # the first page of the range that was named
    nr: int
    is_long: bool
    pfns: tuple[int, ...]


class Left(NamedTuple):
    """*nr* pages of a mapping, on one node, that a call left behind; *why* is a word for it."""

    pid: int
    mapping: str
    node: int
    nr: int
    why: str


@dataclass(slots=True, eq=False)
class Task:
    """A process with one thread, and its credentials."""

    pid: int
    name: str
    comm: str
    uid: int
    cpus: Cpumask
    mm: Mm
    mems_allowed: Nodemask
    policy: Mempolicy | None = None
    il_prev: int = -1  # where a cursor-driven interleave stands
    il_weight: int = 0
    parent: str = ""
    cpuset: str = ""
    user_cpus: Cpumask = field(default_factory=Cpumask)  # what sched_setaffinity() asked for
    caps: int | None = None  # Cap bits; None: all for uid 0, none for others
    is_dumpable: bool = True  # others of its uid may inspect it
    numa: NumaTask = field(default_factory=NumaTask)
    accesses: list[AccessPattern] = field(default_factory=list)  # that it goes on making
    numa_faults: FaultTable = field(default_factory=dict)

    @property
    def cpu(self) -> int:
        """The CPU it runs on: the lowest of its affinity."""
        return self.cpus.first

    @property
    def capabilities(self) -> int:
        """The bits of the capabilities that it has."""
        if self.caps is not None:
            return self.caps
        return CAP_FULL if self.uid == 0 else CAP_NONE

    def has(self, cap: Cap) -> bool:
        """Whether it has the capability *cap*. Mirrors capable()."""
        return bool(self.capabilities & cap)


@dataclass(slots=True, eq=False)
class Meanwhile:
    """An access that a task makes in the middle of a migration."""

    pid: int
    page: int
    write: bool
    waited: bool = False  # for the page was unmapped
    signal: str | None = None  # that it got


@dataclass(slots=True, eq=False)
class Isolated:
    """Frames [start, end) that nobody may allocate now, and those of them that are free."""

    start: int
    end: int
    free: RunMap[Extent] = field(default_factory=RunMap)


@dataclass(slots=True, eq=False)
class Machine:
    """All state. Nothing else in the core is remembered between calls."""

    nodes: dict[int, Node]
    distances: dict[int, dict[int, int]]
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
    defrag: str = "madvise"  # which faults of huge pages may compact memory
    compact_knobs: CompactKnobs = field(default_factory=CompactKnobs)
    allocations: dict[str, Allocation] = field(default_factory=dict)  # of the kernel, by name
    zonelists: dict[int, tuple[int, ...]] = field(default_factory=dict)  # derived, see page_alloc
    tiers: MemoryTiers | None = None  # derived, see memory_tiers
    events: "list[Event | Step] | None" = None  # of the tracepoints, if somebody watches; not kept
    memalloc_pin: bool = False  # who allocates pins for long (PF_MEMALLOC_PIN); not kept
    isolated: Isolated | None = None  # pageblocks of type Isolate, during a call; not kept
    meanwhile: list[Meanwhile] = field(default_factory=list)  # during the next call; not kept
    driver_calls: list[Called] = field(default_factory=list)  # of a step; not kept
    memalloc: bool = False  # nothing may be reclaimed (PF_MEMALLOC); not kept
    queued: RunMap[Extent] = field(default_factory=RunMap)  # frames off the LRU lists; not kept
    hopeless: dict[int, int] = field(default_factory=dict)  # see kswapd_shrink_node(); not kept
    tally: "Tally | None" = None  # of what takes time, if somebody asks; not kept
    off_lru: tuple[Extent, ...] = ()  # pages that a migration has isolated; not kept
    traces_steps: bool = False  # the steps of each folio's migration stand among them; not kept

    @property
    def memory_nodes(self) -> Nodemask:
        """The nodes that have memory (N_MEMORY)."""
        return Nodemask.collect(nid for nid, node in self.nodes.items() if node.nr_pages)

    @property
    def cpus(self) -> Cpumask:
        """All CPUs."""
        cpus = Cpumask()
        for node in self.nodes.values():
            cpus |= node.cpus
        return cpus

    @property
    def shell(self) -> Task:
        """The caller of a command: root, on the first CPU of the lowest node that has any."""
        cpu = next(node.cpus.first for node in self.nodes.values() if node.cpus)
        return Task(0, "shell", "sh", 0, Cpumask.of(cpu), Mm(0, 0), self.memory_nodes)

    def memmap(self, nid: int) -> RunMap[FrameRun]:
        """The frames in use on node *nid*, or on the device that nid_of() names so."""
        node = self.nodes.get(nid)
        return node.memmap if node else self.device_at(nid).memmap

    def device_at(self, nid: int) -> Device:
        """The device whose frames nid_of() says to be on *nid*."""
        return next(d for d in self.devices.values() if d.number == nid - MAX_NUMNODES)

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
        return next(nid for nid, node in self.nodes.items() if cpu in node.cpus)

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

    def region(self, task: str, name: str) -> Region:
        """The memory that *task*, or a parent of it, or else any task calls *name*.

        Raises KernelError EFAULT.
        """
        own = self.own_region(task, name)
        if own is not None:
            return own
        found = [region for (_, called), region in self.regions.items() if called == name]
        if not found:
            raise KernelError("EFAULT", f"no memory is called {name}")
        return found[-1]

    def own_region(self, task: str, name: str) -> Region | None:
        """The memory that *task*, or a parent of it, calls *name*."""
        parents = {t.name: t.parent for t in self.tasks.values()}
        who = task
        while who:
            if (who, name) in self.regions:
                return self.regions[who, name]
            who = parents.get(who, "")
        return None

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
    named = (space for space in machine.spaces.values() if name and space.name == name)
    return next(named, None)
