"""The tables of the machine: nodes, zones, devices, and what is kept once."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from pymigrate.mm.base.memmap import Busy, FolioWork
from pymigrate.mm.base.release import RELEASES
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.state.compact import CompactKnobs, CompactState
from pymigrate.mm.state.cost import Costs
from pymigrate.mm.state.driver import Driver
from pymigrate.mm.state.lru_batch import LruBatch
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Allocation, Device, HugePool, Node, Zone
from pymigrate.mm.state.numa import NumaKnobs, Promotion
from pymigrate.mm.state.stable_tree import RmapItem
from pymigrate.mm.state.task import Cpuset, Left, Pin, Region
from pymigrate.mm.state.tiers import AccessCoordinate
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.store.blobs import pack, unpack
from pymigrate.store.table import Table, counters_of, counters_text, ints_of, pairs_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pymigrate.store.table import Maps, Row


# Machine and what is kept once


# The fields of Machine that are kept as they are: numbers and words.
_PLAIN = """
    thp
    defrag
    numa_balancing
    next_pid
    next_id
    next_region
    now
    resv_huge_pages
    last_call
    seed
""".split()


def _machine_rows(machine: Machine) -> list[Row]:
    return [
        (
            machine.release.name,
            int(machine.demotion),
            text_of(chain.from_iterable(machine.weights.items())),
            counters_text(machine.counters),
            " ".join(map(repr, machine.costs)),
            text_of(machine.numa_knobs),
            " ".join(f"{name} {start} {nr}" for name, (start, nr) in machine.contigs.items()),
            text_of(machine.compact_knobs),
            *[getattr(machine, name) for name in _PLAIN],
        )
    ]


def _read_machine(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    [(release, demotion, weights, counters, costs, knobs, contigs, compact, *plain)] = rows
    machine.release = RELEASES[release]
    machine.demotion = bool(demotion)
    machine.weights = pairs_of(weights)
    machine.counters = counters_of(counters)
    machine.costs = Costs(*map(float, costs.split()))
    machine.numa_knobs = NumaKnobs(*ints_of(knobs))
    words = iter(contigs.split())
    machine.contigs = {name: Extent(int(next(words)), int(next(words))) for name in words}
    machine.compact_knobs = CompactKnobs(*ints_of(compact))
    for name, value in zip(_PLAIN, plain, strict=True):
        setattr(machine, name, value)


def _distance_rows(machine: Machine) -> list[Row]:
    return [
        (nid, text_of(chain.from_iterable(others.items())))
        for nid, others in machine.distances.items()
    ]


def _read_distances(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    machine.distances = {nid: pairs_of(others) for nid, others in rows}


def _allocation_rows(machine: Machine) -> list[Row]:
    return [
        (name, made.alloc_id, made.order, pack(made.pfns))
        for name, made in machine.allocations.items()
    ]


def _read_allocations(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    for name, alloc_id, order, pfns in rows:
        machine.allocations[name] = Allocation(alloc_id, order, tuple(unpack(pfns)))


def _region_rows(machine: Machine) -> list[Row]:
    return [(*key, *region) for key, region in machine.regions.items()]


def _read_regions(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    machine.regions = {(task, name): Region(*region) for task, name, *region in rows}


def _lru_batch_rows(machine: Machine) -> list[Row]:
    return [
        (cpu, text_of(batch.waiting), text_of(batch.mlocked))
        for cpu, batch in machine.lru_batches.items()
    ]


def _read_lru_batches(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    machine.lru_batches = {
        cpu: LruBatch(ints_of(waiting), ints_of(mlocked)) for cpu, waiting, mlocked in rows
    }


def _pin_rows(machine: Machine) -> list[Row]:
    return [(pin.pid, pin.start, pin.nr, int(pin.is_long), pack(pin.pfns)) for pin in machine.pins]


def _read_pins(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    machine.pins = [
        Pin(pid, start, nr, bool(is_long), tuple(unpack(pfns)))
        for pid, start, nr, is_long, pfns in rows
    ]


def _busy_rows(machine: Machine) -> list[Row]:
    return [(pfn, work.kind.value, work.left) for pfn, work in machine.busy.items()]


def _read_busy(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    machine.busy = {pfn: FolioWork(Busy(kind), left) for pfn, kind, left in rows}


def _driver_rows(machine: Machine) -> list[Row]:
    return [
        (
            driver.driver_id,
            driver.name,
            driver.kind,
            driver.interface,
            " ".join(driver.isolates),
            " ".join(driver.migrates),
            pack(driver.pages),
            driver.isolated,
        )
        for driver in machine.drivers.values()
    ]


def _read_drivers(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    for driver_id, name, kind, interface, isolates, migrates, pages, isolated in rows:
        machine.drivers[name] = Driver(
            driver_id,
            name,
            kind,
            interface,
            isolates.split(),
            migrates.split(),
            list(unpack(pages)),
            isolated,
        )


def _rmap_item_rows(machine: Machine) -> list[Row]:
    return [(node, *item) for node, items in machine.stable_tree.items.items() for item in items]


def _read_rmap_items(machine: Machine, rows: Iterable[Row], maps: Maps) -> None:
    machine.stable_tree.pages = maps["stable_tree", 0]
    for node, *item in rows:
        machine.stable_tree.items.setdefault(node, []).append(RmapItem(*item))


def _cpuset_rows(machine: Machine) -> list[Row]:
    return [
        (key, c.name, f"{c.cpus:x}", f"{c.mems:x}", int(c.memory_migrate), f"{c.old_mems:x}")
        for key, c in machine.cpusets.items()
    ]


def _read_cpusets(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    for key, name, cpus, mems, memory_migrate, old_mems in rows:
        machine.cpusets[key] = Cpuset(
            name,
            Cpumask(cpus, 16),
            Nodemask(mems, 16),
            bool(memory_migrate),
            Nodemask(old_mems, 16),
        )


def _left_rows(machine: Machine) -> list[Row]:
    return [tuple(left) for left in machine.left]


def _read_left(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    machine.left = [Left(*row) for row in rows]


# Nodes


def _node_rows(machine: Machine) -> list[Row]:
    return [
        (
            node.nid,
            f"{node.cpus:x}",
            counters_text(node.numa),
            node.hugetlb.nr,
            node.hugetlb.surplus,
            text_of(node.perf or ()),
            node.adistance,
            text_of(node.promotion),
            text_of(node.hands),
            node.next_proactive,
        )
        for node in machine.nodes.values()
    ]


def _read_nodes(machine: Machine, rows: Iterable[Row], maps: Maps) -> None:
    for nid, cpus, numa, nr, surplus, perf, adistance, promotion, hands, *rest in rows:
        memmap, pool = maps["memmap", nid], HugePool(maps["pool", nid], nr, surplus)
        node = Node(nid, Cpumask(cpus, 16), [], memmap, counters_of(numa), pool)
        node.perf = AccessCoordinate(*ints_of(perf)) if perf else None
        node.promotion = Promotion(*ints_of(promotion))
        file_hand, anon_hand = ints_of(hands)
        node.adistance, node.hands = adistance, (file_hand, anon_hand)
        [node.next_proactive] = rest
        machine.nodes[nid] = node


def _zone_rows(machine: Machine) -> list[Row]:
    return [
        (
            node.nid,
            zone.name,
            zone.start,
            zone.nr,
            zone.nr_free,
            zone.watermark_min,
            zone.watermark_low,
            zone.watermark_high,
            zone.reserve,
            text_of(int(getattr(zone.compact, name)) for name in CompactState.__slots__),
        )
        for node in machine.nodes.values()
        for zone in node.zones
    ]


def _read_zones(machine: Machine, rows: Iterable[Row], maps: Maps) -> None:
    for nid, name, start, nr, *rest, compact in rows:
        zone = Zone(name, start, nr, maps["free", start], *rest)
        for field, value in zip(CompactState.__slots__, ints_of(compact), strict=True):
            setattr(zone.compact, field, value)
        zone.compact.blockskip_flush = bool(zone.compact.blockskip_flush)
        zone.pageblocks = maps["pageblocks", start]
        zone.offline = maps["offline", start]
        machine.nodes[nid].zones.append(zone)


def _device_rows(machine: Machine) -> list[Row]:
    return [(device.name, device.number, device.nr) for device in machine.devices.values()]


def _read_devices(machine: Machine, rows: Iterable[Row], maps: Maps) -> None:
    for name, number, nr in rows:
        free, memmap = maps["device_free", number], maps["device_memmap", number]
        machine.devices[name] = Device(name, number, nr, free, memmap)


# In the order of reading: a row's owner comes before it.
MACHINE_TABLES = {
    "machine": Table(
        " ".join(
            ["release demotion weights counters costs numa_knobs contigs compact_knobs", *_PLAIN]
        ),
        _machine_rows,
        _read_machine,
    ),
    "distance": Table("nid others", _distance_rows, _read_distances),
    "node": Table(
        "nid cpus numa nr_hugepages surplus_hugepages perf adistance promotion hands"
        " next_proactive",
        _node_rows,
        _read_nodes,
    ),
    "zone": Table(
        "nid name start nr nr_free watermark_min watermark_low watermark_high reserve compact",
        _zone_rows,
        _read_zones,
    ),
    "device": Table("name number nr", _device_rows, _read_devices),
    "allocation": Table("name alloc_id order pfns", _allocation_rows, _read_allocations),
    "region": Table("key_task key_name task name start nr", _region_rows, _read_regions),
    "lru_batch": Table("cpu waiting mlocked", _lru_batch_rows, _read_lru_batches),
    "pin": Table("pid start nr is_long pfns", _pin_rows, _read_pins),
    "driver": Table(
        "driver_id name kind interface isolates migrates pages isolated",
        _driver_rows,
        _read_drivers,
    ),
    "busy": Table("pfn kind passes", _busy_rows, _read_busy),
    "left_behind": Table("pid mapping node nr why", _left_rows, _read_left),
    "rmap_item": Table("node mm_id family page", _rmap_item_rows, _read_rmap_items),
    "cpuset": Table("key name cpus mems memory_migrate old_mems", _cpuset_rows, _read_cpusets),
}
