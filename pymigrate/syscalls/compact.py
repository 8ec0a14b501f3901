"""Compaction on request: vm.compact_memory, and /sys/devices/system/node/nodeN/compact."""

from pymigrate.errors import KernelError
from pymigrate.mm.compact.compaction import ZoneRun, compact_memory, compact_node
from pymigrate.mm.compact.kcompactd import wakeup_kcompactd
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Node
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.checks import check_root, system_call


@system_call
def compact(
    machine: Machine, caller: Task, nid: int | None = None, order: int | None = None
) -> list[ZoneRun]:
    """Compact node *nid*, or all nodes: whole zones, or until a block of *order* is free.

    Returns the outcome for each zone. With an *order* it is kcompactd that works, as if an
    allocation had woken it.

    Raises KernelError EACCES for others than root, ENOENT for an unknown node.
    """
    check_root(caller, "only root may compact memory")
    nodes = _nodes(machine, nid)
    if order is not None:
        return [run for node in nodes for run in wakeup_kcompactd(machine, node, order, node.zones)]
    if nid is None:
        return compact_memory(machine)
    lru_add_drain_all(machine)
    return compact_node(machine, nodes[0])


def _nodes(machine: Machine, nid: int | None) -> list[Node]:
    if nid is None:
        return [node for _, node in sorted(machine.nodes.items()) if node.zones]
    if nid not in machine.nodes:
        known = ", ".join(map(str, sorted(machine.nodes)))
        raise KernelError("ENOENT", f"there is no node {nid}; expected one of {known}")
    return [machine.nodes[nid]]
