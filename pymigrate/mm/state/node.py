"""Nodes, their zones, what compaction remembers of them, and what else holds frames."""

from __future__ import annotations

from collections.abc import Iterator

from pymigrate.mm.base.memmap import NODE_SHIFT, FrameRun
from pymigrate.mm.base.pageblock import BlockRun, block_floor
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.base.vmstat import Counters
from pymigrate.mm.state.numa import Promotion
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.records import NamedTuple, field, record
from pymigrate.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER, MAX_NUMNODES


class AccessCoordinate(NamedTuple):
    """How fast the nearest CPUs reach a node's memory, as the firmware's HMAT says."""

    read_latency: int  # ns
    write_latency: int
    read_bandwidth: int  # MiB/s
    write_bandwidth: int

    @property
    def latency(self) -> int:
        """Of a read and a write together, in ns."""
        return self.read_latency + self.write_latency

    @property
    def bandwidth(self) -> int:
        """Of reads and writes together, in MiB/s."""
        return self.read_bandwidth + self.write_bandwidth


class MemoryTier(NamedTuple):
    """Nodes whose memory is about as fast: ``memory_tierN``."""

    number: int
    nodes: Nodemask

    @property
    def name(self) -> str:
        """What its directory in sysfs is called."""
        return f"memory_tier{self.number}"


class Demotion(NamedTuple):
    """Where pages of a node are demoted to."""

    preferred: Nodemask = Nodemask()  # the nearest nodes of the next tier
    fallback: Nodemask = Nodemask()  # all nodes of all lower tiers


class MemoryTiers(NamedTuple):
    """The tiers, fastest first, and what each node that has memory makes of them."""

    tiers: tuple[MemoryTier, ...]
    demotion: dict[int, Demotion]
    top: Nodemask  # from whose nodes nothing is promoted


MAX_DEFER_SHIFT = 6  # COMPACT_MAX_DEFER_SHIFT
INTERFACES = {"2016": "migratepage", "movable_operations": "migrate_page"}


class Called(NamedTuple):
    """One call of a driver: what it was asked, for which of its pages, and the answer."""

    call: str
    page: int
    answer: str


@record
class Driver:
    """A driver with pages of its own.

    *isolates* and *migrates* are the answers that are still to be given, in order; the last of
    them is given again and again.
    """

    driver_id: int
    name: str
    kind: str  # zsmalloc, virtio-balloon or scripted
    interface: str = "movable_operations"
    isolates: list[str] = field(default_factory=list)  # true, false, or free
    migrates: list[str] = field(default_factory=list)  # success, or an errno
    pages: list[int] = field(default_factory=list)  # the frame of each page, -1: it was freed
    isolated: int = 0  # pages that the balloon's device counts as such

    @property
    def migrate_name(self) -> str:
        """What the call that moves a page is called."""
        return INTERFACES[self.interface]


@record
class LruBatch:
    """Frames that one CPU has taken in hand and not yet put on a list, oldest first.

    They hold a reference. Those that were faulted in count as active under the multi-generational
    LRU. Mlocked ones wait apart; those count as unevictable only once they are on their list. So
    do those that advice lets go sooner (MADV_COLD) or for nothing (MADV_FREE).
    """

    waiting: list[int] = field(default_factory=list)
    mlocked: list[int] = field(default_factory=list)
    deactivated: list[int] = field(default_factory=list)
    lazyfreed: list[int] = field(default_factory=list)


class LruGen(NamedTuple):
    """The generations of a node's LRU lists: the youngest, and the oldest of each kind.

    Mirrors struct lru_gen_folio.
    """

    max_seq: int = 3
    min_anon: int = 0
    min_file: int = 0


class CompactKnobs(NamedTuple):
    """The sysctls of compaction, in vm."""

    unevictable_allowed: int = 1  # compact_unevictable_allowed: mlocked pages move too
    extfrag_threshold: int = 500
    proactiveness: int = 20  # compaction_proactiveness


