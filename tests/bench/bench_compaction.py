"""Compaction of whole zones: checkerboards, and large memory that is in few runs."""

import time

from pymigrate.mm.compact.compaction import compact_memory
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_bytes

CASES = (
    ("256MiB", "stride: 2", "a checkerboard"),
    ("1GiB", "stride: 2", "a checkerboard"),
    ("512GiB", "run: 2097153, stride: 4194304", "long runs"),
)


def main() -> None:
    for memory, pattern, what in CASES:
        node = f'{{cpus: "0", memory: {memory}, fragmentation: [{{{pattern}}}]}}'
        machine = build(load_bytes(f"machine: {{nodes: {{0: {node}}}}}".encode(), "x.yaml"))
        start = time.perf_counter()
        compact_memory(machine)
        seconds = time.perf_counter() - start
        moved = machine.counters["pgmigrate_success"]
        print(f"  {memory:>7}, {what:15} {moved:7} pages moved {seconds:7.3f} s")


if __name__ == "__main__":
    main()
