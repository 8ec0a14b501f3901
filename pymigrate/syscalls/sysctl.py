"""The settings of the kernel that matter here: /proc/sys, and files of /sys/kernel/mm."""

import re
from collections.abc import Callable, Sequence
from functools import partial

from pymigrate.errors import KernelError
from pymigrate.mm.calls import ksm
from pymigrate.mm.compact.compaction import compact_memory
from pymigrate.mm.compact.kcompactd import proactive_compact_nodes
from pymigrate.mm.faults.filemap import drop_caches
from pymigrate.mm.frames.hot_pages import TIERING, reset_memory_tiering
from pymigrate.mm.frames.watermarks import setup_watermarks
from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.reclaim.shrinker import drop_slab
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.records import NamedTuple
from pymigrate.syscalls.checks import check_root, system_call
from pymigrate.uapi import THP, THP_DEFRAG
from pymigrate.units import HPAGE_PMD_NR

MAX_WEIGHT = 255
_WEIGHT = re.compile(r"(?:/sys/kernel/mm/mempolicy/)?weighted_interleave/node([0-9]{1,4})")
_KNOB_MAX = 1 << 20
_MAX_HUGEPAGES = 1 << 30


class Setting(NamedTuple):
    """A setting: what its file reads (None: it can only be written), and what a write to it does.

    *long_name* is what sysctl(8) calls it, or its file. The value that is written is text as the
    file takes it; KernelError EINVAL refuses one.
    """

    name: str
    long_name: str
    read: Callable[[Machine], str] | None
    write: Callable[[Machine, str], None]


def read(machine: Machine, name: str) -> str:
    """The value of a setting, as its file reads.

    Raises KernelError ENOENT, and EACCES for those that can only be written.
    """
    setting = _find(machine, name)
    if setting.read is None:
        raise KernelError("EACCES", f"{setting.name} can only be written")
    return setting.read(machine)


def read_all(machine: Machine) -> dict[str, str]:
    """The values of all settings that can be read, by their names."""
    rows = [
        *filter(partial(_is_there, machine), SETTINGS.values()),
        *(_weight(nid) for nid in _weighted(machine)),
    ]
    return {row.name: row.read(machine) for row in rows if row.read is not None}


@system_call
def write(machine: Machine, caller: Task, name: str, value: str, node: int | None = None) -> None:
    """Change a setting; of nr_hugepages that of *node*, or of all nodes together.

    Raises KernelError EACCES, ENOENT, EINVAL.
    """
    check_root(caller, "only root may change settings")
    setting = _find(machine, name)
    if node is not None and setting.name == "nr_hugepages":
        _set_hugepages_of(machine, node, value)
    else:
        setting.write(machine, value)


def _find(machine: Machine, name: str) -> Setting:
    """The setting with this name or long name. Raises KernelError ENOENT."""
    if name in _BY_NAME and _is_there(machine, _BY_NAME[name]):
        return _BY_NAME[name]
    match = _WEIGHT.fullmatch(name)
    if match and int(match[1]) in _weighted(machine):
        return _weight(int(match[1]))
    known = [*SETTINGS, *(["weighted_interleave/nodeN"] if _weighted(machine) else [])]
    why = f"there is no setting {name[:60]}; expected one of {', '.join(known)}"
    raise KernelError("ENOENT", why)


def _is_there(machine: Machine, setting: Setting) -> bool:
    """Whether the kernel has the setting."""
    return setting.name != "enable_soft_offline" or machine.release.has_enable_soft_offline


def _weighted(machine: Machine) -> Sequence[int]:
    """The nodes that have a weight in weighted interleave."""
    return list(machine.nodes) if machine.release.weighted_interleave else []


def _weight(nid: int) -> Setting:
    """The node's weight in weighted interleave; nothing or 0 make it 1 again."""

    def change(machine: Machine, value: str) -> None:
        weight = _number(value or "0", 0, MAX_WEIGHT)
        machine.weights.pop(nid, None)
        if weight > 1:
            machine.weights[nid] = weight

    name = f"weighted_interleave/node{nid}"
    return Setting(
        name,
        f"/sys/kernel/mm/mempolicy/{name}",
        lambda machine: str(machine.weights.get(nid, 1)),
        change,
    )


