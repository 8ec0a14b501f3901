"""/sys/devices/system/node: the nodes, with their CPUs, distances, memory and events."""

from pymigrate.mm.frames.memory_tiers import memory_tiers
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Node
from pymigrate.nodemask import Nodemask
from pymigrate.views.entries import Dir, Entries, Entry, File, Link, dir_of, file_of
from pymigrate.views.proc import meminfo, vmstat
from pymigrate.views.proc.masks import cpumap
from pymigrate.views.sysfs.memory_blocks import memory_links
from pymigrate.views.sysfs.mm import DEMOTION

_NUMASTAT = {
    "numa_hit": "numa_hit",
    "numa_miss": "numa_miss",
    "numa_foreign": "numa_foreign",
    "interleave_hit": "numa_interleave",
    "local_node": "numa_local",
    "other_node": "numa_other",
}


def node_dir(machine: Machine) -> Dir:
    """The directory; every node is online."""
    online = Nodemask.collect(machine.nodes)
    with_cpus = Nodemask.collect(nid for nid, node in machine.nodes.items() if node.cpus)
    entries: Entries = {
        "possible": file_of(machine.possible_nodes),
        "online": file_of(online),
        "has_normal_memory": file_of(machine.normal_nodes),
        "has_memory": file_of(machine.memory_nodes),
        "has_cpu": file_of(with_cpus),
        "has_generic_initiator": file_of(""),
    }
    for nid, node in machine.nodes.items():
        entries[f"node{nid}"] = _dir_of_node(machine, node)
    return dir_of(entries)


def numastat(node: Node) -> dict[str, int]:
    """The allocator's events by their names in nodeN/numastat. Mirrors node_read_numastat()."""
    return {name: node.numa[event] for name, event in _NUMASTAT.items()}


def distance(machine: Machine, nid: int) -> str:
    """The distances of node *nid*; only before node 0 there is no blank.

    Mirrors node_read_distance().
    """
    to = machine.distances[nid]
    return "".join(f"{' ' if other else ''}{to[other]}" for other in sorted(machine.nodes)) + "\n"


def memory_tiering_dir(machine: Machine) -> Dir:
    """/sys/devices/virtual/memory_tiering: the nodes of each tier, the lower the faster."""
    tiers: Entries = {
        tier.name: dir_of({"nodelist": file_of(tier.nodes)}) for tier in memory_tiers(machine).tiers
    }
    return dir_of(tiers)


def initiators(machine: Machine, nid: int) -> list[int]:
    """The nodes whose CPUs reach node *nid*'s memory as fast as the HMAT says: the nearest."""
    if machine.nodes[nid].perf is None:
        return []
    far = {other: machine.distances[other][nid] for other, n in machine.nodes.items() if n.cpus}
    return sorted(other for other in far if far[other] == min(far.values()))


def _dir_of_node(machine: Machine, node: Node) -> Dir:
    nid = node.nid
    pool = node.hugetlb
    huge = {
        "nr_hugepages": file_of(pool.nr),
        "free_hugepages": File(lambda: f"{pool.nr_free}\n"),
        "surplus_hugepages": file_of(pool.surplus),
    }
    gigantic = dir_of({**dict.fromkeys(huge, file_of(0)), **DEMOTION})
    access: Entries = {}
    if _access(machine, node):
        # The best of all initiators is the best of the CPUs: there are no others.
        access = dict.fromkeys(("access0", "access1"), Dir(lambda: _access(machine, node)))
    entries: Entries = {
        "cpulist": file_of(node.cpus),
        "cpumap": file_of(cpumap(machine, node.cpus)),
        "distance": File(lambda: distance(machine, nid)),
        "meminfo": File(lambda: meminfo.format_node(nid, meminfo.node_meminfo(machine, nid))),
        "numastat": File(lambda: vmstat.format_rows(numastat(node))),
        "vmstat": File(lambda: vmstat.format_rows(vmstat.node_rows(machine, node))),
        "hugepages": dir_of(
            {"hugepages-2048kB": dir_of({**huge}), "hugepages-1048576kB": gigantic}
        ),
        "compact": File(None),
        "memory_failure": dir_of({k: file_of(v) for k, v in node.failures._asdict().items()}),
        "subsystem": Link("../../../../bus/node"),
    }
    links: dict[str, Entry] = {f"cpu{cpu}": Link(f"../../cpu/cpu{cpu}") for cpu in node.cpus}
    return Dir(lambda: entries | links | access | memory_links(machine, nid))


def _access(machine: Machine, node: Node) -> Entries:
    """Who reaches the node's memory fastest, and what is reached fastest from it."""
    best = initiators(machine, node.nid)
    targets = [nid for nid in machine.nodes if node.nid in initiators(machine, nid)]
    found: Entries = {}
    if best and node.perf is not None:
        links: Entries = {f"node{nid}": Link(f"../../../node{nid}") for nid in best}
        times = {name: file_of(value) for name, value in node.perf._asdict().items()}
        found["initiators"] = dir_of({**links, **times})  # in ns and MiB/s
    if targets:
        found["targets"] = dir_of({f"node{nid}": Link(f"../../../node{nid}") for nid in targets})
    return found
