"""Everything about one page of a driver: what marks it as movable, and who has it."""

from __future__ import annotations

from pymigrate.mm.base.memmap import (
    MAPPING_MOVABLE,
    FrameFlag,
    is_movable,
    looks_movable,
    mapping_bits,
    nid_of,
)
from pymigrate.mm.compact.compaction import ZONE_NAMES
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Driver
from pymigrate.records import NamedTuple
from pymigrate.views.columns import aligned

_OPS = {"2016": "address_space_operations", "movable_operations": "movable_operations"}


class DriverPage(NamedTuple):
    """What is known of a page of a driver; *pfn* is None if the driver has freed it."""

    name: str
    pfn: int | None = None
    node: int = -1
    zone: str = ""
    flags: tuple[str, ...] = ()
    mapping: str = ""
    looks_movable: bool = False  # __PageMovable()
    is_movable: bool = False  # PageMovable()


def row(machine: Machine, driver: Driver, number: int) -> DriverPage:
    """What is known of page *number* of *driver*."""
    known, pfn = DriverPage(f"{driver.name}+{number}"), driver.pages[number]
    if pfn < 0:
        return known
    frame = frame_of(machine, pfn)
    flags = {FrameFlag.LOCKED: "locked", FrameFlag.ISOLATED: "isolated"}
    whose = f"{driver.name}'s {_OPS[driver.interface]}" if is_movable(frame) else "none"
    bits = mapping_bits(frame)
    return known._replace(
        pfn=pfn,
        node=nid_of(pfn),
        zone=ZONE_NAMES[machine.nodes[nid_of(pfn)].zone_of(pfn).name],
        flags=tuple(name for flag, name in flags.items() if frame.flags & flag),
        mapping=f"{whose} | {bits}" + (" (MOVABLE)" if bits == MAPPING_MOVABLE else ""),
        looks_movable=looks_movable(frame),
        is_movable=is_movable(frame),
    )


def format_row(found: DriverPage) -> str:
    """Text for people: a line for each of what is known."""
    table = [["page", found.name]]
    if found.pfn is None:
        table.append(["pfn", "none: its driver has freed it"])
    else:
        table += [
            ["pfn", f"{found.pfn:#x}: node {found.node}, zone {found.zone}, order 0"],
            ["flags", " ".join(found.flags) or "none"],
            ["mapping", found.mapping],
            ["page_mapping()", "NULL: the low bits say that it is of no file"],
            ["__PageMovable()", f"{_yes(found.looks_movable)}: the low bits are 2, read unlocked"],
            ["PageMovable()", f"{_yes(found.is_movable)}: under its lock, by the rest of mapping"],
            ["lru", "on no list: page.lru is its driver's, or who has isolated it has it"],
        ]
    return "".join(f"{line.rstrip()}\n" for line in aligned(table, {0, 1}))


def as_json(found: DriverPage) -> dict[str, object]:
    """The page for machines."""
    return {
        "page": found.name,
        "pfn": None if found.pfn is None else f"{found.pfn:#x}",
        "node": None if found.pfn is None else found.node,
        "zone": found.zone or None,
        "flags": list(found.flags),
        "mapping": found.mapping or None,
        "looks_movable": found.looks_movable,
        "is_movable": found.is_movable,
    }


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"
