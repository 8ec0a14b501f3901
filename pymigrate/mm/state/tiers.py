"""What is known of the speed of memory, and the tiers that follow from it."""

from __future__ import annotations

from typing import NamedTuple

from pymigrate.nodemask import Nodemask


class AccessCoordinate(NamedTuple):
    """How fast the nearest CPUs reach a node's memory, as the firmware's HMAT says."""

    read_latency: int  # ns
    write_latency: int
    read_bandwidth: int  # MiB/s
    write_bandwidth: int

    @property
    def latency(self) -> int:
        """Of a read and a write together, in ns."""
        return self.read_latency + self.write_latency

    @property
    def bandwidth(self) -> int:
        """Of reads and writes together, in MiB/s."""
        return self.read_bandwidth + self.write_bandwidth


class MemoryTier(NamedTuple):
    """Nodes whose memory is about as fast: ``memory_tierN``."""

    number: int
    nodes: Nodemask

    @property
    def name(self) -> str:
        """What its directory in sysfs is called."""
        return f"memory_tier{self.number}"


class Demotion(NamedTuple):
    """Where pages of a node are demoted to."""

    preferred: Nodemask = Nodemask()  # the nearest nodes of the next tier
    fallback: Nodemask = Nodemask()  # all nodes of all lower tiers


class MemoryTiers(NamedTuple):
    """The tiers, fastest first, and what each node that has memory makes of them."""

    tiers: tuple[MemoryTier, ...]
    demotion: dict[int, Demotion]
    top: Nodemask  # from whose nodes nothing is promoted
