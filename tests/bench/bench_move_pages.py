"""move_pages of random pages of a 64 GiB process: whole commands, and how they grow."""

import random
import tempfile
from pathlib import Path

from tests.bench.common import best, run, state_file

SCENARIO = """
machine:
  nodes:
    0: {cpus: "0", memory: 80GiB}
    1: {cpus: "1", memory: 80GiB}
    2: {cpus: "2", memory: 80GiB}
    3: {cpus: "3", memory: 80GiB}
tasks:
  big: {pid: 100, memory: [{as: heap, size: 64GiB, address: 0x200004000000}]}
"""
FIRST, NR = 0x200004000, 64 << 18


def main() -> None:
    rnd = random.Random(1)
    with tempfile.TemporaryDirectory() as folder, state_file() as state:
        scenario = Path(folder) / "big.yaml"
        scenario.write_text(SCENARIO)
        log = Path(folder) / "log"
        for nr in (10_000, 100_000, 1_000_000):
            pages = rnd.sample(range(NR), nr)
            for kind in ("to one node", "a node for each"):
                nodes = [2 if kind == "to one node" else rnd.choice([1, 2, 3]) for _ in pages]
                log.write_text(
                    "".join(
                        f"{(FIRST + page) << 12:x} {node}\n"
                        for page, node in zip(pages, nodes, strict=True)
                    )
                )
                run("boot", str(scenario), state=state)
                seconds = best(
                    lambda: run("move_pages", "100", "--from-file", str(log), state=state), 1
                )
                print(f"  {nr:8} pages, {kind:16} {seconds:7.3f} s, whole command")


if __name__ == "__main__":
    main()
