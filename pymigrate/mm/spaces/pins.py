"""Pages that someone holds."""

from __future__ import annotations

from pymigrate.mm.base.memmap import Frame, nid_of
from pymigrate.mm.frames.frames import folio_of, frame_of, update_folio, update_frames
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Pin, Task
from pymigrate.mm.state.vma import Vma


def unpin_all(machine: Machine, task: Task) -> None:
    """Drop all that *task*'s process holds, as closing its files does."""
    for pin in [pin for pin in machine.pins if pin.pid == task.tgid]:
        drop_pin(machine, pin)


def drop_pin(machine: Machine, pin: Pin) -> None:
    """Give back the references of *pin*."""
    machine.pins.remove(pin)
    change_references(machine, pin, -1)


def is_secretmem(machine: Machine, vma: Vma) -> bool:
    """Whether the kernel cannot get at the pages of *vma*. Mirrors vma_is_secretmem()."""
    return bool(vma.space) and machine.spaces[vma.space].fs == "secretmem"


def change_references(machine: Machine, pin: Pin, by: int) -> None:
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
