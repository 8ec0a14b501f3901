"""/proc/vmstat: all counters of the machine."""

from pymigrate.mm.machine import Machine
from pymigrate.mm.memmap import Frame, FrameFlag
from pymigrate.mm.vmstat import NAMES, NUMA_EVENTS
from pymigrate.units import HPAGE_PMD_ORDER

_DIRTY_RATIO, _BACKGROUND_RATIO = 20, 10  # vm.dirty_ratio, vm.dirty_background_ratio


def rows(machine: Machine) -> dict[str, int]:
    """Every counter of 6.12 in its order.

    Events are those that were counted; gauges are summed up from the memmap. The kernel's own
    memory is not simulated: what counts it is 0.
    """
    values = dict.fromkeys(NAMES, 0)
    values.update(machine.counters)
    for node in machine.nodes.values():
        values["nr_free_pages"] += node.nr_free
        for name in NUMA_EVENTS:
            values[name] += node.numa[name]
        for run in node.memmap.runs:
            for name in _gauges(machine, run.frame):
                values[name] += run.nr
    for device in machine.devices.values():  # its pages count as those of a process
        values["nr_anon_pages"] += device.nr - device.nr_free
    values["nr_anon_transparent_hugepages"] >>= HPAGE_PMD_ORDER
    for name in ("inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"):
        values[f"nr_zone_{name}"] = values[f"nr_{name}"]
    values["nr_zone_write_pending"] = values["nr_dirty"] + values["nr_writeback"]
    _set_thresholds(machine, values)
    return values


def format_rows(values: dict[str, int]) -> str:
    """The kernel's text."""
    return "".join(f"{name} {value}\n" for name, value in values.items())


def _gauges(machine: Machine, frame: Frame) -> list[str]:
    """The gauges that count a frame."""
    flags, mapcount = frame.flags, frame.mapcount
    if flags & FrameFlag.HUGETLB:
        return []
    if flags & (FrameFlag.MOVABLE | FrameFlag.CLEARED):
        return ["nr_zspages"] if frame.owner in _zspools(machine) else []
    anon = flags & FrameFlag.ANON
    swapbacked = flags & FrameFlag.SWAPBACKED
    names = []
    if anon:
        names += ["nr_anon_pages"] if mapcount else []
        names += ["nr_anon_transparent_hugepages"] if frame.pmd_maps else []
    else:
        names += ["nr_file_pages"]
        names += ["nr_shmem"] if swapbacked else []
        names += ["nr_mapped"] if mapcount else []
        names += ["nr_dirty"] if flags & FrameFlag.DIRTY and not swapbacked else []
    if flags & FrameFlag.WRITEBACK:
        names.append("nr_writeback")
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
    reserve = sum(
        zone.watermark_high + zone.reserve for node in machine.nodes.values() for zone in node.zones
    )
    dirtyable = values["nr_free_pages"] - reserve
    dirtyable = max(dirtyable, 0) + values["nr_inactive_file"] + values["nr_active_file"] + 1
    for name, ratio in (
        ("nr_dirty_threshold", _DIRTY_RATIO),
        ("nr_dirty_background_threshold", _BACKGROUND_RATIO),
    ):
        values[name] = (ratio * 4096 // 100) * dirtyable // 4096
