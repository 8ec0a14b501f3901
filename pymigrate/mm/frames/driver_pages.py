"""What the frames of drivers' pages say: whether they are movable, and of what mapping."""

from __future__ import annotations

from pymigrate.mm.base.memmap import Frame, FrameFlag

MAPPING_ANON, MAPPING_MOVABLE = 1, 2  # the low bits of page->mapping; both: KSM


def mapping_bits(frame: Frame) -> int:
    """The low bits of page->mapping: 1 anonymous, 2 movable, 3 merged by KSM, 0 a file's."""
    if frame.flags & (FrameFlag.MOVABLE | FrameFlag.CLEARED):
        return MAPPING_MOVABLE
    if frame.flags & FrameFlag.KSM:
        return MAPPING_ANON | MAPPING_MOVABLE
    return MAPPING_ANON if frame.is_anon else 0


def looks_movable(frame: Frame) -> bool:
    """What may be asked without the page's lock: the low bits. Mirrors __PageMovable().

    It may be stale: a page that its driver has cleared still looks so.
    """
    return mapping_bits(frame) == MAPPING_MOVABLE


def is_movable(frame: Frame) -> bool:
    """What may be asked under the page's lock: whether it has an owner. Mirrors PageMovable()."""
    return looks_movable(frame) and bool(frame.flags & FrameFlag.MOVABLE)
