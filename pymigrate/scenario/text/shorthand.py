"""A machine in one line, such as ``4x384GiB,2x512GiB@cxl``, as the text of a scenario."""

from __future__ import annotations

import re

from pymigrate.records import NamedTuple
from pymigrate.units import PAGE_SIZE, format_size, parse_size

EXPECTED = "expected such as 2x64GiB or 4x384GiB:16,2x512GiB@cxl"
MOST_NODES = 1024
DEFAULT_CPUS = 4  # of a node of DRAM
LOCAL, OTHER_SOCKET, NEAR_CXL, FAR_CXL, OTHER_CXL = 10, 21, 24, 34, 44  # distances
HEAP = 64 << 20  # of the task, or an eighth of the first node
_ITEM = re.compile(r"(?:(\d{1,4})[xX])?([^@:]+)(@cxl)?(?::(\d{1,4}))?")
# As the firmware would give them: nanoseconds and MiB/s.
_DRAM = "{read_latency: 80, write_latency: 80, read_bandwidth: 100000, write_bandwidth: 100000}"
_CXL = "{read_latency: 240, write_latency: 240, read_bandwidth: 50000, write_bandwidth: 50000}"


class _Node(NamedTuple):
    memory: int
    cpus: str  # none: ""
    is_cxl: bool


def scenario_text(nodes: str) -> str:
    """A scenario of a machine with *nodes*, and of one task on the first CPUs. Raises ValueError.

    Each item is ``[COUNTx]SIZE[@cxl][:CPUS]``: nodes of DRAM with CPUs, or of CXL memory without.
    """
    found = _nodes(nodes)
    if not any(node.cpus for node in found):
        raise ValueError(f"{nodes!r} has no node with CPUs; {EXPECTED}")
    first = next(node for node in found if node.cpus)
    heap = min(HEAP, first.memory >> 3) // PAGE_SIZE * PAGE_SIZE
    is_tiered = any(node.is_cxl for node in found)
    lines = [
        "# Sizes, distances and speeds are to be changed as you like; `pymigrate help scenarios`",
        "# has all keys.",
        f"about: a machine of {nodes}",
        "machine:",
        "  nodes:",
        *(f"    {nid}: {_node_text(node, is_tiered)}" for nid, node in enumerate(found)),
        "  distances:",
        *(f"    - [{', '.join(map(str, row))}]" for row in _distances(found)),
        "tasks:",
        "  app:",
        f'    cpus: "{first.cpus}"',
        "    memory:",
        f"      - {{as: heap, kind: heap, size: {format_size(max(heap, PAGE_SIZE))}}}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _nodes(text: str) -> list[_Node]:
    found: list[_Node] = []
    next_cpu = 0
    for item in text.split(","):
        match = _ITEM.fullmatch(item.strip())
        if match is None:
            raise ValueError(f"{item!r} is no node; {EXPECTED}")
        count, size = int(match[1] or 1), parse_size(match[2])
        nr_cpus = int(match[4] or (0 if match[3] else DEFAULT_CPUS))
        if len(found) + count > MOST_NODES:
            raise ValueError(f"{text!r} has more than {MOST_NODES} nodes")
        for _ in range(count):
            last = next_cpu + nr_cpus - 1
            cpus = f"{next_cpu}-{last}" if nr_cpus > 1 else str(last) if nr_cpus else ""
            found.append(_Node(size, cpus, bool(match[3])))
            next_cpu += nr_cpus
    return found


def _node_text(node: _Node, is_tiered: bool) -> str:
    keys = [f'cpus: "{node.cpus}"'] if node.cpus else []
    keys.append(f"memory: {format_size(node.memory)}")
    if is_tiered:
        keys.append(f"hmat: {_CXL if node.is_cxl else _DRAM}")
    return f"{{{', '.join(keys)}}}"


def _distances(nodes: list[_Node]) -> list[list[int]]:
    """The distance of each node from each: CXL memory is near to one node of DRAM, in turns."""
    drams = [nid for nid, node in enumerate(nodes) if not node.is_cxl] or [0]
    cxls = [nid for nid, node in enumerate(nodes) if node.is_cxl]
    near = {nid: drams[number % len(drams)] for number, nid in enumerate(cxls)}

    def distance(a: int, b: int) -> int:
        if a == b:
            return LOCAL
        if a in near and b in near:
            return OTHER_CXL
        if a in near or b in near:
            return NEAR_CXL if near.get(a) == b or near.get(b) == a else FAR_CXL
        return OTHER_SOCKET

    return [[distance(a, b) for b in range(len(nodes))] for a in range(len(nodes))]
