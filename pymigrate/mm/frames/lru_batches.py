"""Pages on their way to the LRU lists: each CPU's batch. Mirrors mm/swap.c."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from pymigrate.mm.base.runs import Extent
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import LruBatch

PAGEVEC_SIZE = 31  # folios: a batch that holds so many is emptied


def folio_add_lru(
    machine: Machine, cpu: int, nr: int, last: Sequence[int], is_mlocked: bool = False
) -> None:
    """Let *nr* frames that *cpu* has faulted in wait for their LRU list.

    *last* names the last of them (at least 30, if there are so many), in the order of the faults.
    """
    batch = machine.lru_batches.setdefault(cpu, LruBatch())
    queue = batch.mlocked if is_mlocked else batch.waiting
    left = (len(queue) + nr) % PAGEVEC_SIZE
    queue[:] = [*queue, *last][-left:] if left else []


def lru_add_drain(machine: Machine, cpu: int) -> None:
    """Put what waits on *cpu* on its lists."""
    machine.lru_batches.pop(cpu, None)


def lru_add_drain_all(machine: Machine) -> None:
    """Put what waits on any CPU on its lists."""
    machine.lru_batches.clear()


def waiting_pfns(machine: Machine) -> set[int]:
    """The frames that wait as ordinary (not mlocked) ones on some CPU."""
    return {pfn for batch in machine.lru_batches.values() for pfn in batch.waiting}


def mlocked_pfns(machine: Machine) -> set[int]:
    """The mlocked frames that wait on some CPU."""
    return {pfn for batch in machine.lru_batches.values() for pfn in batch.mlocked}


def forget(machine: Machine, freed: Sequence[Extent]) -> None:
    """Take frames that are freed (*freed* is sorted) out of the batches, and off all work."""
    starts = [extent.start for extent in freed]
    if machine.busy:
        for pfn in [pfn for pfn in machine.busy if _is_in(starts, freed, pfn)]:
            del machine.busy[pfn]

    for batch in machine.lru_batches.values():
        for queue in (batch.waiting, batch.mlocked):
            if queue:
                queue[:] = [pfn for pfn in queue if not _is_in(starts, freed, pfn)]


def _is_in(starts: Sequence[int], extents: Sequence[Extent], pfn: int) -> bool:
    i = bisect_right(starts, pfn) - 1
    return i >= 0 and pfn < starts[i] + extents[i].nr
