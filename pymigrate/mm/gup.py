"""Pages that someone holds besides page tables: pins, and plain references. Mirrors mm/gup.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.errors import KernelError
from pymigrate.mm.frames import folio_of, frame_of, update_folio, update_frames
from pymigrate.mm.machine import Pin
from pymigrate.mm.memmap import nid_of
from pymigrate.mm.memory import Access, Fault, access
from pymigrate.mm.vma import Vm

if TYPE_CHECKING:
    from pymigrate.mm.machine import Machine, Task
    from pymigrate.mm.memmap import Frame
    from pymigrate.mm.vma import Vma


def pin_pages(machine: Machine, task: Task, a: int, b: int, is_long: bool) -> None:
    """Take a pin (or a plain reference) on each of pages [a, b).

    Long ones fault pages in for writing, as io_uring's registered buffers do, and all must be
    had; short ones fault in for reading, as vmsplice() does, as many as can be had.

    Raises KernelError EFAULT. Mirrors pin_user_pages() and get_user_pages().
    """
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
    _change(machine, pin, 1)


def unpin_pages(machine: Machine, task: Task, a: int, b: int, is_long: bool) -> None:
    """Drop what pin_pages() took for the same range.

    Raises KernelError EINVAL if there is no such pin.
    """
    for pin in reversed(machine.pins):
        if pin[:4] == (task.pid, a, b - a, is_long):
            machine.pins.remove(pin)
            _change(machine, pin, -1)
            return
    raise KernelError("EINVAL", "no pin of this range is held")


def unpin_all(machine: Machine, task: Task) -> None:
    """Drop all that *task* holds, as closing its files does."""
    for pin in [pin for pin in machine.pins if pin.pid == task.pid]:
        machine.pins.remove(pin)
        _change(machine, pin, -1)


def is_secretmem(machine: Machine, vma: Vma) -> bool:
    """Whether the kernel cannot get at the pages of *vma*. Mirrors vma_is_secretmem()."""
    return bool(vma.space) and machine.spaces[vma.space].fs == "secretmem"


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


def _change(machine: Machine, pin: Pin, by: int) -> None:
    """Take or drop the references of *pin*; what nobody holds any more is freed."""

    def change(frame: Frame) -> Frame | None:
        if pin.is_long:
            frame = frame._replace(pins=frame.pins + by)
        else:
            frame = frame._replace(extra_refs=frame.extra_refs + by)
        if frame.mapcount or frame.is_held or frame.order:
            return frame
        has_owner = not frame.is_anon and frame.owner in machine.spaces
        return frame if has_owner else None

    for pfn in pin.pfns:  # one by one: a page may be held more than once
        is_large = frame_of(machine, pfn).order > 0
        update_frames(machine, [(pfn, 1)], change)
        if is_large and by < 0:
            folio = folio_of(machine, pfn)
            is_ownerless = folio.is_anon or folio.frame.owner not in machine.spaces
            if is_ownerless and not folio.mapcount and not folio.is_held:
                update_folio(machine, pfn, lambda _: None)
    name = "nr_foll_pin_acquired" if by > 0 else "nr_foll_pin_released"
    for pfn in pin.pfns if pin.is_long else ():
        machine.nodes[nid_of(pfn)].numa.add(name)
