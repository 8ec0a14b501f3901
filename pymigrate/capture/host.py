"""The machine: nodes, CPUs, distances, memory, pools of huge pages, settings."""

from __future__ import annotations

import re
from typing import NamedTuple

from pymigrate.capture.tree import Tree
from pymigrate.errors import ScenarioError
from pymigrate.nodemask import Cpumask

NODES = "sys/devices/system/node"
MEMORY = "sys/devices/system/memory"
_MEM_TOTAL = re.compile(r"Node \d+ MemTotal:\s+(\d+) kB")
_HUGE = "hugepages/hugepages-2048kB/nr_hugepages"
_ZONE = re.compile(r"Node (\d+), zone\s+(\S+)")
_KERNELS = (((7, 2), "7.2"), ((6, 12), "6.12"), ((0, 0), "6.1"))


class HostNode(NamedTuple):
    """A node; memory in bytes."""

    cpus: Cpumask
    memory: int
    distances: tuple[int, ...]
    hugetlb: int


class Host(NamedTuple):
    """What a scenario says of the machine."""

    nodes: dict[int, HostNode]
    thp: str
    numa_balancing: int
    demotion: bool
    release: str  # of the kernel, as uname -r has it; "" if nothing says it

    @property
    def memory_nodes(self) -> list[int]:
        """The nodes that have memory."""
        return [nid for nid, node in self.nodes.items() if node.memory]

    @property
    def cpus(self) -> Cpumask:
        """All CPUs."""
        return Cpumask.collect(cpu for node in self.nodes.values() for cpu in node.cpus)

    @property
    def kernel(self) -> str:
        """The kernel of those that are simulated whose rules come nearest."""
        match = re.match(r"(\d+)\.(\d+)", self.release)
        version = (int(match[1]), int(match[2])) if match else (6, 12)
        return next(name for least, name in _KERNELS if version >= least)


def read_host(tree: Tree) -> Host:
    """The machine of *tree*. Raises ScenarioError."""
    ids = sorted(int(name[4:]) for name in tree.names(NODES) if re.fullmatch(r"node\d+", name))
    if not ids:
        raise ScenarioError("there are no NUMA nodes; expected node0, ...", tree.path(NODES))
    enabled = tree.text("sys/kernel/mm/transparent_hugepage/enabled", "[never]")
    thp = re.search(r"\[(always|madvise|never)\]", enabled)
    demotion = tree.text("sys/kernel/mm/numa/demotion_enabled", "false")
    return Host(
        {nid: _node(tree, nid, len(ids)) for nid in ids},
        thp[1] if thp else "never",
        tree.number("proc/sys/kernel/numa_balancing") & 3,
        demotion in ("true", "1"),
        tree.text("proc/sys/kernel/osrelease"),
    )


def node_of_blocks(tree: Tree) -> list[tuple[int, int, int]]:
    """Which node each range of frames [start, end) belongs to: (start, end, nid), ascending.

    By the blocks of memory that the nodes list, or else by the zones of zoneinfo.
    """
    size = tree.number(f"{MEMORY}/block_size_bytes", 0, 16) >> 12
    ranges: list[tuple[int, int, int]] = []
    for name in tree.names(NODES):
        if re.fullmatch(r"node\d+", name) and size:
            blocks = [b for b in tree.names(f"{NODES}/{name}") if re.fullmatch(r"memory\d+", b)]
            starts = [int(block[6:]) * size for block in blocks]
            ranges += [(start, start + size, int(name[4:])) for start in starts]
    return sorted(ranges or _zones(tree))


def _zones(tree: Tree) -> list[tuple[int, int, int]]:
    ranges: list[tuple[int, int, int]] = []
    nid = spanned = 0
    for _, line in tree.lines("proc/zoneinfo") if tree.has("proc/zoneinfo") else ():
        words = line.split()
        if match := _ZONE.match(line):
            nid, spanned = int(match[1]), 0
        elif words[:1] == ["spanned"]:
            spanned = int(words[1])
        elif words[:1] == ["start_pfn:"] and spanned:
            ranges.append((int(words[1]), int(words[1]) + spanned, nid))
    return ranges


def _node(tree: Tree, nid: int, nr: int) -> HostNode:
    folder = f"{NODES}/node{nid}"
    meminfo = f"{folder}/meminfo"
    total = _MEM_TOTAL.search(tree.read(meminfo))
    if total is None:
        raise tree.malformed(meminfo, 1, tree.read(meminfo)[:40], "Node N MemTotal: KB kB")
    try:
        cpus = Cpumask.parse(tree.text(f"{folder}/cpulist"))
    except ValueError as error:
        raise ScenarioError(str(error), tree.path(f"{folder}/cpulist"), 1) from None
    words = tree.text(f"{folder}/distance").split()
    if words and (len(words) != nr or not all(word.isdigit() for word in words)):
        expected = f"{nr} distances, one for each node"
        raise tree.malformed(f"{folder}/distance", 1, " ".join(words), expected)
    distances = tuple(int(word) for word in words)
    return HostNode(cpus, int(total[1]) << 10, distances, tree.number(f"{folder}/{_HUGE}"))
