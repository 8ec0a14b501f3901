"""Memory blocks that are taken away, and given back. Mirrors mm/memory_hotplug.c.

A block is 128 MiB of physical addresses, in which the nodes lie one behind the other.
"""

from __future__ import annotations

from collections import Counter

from pymigrate.errors import KernelError
from pymigrate.mm.base.memmap import NODE_SHIFT, FrameFlag, FrameRun, nid_of
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.calls.cpuset import track_memory_nodes
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.frames.page_alloc import free_pages
from pymigrate.mm.frames.placement import Within
from pymigrate.mm.frames.watermarks import ZONE_ORDER, setup_watermarks
from pymigrate.mm.offline.page_isolation import (
    has_unmovable_pages,
    is_kernel,
    isolated_page_range,
    isolated_range,
    movable_runs,
)
from pymigrate.mm.reclaim.room import migrate_for_the_kernel
from pymigrate.mm.spaces.hugetlb_pool import dissolve_free_huge_pages
from pymigrate.mm.state.events import MigrateReason
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Node, Zone
from pymigrate.nodemask import Nodemask
from pymigrate.records import NamedTuple
from pymigrate.units import PAGE_SHIFT

BLOCK_SIZE = 1 << 27
BLOCK_NR = BLOCK_SIZE >> PAGE_SHIFT


class MemoryBlock(NamedTuple):
    """A memory block: the zones that it lies in, lowest first, and the frames in the last one.

    *is_whole*: there is memory in all of it.
    """

    number: int
    nodes: tuple[int, ...]
    zones: tuple[Zone, ...]
    start: int  # a model pfn
    nr: int
    is_whole: bool

    @property
    def zone(self) -> Zone | None:
        """The only zone that it lies in. Mirrors memory_block.zone."""
        return self.zones[0] if len(self.zones) == 1 else None

    @property
    def is_online(self) -> bool:
        """Whether its memory may be used."""
        zone = self.zone
        return zone is None or zone.offline.at(self.start) is None


def first_frames(machine: Machine) -> dict[int, int]:
    """The physical number of each node's first frame."""
    first, at = {}, 0
    for nid, node in sorted(machine.nodes.items()):
        first[nid] = at
        at += sum(zone.nr for zone in node.zones)
    return first


def physical(machine: Machine, pfn: int) -> int:
    """The number by which the machine knows frame *pfn* of a node."""
    return first_frames(machine)[nid_of(pfn)] + (pfn & (1 << NODE_SHIFT) - 1)


def model_pfn(machine: Machine, number: int) -> int | None:
    """The frame with that physical number; None if there is no memory."""
    for nid, first in first_frames(machine).items():
        nr = sum(zone.nr for zone in machine.nodes[nid].zones)
        if first <= number < first + nr:
            return (nid << NODE_SHIFT) + number - first
    return None


