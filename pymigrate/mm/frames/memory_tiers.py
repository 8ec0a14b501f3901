"""Memory tiers: which memory is faster than which, and where pages are demoted to.

Mirrors mm/memory-tiers.c, with the abstract distances of drivers/acpi/numa/hmat.c.
"""

from __future__ import annotations

from collections.abc import Iterator

from pymigrate.mm.frames.page_alloc import find_next_best_node, node_load
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import AccessCoordinate, Demotion, MemoryTier, MemoryTiers
from pymigrate.nodemask import Nodemask

CHUNK_BITS = 7  # MEMTIER_CHUNK_BITS: distances of one tier are alike but for these bits
ADISTANCE_DRAM = (4 << CHUNK_BITS) + (1 << CHUNK_BITS >> 1)


def memory_tiers(machine: Machine) -> MemoryTiers:
    """The tiers of *machine*'s memory, and each node's demotion targets.

    Mirrors memory_tier_late_init() and establish_demotion_targets().
    """
    if machine.tiers is None:
        machine.tiers = _build(machine)
    return machine.tiers


def node_is_toptier(machine: Machine, nid: int) -> bool:
    """Whether node *nid* is in a tier that nothing is promoted from. Mirrors node_is_toptier()."""
    return nid in memory_tiers(machine).top or not machine.nodes[nid].nr_pages


def demotion_of(machine: Machine, nid: int) -> Demotion:
    """Where the pages of node *nid* are demoted to; it has no targets in the last tier."""
    return memory_tiers(machine).demotion.get(nid, Demotion())


def next_demotion_node(machine: Machine, nid: int) -> int | None:
    """The node that the next batch of node *nid*'s pages goes to, or None if there is none.

    One of several is picked at random. Mirrors next_demotion_node().
    """
    preferred = list(demotion_of(machine, nid).preferred)
    if len(preferred) > 1:
        return preferred[machine.random_below(len(preferred))]
    return preferred[0] if preferred else None


def adistances(machine: Machine) -> dict[int, int]:
    """The abstract distance of each node that has memory: the smaller, the faster.

    A driver's word counts most, then the HMAT's; what neither knows is DRAM.
    """
    dram = _default_dram_perf(machine)
    found: dict[int, int] = {}
    for nid in machine.memory_nodes:
        node = machine.nodes[nid]
        found[nid] = ADISTANCE_DRAM
        if node.adistance:
            found[nid] = node.adistance
        elif dram is not None and node.perf is not None:
            found[nid] = perf_to_adistance(node.perf, dram)
    return found


def perf_to_adistance(perf: AccessCoordinate, dram: AccessCoordinate) -> int:
    """The abstract distance of memory as fast as *perf*, where DRAM is as *dram*.

    Mirrors mt_perf_to_adistance(), in whose order integers are divided.
    """
    distance = ADISTANCE_DRAM * perf.latency // dram.latency
    return distance * dram.bandwidth // perf.bandwidth


def _default_dram_perf(machine: Machine) -> AccessCoordinate | None:
    """How fast DRAM is: that of the first node with CPUs; None where the HMAT is not believed.

    Mirrors mt_set_default_dram_perf() and hmat_set_default_dram_perf().
    """
    if not machine.release.hmat_adistance:
        return None
    dram: AccessCoordinate | None = None
    for node in machine.nodes.values():
        if not node.nr_pages or not node.cpus:
            continue
        if node.perf is None or (dram is not None and _deviates(node.perf, dram)):
            return None
        dram = dram or node.perf
    return dram


def _deviates(perf: AccessCoordinate, dram: AccessCoordinate) -> bool:
    """Whether any of its numbers is more than 10 % off."""
    return any(abs(a - b) * 10 > b for a, b in zip(perf, dram, strict=True))


def _build(machine: Machine) -> MemoryTiers:
    by_number: dict[int, int] = {}
    for nid, distance in adistances(machine).items():
        number = distance >> CHUNK_BITS
        by_number[number] = by_number.get(number, 0) | Nodemask.of(nid)
    tiers = tuple(MemoryTier(n, Nodemask(by_number[n])) for n in sorted(by_number))
    load = node_load(machine)
    demotion: dict[int, Demotion] = {}
    for place, tier in enumerate(tiers):
        lower = Nodemask.collect(nid for below in tiers[place + 1 :] for nid in below.nodes)
        for nid in tier.nodes:
            demotion[nid] = Demotion()
            if lower:
                nearest = Nodemask.collect(_nearest(machine, nid, tiers[place + 1].nodes, load))
                demotion[nid] = Demotion(nearest, lower)
    return MemoryTiers(tiers, demotion, _top(machine, tiers))


def _nearest(machine: Machine, nid: int, nodes: Nodemask, load: dict[int, int]) -> Iterator[int]:
    """Those of *nodes* that are found first, as long as they are all as far from *nid*."""
    left = list(nodes)
    distance = None
    while left:
        best = find_next_best_node(machine, nid, left, load, with_cpus_last=True)
        if distance not in (None, machine.distances[nid][best]):
            return
        distance = machine.distances[nid][best]
        left.remove(best)
        yield best


def _top(machine: Machine, tiers: tuple[MemoryTier, ...]) -> Nodemask:
    """The nodes of the slowest tier that has CPUs, and of those above it."""
    slowest = max(
        (i for i, tier in enumerate(tiers) if any(machine.nodes[nid].cpus for nid in tier.nodes)),
        default=-1,
    )
    return Nodemask.collect(nid for tier in tiers[: slowest + 1] for nid in tier.nodes)
