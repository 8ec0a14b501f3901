"""What numactl --hardware and numactl --show print."""

from __future__ import annotations

from pymigrate.nodemask import Bitmap, Cpumask
from pymigrate.tools.program import Policy
from pymigrate.tools.system import System
from pymigrate.uapi import INTERLEAVING, MPOL

_KILOBYTE, _MEGABYTE_SHIFT = 1024, 20


def printmask(name: str, mask: Bitmap) -> str:
    """A line of the members of *mask*, each with a blank behind it. Mirrors printmask(), util.c.

    >>> from pymigrate.nodemask import Nodemask
    >>> printmask("membind", Nodemask.of(0, 3))
    'membind: 0 3 \\n'
    """
    return f"{name}: " + "".join(f"{member} " for member in mask) + "\n"


def hardware(system: System, compress: bool) -> str:
    """The nodes with their CPUs and memory, and the distances between them.

    With *compress*, CPUs are shown as ranges, with their number. Mirrors hardware(), numactl.c.
    """
    nodes = system.libnuma.nodes
    text = f"available: {len(nodes)} nodes ({nodes})\n"
    for nid in nodes:
        cpus = system.machine.nodes[nid].cpus
        shown = _ranges(cpus) if compress else "".join(f" {cpu}" for cpu in cpus)
        meminfo = system.node_meminfo(nid)
        size, free = (meminfo[name] * _KILOBYTE >> _MEGABYTE_SHIFT for name in _SIZES)
        text += f"node {nid} cpus:{shown}\nnode {nid} size: {size} MB\nnode {nid} free: {free} MB\n"
    return text + _distances(system)


def show(system: System) -> str:
    """The policy of the process, and what it may use. Mirrors show(), numactl.c."""
    libnuma = system.libnuma
    affinity, nodes = system.task.cpus, system.machine.nodes
    policy = system.get_mempolicy()
    near = [nid for nid in libnuma.allowed if nodes[nid].cpus & affinity]
    nodebind = type(libnuma.allowed).collect(near)
    return (
        f"policy: {policy.name}\npreferred node: {_preferred_node(system, policy)}"
        f"{_interleaving(system, policy)}{printmask('physcpubind', affinity)}"
        f"{printmask('cpubind', nodebind)}{printmask('nodebind', nodebind)}"
        f"{printmask('membind', policy.nodes if policy.mode == MPOL.BIND else libnuma.allowed)}"
        f"{printmask('preferred', policy.nodes)}"
    )


_SIZES = ("MemTotal", "MemFree")


def _preferred_node(system: System, policy: Policy) -> str:
    """What stands after ``preferred node:``; of some modes nothing, and no newline."""
    if policy.mode == MPOL.DEFAULT:
        return "current\n"
    if policy.mode in (MPOL.PREFERRED, MPOL.BIND):
        return f"{policy.nodes.first if policy.nodes else 0}\n"
    if policy.mode == MPOL.PREFERRED_MANY:
        return f"{system.interleave_next()} (preferred-many)\n"
    if policy.mode in INTERLEAVING:
        return f"{system.interleave_next()} (interleave next)\n"
    return ""


def _interleaving(system: System, policy: Policy) -> str:
    if policy.mode not in INTERLEAVING:
        return ""
    text = printmask("interleavemask", policy.nodes)
    if policy.mode == MPOL.WEIGHTED_INTERLEAVE:
        weights = " ".join(str(system.machine.weights.get(nid, 1)) for nid in policy.nodes)
        text += f"interleaveweights: {weights}\n"
    return f"{text}interleavenode: {system.interleave_next()}\n"


def _ranges(cpus: Cpumask) -> str:
    ranges = f" {cpus}".replace(",", ", ") if cpus else ""
    return f"{ranges} ({len(cpus)})"


def _distances(system: System) -> str:
    nodes = list(system.libnuma.nodes)
    text = "node distances:\nnode  " + "".join(f"{nid:4} " for nid in nodes) + "\n"
    for nid in nodes:
        row = "".join(f"{system.machine.distances[nid][other]:4} " for other in nodes)
        text += f"{nid:4}: {row}\n"
    return text
