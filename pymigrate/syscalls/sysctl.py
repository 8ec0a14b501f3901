"""The settings of the kernel that matter here: /proc/sys, and files of /sys/kernel/mm."""

import re
from collections.abc import Callable

from pymigrate.errors import KernelError
from pymigrate.mm.compact.compaction import compact_memory
from pymigrate.mm.compact.kcompactd import proactive_compact_nodes
from pymigrate.mm.faults.filemap import drop_caches
from pymigrate.mm.frames.hot_pages import TIERING, reset_memory_tiering
from pymigrate.mm.frames.page_alloc import setup_watermarks
from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.credentials import check_root

MAX_WEIGHT = 255
_WEIGHT = re.compile(r"(?:/sys/kernel/mm/mempolicy/)?weighted_interleave/node([0-9]{1,4})")
# The long names, and what they mean.
_ALIASES = {
    "kernel.numa_balancing": "numa_balancing",
    "vm.drop_caches": "drop_caches",
    "vm.compact_memory": "compact_memory",
    "vm.nr_hugepages": "nr_hugepages",
    "/sys/kernel/mm/numa/demotion_enabled": "demotion_enabled",
    "/sys/kernel/mm/transparent_hugepage/enabled": "thp",
    "/sys/kernel/mm/transparent_hugepage/defrag": "thp_defrag",
}
# Of NUMA balancing: files of debugfs, and a sysctl; see NumaKnobs.
_KNOBS = {
    "numa_balancing/scan_delay_ms": "scan_delay_ms",
    "numa_balancing/scan_period_min_ms": "scan_period_min_ms",
    "numa_balancing/scan_period_max_ms": "scan_period_max_ms",
    "numa_balancing/scan_size_mb": "scan_size_mb",
    "numa_balancing/hot_threshold_ms": "hot_threshold_ms",
    "numa_balancing_promote_rate_limit_MBps": "promote_rate_limit_mbps",
}
_ALIASES |= {f"/sys/kernel/debug/sched/{name}": name for name in _KNOBS if "/" in name}
_ALIASES["kernel.numa_balancing_promote_rate_limit_MBps"] = "numa_balancing_promote_rate_limit_MBps"
_KNOB_MAX = 1 << 20
# Of compaction; see CompactKnobs: the name of the field, and the highest value.
_COMPACT_KNOBS = {
    "compact_unevictable_allowed": ("unevictable_allowed", 1),
    "extfrag_threshold": ("extfrag_threshold", 1000),
    "compaction_proactiveness": ("proactiveness", 100),
}
_ALIASES |= {f"vm.{name}": name for name in _COMPACT_KNOBS}
NAMES = ("numa_balancing", "demotion_enabled", "thp", "nr_hugepages", "drop_caches", *_KNOBS)
NAMES = (*NAMES, "thp_defrag", *_COMPACT_KNOBS)
_THP = ("always", "madvise", "never")
_DEFRAG = ("always", "defer", "defer+madvise", "madvise", "never")


def read(machine: Machine, name: str) -> str:
    """The value of a setting, as its file reads.

    Raises KernelError ENOENT, and EACCES for those that can only be written.
    """
    name = _ALIASES.get(name, name)
    node = _weight_node(machine, name)
    if node is not None:
        return str(machine.weights.get(node, 1))
    if name == "numa_balancing":
        return str(machine.numa_balancing)
    if name in _KNOBS:
        return str(getattr(machine.numa_knobs, _KNOBS[name]))
    if name == "demotion_enabled":
        return "true" if machine.demotion else "false"
    if name == "thp":
        return " ".join(f"[{mode}]" if mode == machine.thp else mode for mode in _THP)
    if name == "thp_defrag":
        return " ".join(f"[{mode}]" if mode == machine.defrag else mode for mode in _DEFRAG)
    if name in _COMPACT_KNOBS:
        return str(getattr(machine.compact_knobs, _COMPACT_KNOBS[name][0]))
    if name == "nr_hugepages":
        return str(sum(node.hugetlb.nr for node in machine.nodes.values()))
    if name in ("drop_caches", "compact_memory"):
        raise KernelError("EACCES", f"{name} can only be written")
    raise _unknown(machine, name)


