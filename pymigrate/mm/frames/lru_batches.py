"""Pages on their way to the LRU lists: each CPU's batch. Mirrors mm/swap.c."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from pymigrate.mm.base.memmap import Folio, FrameFlag, FrameRun, nid_of
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.frames.lru_gen import added, is_aged
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import LruBatch

# What is counted when a batch is emptied.
_COUNTED = {
    "mlocked": "unevictable_pgs_culled",
    "deactivated": "pgdeactivate",
    "lazyfreed": "pglazyfree",
}
# Folios come to their list anew, without these flags.
_CHANGED = {"deactivated": 0, "lazyfreed": FrameFlag.SWAPBACKED}


def folio_add_lru(
    machine: Machine, cpu: int, nr: int, last: Sequence[int], is_mlocked: bool = False
) -> None:
    """Let *nr* frames that *cpu* has faulted in wait for their LRU list.

    *last* names the last of them (at least 30, if there are so many), in the order of the faults.
    """
    if is_mlocked:
        machine.counters.add("unevictable_pgs_mlocked", nr)
    _add(machine, cpu, "mlocked" if is_mlocked else "waiting", nr, last)


def folio_deactivate(machine: Machine, cpu: int, folio: Folio) -> None:
    """Let *folio* wait on *cpu* until it is no longer active.

    Where there are no generations, pages that were faulted in never are.
    """
    if machine.release.lru_gen and not _waits(machine, folio.pfn):
        _add_folio(machine, cpu, "deactivated", folio)


def folio_mark_lazyfree(machine: Machine, cpu: int, folio: Folio) -> None:
    """Let *folio* wait on *cpu* until it is lazily freed, unless it is already."""
    flags = folio.flags & (FrameFlag.SWAPBACKED | FrameFlag.SWAPCACHE)
    if flags == FrameFlag.SWAPBACKED and not _waits(machine, folio.pfn):
        _add_folio(machine, cpu, "lazyfreed", folio)


def lru_add_drain(machine: Machine, cpu: int) -> None:
    """Put what waits on *cpu* on its lists."""
    batch = machine.lru_batches.pop(cpu, None)
    if batch:
        _add_to_lists(machine, batch.waiting)
        for name in _COUNTED:
            _empty(machine, batch, name)


def lru_add_drain_all(machine: Machine) -> None:
    """Put what waits on any CPU on its lists."""
    for cpu in list(machine.lru_batches):
        lru_add_drain(machine, cpu)


def _add(machine: Machine, cpu: int, name: str, nr: int, last: Sequence[int]) -> None:
    """Let *nr* base pages wait in a batch; *last* names the last of them."""
    queue = getattr(machine.lru_batches.setdefault(cpu, LruBatch()), name)
    emptied, left = divmod(len(queue) + nr, machine.release.pagevec_size)
    if emptied and name == "waiting":
        _add_to_lists(machine, queue)
    if emptied and name in _COUNTED:
        machine.counters.add(_COUNTED[name], emptied * machine.release.pagevec_size)
    queue[:] = [*queue, *last][-left:] if left else []


def _add_to_lists(machine: Machine, pfns: Sequence[int]) -> None:
    """Let those of *pfns* that waited while memory was aged be as if they were faulted in now."""
    if not pfns or not is_aged(machine):
        return
    for pfn in pfns:
        memmap = machine.memmap_of(pfn)
        run = memmap.at(pfn)
        assert run is not None
        end = pfn + (1 << run.frame.order)
        pieces = [
            piece._replace(frame=added(machine, nid_of(pfn), piece.frame))
            for piece in memmap.between(pfn, end)
        ]
        memmap.put(pfn, end, *pieces)


def _add_folio(machine: Machine, cpu: int, name: str, folio: Folio) -> None:
    """Let *folio* wait in a batch, which is emptied if it is full then, or the folio is large."""
    batch = machine.lru_batches.setdefault(cpu, LruBatch())
    queue = getattr(batch, name)
    queue.append(folio.pfn)
    if folio.order or len(queue) == machine.release.pagevec_size:
        _empty(machine, batch, name)


def _empty(machine: Machine, batch: LruBatch, name: str) -> None:
    """Count what waits in a batch, and let it wait no more. Mirrors folio_batch_move_lru()."""
    queue = getattr(batch, name)
    for pfn in queue:
        memmap = machine.memmap_of(pfn)
        run = memmap.at(pfn)
        assert run is not None
        end = pfn + (1 << run.frame.order)
        machine.counters.add(_COUNTED[name], end - pfn)
        if name in _CHANGED:
            memmap.put(
                pfn, end, *(_deactivated(machine, run, name) for run in memmap.between(pfn, end))
            )
    queue.clear()


def _deactivated(machine: Machine, run: FrameRun, name: str) -> FrameRun:
    """*run* as it comes back to its list, no longer active."""
    frame = run.frame.without_flags(_CHANGED[name])
    return run._replace(frame=added(machine, nid_of(run.start), frame, is_active=False))


def in_batches(machine: Machine) -> set[int]:
    """The frames that some CPU's batch holds a reference to."""
    return {pfn for queue in _queues(machine) for pfn in queue}


def _waits(machine: Machine, pfn: int) -> bool:
    return any(pfn in queue for queue in _queues(machine))


def _queues(machine: Machine) -> Iterator[list[int]]:
    for batch in machine.lru_batches.values():
        yield from (batch.waiting, batch.mlocked, batch.deactivated, batch.lazyfreed)


def waiting_pfns(machine: Machine) -> set[int]:
    """The frames that wait as ordinary (not mlocked) ones on some CPU."""
    return {pfn for batch in machine.lru_batches.values() for pfn in batch.waiting}


def off_list(machine: Machine) -> set[int]:
    """The frames of evictable memory that wait on some CPU, on no list."""
    batches = machine.lru_batches.values()
    return {
        pfn for b in batches for queue in (b.waiting, b.deactivated, b.lazyfreed) for pfn in queue
    }


def mlocked_pfns(machine: Machine) -> set[int]:
    """The mlocked frames that wait on some CPU."""
    return {pfn for batch in machine.lru_batches.values() for pfn in batch.mlocked}


def forget(machine: Machine, freed: Sequence[Extent]) -> None:
    """Take frames that are freed (*freed* is sorted) out of the batches, and off all work."""
    starts = [extent.start for extent in freed]
    if machine.busy:
        for pfn in [pfn for pfn in machine.busy if _is_in(starts, freed, pfn)]:
            del machine.busy[pfn]

    for queue in _queues(machine):
        if queue:
            queue[:] = [pfn for pfn in queue if not _is_in(starts, freed, pfn)]


def _is_in(starts: Sequence[int], extents: Sequence[Extent], pfn: int) -> bool:
    i = bisect_right(starts, pfn) - 1
    return i >= 0 and pfn < starts[i] + extents[i].nr