def memory_blocks(machine: Machine, nid: int | None = None) -> list[MemoryBlock]:
    """All memory blocks, or those with memory of node *nid*, in ascending order."""
    parts: dict[int, list[tuple[int, Zone, int, int]]] = {}
    for node, first in first_frames(machine).items():
        shift = first - (node << NODE_SHIFT)
        for zone in machine.nodes[node].zones:
            for start, end in zone.parts(zone.start, zone.end):
                low, high = start + shift, end + shift
                for number in range(low // BLOCK_NR, -(-high // BLOCK_NR)):
                    a, b = max(low, number * BLOCK_NR), min(high, (number + 1) * BLOCK_NR)
                    parts.setdefault(number, []).append((node, zone, a - shift, b - a))
    blocks = []
    for number, found in sorted(parts.items()):
        nodes = tuple(dict.fromkeys(node for node, *_ in found))
        if nid is None or nid in nodes:
            _, _, start, nr = found[-1]
            zones = tuple(zone for _, zone, *_ in found)
            is_whole = sum(part[3] for part in found) == BLOCK_NR
            blocks.append(MemoryBlock(number, nodes, zones, start, nr, is_whole))
    return blocks


def valid_zones(machine: Machine, block: MemoryBlock) -> list[str]:
    """The zones that an offline block may be of; first the one that it is of if none is named.

    That is the zone whose memory lies around it, if that is one, or else an ordinary one. Mirrors
    valid_zones_show(), default_zone_for_pfn() and default_kernel_zone_for_pfn().
    """
    a, b = block.start, block.start + block.nr
    around = {}
    for zone in machine.nodes[nid_of(a)].zones:
        low, high = zone.span
        around[zone.name] = low < b and a < high
    kernel = next((name for name in ("dma", "dma32") if around.get(name)), "normal")
    names = [kernel, "movable"]
    if around.get("movable") and not around.get(kernel):
        names.reverse()
    return names


def offline_pages(machine: Machine, block: MemoryBlock) -> None:
    """Empty a memory block, and take it away.

    The kernel tries to move what lies there until it succeeds, or a signal comes. When nothing
    changes any more it would do so for ever: here the signal comes then.

    Raises KernelError EINVAL for one that lies in several zones, or has a hole, or is offline;
    EBUSY for memory that can never move, EINTR for memory that did not; what did has moved.
    Mirrors memory_block_offline() and offline_pages().
    """
    zone = block.zone
    if zone is None or not block.is_whole:
        why = "it has a hole" if zone else "it lies in several zones"
        raise KernelError("EINVAL", why)
    if not block.is_online:
        raise KernelError("EINVAL", "it is offline")
    a, b = block.start, block.start + block.nr
    lru_add_drain_all(machine)
    unmovable = has_unmovable_pages(machine, a, b)
    if unmovable:
        raise KernelError("EBUSY", unmovable)
    with isolated_page_range(machine, a, b) as isolated:
        _migrate_all(machine, a, b)
        dissolve_free_huge_pages(machine, a, b)
        isolated.free.put(a, b)
    zone.offline.put(a, b, Extent(a, b - a))
    zone.pageblocks.put(a, b)
    _tell_others(machine)


def online_pages(machine: Machine, block: MemoryBlock, online_type: str | None = None) -> None:
    """Give a memory block back, all of it free.

    *online_type* is what is written to its state: "online" (the first of valid_zones()),
    "online_kernel" or "online_movable"; None: it is of the zone that it was of.

    Raises KernelError EINVAL for one that is online; EHWPOISON if a page of it was taken for bad.
    Mirrors memory_block_online() and online_pages().
    """
    zone = block.zone
    if zone is None or block.is_online:
        raise KernelError("EINVAL", "it is online")
    a, b = block.start, block.start + block.nr
    if machine.memmap_of(a).between(a, b):
        raise KernelError("EHWPOISON", "it has a bad page")
    name = _zone_for(machine, block, online_type)
    zone.offline.put(a, b)
    if name != zone.name:
        node = machine.nodes[nid_of(a)]
        _remove_from_zone(node, zone, a, b)
        _move_to_zone(node, name, a, b)
    free_pages(machine, [(a, b - a)])
    _tell_others(machine)


def _zone_for(machine: Machine, block: MemoryBlock, online_type: str | None) -> str:
    """The zone that the block will be of. Mirrors zone_for_pfn_range()."""
    if online_type is None:
        assert block.zone is not None
        return block.zone.name
    names = valid_zones(machine, block)
    if online_type == "online":
        return names[0]
    return next(name for name in names if (name == "movable") == (online_type == "online_movable"))


def _remove_from_zone(node: Node, zone: Zone, a: int, b: int) -> None:
    """Frames [a, b) are the zone's no more. Mirrors remove_pfn_range_from_zone()."""
    own = zone.parts(zone.start, a) + zone.parts(b, zone.end)
    if not own:
        node.zones.remove(zone)
        return
    zone.foreign.put(a, b, Extent(a, b - a))
    start, end = own[0][0], own[-1][1]
    zone.foreign.put(zone.start, start)
    zone.foreign.put(end, zone.end)
    zone.start, zone.spanned = start, end - start


def _move_to_zone(node: Node, name: str, a: int, b: int) -> None:
    """Frames [a, b) become the zone's of that name. Mirrors move_pfn_range_to_zone()."""
    zone = next((zone for zone in node.zones if zone.name == name), None)
    if zone is None:
        node.zones.append(Zone(name, a, b - a, RunMap(), 0))
        node.zones.sort(key=lambda zone: ZONE_ORDER.index(zone.name))
        return
    start, end = min(zone.start, a), max(zone.end, b)
    for low, high in ((start, zone.start), (zone.end, end)):
        if low < high:
            zone.foreign.put(low, high, Extent(low, high - low))
    zone.foreign.put(a, b)
    zone.start, zone.spanned = start, end - start


def _tell_others(machine: Machine) -> None:
    """Let watermarks, zonelists, tiers and cpusets follow what memory there is now."""
    setup_watermarks(machine)
    machine.zonelists.clear()
    machine.tiers = None
    track_memory_nodes(machine)


def _migrate_all(machine: Machine, a: int, b: int) -> None:
    """Move all that lies in frames [a, b) to other nodes. Raises KernelError EINTR."""
    before = None
    while left := movable_runs(machine, a, b):
        state = [*left], dict(machine.busy)
        if state == before:
            raise KernelError("EINTR", _what_stays(machine, left))
        before = state
        do_migrate_range(machine, a, b)


def do_migrate_range(machine: Machine, a: int, b: int) -> None:
    """Try to move all folios in frames [a, b) of a node to others, or, if it is alone, elsewhere.

    Mirrors do_migrate_range().
    """
    nid = nid_of(a)
    others = machine.memory_nodes - Nodemask.of(nid) or Nodemask.of(nid)
    with isolated_range(machine, a, b) as taken:
        if taken.queue:
            reason = MigrateReason.MEMORY_HOTPLUG
            migrate_for_the_kernel(machine, taken.queue, Within(nid, others), reason)


def _what_stays(machine: Machine, left: list[FrameRun]) -> str:
    """What keeps the pages of *left*, in a few words."""
    reasons: Counter[str] = Counter()
    for run in left:
        reasons[_reason(machine, run)] += run.nr
    return ", ".join(
        f"{reason} ({nr} page{'s' if nr > 1 else ''})" for reason, nr in reasons.most_common()
    )


def _reason(machine: Machine, run: FrameRun) -> str:
    frame = run.frame
    if frame.is_held:
        holders = {
            machine.tasks[pin.pid].name
            for pin in machine.pins
            if pin.pid in machine.tasks and pin.meets(run.start, run.start + run.nr)
        }
        kind = "pinned" if frame.pins else "referenced"
        return f"{kind} by {', '.join(sorted(holders))}" if holders else kind
    if is_kernel(frame):
        return "the kernel's own"
    if frame.flags & (FrameFlag.MOVABLE | FrameFlag.CLEARED):
        return "kept by its driver"
    if frame.flags & (FrameFlag.LOCKED | FrameFlag.WRITEBACK | FrameFlag.LOCKED_BUFFER):
        return "worked on"
    if not frame.is_anon and frame.owner in machine.spaces:
        fs = machine.spaces[frame.owner].fs
        if fs in ("ramfs", "secretmem", "nfs"):
            return f"kept by {fs}"
    if frame.order:
        return "of a large folio that is held, or finds no memory elsewhere"
    return "no memory elsewhere"
