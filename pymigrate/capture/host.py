"""The machine: nodes with CPUs, distances and memory, its settings, and which kernel it runs."""

from __future__ import annotations

import re

from pymigrate.capture.settings import Settings
from pymigrate.capture.tree import Tree
from pymigrate.capture.zones import NodeZones, read_zones
from pymigrate.errors import ScenarioError
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.records import NamedTuple
from pymigrate.units import HPAGE_SIZE

NODES = "sys/devices/system/node"
MEMORY = "sys/devices/system/memory"
_MEM_TOTAL = re.compile(r"Node \d+ MemTotal:\s+(\d+) kB")
_MEM_TOTAL_ALL = re.compile(r"^MemTotal:\s+(\d+) kB", re.MULTILINE)
_POOL = re.compile(r"hugepages-(\d+)kB")
_PERF = ("read_latency", "write_latency", "read_bandwidth", "write_bandwidth")
_KERNELS = (((7, 2), "7.2"), ((6, 12), "6.12"), ((0, 0), "6.1"))
_HUGE_KB = HPAGE_SIZE >> 10


class HostNode(NamedTuple):
    """A node; sizes in bytes."""

    cpus: Cpumask
    memory: int
    distances: tuple[int, ...]
    hugetlb: int  # pages of 2 MiB
    others: int = 0  # in pools of other huge pages
    movable: int = 0
    cma: int = 0
    hmat: dict[str, int] | None = None


class Host(NamedTuple):
    """What a scenario says of the machine."""

    nodes: dict[int, HostNode]
    settings: dict[str, object]  # of the scenario's machine
    release: str  # of the kernel, as uname -r has it; "" if nothing says it
    notes: list[str]

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
        version = version_of(self.release) or (6, 12)
        return next(name for least, name in _KERNELS if version >= least)


