"""What /proc/zoneinfo says of the nodes' memory."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pymigrate.capture.tree import Tree
from pymigrate.records import NamedTuple
from pymigrate.units import HPAGE_SIZE

_ZONE = re.compile(r"Node (\d+), zone\s+(\S+)")
_BUDDY = re.compile(r"Node (\d+), zone\s+\S+")
_NAMES = ("spanned", "present", "managed", "cma")


class ZoneInfo(NamedTuple):
    """A zone: base pages of the machine's own size, and its first frame."""

    name: str
    spanned: int
    present: int
    managed: int
    cma: int
    start: int


class NodeZones(NamedTuple):
    """The zones of a node, with the size of a page in bytes."""

    zones: tuple[ZoneInfo, ...] = ()
    page_size: int = 4096

    @property
    def memory(self) -> int:
        """Bytes, as MemTotal counts them."""
        return sum(zone.managed for zone in self._memory_zones) * self.page_size

    @property
    def movable(self) -> int:
        """Bytes of ZONE_MOVABLE."""
        return sum(z.managed for z in self.zones if z.name == "Movable") * self.page_size

    @property
    def cma(self) -> int:
        """Bytes that are kept for CMA."""
        return sum(zone.cma for zone in self._memory_zones) * self.page_size

    @property
    def device(self) -> int:
        """Pages of ZONE_DEVICE."""
        return sum(zone.present for zone in self.zones if zone.name == "Device")

    @property
    def _memory_zones(self) -> list[ZoneInfo]:
        return [zone for zone in self.zones if zone.name != "Device"]

    def ranges(self, nid: int) -> Iterator[tuple[int, int, int]]:
        """The frames that each zone spans: (start, end, *nid*)."""
        for zone in self.zones:
            if zone.spanned and zone.start >= 0:
                yield zone.start, zone.start + zone.spanned, nid


def read_zones(tree: Tree) -> dict[int, NodeZones]:
    """The zones of each node; none if the file is not there, or empty."""
    found: dict[int, list[ZoneInfo]] = {}
    zone: tuple[int, str, dict[str, int]] | None = None

    def finish() -> None:
        if zone is not None:
            nid, name, counts = zone
            counts.setdefault("managed", counts.get("present", 0))  # kernels before 3.9
            spanned, present, managed, cma = (counts.get(key, 0) for key in _NAMES)
            start = counts.get("start_pfn", -1)
            row = ZoneInfo(name, spanned, present, managed, cma, start)
            found.setdefault(nid, []).append(row)

    for _, line in tree.lines("proc/zoneinfo") if tree.has("proc/zoneinfo") else ():
        words = line.split()
        if match := _ZONE.match(line):
            finish()
            zone = int(match[1]), match[2], {}
        elif zone and len(words) == 2 and words[1].isdigit():
            zone[2].setdefault(words[0].rstrip(":"), int(words[1]))
    finish()
    return {nid: NodeZones(tuple(zones), tree.page_size) for nid, zones in found.items()}


def scattered(tree: Tree) -> list[str]:
    """Notes of the nodes whose free memory is in small pieces, by buddyinfo."""
    free: dict[int, list[int]] = {}
    for line in tree.text("proc/buddyinfo").splitlines():
        if match := _BUDDY.match(line):
            for order, nr in enumerate(line[match.end() :].split()):
                size = int(nr) * tree.page_size << order
                found = free.setdefault(int(match[1]), [0, 0])
                found[0] += size
                found[1] += size if size >= HPAGE_SIZE * int(nr) else 0
    return [
        f"node {nid}: of its free memory {large * 100 // size} % lie in blocks of 2 MiB or more, "
        "here nearly all"
        for nid, (size, large) in free.items()
        if large * 10 < size * 9
    ]
