"""From a case to the lines that the guest's agent carries out."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pymigrate.mm.base.advice import ADVICE
from pymigrate.mm.state.task import CAPABILITIES
from pymigrate.uapi import GET_FLAGS, MCL_FLAGS, MODE_FLAGS, MODES, MOVE_FLAGS, MREMAP_FLAGS
from pymigrate.units import parse_size
from tests.oracle.hardware import Hardware, UnrecordableError, hardware_of, memory_list, numbers

Case = Mapping[str, Any]  # Any: YAML, of a shape that the loader has checked
Step = Mapping[str, Any]
Values = dict[str, object]

HOME = "root_"  # the cpuset of the guest where tasks begin
SIZES = ("offset", "length", "stride", "align", "size")
LEAST_PATIENCE, PATIENCE = 60, 3  # seconds for a case; for a step
HIGHEST_NODE = 1023
ALLOWED = set("about kernel machine files cpusets tasks steps".split())
_PLAIN = ("task", "at", "as", "file", "cpus", "cpuset", "target", "kind", "name", "swappiness")
_FLAGS = ("shared", "populate", "hugetlb", "secretmem", "noreplace", "write", "memory_migrate")
_NODES = ("nodes", "from", "to", "mems")
_NUMBERS = ("node", "seconds", "ruid", "euid", "suid")


def program_of(case: Case, name: str) -> str:
    """The agent's program for a case. Raises UnrecordableError."""
    unknown = set(case) - ALLOWED
    if unknown:
        raise UnrecordableError(f"no kernel is told of {', '.join(sorted(unknown))}")
    hardware = hardware_of(case["machine"])
    patience = max(LEAST_PATIENCE, PATIENCE * len(case["steps"]))
    patience += sum(int(step.get("seconds", 0)) for step in case["steps"])
    lines = [_line("case", name=name, alarm=patience), *_settings(case["machine"])]
    for file, spec in (case.get("files") or {}).items():
        size = parse_size(spec["size"])
        lines.append(_line("file", name=file, size=size, fs=spec.get("fs", "tmpfs")))
    lines += [_spawn(case, hardware, task, spec or {}) for task, spec in case["tasks"].items()]
    lines += [_step(hardware, step) for step in case["steps"]]
    return "\n".join([*lines, "end"]) + "\n"


def needs_memcg(case: Case) -> bool:
    """Whether the guest needs the memory controller."""
    return any(step["op"] == "reclaim" for step in case["steps"])


def needs_version_1(case: Case) -> bool:
    """Whether the case has cpusets as only cgroup v1 has them: without memory_migrate."""
    return any(
        (step["op"] == "cpuset_create" and not step.get("memory_migrate"))
        or (step["op"] == "cpuset_set" and "memory_migrate" in step)
        for step in case["steps"]
    )


def _line(op: str, **values: object) -> str:
    words = [f"{key.rstrip('_')}={value}" for key, value in values.items() if value is not None]
    return "\t".join([op, *words])


def _settings(machine: Case) -> list[str]:
    """The settings that the machine boots with."""
    rows: list[tuple[str, object, object]] = [
        ("nr_hugepages", count, nid) for nid, count in (machine.get("hugetlb") or {}).items()
    ]
    thp = machine.get("thp", "never")
    rows += [
        ("thp", "never" if thp is False else thp, None),
        ("thp_defrag", machine.get("thp_defrag", "madvise"), None),
        ("numa_balancing", machine.get("numa_balancing", 0), None),
        ("demotion_enabled", int(bool(machine.get("demotion", False))), None),
    ]
    rows += [
        (f"weighted_interleave/node{nid}", weight, None)
        for nid, weight in (machine.get("weights") or {}).items()
    ]
    return [_line("setting", name=name, value=value, node=nid) for name, value, nid in rows]