def write(machine: Machine, caller: Task, name: str, value: str, node: int | None = None) -> None:
    """Change a setting; of nr_hugepages that of *node*, or of all nodes together.

    Raises KernelError EACCES, ENOENT, EINVAL.
    """
    name = _ALIASES.get(name, name)
    check_root(caller, "only root may change settings")
    weighted = _weight_node(machine, name)
    if weighted is not None:
        _set_weight(machine, weighted, value)
    elif name == "nr_hugepages":
        _set_nr_hugepages(machine, value, node)
    elif name in _KNOBS:
        _set_knob(machine, _KNOBS[name], value)
    elif name in _COMPACT_KNOBS:
        _set_compact_knob(machine, *_COMPACT_KNOBS[name], value)
    elif name in _WRITERS:
        _WRITERS[name](machine, value)
    else:
        raise _unknown(machine, name)


def _set_nr_hugepages(machine: Machine, value: str, node: int | None) -> None:
    if node is not None and (node not in machine.nodes or not machine.nodes[node].nr_pages):
        raise KernelError("ENOENT", f"node {node} has no pool of huge pages")
    set_nr_hugepages(machine, _number(value, 0, 1 << 30), node)


def _set_numa_balancing(machine: Machine, value: str) -> None:
    mode = _number(value, 0, 3)
    if mode & TIERING and not machine.numa_balancing & TIERING:
        reset_memory_tiering(machine)
    machine.numa_balancing = mode


def _set_knob(machine: Machine, knob: str, value: str) -> None:
    """Change a setting of balancing; scans of size 0, or without end, are not simulated."""
    number = _number(value, 1 if knob.startswith("scan_") else 0, _KNOB_MAX)
    machine.numa_knobs = machine.numa_knobs._replace(**{knob: number})


def _set_demotion(machine: Machine, value: str) -> None:
    switch = value.strip().lower()
    if switch not in ("0", "n", "false", "1", "y", "true"):
        raise KernelError("EINVAL", f"{value[:20]!r} is not a value of demotion_enabled")
    machine.demotion = switch in ("1", "y", "true")


def _compact(machine: Machine, value: str) -> None:
    _number(value, 1, 1)
    compact_memory(machine)


def _set_compact_knob(machine: Machine, field: str, highest: int, value: str) -> None:
    """A proactiveness other than 0 lets kcompactd look at each node at once."""
    number = _number(value, 0, highest)
    machine.compact_knobs = machine.compact_knobs._replace(**{field: number})
    if field == "proactiveness" and number:
        proactive_compact_nodes(machine)


def _set_defrag(machine: Machine, value: str) -> None:
    if value.strip() not in _DEFRAG:
        raise KernelError("EINVAL", f"{value[:20]!r} is not a value of thp_defrag")
    machine.defrag = value.strip()


def _set_thp(machine: Machine, value: str) -> None:
    """Where faults map huge pages from now on. Watermarks follow: enabled_store()."""
    value = value.strip()
    if value not in _THP:
        raise KernelError("EINVAL", f"{value[:20]!r} is not a value of thp")
    machine.thp = value
    setup_watermarks(machine)


def _set_weight(machine: Machine, node: int, value: str) -> None:
    """The node's weight in weighted interleave; nothing or 0 make it 1 again."""
    weight = _number(value or "0", 0, MAX_WEIGHT)
    machine.weights.pop(node, None)
    if weight > 1:
        machine.weights[node] = weight


def _drop_caches(machine: Machine, value: str) -> None:
    bits = _number(value, 1, 4)
    if bits & 1:
        drop_caches(machine)
        machine.counters.add("drop_pagecache")
    if bits & 2:
        machine.counters.add("drop_slab")


def _weight_node(machine: Machine, name: str) -> int | None:
    match = _WEIGHT.fullmatch(name)
    if match is None:
        return None
    if int(match[1]) not in machine.nodes or not machine.release.weighted_interleave:
        raise _unknown(machine, name)
    return int(match[1])


def _unknown(machine: Machine, name: str) -> KernelError:
    """That there is no such setting; says which there are."""
    known = [*NAMES, "compact_memory"]
    if machine.release.weighted_interleave:
        known.append("weighted_interleave/nodeN")
    why = f"there is no setting {name[:60]}; expected one of {', '.join(known)}"
    return KernelError("ENOENT", why)


def _number(value: str, low: int, high: int) -> int:
    digits = value.strip()
    if (
        not (digits.isascii() and digits.isdigit())
        or len(digits) > 10
        or not low <= int(value) <= high
    ):
        raise KernelError("EINVAL", f"{value[:20]!r} is not a number from {low} to {high}")
    return int(value)


_WRITERS: dict[str, Callable[[Machine, str], None]] = {
    "thp": _set_thp,
    "thp_defrag": _set_defrag,
    "numa_balancing": _set_numa_balancing,
    "demotion_enabled": _set_demotion,
    "drop_caches": _drop_caches,
    "compact_memory": _compact,
}
