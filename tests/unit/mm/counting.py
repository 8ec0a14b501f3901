"""What a machine of two nodes counts while steps are made."""

from collections.abc import Iterable, Sequence

from pymigrate.mm.base.release import Kernel
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.spec.runner import Runner

MACHINE = """\
machine:
  nodes:
    0: {cpus: "0-1", memory: 512MiB}
    1: {cpus: "2-3", memory: 512MiB}
  thp: always
tasks:
  a: {cpus: "0", uid: 0}
steps:
"""
MIGRATE = "migrate_pages, task: a, target: a, from: '0', to: '1'"


def counted(kernel: Kernel, steps: Sequence[str], names: Iterable[str]) -> dict[str, int]:
    """What of *names* is counted in *steps*: `mmap LENGTH`, a call on all of it, or a step."""
    lines = []
    for step in steps:
        op, _, rest = step.partition(" ")
        if op == "mmap":
            step = f"mmap, task: a, as: r, length: {rest}"
        elif not rest:
            step = f"{op}, task: a, at: r"
        lines.append(f"  - {{op: {step}}}\n")
    scenario = load_text(MACHINE + "".join(lines))
    machine = build(scenario, kernel)
    for record in Runner(machine).run(scenario.steps):
        assert record.get("ret", 0) >= 0, record
    found = {name: machine.counters[name] for name in names}
    return {name: nr for name, nr in found.items() if nr}
