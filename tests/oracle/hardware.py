"""The machine of a case, as QEMU makes it.

QEMU's node 0 is one more than the case has: the service node, with low memory, the kernel and the
last CPU, where the agent runs. Linux numbers nodes by the order of the CPUs in the SRAT, so for
Linux it is the last one, behind those of the case. A case may name it: its last node is then 200
away from all others, and has the service node's CPU and memory.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pymigrate.units import parse_size

Spec = Mapping[str, Any]  # Any: YAML, of a shape that the loader has checked
MIB = 1 << 20
SERVICE_MEMORY, NAMED_SERVICE_MEMORY = 448 * MIB, 512 * MIB
FAR, NEAR, SELF = 200, 20, 10
BLOCK = 128 * MIB  # a memory block
KERNEL_SHARE = 180 * MIB  # at most so much of a node is not in its MemTotal
ALLOWED = {
    "machine": set(
        "nodes distances thp thp_defrag hugetlb numa_balancing weights demotion".split()
    ),
    "node": {"cpus", "memory", "movable", "hmat"},
}
_NODE = re.compile(r"NODE (\d+) cpus=(\S*) Node \d+ MemTotal:\s+(\d+) kB")


class UnrecordableError(Exception):
    """The case has something that no kernel can be asked here."""


class Speed(NamedTuple):
    """What the firmware's HMAT says of a node."""

    read_latency: int = 100
    write_latency: int = 100
    read_bandwidth: int = 10000
    write_bandwidth: int = 10000


class Node(NamedTuple):
    """A node of the case; one without CPUs and memory stands for a gap in the numbers."""

    cpus: tuple[int, ...] = ()
    memory: int = 0
    is_movable: bool = False
    speed: Speed | None = None


class Hardware(NamedTuple):
    """The nodes of a case, without the service node, and all distances."""

    nodes: tuple[Node, ...]
    distances: tuple[tuple[int, ...], ...]
    service_memory: int
    names_service: bool

    @property
    def service(self) -> int:
        """The service node's number."""
        return len(self.nodes)

    @property
    def nr_cpus(self) -> int:
        """How many CPUs the case has; the service node's comes next."""
        return sum(len(node.cpus) for node in self.nodes)

    @property
    def memory_nodes(self) -> list[int]:
        """The case's nodes that have memory."""
        return [nid for nid, node in enumerate(self.nodes) if node.memory]

    @property
    def has_hmat(self) -> bool:
        """Whether the firmware tells how fast memory is."""
        return any(node.speed for node in self.nodes)

    @property
    def has_movable(self) -> bool:
        """Whether nodes are DIMMs that are put into ZONE_MOVABLE."""
        return any(node.is_movable for node in self.nodes)


def hardware_of(machine: Spec) -> Hardware:
    """The hardware of a case's `machine`. Raises UnrecordableError."""
    _check_keys("machine", machine)
    given = {int(nid): _node(spec or {}) for nid, spec in machine["nodes"].items()}
    order = sorted(given)
    matrix = machine.get("distances") or [[SELF if a == b else NEAR for b in order] for a in order]
    names_service = len(order) > 1 and all(d == FAR for d in matrix[-1][:-1])
    service = given.pop(order[-1]) if names_service else None
    nodes = tuple(given.get(nid, Node()) for nid in range(max(given) + 1))
    if service and order[-1] != len(nodes):
        raise UnrecordableError("the service node must come right after the others")
    at = {nid: i for i, nid in enumerate(order)}
    ids = range(len(nodes))
    distances = tuple(
        tuple(
            matrix[at[a]][at[b]] if a in at and b in at else SELF if a == b else NEAR for b in ids
        )
        for a in ids
    )
    memory = NAMED_SERVICE_MEMORY if service else SERVICE_MEMORY
    found = Hardware(nodes, distances, memory, service is not None)
    _check(found)
    return found


def _node(spec: Spec) -> Node:
    _check_keys("node", spec)
    memory, movable = parse_size(spec.get("memory", 0)), parse_size(spec.get("movable", 0))
    if movable and (movable != memory or movable % BLOCK):
        raise UnrecordableError("a movable node is a DIMM: all of it, in blocks of 128 MiB")
    speed = Speed(**spec["hmat"]) if spec.get("hmat") else None
    return Node(tuple(numbers(spec.get("cpus", ""))), memory, bool(movable), speed)


def _check_keys(what: str, spec: Spec) -> None:
    unknown = set(spec) - ALLOWED[what]
    if unknown:
        raise UnrecordableError(f"{what}: no kernel is made with {', '.join(sorted(unknown))}")


def _check(hardware: Hardware) -> None:
    cpus = [cpu for node in hardware.nodes for cpu in node.cpus]
    if sorted(cpus) != list(range(len(cpus))):
        raise UnrecordableError("the CPUs must be numbered from 0 on")
    if not hardware.nodes[0].cpus:
        raise UnrecordableError("node 0 must have a CPU")


def numbers(text: object) -> list[int]:
    """The numbers of the kernel's list format.

    >>> numbers("0-2,5")
    [0, 1, 2, 5]
    """
    found: list[int] = []
    for part in filter(None, str(text).replace(" ", "").split(",")):
        low, _, high = part.partition("-")
        found += range(int(low), int(high or low) + 1)
    return found


