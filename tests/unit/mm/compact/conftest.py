"""Machines with declared fragmentation."""

from pymigrate.mm.state.machine import Machine
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_bytes


def declared(*patterns: str, memory: str = "32MiB") -> Machine:
    """A machine whose node 0 has *patterns*."""
    listed = ", ".join(f"{{{pattern}}}" for pattern in patterns)
    text = f'machine: {{nodes: {{0: {{cpus: "0", memory: {memory}, fragmentation: [{listed}]}}}}}}'
    return build(load_bytes(text.encode(), "x.yaml"))
