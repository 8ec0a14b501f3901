"""Large work by whole commands: their user CPU as ratios to a fixed loop of pure Python, beside
what is asked of them.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.bench.common import SCENARIOS, Cost, cost, loop, run, state_file

HOT = """
machine:
  nodes:
    0: {cpus: "0", memory: 256GiB}
    1: {cpus: "1", memory: 256GiB}
tasks:
  a:
    memory: [{as: heap, size: 300GiB, policy: "interleave:0-1"}]
    access: [{region: heap, rate: 1000000, hot: 0.1, hot_rate: 0.9}]
"""


class Row(NamedTuple):
    """A command that is measured on a machine that was booted from *scenario*."""

    name: str
    scenario: str  # a file of scenarios/, or the text of one
    command: str
    loops: float  # what it may take, in times of the loop
    ok: tuple[int, ...] = (0,)  # the exit codes that it may have


ROWS = (
    Row("offline 2 of four nodes", "four-node-two-socket.yaml", "offline 2", 0.6),
    Row("offline 0 of 1 TiB", "one-tib.yaml", "offline 0", 1.2, ok=(1,)),  # a block has two zones
    Row("plan --offline 0 of 1 TiB", "one-tib.yaml", "plan --offline 0", 1.8),
    Row("task pin of 400 GiB", "one-tib.yaml", "task pin store data", 0.6),
    Row("accesses --log --top of 300 GiB", HOT, "accesses a --log --top 1000", 0.6),
)


def main() -> None:
    unit = loop()
    print(f"  the loop: {unit:.2f} s")
    for row in ROWS:
        with tempfile.TemporaryDirectory() as folder, state_file() as state:
            path = SCENARIOS / row.scenario
            if "\n" in row.scenario:
                path = Path(folder) / "scenario.yaml"
                path.write_text(row.scenario)
            run("boot", str(path), state=state)
            print_row(row.name, cost(*row.command.split(), state=state, ok=row.ok), unit, row.loops)


def print_row(name: str, found: Cost, unit: float, loops: float) -> None:
    """One line: how long *name* took, also as a ratio to the loop, and the ratio that is asked."""
    ratio = found.seconds / unit
    late = "  LATE" if ratio > loops else ""
    print(f"  {name:36} {found.seconds:6.2f} s {found.mb:5.0f} MB {ratio:6.2f} of {loops}{late}")


if __name__ == "__main__":
    main()