class KsmKnobs(NamedTuple):
    """The files of /sys/kernel/mm/ksm that can be written."""

    run: int = 0
    merge_across_nodes: int = 1
    max_page_sharing: int = 256


@record
class CompactState:
    """A zone's cached positions, and how often runs are put off after failures.

    A position of -1 was never set. Mirrors the compact_* fields of struct zone.
    """

    cached_migrate_async: int = -1
    cached_migrate_sync: int = -1
    cached_free: int = -1
    init_migrate: int = -1
    init_free: int = -1
    considered: int = 0
    defer_shift: int = 0
    order_failed: int = 0
    blockskip_flush: bool = False  # whether the skip bits are to go before the next run

    def reset_positions(self, start: int, end: int) -> None:
        """Begin at the ends of the zone. Mirrors reset_cached_positions()."""
        self.cached_migrate_async = self.cached_migrate_sync = start
        self.cached_free = block_floor(end - 1)

    def defer(self, order: int) -> None:
        """Put runs off for twice as many requests as before. Mirrors defer_compaction()."""
        self.considered = 0
        self.defer_shift = min(self.defer_shift + 1, MAX_DEFER_SHIFT)
        self.order_failed = min(self.order_failed, order)

    def is_deferred(self, order: int) -> bool:
        """Whether a run for *order* is put off; counts it. Mirrors compaction_deferred()."""
        if order < self.order_failed:
            return False
        self.considered = min(self.considered + 1, 1 << self.defer_shift)
        return self.considered < 1 << self.defer_shift

    def reset_defer(self, order: int, has_allocated: bool) -> None:
        """A run for *order* has, or should have, succeeded. Mirrors compaction_defer_reset()."""
        if has_allocated:
            self.considered = self.defer_shift = 0
        if order >= self.order_failed:
            self.order_failed = order + 1

    def is_restarting(self, order: int) -> bool:
        """Whether runs were put off for as long as can be. Mirrors compaction_restarting()."""
        return (
            order >= self.order_failed
            and self.defer_shift == MAX_DEFER_SHIFT
            and self.considered >= 1 << self.defer_shift
        )


@record
class Zone:
    """A part of a node's memory, of which *free* is free: *spanned* frames from pfn *start*.

    They are all its own until memory blocks between them come back as another zone's.
    """

    name: str
    start: int
    spanned: int
    free: RunMap[Extent]
    nr_free: int
    watermark_min: int = 0
    watermark_low: int = 0
    watermark_high: int = 0
    reserve: int = 0  # lowmem_reserve against allocations that may use higher zones
    pageblocks: RunMap[BlockRun] = field(default_factory=RunMap)  # those not as at boot
    offline: RunMap[Extent] = field(default_factory=RunMap)  # memory blocks that were taken away
    foreign: RunMap[Extent] = field(default_factory=RunMap)  # frames between that are not its own
    compact: CompactState = field(default_factory=CompactState)

    @property
    def end(self) -> int:
        """The first pfn behind the zone."""
        return self.start + self.spanned

    @property
    def nr(self) -> int:
        """Its frames, online or not."""
        foreign = self.foreign.runs
        return self.spanned - sum(extent.nr for extent in foreign) if foreign else self.spanned

    def parts(self, a: int, b: int) -> list[tuple[int, int]]:
        """Those of frames [a, b) that are its own: ranges [a, b)."""
        spans = self.foreign.spans(max(a, self.start), min(b, self.end))
        return [(low, high) for low, high, foreign in spans if foreign is None]

    def owns(self, pfn: int) -> bool:
        """Whether frame *pfn* is its own."""
        return self.start <= pfn < self.end and self.foreign.at(pfn) is None

    @property
    def managed(self) -> int:
        """Its frames without those of memory blocks that are offline."""
        offline = self.offline.runs
        return self.nr - sum(extent.nr for extent in offline) if offline else self.nr

    @property
    def span(self) -> tuple[int, int]:
        """The frames [a, b) from its first one to its last one that is not offline."""
        online = [
            (a, b)
            for low, high in self.parts(self.start, self.end)
            for a, b, gone in self.offline.spans(low, high)
            if gone is None
        ]
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


