"""Large work by whole commands: their user CPU as ratios to a fixed loop of pure Python, beside
what is asked of them.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.bench.common import ROOT, SCENARIOS, Cost, cost, loop, run, state_file
from tests.bench.mappings import PID, write_tree

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
RANDOM = """
machine:
  nodes:
    0: {cpus: "0", memory: 20GiB}
    1: {cpus: "1", memory: 20GiB}
    2: {cpus: "2", memory: 20GiB}
    3: {cpus: "3", memory: 20GiB}
tasks:
  a: {memory: [{as: heap, size: 16GiB, pages: {random: "0-3", seed: 7}}]}
"""
LARGE = """
machine:
  nodes:
    0: {cpus: "0", memory: 80GiB}
    1: {cpus: "1", memory: 80GiB}
    2: {cpus: "2", memory: 80GiB}
    3: {cpus: "3", memory: 80GiB}
tasks:
  a: {memory: [{as: heap, size: 64GiB, address: 0x200004000000}]}
"""
POOL = """
machine: {nodes: {0: {cpus: "0", memory: 64GiB}}}
"""
CHECKERBOARD = """
machine: {nodes: {0: {cpus: "0", memory: 1GiB, fragmentation: [{stride: 2}]}}}
"""
FRAGMENTED = """
machine: {nodes: {0: {cpus: "0", memory: 8GiB, fragmentation: [{stride: 2}]}}}
"""  # as many pieces as a scenario may have


class Row(NamedTuple):
    """A command that is measured on a machine that was booted from *scenario*.

    With *mappings* that is what is captured of a process that has so many.
    """

    name: str
    scenario: str  # a file of scenarios/, or the text of one
    command: str
    loops: float  # what it may take, in times of the loop
    ok: tuple[int, ...] = (0,)  # the exit codes that it may have
    log: int = 0  # how many random pages LOG names
    mappings: int = 0


ROWS = (
    Row("offline 2 of four nodes", "four-node-two-socket.yaml", "offline 2", 0.6),
    Row("offline 0 of 1 TiB", "one-tib.yaml", "offline 0", 1.2, ok=(1,)),  # a block has two zones
    Row("plan --offline 0 of 1 TiB", "one-tib.yaml", "plan --offline 0", 1.8),
    Row("task pin of 400 GiB", "one-tib.yaml", "task pin store data", 0.6),
    Row("accesses --log --top of 300 GiB", HOT, "accesses a --log --top 1000", 0.6),
    Row("boot of 4.2 million random pages", RANDOM, "boot", 1.8),
    Row("migration of them", RANDOM, "migratepages a 0-1 2-3", 1.4),
    Row("numa_maps of them", RANDOM, "numa_maps a", 1.2),
    Row("a log of 100 000 pages", LARGE, "move_pages a --from-file LOG", 0.5, log=100_000),
    Row("a log of 1 000 000 pages", LARGE, "move_pages a --from-file LOG", 4.1, log=1_000_000),
    Row("capture of 32 000 mappings", "", "capture", 5.9, mappings=32_000),
    Row("boot of them", "", "boot", 3.5, mappings=32_000),
    Row("numa_maps of them", "", f"numa_maps {PID}", 1.2, mappings=32_000),
    Row("migration of them", "", f"migratepages {PID} 0 1", 2.4, mappings=32_000),
    Row("capture of 65 000 mappings", "", "capture", 11.8, mappings=65_000),
    Row("stride 2 over 8 GiB", FRAGMENTED, "boot", 1.2),
    Row("compaction of a 1 GiB checkerboard", CHECKERBOARD, "compact", 0.5),
    Row("hugetlb pool of 20 000 pages", POOL, "sysctl vm.nr_hugepages=20000", 0.2),
)


def main() -> None:
    unit = loop()
    print(f"  the loop: {unit:.2f} s")
    for row in ROWS:
        found = measure(row)
        ratio = found.seconds / unit
        late = "  LATE" if ratio > row.loops else ""
        took = f"{found.seconds:6.2f} s {found.mb:5.0f} MB {ratio:6.2f} of {row.loops}{late}"
        print(f"  {row.name:36} {took}", flush=True)


def measure(row: Row, cwd: Path = ROOT) -> Cost:
    """What the row's command costs, once the machine is booted; its scenario is read in *cwd*."""
    with tempfile.TemporaryDirectory() as folder, state_file() as state:
        path = SCENARIOS / row.scenario
        if "\n" in row.scenario:
            path = Path(folder) / "scenario.yaml"
            path.write_text(row.scenario)
        if row.mappings:
            path = Path(folder) / "captured.yaml"
            write_tree(Path(folder) / "tree", row.mappings)
            capture = "capture", "--root", f"{folder}/tree", "-o", str(path)
            if row.command == "capture":
                return cost(*capture, cwd=cwd)
            run(*capture, cwd=cwd)
        if row.command == "boot":
            return cost("boot", str(path), state=state, cwd=cwd)
        run("boot", str(path), state=state, cwd=cwd)
        if row.log:
            (Path(folder) / "log").write_text("".join(_log(row.log)))
        args = [word.replace("LOG", str(Path(folder) / "log")) for word in row.command.split()]
        return cost(*args, state=state, ok=row.ok, cwd=cwd)


def _log(nr: int) -> Iterator[str]:
    """*nr* random pages of the region of LARGE, each with a node."""
    rnd = Random(1)
    for page in rnd.sample(range(64 << 18), nr):
        yield f"{0x200004000000 + (page << 12):x} {rnd.choice((1, 2, 3))}\n"


if __name__ == "__main__":
    main()
