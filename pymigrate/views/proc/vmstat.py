"""/proc/vmstat: all counters of the machine."""

from collections import Counter
from collections.abc import Iterable

from pymigrate.mm.base.memmap import Frame, FrameFlag, FrameRun
from pymigrate.mm.base.vmstat import CMA_NAMES, NAMES, NODE_STATS, NUMA_EVENTS, ZONE_STATS
from pymigrate.mm.frames.free_area import cma_areas, nr_free_cma
from pymigrate.mm.frames.watermarks import total_reserve
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Node, Zone
from pymigrate.units import HPAGE_PMD_ORDER

_DIRTY_RATIO, _BACKGROUND_RATIO = 20, 10  # vm.dirty_ratio, vm.dirty_background_ratio


def rows(machine: Machine) -> dict[str, int]:
    """Every counter of 6.12 in its order: those of the nodes summed up, and what is kept once.

    Events are those that were counted; gauges are summed up from the memmap. The kernel's own
    memory is not simulated: what counts it is 0.
    """
    values = dict.fromkeys(CMA_NAMES if cma_areas(machine) else NAMES, 0)
    values.update(machine.counters)
    for node in machine.nodes.values():
        for name, value in node_rows(machine, node).items():
            values[name] += value
    _set_thresholds(machine, values)
    return values


def node_rows(machine: Machine, node: Node) -> dict[str, int]:
    """What is kept for a node: the counters of its zones, its allocator's and its own.

    Mirrors node_read_vmstat().
    """
    values = dict.fromkeys((*ZONE_STATS, *NUMA_EVENTS, *NODE_STATS), 0)
    values.update(node.numa)
    for name, nr in _gauges(machine, node.memmap.runs).items():
        values[name] += nr
    if machine.devices and node.nid == device_node(machine):
        # The pages that devices hold count as those of a process.
        values["nr_anon_pages"] += sum(d.nr - d.nr_free for d in machine.devices.values())
    values["nr_anon_transparent_hugepages"] >>= HPAGE_PMD_ORDER
    values["nr_free_pages"] = node.nr_free
    values["nr_free_cma"] = sum(map(nr_free_cma, node.zones))
    _set_zone_lists(values)
    return values


def zone_rows(machine: Machine, node: Node, zone: Zone) -> dict[str, int]:
    """What is kept for a zone, without the allocator's events."""
    parts = zone.parts(zone.start, zone.end)
    found = _gauges(machine, [run for a, b in parts for run in node.memmap.between(a, b)])
    found["nr_free_pages"] = zone.nr_free
    found["nr_free_cma"] = nr_free_cma(zone)
    _set_zone_lists(found)
    return {name: found[name] for name in ZONE_STATS}


def device_node(machine: Machine) -> int:
    """The node that devices' memory belongs to: that of the CPU which made them known."""
    return machine.local_node(machine.shell_of(0))


def format_rows(values: dict[str, int]) -> str:
    """The kernel's text."""
    return "".join(f"{name} {value}\n" for name, value in values.items())


def _gauges(machine: Machine, runs: Iterable[FrameRun]) -> Counter[str]:
    """The gauges of frames, in base pages."""
    alike: Counter[Frame] = Counter()
    for _, nr, frame in runs:
        alike[frame] += nr
    found: Counter[str] = Counter()
    for frame, nr in alike.items():
        for name in _gauges_of(machine, frame):
            found[name] += nr
    return found


def _set_zone_lists(values: dict[str, int]) -> None:
    """What zones count of the LRU lists, which is what their nodes count."""
    for name in ("inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"):
        values[f"nr_zone_{name}"] = values[f"nr_{name}"]
    values["nr_zone_write_pending"] = values["nr_dirty"] + values["nr_writeback"]


def _gauges_of(machine: Machine, frame: Frame) -> list[str]:
    """The gauges that count a frame."""
    flags, mapcount = frame.flags, frame.mapcount
    if flags & (FrameFlag.HUGETLB | FrameFlag.CONTIG):
        return []
    if flags & FrameFlag.KERNEL:
        is_slab = flags & FrameFlag.RECLAIMABLE
        return ["nr_slab_reclaimable" if is_slab else "nr_slab_unreclaimable"]
    if flags & (FrameFlag.MOVABLE | FrameFlag.CLEARED):
        return ["nr_zspages"] if frame.owner in _zspools(machine) else []
    anon = flags & FrameFlag.ANON
    swapbacked = flags & FrameFlag.SWAPBACKED
    names: list[str] = []
    if flags & FrameFlag.HWPOISON and not frame.owner:
        return names
    if anon:
        names += ["nr_anon_pages"] if mapcount else []
        names += ["nr_anon_transparent_hugepages"] if frame.pmd_maps else []
        names += ["nr_file_pages", "nr_swapcached"] if flags & FrameFlag.SWAPCACHE else []
    else:
        names += ["nr_file_pages"]
        names += ["nr_shmem"] if swapbacked else []
        names += ["nr_mapped"] if mapcount else []
        names += ["nr_dirty"] if flags & FrameFlag.DIRTY and not swapbacked else []
    if flags & FrameFlag.WRITEBACK:
        names.append("nr_writeback")
    if flags & FrameFlag.HWPOISON and not frame.order:
        return names  # it is on no list: delete_from_lru_cache()
    if flags & FrameFlag.MLOCKED:
        names += ["nr_mlock", "nr_unevictable"]
    else:
        # The multi-generational LRU counts its two youngest generations as active.
        age = "active" if machine.release.lru_gen else "inactive"
        names.append(f"nr_{age}_{'anon' if swapbacked else 'file'}")
    return names


def _zspools(machine: Machine) -> set[int]:
    """The drivers whose pages are zsmalloc's."""
    return {d.driver_id for d in machine.drivers.values() if d.kind == "zsmalloc"}


def _set_thresholds(machine: Machine, values: dict[str, int]) -> None:
    """How much dirty memory there may be. Mirrors domain_dirty_limits() and its callers."""
    dirtyable = values["nr_free_pages"] - total_reserve(machine)
    dirtyable = max(dirtyable, 0) + values["nr_inactive_file"] + values["nr_active_file"] + 1
    for name, ratio in (
        ("nr_dirty_threshold", _DIRTY_RATIO),
        ("nr_dirty_background_threshold", _BACKGROUND_RATIO),
    ):
        values[name] = (ratio * 4096 // 100) * dirtyable // 4096