def _spawn(case: Case, hardware: Hardware, name: str, spec: Case) -> str:
    """A task; one that is in no cpuset of a case that names the service node may use it."""
    unknown = set(spec) - {"cpus", "uid", "cpuset"}
    if unknown or spec.get("cpuset", HOME) != HOME or set(case.get("cpusets") or {}) - {HOME}:
        raise UnrecordableError(f"a task begins in {HOME} or nowhere, with cpus and a uid")
    is_home = "cpuset" in spec or not hardware.names_service
    return _line(
        "spawn", name=name, cpus=spec.get("cpus", "0"), uid=spec.get("uid", 0), home=int(is_home)
    )


def _step(hardware: Hardware, step: Step) -> str:
    op = step["op"]
    if op not in _STEPS:
        raise UnrecordableError(f"no kernel takes the step {op}")
    try:
        values = _common(hardware, step) | _STEPS[op](hardware, step)
    except (KeyError, TypeError, ValueError) as error:
        raise UnrecordableError(f"step {dict(step)}: {error!r}") from error
    return _line(op, **values)


def _common(hardware: Hardware, step: Step) -> Values:
    """What means the same in all steps."""
    unknown = set(step) - {*_PLAIN, *_FLAGS, *_NODES, *_NUMBERS, *SIZES, *_OWN, "op"}
    if unknown:
        raise UnrecordableError(f"step {step['op']}: {', '.join(sorted(unknown))}")
    values: Values = {key: step.get(key) for key in _PLAIN}
    values |= {key: int(bool(step[key])) for key in _FLAGS if key in step}
    values |= {key: int(step[key]) for key in _NUMBERS if step.get(key) is not None}
    values |= {key: parse_size(_unquoted(step[key])) for key in SIZES if key in step}
    values |= {
        key: _nodes(hardware, step[key])
        for key in _NODES
        if step.get(key) is not None and step["op"] != "move_pages"
    }
    return values


def _unquoted(size: object) -> str | int:
    return size if isinstance(size, int) else str(size)


def _nodes(hardware: Hardware, nodes: object) -> str:
    if not re.fullmatch(r"[\d,-]*", str(nodes)):
        return str(nodes)  # the kernel knows more lists
    found = numbers(nodes)
    if hardware.service in found and not hardware.names_service:
        raise UnrecordableError(f"node {hardware.service} is the service node")
    if any(nid > HIGHEST_NODE for nid in found):
        raise UnrecordableError(f"nodes end at {HIGHEST_NODE}")
    return memory_list(found)


def _bits(value: Any, words: Mapping[str, int]) -> int:
    """Flags by their names; a number stands for itself."""
    flags: list[int | str] = value if isinstance(value, list) else [value]
    found = 0
    for flag in flags:
        found |= flag if isinstance(flag, int) else words[flag]
    return found


def _nothing(_: Hardware, step: Step) -> Values:
    return {}


def _mmap(_: Hardware, step: Step) -> Values:
    return {"prot": _prot(step.get("prot", "rw")), **_target(step.get("over"))}


def _mremap(_: Hardware, step: Step) -> Values:
    return {"flags": _bits(step.get("flags", []), MREMAP_FLAGS), **_target(step.get("over"))}


def _target(text: str | None) -> Values:
    """`REGION[+OFFSET]`, as two words."""
    region, _, offset = (text or "").partition("+")
    return {"over": region or None, "over_offset": parse_size(offset or 0)}


def _mprotect(_: Hardware, step: Step) -> Values:
    return {"prot": _prot(step["prot"])}


def _prot(prot: str) -> str:
    return "" if prot == "none" else prot


def _madvise(_: Hardware, step: Step) -> Values:
    return {"advice": _bits(step["advice"], ADVICE)}


def _policy(mode_flags: str) -> Callable[[Hardware, Step], Values]:
    """Of a policy; its flags are called *mode_flags*."""

    def values(_: Hardware, step: Step) -> Values:
        mode = _bits(step["mode"], MODES) | _bits(step.get(mode_flags, []), MODE_FLAGS)
        found: Values = {"mode": mode}
        if "nodes" in step and step["nodes"] is None:
            found["no_nodes"] = 1
        if mode_flags == "mode_flags":
            found["flags"] = _bits(step.get("flags", []), MOVE_FLAGS)
        return found

    return values


