"""Pages that someone holds besides page tables: pins, and plain references. Mirrors mm/gup.c."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pymigrate.errors import KernelError
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.engine.folio_list import Slice, folio_at
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.faults.anon_fault import Access
from pymigrate.mm.faults.memory import access
from pymigrate.mm.frames.free_area import unpinnable_ranges
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.frames.placement import OWN_NODE
from pymigrate.mm.reclaim.room import FOR_THE_KERNEL
from pymigrate.mm.spaces.anon_pages import ENOMEM, Fault
from pymigrate.mm.spaces.pins import change_references, drop_pin, is_secretmem
from pymigrate.mm.state.events import MigrateReason
from pymigrate.mm.state.machine import Machine, telling
from pymigrate.mm.state.task import Pin, Task
from pymigrate.mm.state.vma import Vm

_NOTICED = Pte.HINT | Pte.DEVICE  # entries through which no access goes unnoticed


def pin_pages(machine: Machine, task: Task, a: int, b: int, is_long: bool) -> None:
    """Take a pin (or a plain reference) on each of pages [a, b).

    Long ones fault pages in for writing, as io_uring's registered buffers do, and all must be
    had; short ones fault in for reading, as vmsplice() does, as many as can be had.

    Long ones must not keep ZONE_MOVABLE or CMA from being emptied: pages there migrate first, also
    those before one that cannot be had.

    Raises KernelError EFAULT; ENOMEM for pages that must migrate and cannot. Mirrors
    pin_user_pages(), get_user_pages() and __gup_longterm_locked().
    """
    if not is_long:
        end, error = _faulted_in(machine, task, a, b, b, is_long)
        if end == a < b:
            raise error
        _pin(machine, task, a, b, end, is_long)
        return
    slow = _first_slow(machine, task, a, b)
    with telling(machine, machine.scope._replace(memalloc_pin=True)):
        while True:
            end, error = _faulted_in(machine, task, a, b, slow, is_long)
            pin = _pin(machine, task, a, b, end, is_long)
            unpinnable = [*_unpinnable(machine, pin.runs)]
            if unpinnable or end < b:
                drop_pin(machine, pin)
            if unpinnable:
                migrate_longterm_unpinnable_folios(machine, task, unpinnable)
            elif end < b:
                raise error if end == a else _absent(end)
            else:
                return


def migrate_longterm_unpinnable_folios(machine: Machine, task: Task, pages: Sequence[int]) -> None:
    """Move what *task* maps at *pages* to memory of the same node that may be held for long.

    Raises KernelError ENOMEM if a page stays. Mirrors migrate_longterm_unpinnable_folios().
    """
    lru_add_drain_all(machine)
    queue: list[Slice] = []
    seen: set[int] = set()
    for page in pages:
        part = folio_at(machine, task.mm, page)
        if part.run.lanes[0] not in seen:
            seen.add(part.run.lanes[0])
            queue.append(part)
    result = migrate_pages(
        machine, task, queue, OWN_NODE, MigrateReason.LONGTERM_PIN, room=FOR_THE_KERNEL
    )
    if result.is_enomem or result.stayed:
        raise KernelError("ENOMEM", "pages in ZONE_MOVABLE or CMA cannot be moved out of it")


def _unpinnable(machine: Machine, runs: Iterable[PteRun]) -> Iterator[int]:
    """The pages of *runs* that may not be held for long."""
    ranges = unpinnable_ranges(machine)
    for run in runs if ranges else ():
        extents = run.extents()
        if any(start < b and a < start + nr for start, nr in extents for a, b in ranges):
            for page in range(run.start, run.end):
                pfn = run.pfn(page)
                if any(a <= pfn < b for a, b in ranges):
                    yield page


def _first_slow(machine: Machine, task: Task, a: int, b: int) -> int:
    """The first of pages [a, b) that cannot be pinned for long as it is. Mirrors gup_fast()."""
    for low, _, run in task.mm.page_table.spans(a, b):
        if run is None or not run.lanes or not run.flags & Pte.WRITE or run.flags & _NOTICED:
            return low
        page = next(_unpinnable(machine, (run,)), None)
        if page is not None:
            return page
    return b


def _absent(page: int) -> KernelError:
    return KernelError("EFAULT", f"page {page:#x} cannot be had")


def _pin(machine: Machine, task: Task, a: int, b: int, end: int, is_long: bool) -> Pin:
    """Hold pages [a, end), as those that can be had of [a, b)."""
    there = (run for run in task.mm.page_table.between(a, end) if run.lanes)
    held = tuple(piece for run in there for piece in _pages_of(run, a, end))
    pin = Pin(task.tgid, a, b - a, is_long, held)
    machine.pins.append(pin)
    change_references(machine, pin, 1)
    return pin


def _pages_of(run: PteRun, a: int, b: int) -> Iterator[PteRun]:
    """Those of pages [a, b) that *run* has; of a huge entry a part is as base pages."""
    a, b = max(a, run.start), min(b, run.end)
    low, high = run.cuts(a)[1], run.cuts(b)[0]
    if low > high:
        low = high = b  # all inside an entry
    if a < low:
        yield PteRun(a, low - a, (run.pfn(a),))
    if low < high:
        yield run.clip(low, high).with_flags(Pte.PRESENT)
    if high < b:
        yield PteRun(high, b - high, (run.pfn(high),))


def unpin_pages(machine: Machine, task: Task, a: int, b: int, is_long: bool) -> None:
    """Drop what pin_pages() took for the same range.

    Raises KernelError EINVAL if there is no such pin.
    """
    for pin in reversed(machine.pins):
        if pin[:4] == (task.tgid, a, b - a, is_long):
            drop_pin(machine, pin)
            return
    raise KernelError("EINVAL", "no pin of this range is held")


def _faulted_in(
    machine: Machine, task: Task, a: int, b: int, slow: int, is_long: bool
) -> tuple[int, KernelError]:
    """Fault in pages from *a* on; return the first one that cannot be had, and why it cannot.

    Pages from *slow* on notice that they are pinned.
    """
    at = a
    for vma, start, end in list(task.mm.parts(a, b)):
        if start > at or not vma.flags & (Vm.WRITE if is_long else Vm.READ):
            break
        if is_secretmem(machine, vma):
            break
        if is_long and vma.is_shared and machine.spaces[vma.space].is_disk:
            # A disk file's stores must be noticed, so it cannot be written behind its back:
            # writable_file_mapping_allowed().
            break
        try:
            if start < slow:
                access(machine, task, start, min(end, slow), write=is_long, how=Access.PIN)
            if end > slow:
                access(machine, task, max(start, slow), end, write=is_long, how=Access.PIN_SLOW)
        except Fault as fault:
            if fault.signal == ENOMEM:
                why = "memory that may be pinned for long is on none of its nodes"
                return fault.page, KernelError("ENOMEM", why)
            return fault.page, _absent(fault.page)
        at = end
    return at, _absent(at)
