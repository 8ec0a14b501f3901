"""What others use of each node: the kernel, processes that are not captured, and page cache."""

from __future__ import annotations

import re

from pymigrate.capture.host import Host, HostNode
from pymigrate.capture.tree import Tree
from pymigrate.mm.state.machine import Machine
from pymigrate.records import NamedTuple
from pymigrate.units import PAGE_SIZE, format_size
from pymigrate.views.proc.meminfo import node_meminfo

_LINE = re.compile(r"Node \d+ (\w+):\s+(\d+) kB")
_PAGE_KB = PAGE_SIZE >> 10


class Occupied(NamedTuple):
    """Bytes of a node that no captured process uses."""

    kernel: int
    cache: int


def occupied(tree: Tree, host: Host, machine: Machine) -> dict[int, Occupied]:
    """What lies on each node of *tree* besides the memory of the processes of *machine*.

    That is *host*, as it was captured so far.

    Page cache counts as `cache` as far as it can give way: what is dirty, under writeback, in
    memory only (tmpfs) or mapped by nobody who was captured stays. All else that is used is
    `kernel`, memory that never moves. Of nodes whose meminfo does not say what is free that is what
    the pools of other huge pages have.
    """
    found = {nid: _of_node(tree, host.nodes[nid], machine, nid) for nid in machine.nodes}
    return {nid: occupied for nid, occupied in found.items() if any(occupied)}


def as_data(occupied: Occupied) -> dict[str, object]:
    """How a node of a scenario says it."""
    return {key: format_size(size) for key, size in occupied._asdict().items() if size}


def _of_node(tree: Tree, node: HostNode, machine: Machine, nid: int) -> Occupied:
    text = tree.text(f"sys/devices/system/node/node{nid}/meminfo")
    real = {name: int(kb) for name, kb in _LINE.findall(text)}
    if "MemFree" not in real:
        return Occupied(node.others, 0)
    simulated = node_meminfo(machine, nid)
    others = simulated["MemFree"] - real["MemFree"]
    cache = _can_give_way(real) - _can_give_way(simulated)
    cache = max(min(cache, others), 0) // _PAGE_KB * _PAGE_KB
    return Occupied((max(others, 0) - cache) // _PAGE_KB * PAGE_SIZE, cache << 10)


def _can_give_way(meminfo: dict[str, int]) -> int:
    """kB of clean page cache of files on disks."""
    stays = ("Shmem", "SwapCached", "Dirty", "Writeback")
    return meminfo.get("FilePages", 0) - sum(meminfo.get(name, 0) for name in stays)
