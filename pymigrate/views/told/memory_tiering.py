"""The memory tiers, and where the pages of each node are demoted to."""

from pymigrate.mm.frames.memory_tiers import adistances, demotion_of, memory_tiers
from pymigrate.mm.state.machine import Machine
from pymigrate.records import NamedTuple
from pymigrate.views.columns import aligned

DIRECTORY = "/sys/devices/virtual/memory_tiering"


class TierRow(NamedTuple):
    """A node with memory: its tier, and where its pages may be demoted to (in list format)."""

    node: int
    tier: str
    adistance: int
    is_top: bool
    preferred: str  # the nodes that are tried first
    fallback: str


def rows(machine: Machine) -> list[TierRow]:
    """A row for each node with memory: the fastest tier first, then by number."""
    tiers, distances = memory_tiers(machine), adistances(machine)
    found = []
    for tier in tiers.tiers:
        for nid in tier.nodes:
            preferred, fallback = demotion_of(machine, nid)
            is_top = nid in tiers.top
            row = TierRow(nid, tier.name, distances[nid], is_top, str(preferred), str(fallback))
            found.append(row)
    return found


def format_rows(rows: list[TierRow]) -> str:
    """A header, then a line for each node."""
    table = [["NODE", "TIER", "ADISTANCE", "TOP", "PREFERRED", "FALLBACK"]]
    for row in rows:
        top = "yes" if row.is_top else "no"
        targets = [row.preferred or "-", row.fallback or "-"]
        table.append([str(row.node), row.tier, str(row.adistance), top, *targets])
    return "".join(f"{line.rstrip()}\n" for line in aligned(table, {1, 3, 4, 5}))


def as_json(machine: Machine, rows: list[TierRow]) -> dict[str, object]:
    """The tiers for machines."""
    tiers = {tier.name: str(tier.nodes) for tier in memory_tiers(machine).tiers}
    nodes = {str(row.node): {**row._asdict()} for row in rows}
    for node in nodes.values():
        del node["node"]
    return {"demotion_enabled": machine.demotion, "tiers": tiers, "nodes": nodes}


def files(machine: Machine) -> dict[str, str]:
    """The files below /sys/devices/virtual/memory_tiering, with their text."""
    return {
        f"{DIRECTORY}/{tier.name}/nodelist": f"{tier.nodes}\n"
        for tier in memory_tiers(machine).tiers
    }