def _numa_knob(name: str, long_name: str, field: str, lowest: int) -> Setting:
    """A setting of balancing; scans of size 0, or without end, are not simulated."""

    def change(machine: Machine, value: str) -> None:
        number = _number(value, lowest, _KNOB_MAX)
        machine.numa_knobs = machine.numa_knobs._replace(**{field: number})

    return Setting(name, long_name, lambda machine: str(getattr(machine.numa_knobs, field)), change)


def _scan_knob(field: str, lowest: int = 1) -> Setting:
    """A setting of balancing that is a file of debugfs."""
    name = f"numa_balancing/{field}"
    return _numa_knob(name, f"/sys/kernel/debug/sched/{name}", field, lowest)


def _compact_knob(
    name: str, field: str, highest: int, then: Callable[[Machine], object] | None = None
) -> Setting:
    """A setting of compaction; if it is not 0 *then* is done at once."""

    def change(machine: Machine, value: str) -> None:
        number = _number(value, 0, highest)
        machine.compact_knobs = machine.compact_knobs._replace(**{field: number})
        if then is not None and number:
            then(machine)

    return Setting(
        name, f"vm.{name}", lambda machine: str(getattr(machine.compact_knobs, field)), change
    )


def _set_numa_balancing(machine: Machine, value: str) -> None:
    mode = _number(value, 0, 3)
    if mode & TIERING and not machine.numa_balancing & TIERING:
        reset_memory_tiering(machine)
    machine.numa_balancing = mode


def _set_demotion(machine: Machine, value: str) -> None:
    switch = value.strip().lower()
    if switch not in ("0", "n", "false", "1", "y", "true"):
        raise KernelError("EINVAL", f"{value[:20]!r} is not a value of demotion_enabled")
    machine.demotion = switch in ("1", "y", "true")


def _set_thp(machine: Machine, value: str) -> None:
    """Where faults map huge pages from now on. Watermarks follow: enabled_store()."""
    machine.thp = _word(value, "thp", THP)
    setup_watermarks(machine)


def _set_defrag(machine: Machine, value: str) -> None:
    machine.defrag = _word(value, "thp_defrag", THP_DEFRAG)


def _set_max_ptes_none(machine: Machine, value: str) -> None:
    machine.max_ptes_none = _number(value, 0, HPAGE_PMD_NR - 1)


def _nr_hugepages(machine: Machine) -> str:
    return str(sum(node.hugetlb.nr for node in machine.nodes.values()))


def _set_nr_hugepages(machine: Machine, value: str) -> None:
    set_nr_hugepages(machine, _number(value, 0, _MAX_HUGEPAGES), None)


def _set_hugepages_of(machine: Machine, nid: int, value: str) -> None:
    if nid not in machine.nodes or not machine.nodes[nid].nr_pages:
        raise KernelError("ENOENT", f"node {nid} has no pool of huge pages")
    set_nr_hugepages(machine, _number(value, 0, _MAX_HUGEPAGES), nid)


def _set_overcommit(machine: Machine, value: str) -> None:
    machine.nr_overcommit_huge_pages = _number(value, 0, _MAX_HUGEPAGES)


def _set_soft_offline(machine: Machine, value: str) -> None:
    machine.can_soft_offline = bool(_number(value, 0, 1))


def _ksm(name: str, lowest: int, highest: int) -> Setting:
    """A file of KSM's. What decides how pages merge cannot change while some are merged."""

    def change(machine: Machine, value: str) -> None:
        number = _number(value, lowest, highest)
        if number != getattr(machine.ksm_knobs, name) and ksm.has_merged(machine):
            raise KernelError("EBUSY", "pages are merged; 2 in ksm/run gives them up")
        machine.ksm_knobs = machine.ksm_knobs._replace(**{name: number})

    where = f"/sys/kernel/mm/ksm/{name}"
    return Setting(
        f"ksm/{name}", where, lambda machine: str(getattr(machine.ksm_knobs, name)), change
    )


def _run_ksm(machine: Machine, value: str) -> None:
    """1: merge all that can be merged, as if ksmd had run for long enough; 2: give it up."""
    run = _number(value, 0, 2)
    if run == machine.ksm_knobs.run:
        return
    machine.ksm_knobs = machine.ksm_knobs._replace(run=run)
    if run == 1:
        ksm.scan(machine)
    elif run == 2:
        ksm.unmerge_all(machine)