def version_of(release: str) -> tuple[int, int] | None:
    """The two first numbers of a kernel's release."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else None


def read_host(tree: Tree, memory: int | None = None) -> Host:
    """The machine of *tree*; nodes of which no file says it have *memory* bytes.

    Raises ScenarioError.
    """
    ids = sorted(int(name[4:]) for name in tree.names(NODES) if re.fullmatch(r"node\d+", name))
    if not ids:
        raise ScenarioError("there are no NUMA nodes; expected node0, ...", tree.path(NODES))
    notes: list[str] = []
    release = _release(tree)
    if not release:
        notes.append("nothing says which kernel it is: taken for 6.12")
    reader = _Nodes(tree, ids, memory, notes)
    nodes = {nid: reader.node(nid) for nid in ids}
    host = Host(nodes, {}, release, notes)
    if not host.cpus:
        message = "no node has CPUs by its cpulist, its cpumap or its links to CPUs"
        raise ScenarioError(f"{message}; expected some", tree.path(NODES))
    if not host.memory_nodes:
        raise ScenarioError("no node has memory; expected some", tree.path(NODES))
    if not all(node.distances for node in nodes.values()):
        notes += ["no node tells distances: 10 to itself, 20 to others"] if len(ids) > 1 else []
        nodes = {nid: node._replace(distances=()) for nid, node in nodes.items()}
    settings = Settings(tree, version_of(release), notes).read(Nodemask.of(*host.memory_nodes))
    return Host(_with_whole_hmat(nodes, notes), settings, release, notes)


def node_of_blocks(tree: Tree, page_size: int) -> list[tuple[int, int, int]]:
    """Which node each range of frames [start, end) belongs to: (start, end, nid), ascending.

    By the blocks of memory that the nodes list, or else by the zones of zoneinfo. Frames are of
    *page_size* bytes.
    """
    size = _block_size(tree) // page_size
    ranges: list[tuple[int, int, int]] = []
    for name in tree.names(NODES):
        if re.fullmatch(r"node\d+", name) and size:
            starts = [block * size for block in _blocks(tree, name)]
            ranges += [(start, start + size, int(name[4:])) for start in starts]
    zones = read_zones(tree)
    return sorted(ranges or (r for nid, node in zones.items() for r in node.ranges(nid)))


def _release(tree: Tree) -> str:
    """As uname -r has it: by /proc, or by what a sosreport has of uname -a."""
    release = tree.text("proc/sys/kernel/osrelease")
    if release:
        return release
    for name in ("proc/version", "sos_commands/kernel/uname_-a", "uname"):
        match = re.match(r"Linux (?:version|\S+) (\d\S*)", tree.text(name))
        if match:
            return match[1]
    return ""


def _block_size(tree: Tree) -> int:
    return tree.number(f"{MEMORY}/block_size_bytes", 0, 16)


def _blocks(tree: Tree, name: str) -> list[int]:
    return [int(b[6:]) for b in tree.names(f"{NODES}/{name}") if re.fullmatch(r"memory\d+", b)]


class _Nodes:
    """Reads nodes; what it takes from elsewhere, or for granted, it notes."""

    def __init__(self, tree: Tree, ids: list[int], memory: int | None, notes: list[str]) -> None:
        self.tree, self.ids, self.given, self.notes = tree, ids, memory, notes
        self.zones = read_zones(tree)
        self.movable_only = _mask(tree, "has_memory") - _mask(tree, "has_normal_memory")

    def node(self, nid: int) -> HostNode:
        """All of node *nid*. Raises ScenarioError."""
        zones = self.zones.get(nid, NodeZones())
        memory = self._memory(nid, zones)
        pools = {int(match[1]): self._pool(nid, match[0]) for match in self._pools(nid)}
        others = {kb: nr for kb, nr in pools.items() if kb != _HUGE_KB and nr}
        for kb, nr in others.items():
            size = f"{kb >> 20} GiB" if not kb % (1 << 20) else f"{kb} kB"
            pages = "1 huge page" if nr == 1 else f"{nr} huge pages"
            self.notes.append(f"node {nid}: {pages} of {size} are the kernel's, and never move")
        if zones.device:
            self.notes.append(f"node {nid}: {zones.device} pages of ZONE_DEVICE are left out")
        movable = memory if not self.zones and nid in self.movable_only else zones.movable
        if movable >= memory // HPAGE_SIZE * HPAGE_SIZE:  # no remainder is to become normal memory
            memory = movable = memory // HPAGE_SIZE * HPAGE_SIZE
        movable = movable // HPAGE_SIZE * HPAGE_SIZE
        return HostNode(
            self._cpus(nid),
            memory,
            self._distances(nid),
            pools.get(_HUGE_KB, 0),
            sum(kb * nr for kb, nr in others.items()) << 10,
            movable,
            min(zones.cma, memory - movable) // HPAGE_SIZE * HPAGE_SIZE,
            self._hmat(nid) if memory else None,
        )

    def _pools(self, nid: int) -> list[re.Match[str]]:
        names = self.tree.names(f"{NODES}/node{nid}/hugepages")
        return [match for name in names if (match := _POOL.fullmatch(name))]

    def _pool(self, nid: int, name: str) -> int:
        return self.tree.number(f"{NODES}/node{nid}/hugepages/{name}/nr_hugepages")

    def _memory(self, nid: int, zones: NodeZones) -> int:
        """How much memory the node has, by the first file that tells it."""
        meminfo = f"{NODES}/node{nid}/meminfo"
        if self.tree.has(meminfo):
            total = _MEM_TOTAL.search(self.tree.read(meminfo))
            if total is None:
                text = self.tree.read(meminfo)[:40]
                raise self.tree.malformed(meminfo, 1, text, "Node N MemTotal: KB kB")
            return int(total[1]) << 10
        blocks = len(_blocks(self.tree, f"node{nid}")) * _block_size(self.tree)
        total = _MEM_TOTAL_ALL.search(self.tree.text("proc/meminfo"))
        if self.zones:
            found, source = zones.memory, "proc/zoneinfo"
        elif self.given is not None:
            found, source = self.given, "--memory"
        elif blocks:
            found, source = blocks, "its memory blocks"
        elif total and len(self.ids) == 1:
            found, source = int(total[1]) << 10, "proc/meminfo"
        else:
            message = "nothing says how much memory the node has; --memory SIZE can"
            raise ScenarioError(message, self.tree.path(meminfo))
        self.notes.append(f"node {nid}: it has no meminfo; its memory is by {source}")
        return found

    def _cpus(self, nid: int) -> Cpumask:
        folder = f"{NODES}/node{nid}"
        name = f"{folder}/cpulist"
        try:
            if self.tree.has(name):
                return Cpumask.parse(self.tree.text(name))
            name = f"{folder}/cpumap"
            if self.tree.has(name):
                bits = self.tree.text(name).replace(",", "") or "0"
                if not re.fullmatch("[0-9a-fA-F]+", bits):
                    raise ValueError(f"{bits[:40]!r} is not a mask of CPUs; expected hex digits")
                return Cpumask(int(bits, 16))
        except ValueError as error:
            raise ScenarioError(str(error), self.tree.path(name), 1) from None
        links = [n for n in self.tree.names(folder) if re.fullmatch(r"cpu\d+", n)]
        self.notes.append(f"node {nid}: it has no cpulist; its CPUs are by its links to them")
        return Cpumask.collect(int(link[3:]) for link in links)

    def _distances(self, nid: int) -> tuple[int, ...]:
        name = f"{NODES}/node{nid}/distance"
        words = self.tree.text(name).split()
        nr = len(self.ids)
        if words == ["0"] and nr == 1:
            self.notes.append("node 0: a distance of 0 to itself is taken for 10")
            words = ["10"]
        if words and (len(words) != nr or not all(word.isdigit() for word in words)):
            expected = f"{nr} distances, one for each node"
            raise self.tree.malformed(name, 1, " ".join(words), expected)
        return tuple(int(word) for word in words)

    def _hmat(self, nid: int) -> dict[str, int] | None:
        """How fast the nearest CPUs reach the memory; access1 leaves other initiators out."""
        for access in ("access1", "access0"):
            folder = f"{NODES}/node{nid}/{access}/initiators"
            found = {name: self.tree.number(f"{folder}/{name}") for name in _PERF}
            if all(found.values()):
                return found
            if any(found.values()):
                missing = ", ".join(name for name, number in found.items() if not number)
                self.notes.append(f"node {nid}: {access} has no {missing}: its HMAT is left out")
                return None
        return None


def _mask(tree: Tree, name: str) -> Nodemask:
    path = f"{NODES}/{name}"
    try:
        return Nodemask.parse(tree.text(path))
    except ValueError as error:
        raise ScenarioError(str(error), tree.path(path), 1) from None


def _with_whole_hmat(nodes: dict[int, HostNode], notes: list[str]) -> dict[int, HostNode]:
    """*nodes* without what the HMAT says, if it has nothing of one with CPUs to compare with."""
    has_any = any(node.hmat for node in nodes.values())
    lacking = [n for n, node in nodes.items() if node.cpus and node.memory and not node.hmat]
    if not has_any or not lacking:
        return nodes
    notes.append(f"node {lacking[0]} has no HMAT, but others have: all of it is left out")
    return {nid: node._replace(hmat=None) for nid, node in nodes.items()}
