"""What a migration costs in time, as an estimate from what was done. No rule depends on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from math import lcm

from pymigrate.mm.base.costs import Costs
from pymigrate.mm.base.memmap import Frame, nid_of
from pymigrate.mm.base.pte import PteRun
from pymigrate.records import NamedTuple, field, names_of, record
from pymigrate.units import MAX_NUMNODES, PAGE_SIZE

NR_MAX_BATCHED_MIGRATION = 512  # base pages that migrate_pages() unmaps, flushes and moves at once
_LOCAL, _REMOTE = 10, 20  # distances


class Kind(NamedTuple):
    """Folios that cost the same: 2**order pages each, from node to node, mapped *maps* times."""

    source: int
    target: int
    order: int
    maps: int
    more: int  # entries besides the one that a folio's own cost is of


@record
class Tally:
    """What was done that takes time; ``(source, target)`` are nodes."""

    pages: Counter[tuple[int, int]] = field(default_factory=Counter)  # base pages
    folios: Counter[tuple[int, int, int]] = field(default_factory=Counter)  # and order
    kinds: Counter[Kind] = field(default_factory=Counter)  # all of them
    ptes: int = 0  # entries for single pages of large folios, and further ones for what has one
    flushes: int = 0
    flushed_cpus: int = 0  # that flushes had to reach besides the first of each
    attempts: int = 0  # that failed
    splits: int = 0
    hint_faults: int = 0

    def __eq__(self, other: object) -> bool:
        """Whether the same was done; *kinds* tells of it once more."""
        if not isinstance(other, Tally):
            return NotImplemented
        names = [name for name in names_of(self) if name != "kinds"]
        return all(getattr(self, name) == getattr(other, name) for name in names)

    __hash__ = None  # type: ignore[assignment]  # what was done goes on

    def moved(self, old: PteRun, new: PteRun, frame: Frame) -> None:
        """Note folios that have moved."""
        order = old.order
        pairs: Counter[tuple[int, int]] = Counter()
        if len(old.lanes) == len(new.lanes):
            for lane, (a, b) in enumerate(zip(old.lanes, new.lanes, strict=True)):
                if a != b:
                    pairs[nid_of(a), nid_of(b)] += old.count(lane)
        else:
            for pair, nr in _moved_between(old, new):
                pairs[pair] += nr
        maps = max(frame.mapcount, 0)
        more = more_entries(order, frame.pmd_maps, maps)
        self.kinds.update({Kind(*pair, order, maps, more): nr for pair, nr in pairs.items()})
        self.ptes += pairs.total() * more
        if order:
            self.folios.update({(*pair, order): nr for pair, nr in pairs.items()})
        else:
            self.pages += pairs

    def flushed(self, times: int, mapcount: int = 1) -> None:
        """Note *times* flushes for memory that *mapcount* address spaces map."""
        self.flushes += times
        self.flushed_cpus += times * max(mapcount - 1, 0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was done."""
        return self == Tally()


def _moved_between(old: PteRun, new: PteRun) -> Iterator[tuple[tuple[int, int], int]]:
    """The nodes that entries go between, and how many, where the lanes are not as many."""
    entries, k, m = old.nr >> old.order, len(old.lanes), len(new.lanes)
    period = min(lcm(k, m), entries)
    for i in range(period):
        a = old.lanes[i % k] + (i // k << old.order)
        b = new.lanes[i % m] + (i // m << old.order)
        nr = -(-(entries - i) // period)
        # One more period on, the frames are this much further apart.
        apart = (period // m - period // k) << old.order if nr > 1 else 0
        if a == b and not apart:
            continue
        stays = bool(apart) and (a - b) % apart == 0 and 0 <= (a - b) // apart < nr
        yield (nid_of(a), nid_of(b)), nr - stays


def more_entries(order: int, pmd_maps: int, maps: int) -> int:
    """How many entries of a folio cost time besides the one that its own cost is of.

    A large folio that is mapped page by page has one for each page and each mapping.
    """
    if order and not pmd_maps:
        return maps << order
    return max(maps - 1, 0)


class Estimate(NamedTuple):
    """The estimated time of a migration in microseconds, by its parts."""

    unmap: float
    flush: float
    copy: float
    remap: float
    other: float  # attempts that failed, splits, hint faults

    @property
    def total(self) -> float:
        """All parts together."""
        return sum(self)


def estimate(tally: Tally, costs: Costs, distances: Mapping[int, Mapping[int, int]]) -> Estimate:
    """How long the work takes that *tally* has counted, in microseconds."""
    whole = tally.folios.total() * 1.0
    pages = tally.pages.total()
    nr_bytes: Counter[tuple[int, int]] = Counter()
    for pair, nr in tally.pages.items():
        nr_bytes[pair] += nr * PAGE_SIZE
    for (source, target, order), nr in tally.folios.items():
        nr_bytes[source, target] += nr * PAGE_SIZE << order
    copy = 0.0
    for (source, target), nr in sorted(nr_bytes.items()):
        copy += nr / (_gbps(costs, distances, source, target) * 1e3)
    return Estimate(
        pages * costs.unmap_us + whole * costs.thp_unmap_us + tally.ptes * costs.pte_unmap_us,
        tally.flushes * costs.flush_us + tally.flushed_cpus * costs.flush_cpu_us,
        copy,
        pages * costs.remap_us + whole * costs.thp_remap_us + tally.ptes * costs.pte_remap_us,
        tally.attempts * (costs.attempt_us + costs.alloc_us)
        + tally.splits * costs.split_us
        + tally.hint_faults * costs.hint_fault_us,
    )


def _gbps(
    costs: Costs, distances: Mapping[int, Mapping[int, int]], source: int, target: int
) -> float:
    """The bandwidth of a copy; a device is as far as another node."""
    if max(source, target) >= MAX_NUMNODES:
        return costs.copy_remote_gbps
    distance = distances[source][target]
    if distance < _REMOTE:
        share = max(distance - _LOCAL, 0) / (_REMOTE - _LOCAL)
        return costs.copy_local_gbps + (costs.copy_remote_gbps - costs.copy_local_gbps) * share
    return costs.copy_remote_gbps * _REMOTE / distance
