"""KSM's merged pages, found by their nodes of the stable tree."""

from __future__ import annotations

from pymigrate.mm.base.memmap import Frame, FrameFlag
from pymigrate.mm.state.machine import Machine


def page_of(machine: Machine, node: int) -> tuple[int, Frame | None]:
    """The frame of the stable tree's *node*, and its state; None once it is freed.

    Mirrors ksm_get_folio().
    """
    run = machine.stable_tree.pages.at(node)
    assert run is not None
    pfn = run.pfn(node)
    found = machine.memmap_of(pfn).at(pfn)
    if found is None or not found.frame.flags & FrameFlag.KSM or found.frame.owner != node:
        return pfn, None
    return pfn, found.frame