def _constant(name: str, value: int) -> Setting:
    """A setting of which one value is simulated."""

    def change(_: Machine, text: str) -> None:
        if text.strip() != str(value):
            raise KernelError("EINVAL", f"vm.{name} is always {value}: others are not simulated")

    return Setting(name, f"vm.{name}", lambda _: str(value), change)


def _drop_caches(machine: Machine, value: str) -> None:
    bits = _number(value, 1, 4)
    if bits & 1:
        drop_caches(machine)
        machine.counters.add("drop_pagecache")
    if bits & 2:
        drop_slab(machine)
        machine.counters.add("drop_slab")


def _compact(machine: Machine, value: str) -> None:
    _number(value, 1, 1)
    compact_memory(machine)


def _chosen(chosen: str, words: Sequence[str]) -> str:
    """*words* as a file shows them of which one is chosen."""
    return " ".join(f"[{word}]" if word == chosen else word for word in words)


def _word(value: str, name: str, words: Sequence[str]) -> str:
    """The one of *words* that is written to the setting *name*. Raises KernelError EINVAL."""
    if value.strip() not in words:
        raise KernelError("EINVAL", f"{value[:20]!r} is not a value of {name}")
    return value.strip()


def _number(value: str, low: int, high: int) -> int:
    """The number that is written to a setting. Raises KernelError EINVAL."""
    digits = value.strip()
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= 10
    if not is_number or not low <= int(digits) <= high:
        raise KernelError("EINVAL", f"{value[:20]!r} is not a number from {low} to {high}")
    return int(digits)


_HUGE = "/sys/kernel/mm/transparent_hugepage"
_ROWS = (
    Setting(
        "numa_balancing",
        "kernel.numa_balancing",
        lambda machine: str(machine.numa_balancing),
        _set_numa_balancing,
    ),
    Setting(
        "demotion_enabled",
        "/sys/kernel/mm/numa/demotion_enabled",
        lambda machine: "true" if machine.demotion else "false",
        _set_demotion,
    ),
    Setting("thp", f"{_HUGE}/enabled", lambda machine: _chosen(machine.thp, THP), _set_thp),
    Setting("nr_hugepages", "vm.nr_hugepages", _nr_hugepages, _set_nr_hugepages),
    Setting(
        "nr_overcommit_hugepages",
        "vm.nr_overcommit_hugepages",
        lambda machine: str(machine.nr_overcommit_huge_pages),
        _set_overcommit,
    ),
    Setting(
        "enable_soft_offline",
        "vm.enable_soft_offline",
        lambda machine: str(int(machine.can_soft_offline)),
        _set_soft_offline,
    ),
    Setting(
        "ksm/run", "/sys/kernel/mm/ksm/run", lambda machine: str(machine.ksm_knobs.run), _run_ksm
    ),
    _ksm("merge_across_nodes", 0, 1),
    _ksm("max_page_sharing", 2, _KNOB_MAX),
    _constant("stat_interval", 1),
    _constant("zone_reclaim_mode", 0),
    Setting("drop_caches", "vm.drop_caches", None, _drop_caches),
    _scan_knob("scan_delay_ms"),
    _scan_knob("scan_period_min_ms"),
    _scan_knob("scan_period_max_ms"),
    _scan_knob("scan_size_mb"),
    _scan_knob("hot_threshold_ms", lowest=0),
    _numa_knob(
        "numa_balancing_promote_rate_limit_MBps",
        "kernel.numa_balancing_promote_rate_limit_MBps",
        "promote_rate_limit_mbps",
        lowest=0,
    ),
    Setting(
        "thp_defrag",
        f"{_HUGE}/defrag",
        lambda machine: _chosen(machine.defrag, THP_DEFRAG),
        _set_defrag,
    ),
    Setting(
        "max_ptes_none",
        f"{_HUGE}/khugepaged/max_ptes_none",
        lambda machine: str(machine.max_ptes_none),
        _set_max_ptes_none,
    ),
    _compact_knob("compact_unevictable_allowed", "unevictable_allowed", 1),
    _compact_knob("extfrag_threshold", "extfrag_threshold", 1000),
    _compact_knob("compaction_proactiveness", "proactiveness", 100, proactive_compact_nodes),
    Setting("compact_memory", "vm.compact_memory", None, _compact),
)
SETTINGS = {row.name: row for row in _ROWS}  # but for the weights, of which each node has one
_BY_NAME = SETTINGS | {row.long_name: row for row in _ROWS}