def _get_mempolicy(_: Hardware, step: Step) -> Values:
    return {"flags": _bits(step.get("flags", []), GET_FLAGS)}


def _move_pages(hardware: Hardware, step: Step) -> Values:
    nodes = step.get("nodes")
    if nodes is not None:
        nodes = nodes if isinstance(nodes, list) else [nodes]
        if hardware.service in nodes and not hardware.names_service:
            raise UnrecordableError(f"node {hardware.service} is the service node")
    return {
        "nodes": None if nodes is None else memory_list(nodes),
        "pages": _listed(step.get("pages")),
        "flags": _bits(step.get("flags", ["move"]), MOVE_FLAGS),
    }


def _listed(values: Sequence[int] | None) -> str | None:
    return None if values is None else memory_list(values)


def _mlockall(_: Hardware, step: Step) -> Values:
    return {"flags": _bits(step.get("flags", []), MCL_FLAGS)}


def _prctl(_: Hardware, step: Step) -> Values:
    return {"dumpable": int(bool(step["dumpable"]))}


def _capset(_: Hardware, step: Step) -> Values:
    return {"caps": sum(int(CAPABILITIES[name]) for name in step["drop"])}


def _sysctl(_: Hardware, step: Step) -> Values:
    value = step["value"]
    return {"value": int(value) if isinstance(value, bool) else value}


def _compact(_: Hardware, step: Step) -> Values:
    if "order" in step:
        raise UnrecordableError("compact: whole zones only")
    return {"name": "compact" if "node" in step else "compact_memory", "value": 1}


def _blocks(hardware: Hardware, step: Step) -> Values:
    """Memory blocks, by their place among the node's; a node of DIMMs comes back as it was."""
    nid = int(step["node"])
    if nid >= hardware.service or not hardware.nodes[nid].is_movable:
        raise UnrecordableError("only movable nodes can go offline: others hold the kernel's own")
    first = sum(node.memory for node in hardware.nodes[:nid]) // (128 << 20)
    blocks = step.get("blocks")
    places = None if blocks is None else [block - first for block in blocks]
    return {"state": step.get("online_type", "online_movable"), "blocks": _listed(places)}


def _reclaim(hardware: Hardware, step: Step) -> Values:
    if "target" in step:
        raise UnrecordableError("memory.reclaim knows cgroups, no tasks")
    return {}


def _exec(_: Hardware, step: Step) -> Values:
    return {"argv": "\x1f".join(map(str, step["argv"]))}


_OWN = set(
    """prot advice mode flags mode_flags nodes pages value argv blocks order over dumpable
    drop online_type""".split()
)  # what only some steps have
_STEPS: dict[str, Callable[[Hardware, Step], Values]] = {
    "mmap": _mmap,
    "mremap": _mremap,
    "mprotect": _mprotect,
    "madvise": _madvise,
    "set_mempolicy": _policy("flags"),
    "mbind": _policy("mode_flags"),
    "get_mempolicy": _get_mempolicy,
    "move_pages": _move_pages,
    "sysctl": _sysctl,
    "mlockall": _mlockall,
    "prctl": _prctl,
    "capset": _capset,
    "compact": _compact,
    "memory_offline": _blocks,
    "memory_online": _blocks,
    "reclaim": _reclaim,
    "exec": _exec,
} | dict.fromkeys(
    """
    munmap touch mlock munlock munlockall ftruncate punch_hole unlink fork clone exit
    sched_setaffinity set_mempolicy_home_node migrate_pages pin unpin soft_offline setresuid
    cpuset_create cpuset_set cpuset_remove cpuset_attach ksm placement numa_maps vmstat
    """.split(),
    _nothing,
)
