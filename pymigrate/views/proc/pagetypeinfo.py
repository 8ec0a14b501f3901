"""/proc/pagetypeinfo: free blocks and pageblocks by migratetype."""

from itertools import groupby

from pymigrate.mm.base.pageblock import PAGEBLOCK_NR, PAGEBLOCK_ORDER, MigrateType
from pymigrate.mm.frames.buddy import NR_PAGE_ORDERS, nr_free_by_type, nr_pageblocks
from pymigrate.mm.state.machine import Machine
from pymigrate.records import NamedTuple
from pymigrate.views.proc.buddyinfo import ZONE_NAMES, populated, zone_head

TYPE_NAMES = {
    MigrateType.UNMOVABLE: "Unmovable",
    MigrateType.MOVABLE: "Movable",
    MigrateType.RECLAIMABLE: "Reclaimable",
    MigrateType.HIGHATOMIC: "HighAtomic",
    MigrateType.CMA: "CMA",
    MigrateType.ISOLATE: "Isolate",
}
_MAX_COUNT = 100000  # no list is counted further


class PageTypeRow(NamedTuple):
    """A zone: free blocks of each order, and pageblocks, by the names of migratetypes."""

    node: int
    zone: str
    free: dict[str, list[int]]
    pageblocks: dict[str, int]


def rows(machine: Machine) -> list[PageTypeRow]:
    """Every zone that has memory. CMA is among the types only where there is any."""
    out = []
    for node, zone in populated(machine):
        blocks, free = nr_pageblocks(zone), nr_free_by_type(zone)
        kinds = [kind for kind in MigrateType if kind != MigrateType.CMA or blocks[kind]]
        out.append(
            PageTypeRow(
                node.nid,
                ZONE_NAMES[zone.name],
                {TYPE_NAMES[kind]: free[kind] for kind in kinds},
                {TYPE_NAMES[kind]: blocks[kind] for kind in kinds},
            )
        )
    return out


def format_rows(rows: list[PageTypeRow]) -> str:
    """The kernel's text, a part for each node. Mirrors pagetypeinfo_show()."""
    return "".join(_node_text(list(group)) for _, group in groupby(rows, lambda row: row.node))


def _node_text(zones: list[PageTypeRow]) -> str:
    kinds = list(dict.fromkeys(kind for zone in zones for kind in zone.pageblocks))
    orders = "".join(f"{order:6d} " for order in range(NR_PAGE_ORDERS))
    lines = [
        f"Page block order: {PAGEBLOCK_ORDER}",
        f"Pages per block:  {PAGEBLOCK_NR}",
        "",
        f"{'Free pages count per migrate type at order':<43} {orders}",
    ]
    for zone in zones:
        for kind in kinds:
            counts = zone.free.get(kind, [0] * NR_PAGE_ORDERS)
            head = f"Node {zone.node:4d}, zone {zone.zone:>8}, type {kind:>12} "
            lines.append(head + "".join(map(_count, counts)))
    lines += ["", f"{'Number of blocks type ':<23}" + "".join(f"{kind:>12} " for kind in kinds)]
    for zone in zones:
        counts = [zone.pageblocks.get(kind, 0) for kind in kinds]
        lines.append(zone_head(zone.node, zone.zone) + "".join(f"{nr:12d} " for nr in counts))
    return "".join(f"{line}\n" for line in lines)


def _count(nr: int) -> str:
    return f">{_MAX_COUNT:6d} " if nr >= _MAX_COUNT else f"{nr:6d} "
