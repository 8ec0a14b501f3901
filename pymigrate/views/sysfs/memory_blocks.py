"""/sys/devices/system/memory: the memory blocks, and whether they are online."""

import re
from itertools import groupby

from pymigrate.mm.offline.memory_hotplug import (
    BLOCK_SIZE,
    MemoryBlock,
    memory_blocks,
    valid_zones,
)
from pymigrate.mm.state.machine import Machine
from pymigrate.records import NamedTuple
from pymigrate.views.entries import Dir, Entries, Link, dir_of, file_of
from pymigrate.views.proc.buddyinfo import ZONE_NAMES

_PATH = re.compile(r"sys/devices/system/(?:memory|node/node\d+)/memory\d+")


class BlockRow(NamedTuple):
    """Memory blocks *first* to *last*, which are alike."""

    first: int
    last: int
    nodes: tuple[int, ...]
    zone: str  # "none": they lie in several zones and cannot be offline
    state: str

    @property
    def name(self) -> str:
        """As sysfs names them."""
        return f"memory{self.first}" + (f"-{self.last}" if self.last > self.first else "")


def rows(machine: Machine) -> list[BlockRow]:
    """All memory blocks, neighbours that are alike in one row."""
    out = []
    keyed = [(_key(block), block.number) for block in memory_blocks(machine)]
    for key, group in groupby(keyed, key=lambda pair: pair[0]):
        numbers = [number for _, number in group]
        out.append(BlockRow(numbers[0], numbers[-1], *key))
    return out


def format_rows(found: list[BlockRow]) -> str:
    """A line for each row."""
    width = max((len(row.name) for row in found), default=0)
    return "".join(
        f"{row.name:{width}}  node {','.join(map(str, row.nodes))}  {row.zone:7}  {row.state}\n"
        for row in found
    )


def memory_entries(machine: Machine) -> Entries:
    """/sys/devices/system/memory."""
    entries: Entries = {"block_size_bytes": file_of(f"{BLOCK_SIZE:x}")}
    for block in memory_blocks(machine):
        entries[f"memory{block.number}"] = _dir_of(machine, block)
    return entries


def memory_links(machine: Machine, nid: int) -> Entries:
    """The memory blocks of a node, in its directory."""
    return {
        f"memory{block.number}": Link(f"../../memory/memory{block.number}")
        for block in memory_blocks(machine, nid)
    }


def is_of_block(path: str) -> bool:
    """Whether *path*, from the root, is a memory block's directory or a link to one."""
    return _PATH.fullmatch(path) is not None


def _dir_of(machine: Machine, block: MemoryBlock) -> Dir:
    """A memory block. Mirrors drivers/base/memory.c."""
    _, zone, state = _key(block)
    if not block.is_online:
        zone = " ".join(ZONE_NAMES[name] for name in valid_zones(machine, block))
    files: Entries = {
        "online": file_of(int(block.is_online)),
        "phys_device": file_of(0),
        "phys_index": file_of(f"{block.number:08x}"),
        "removable": file_of(1),
        "state": file_of(state),
        "valid_zones": file_of(zone),
    }
    links: Entries = {f"node{nid}": Link(f"../../node/node{nid}") for nid in block.nodes}
    return dir_of(files | links)


def _key(block: MemoryBlock) -> tuple[tuple[int, ...], str, str]:
    zone = block.zone
    name = ZONE_NAMES[zone.name] if zone else "none"
    return block.nodes, name, "online" if block.is_online else "offline"
