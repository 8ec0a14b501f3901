"""Pages that someone holds."""

from __future__ import annotations

from heapq import heappop, heappush

from pymigrate.mm.base.memmap import Frame, nid_of
from pymigrate.mm.base.runs import Extent, coalesce
from pymigrate.mm.frames.frames import folio_of, frame_runs, update_frames
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

    for extents in _layers(pin.extents()):
        update_frames(machine, extents, change)
        if by < 0:
            _free_large(machine, extents)
    name = "nr_foll_pin_acquired" if by > 0 else "nr_foll_pin_released"
    for start, nr in pin.extents() if pin.is_long else ():
        machine.nodes[nid_of(start)].numa.add(name, nr)


def _layers(extents: list[Extent]) -> list[list[Extent]]:
    """*extents* in lists without overlap: a frame is in as many as name it."""
    layers: list[list[Extent]] = []
    ends: list[tuple[int, int]] = []  # of each layer, the lowest first
    for extent in sorted(extents):
        if ends and ends[0][0] <= extent.start:
            _, i = heappop(ends)
            layers[i].append(extent)
        else:
            i = len(layers)
            layers.append([extent])
        heappush(ends, (extent.start + extent.nr, i))
    return layers


def _free_large(machine: Machine, extents: list[Extent]) -> None:
    """Free those large folios with frames in *extents* that nobody has any more."""
    unheld, parts = [], set()
    for start, nr, frame in frame_runs(machine, extents):
        has_owner = not frame.is_anon and frame.owner in machine.spaces
        if not frame.order or frame.mapcount or frame.is_held or has_owner:
            continue
        size, end = 1 << frame.order, start + nr
        low, high = start + size - 1 & -size, end & -size
        if low < high:
            unheld.append(Extent(low, high - low))
        parts |= {at & -size for at, cut in ((start, low), (end - 1, high - 1)) if at != cut}
    for pfn in parts:
        folio = folio_of(machine, pfn)
        if not folio.mapcount and not folio.is_held:
            unheld.append(Extent(folio.pfn, folio.nr))
    update_frames(machine, coalesce(unheld), lambda _: None)