def machine_arguments(hardware: Hardware) -> list[str]:
    """QEMU's arguments for the machine."""
    slots = _slots(hardware)
    ids = range(hardware.service + 1)
    common = hardware.service_memory + sum(
        node.memory for node in hardware.nodes if not node.is_movable
    )
    more = ",slots=8,maxmem=16G" if hardware.has_movable else ""
    words = ["-machine", "pc,hmat=on" if hardware.has_hmat else "pc"]
    words += ["-smp", f"1,maxcpus={len(slots)},sockets={len(slots)},cores=1,threads=1"]
    words += ["-m", f"{common // MIB}M{more}", *_service_node(hardware)]
    for nid, node in enumerate(hardware.nodes):
        words += _node_arguments(hardware, nid, node)
    for socket, (nid, has_cpu) in enumerate(slots):
        place = f"socket-id={socket},core-id=0,thread-id=0"
        words += ["-numa", f"cpu,node-id={_at(hardware, nid)},{place}"]
        if socket and has_cpu:
            words += ["-device", f"max-x86_64-cpu,{place}"]
    for a in ids:
        for b in ids:
            pair = f"src={_at(hardware, a)},dst={_at(hardware, b)}"
            words += ["-numa", f"dist,{pair},val={_distance(hardware, a, b)}"]
    return words + (_hmat(hardware) if hardware.has_hmat else [])


def _at(hardware: Hardware, nid: int) -> int:
    """QEMU's number of a node."""
    return 0 if nid == hardware.service else nid + 1


def _distance(hardware: Hardware, a: int, b: int) -> int:
    if a == b:
        return SELF
    return FAR if hardware.service in (a, b) else hardware.distances[a][b]


def _initiator(hardware: Hardware, nid: int) -> str:
    return f",initiator={_at(hardware, nid)}" if hardware.has_hmat else ""


def _service_node(hardware: Hardware) -> list[str]:
    size = hardware.service_memory // MIB
    initiator = _initiator(hardware, hardware.service)
    return [
        *("-object", f"memory-backend-ram,size={size}M,id=service"),
        *("-numa", f"node,nodeid=0,memdev=service{initiator}"),
    ]


def _node_arguments(hardware: Hardware, nid: int, node: Node) -> list[str]:
    """A node with its memory, or with a DIMM that the kernel finds at boot."""
    name, at = f"memory{nid}", _at(hardware, nid)
    words = ["-object", f"memory-backend-ram,size={node.memory},id={name}"] if node.memory else []
    memory = f",memdev={name}" if node.memory and not node.is_movable else ""
    words += ["-numa", f"node,nodeid={at}{memory}{_initiator(hardware, nid)}"]
    if node.is_movable:
        words += ["-device", f"pc-dimm,id=dimm{nid},memdev={name},node={at}"]
    return words


def _slots(hardware: Hardware) -> list[tuple[int, bool]]:
    """The sockets in the order of the SRAT: each one's node, and whether a CPU is in it.

    A node without CPUs has an empty socket, so that Linux gives it its number. Raises
    UnrecordableError where the CPUs' order would give other numbers.
    """
    home = {cpu: nid for nid, node in enumerate(hardware.nodes) for cpu in node.cpus}
    slots: list[tuple[int, bool]] = []
    seen: set[int] = set()
    for cpu in sorted(home):
        if home[cpu] not in seen:
            before = [nid for nid in range(home[cpu]) if nid not in seen]
            if any(hardware.nodes[nid].cpus for nid in before):
                raise UnrecordableError("CPUs must first appear in the order of the nodes")
            slots += [(nid, False) for nid in before]
            seen |= {*before, home[cpu]}
        slots.append((home[cpu], True))
    slots += [(nid, False) for nid in range(hardware.service) if nid not in seen]
    return [*slots, (hardware.service, True)]


def _hmat(hardware: Hardware) -> list[str]:
    """The HMAT: each node's memory is as fast from anywhere."""
    words: list[str] = []
    for target in [*hardware.memory_nodes, hardware.service]:
        node = hardware.nodes[target] if target < hardware.service else Node()
        speed = node.speed or Speed()
        rows = [
            ("read-latency", f"latency={speed.read_latency}"),
            ("write-latency", f"latency={speed.write_latency}"),
            ("read-bandwidth", f"bandwidth={speed.read_bandwidth}M"),
            ("write-bandwidth", f"bandwidth={speed.write_bandwidth}M"),
        ]
        for initiator in range(hardware.service + 1):
            pair = f"initiator={_at(hardware, initiator)},target={_at(hardware, target)}"
            for kind, value in rows:
                words += ["-numa", f"hmat-lb,{pair},hierarchy=memory,data-type={kind},{value}"]
    return words


def kernel_parameters(hardware: Hardware) -> list[str]:
    """What the kernel's command line says because of the machine."""
    return ["memhp_default_state=online_movable"] if hardware.has_movable else []


def wrong_nodes(hardware: Hardware, console: str) -> str:
    """How the guest's nodes, as its console told them, are not the case's; '' if they are."""
    found = {int(m[1]): (m[2], int(m[3]) << 10) for m in _NODE.finditer(console)}
    for nid, node in enumerate(hardware.nodes):
        if not node.cpus and not node.memory:
            continue
        cpus, memory = found.get(nid, ("", 0))
        if tuple(numbers(cpus)) != node.cpus or abs(memory - node.memory) > KERNEL_SHARE:
            return f"node {nid} has CPUs {cpus!r} and {memory >> 20} MiB, the case's {node}"
    return ""


def key(hardware: Hardware, *more: object) -> str:
    """What cases that may run in one boot have in common."""
    return json.dumps([hardware, *more])


def memory_list(nids: Iterable[int]) -> str:
    """Numbers, separated by commas."""
    return ",".join(map(str, nids))
