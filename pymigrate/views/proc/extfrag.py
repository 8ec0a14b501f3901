"""debugfs's extfrag/extfrag_index and extfrag/unusable_index: how scattered free memory is."""

from pymigrate.mm.frames.buddy import contig_infos, fragmentation_index, unusable_free_index
from pymigrate.mm.state.machine import Machine
from pymigrate.records import NamedTuple
from pymigrate.views.proc.buddyinfo import ZONE_NAMES, populated, zone_head


class ExtfragRow(NamedTuple):
    """A zone: both indexes for each order, in thousandths."""

    node: int
    zone: str
    extfrag_index: list[int]
    unusable_index: list[int]


def rows(machine: Machine) -> list[ExtfragRow]:
    """Every zone that has memory."""
    out = []
    for node, zone in populated(machine):
        infos = contig_infos(zone)
        index = [fragmentation_index(info, order) for order, info in enumerate(infos)]
        unusable = [unusable_free_index(info, order) for order, info in enumerate(infos)]
        out.append(ExtfragRow(node.nid, ZONE_NAMES[zone.name], index, unusable))
    return out


def format_extfrag(rows: list[ExtfragRow]) -> str:
    """The text of extfrag_index. Mirrors extfrag_show_print()."""
    return "".join(
        f"{zone_head(row.node, row.zone)}{''.join(map(_index, row.extfrag_index))}\n"
        for row in rows
    )


def format_unusable(rows: list[ExtfragRow]) -> str:
    """The text of unusable_index. Mirrors unusable_show_print()."""
    return "".join(
        f"{zone_head(row.node, row.zone)}"
        f"{''.join(f'{n // 1000}.{n % 1000:03d} ' for n in row.unusable_index)}\n"
        for row in rows
    )


def _index(value: int) -> str:
    """C's division and remainder: -1000 is -1.000."""
    sign = -1 if value < 0 else 1
    return f"{sign * (abs(value) // 1000):2d}.{sign * (abs(value) % 1000):03d} "
