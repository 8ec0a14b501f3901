"""Pages that someone holds besides page tables: pins, and plain references. Mirrors mm/gup.c."""

from __future__ import annotations

from collections.abc import Sequence

from pymigrate.errors import KernelError
from pymigrate.mm.engine.folio_list import Slice, folio_at
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.faults.anon_fault import Access
from pymigrate.mm.faults.memory import access
from pymigrate.mm.frames.free_area import is_longterm_pinnable
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.frames.placement import OWN_NODE
from pymigrate.mm.reclaim.room import FOR_THE_KERNEL
from pymigrate.mm.spaces.anon_pages import Fault
from pymigrate.mm.spaces.pins import change_references, drop_pin, is_secretmem
from pymigrate.mm.state.events import MigrateReason
from pymigrate.mm.state.machine import Machine, telling
from pymigrate.mm.state.task import Pin, Task
from pymigrate.mm.state.vma import Vm


def pin_pages(machine: Machine, task: Task, a: int, b: int, is_long: bool) -> None:
    """Take a pin (or a plain reference) on each of pages [a, b).

    Long ones fault pages in for writing, as io_uring's registered buffers do, and all must be
    had; short ones fault in for reading, as vmsplice() does, as many as can be had.

    Long ones must not keep ZONE_MOVABLE or CMA from being emptied: pages there migrate first.

    Raises KernelError EFAULT; ENOMEM for pages that must migrate and cannot. Mirrors
    pin_user_pages(), get_user_pages() and __gup_longterm_locked().
    """
    if not is_long:
        _pin(machine, task, a, b, is_long)
        return
    with telling(machine, machine.scope._replace(memalloc_pin=True)):
        while unpinnable := _unpinnable(machine, pin := _pin(machine, task, a, b, is_long)):
            drop_pin(machine, pin)
            migrate_longterm_unpinnable_folios(machine, task, unpinnable)


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


def _unpinnable(machine: Machine, pin: Pin) -> list[int]:
    """The pages of *pin* that may not be held for long."""
    return [
        pin.start + i for i, pfn in enumerate(pin.pfns) if not is_longterm_pinnable(machine, pfn)
    ]


def _pin(machine: Machine, task: Task, a: int, b: int, is_long: bool) -> Pin:
    end = _accessible_end(machine, task, a, b, is_long)
    if end < b and (is_long or end == a):
        raise KernelError("EFAULT", f"page {end:#x} cannot be had")
    pfns = tuple(
        run.pfn(page)
        for page in range(a, end)
        if (run := task.mm.page_table.at(page)) is not None and run.lanes
    )
    pin = Pin(task.pid, a, b - a, is_long, pfns)
    machine.pins.append(pin)
    change_references(machine, pin, 1)
    return pin


def unpin_pages(machine: Machine, task: Task, a: int, b: int, is_long: bool) -> None:
    """Drop what pin_pages() took for the same range.

    Raises KernelError EINVAL if there is no such pin.
    """
    for pin in reversed(machine.pins):
        if pin[:4] == (task.pid, a, b - a, is_long):
            drop_pin(machine, pin)
            return
    raise KernelError("EINVAL", "no pin of this range is held")


def _accessible_end(machine: Machine, task: Task, a: int, b: int, is_long: bool) -> int:
    """Fault in pages from *a* on; return the first one that cannot be had."""
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
            access(machine, task, start, end, write=is_long, how=Access.PIN)
        except Fault as fault:
            return fault.page
        at = end
    return at
