"""The memory tiers: what a driver says of a node's memory shows in nothing but its tier."""

from __future__ import annotations

import re

from pymigrate.capture.tree import Tree
from pymigrate.errors import ScenarioError
from pymigrate.mm.frames.memory_tiers import CHUNK_BITS, memory_tiers
from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Nodemask

_TIERS = "sys/devices/virtual/memory_tiering"


def tiers_of(tree: Tree, machine: Machine, notes: list[str]) -> dict[int, int]:
    """The abstract distances of nodes that are in another tier in *tree* than in *machine*.

    Of a tier's distances, which are alike but for some bits, it is the one in the middle.
    """
    here = {nid: tier.number for tier in memory_tiers(machine).tiers for nid in tier.nodes}
    found: dict[int, int] = {}
    for name in tree.names(_TIERS):
        path = f"{_TIERS}/{name}/nodelist"
        if not (match := re.fullmatch(r"memory_tier(\d+)", name)) or not tree.has(path):
            continue
        try:
            nodes = Nodemask.parse(tree.text(path))
        except ValueError as error:
            raise ScenarioError(str(error), tree.path(path), 1) from None
        for nid in nodes:
            if nid in here and here[nid] != int(match[1]):
                found[nid] = (int(match[1]) << CHUNK_BITS) + (1 << CHUNK_BITS >> 1)
                notes.append(
                    f"node {nid}: its adistance is one of tier {match[1]}, not known better"
                )
    return found
