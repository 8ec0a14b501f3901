"""What a folio in slow memory remembers."""

from __future__ import annotations

from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.frames.frames import extents_of, update_frames
from pymigrate.mm.frames.memory_tiers import node_is_toptier
from pymigrate.mm.state.machine import Machine

NORMAL, TIERING = 1, 2  # the bits of kernel.numa_balancing
CANDIDATE = "pgpromote_candidate"  # kept for each node
TIME_MASK = (1 << 21) - 1  # 8 bits of a pid and 13 of a CPU's number: a kernel for 8192 CPUs


def uses_access_time(machine: Machine, nid: int) -> bool:
    """Whether folios on node *nid* remember a time. Mirrors folio_use_access_time()."""
    return bool(machine.numa_balancing & TIERING) and not node_is_toptier(machine, nid)


def access_time(machine: Machine) -> int:
    """The present time as a folio remembers it."""
    return machine.now & TIME_MASK


def reset_memory_tiering(machine: Machine) -> None:
    """Begin anew, for tiering is switched on. Mirrors reset_memory_tiering()."""
    for node in machine.nodes.values():
        node.promotion = node.promotion._replace(
            threshold=0, threshold_start=machine.now, threshold_candidates=node.numa[CANDIDATE]
        )


def forget_cpupids(machine: Machine, old: PteRun, new: PteRun) -> None:
    """Let folios that have moved between fast and slow memory begin anew.

    Mirrors folio_migrate_flags().
    """
    if not machine.numa_balancing & TIERING:
        return
    before, after = (
        {nid in machine.nodes and node_is_toptier(machine, nid) for nid in map(nid_of, run.lanes)}
        for run in (old, new)
    )
    if before != after:
        update_frames(machine, extents_of(new), lambda frame: frame._replace(cpupid=-1))