@record
class HugePool:
    """A node's pool of hugetlb pages: *nr* of them, of which *surplus* go when they are freed.

    The one that came back last is the first to be used again, and may be marked dirty still.
    """

    free: RunMap[Extent] = field(default_factory=RunMap)  # frames
    nr: int = 0
    surplus: int = 0
    back: list[int] = field(default_factory=list)  # first frames of those that came back, in order

    @property
    def nr_free(self) -> int:
        """Its free huge pages."""
        return sum(extent.nr for extent in self.free.runs) >> HPAGE_PMD_ORDER

    def put(self, start: int, nr: int) -> None:
        """Let the huge pages of frames [start, start + nr) be free: enqueue_hugetlb_folio()."""
        self.free.put(start, start + nr, Extent(start, nr))
        self.back += range(start, start + nr, HPAGE_PMD_NR)

    def take(self, pfn: int) -> None:
        """Let the free huge page at *pfn* be used, or leave the pool."""
        self.free.put(pfn, pfn + HPAGE_PMD_NR)
        if self.back and self.back[-1] == pfn:
            self.back.pop()
        elif pfn in self.back:
            self.back.remove(pfn)

    def in_order(self) -> Iterator[int]:
        """The free huge pages, by their first frames, in the order of their list."""
        yield from reversed(self.back)
        known = set(self.back)
        for start, nr in self.free.runs:
            yield from (p for p in range(start, start + nr, HPAGE_PMD_NR) if p not in known)


class MemoryFailures(NamedTuple):
    """What became of a node's pages that were found to be bad. Mirrors memory_failure_stats."""

    total: int = 0
    ignored: int = 0
    failed: int = 0
    delayed: int = 0
    recovered: int = 0


@record
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
    hand: int = 0  # the frame where reclaim goes on, where there are no generations
    lrugen: LruGen = field(default_factory=LruGen)
    failures: MemoryFailures = field(default_factory=MemoryFailures)
    next_proactive: int = 0  # ms: when its kcompactd may look again how scattered its memory is

    @property
    def span(self) -> tuple[int, int]:
        """Its frames [a, b), online or not."""
        ends = [(zone.start, zone.end) for zone in self.zones] or [(0, 0)]
        return min(low for low, _ in ends), max(high for _, high in ends)

    @property
    def nr_pages(self) -> int:
        """Its memory in base pages, but for what is offline."""
        return sum(zone.managed for zone in self.zones)

    @property
    def has_pages(self) -> bool:
        """Whether it has any memory that is not offline."""
        return any(zone.managed for zone in self.zones)

    @property
    def nr_free(self) -> int:
        """Its free base pages."""
        return sum(zone.nr_free for zone in self.zones)

    def zone_of(self, pfn: int) -> Zone:
        """The zone that *pfn* is of."""
        for zone in self.zones:
            if pfn < zone.start + zone.spanned and zone.owns(pfn):
                return zone
        raise AssertionError(f"pfn {pfn:#x} lies in no zone of node {self.nid}")


@record
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


class Allocation(NamedTuple):
    """Blocks of ``1 << order`` frames that the kernel has allocated, by their first frames."""

    alloc_id: int
    order: int
    pfns: tuple[int, ...]


@record
class Isolated:
    """Frames [start, end) that nobody may allocate now, and those of them that are free."""

    start: int
    end: int
    free: RunMap[Extent] = field(default_factory=RunMap)

    @property
    def nr_free(self) -> int:
        """How many of them are free."""
        return sum(extent.nr for extent in self.free.runs)
