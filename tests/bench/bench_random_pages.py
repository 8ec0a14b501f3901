"""A process of 1 000 000 pages at random over 4 nodes: migratepages within, and as a command."""

import gc
import time

from pymigrate.nodemask import Nodemask
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load
from pymigrate.syscalls.migrate import migrate_pages
from tests.bench.common import SCENARIOS, best, run, state_file

SCENARIO = SCENARIOS / "random-pages.yaml"


def main() -> None:
    gc.disable()
    machine = build(load(SCENARIO))
    task = next(iter(machine.tasks.values()))
    for name, old, new in (
        ("fresh boot, 0-1 to 2-3", "0-1", "2-3"),
        ("the same pages, 2-3 to 0-1", "2-3", "0-1"),
        ("and back", "0-1", "2-3"),
    ):
        before = machine.counters["pgmigrate_success"]
        start = time.perf_counter()
        migrate_pages(machine, machine.shell_of(0), task, Nodemask.parse(old), Nodemask.parse(new))
        seconds = time.perf_counter() - start
        moved = machine.counters["pgmigrate_success"] - before
        print(f"  {name:30} {moved:8} pages {seconds:6.3f} s  {moved / seconds / 1e6:5.2f} M/s")
    with state_file() as state:
        seconds = best(lambda: run("boot", str(SCENARIO), state=state), 1)
        print(f"  boot, whole command            {seconds:20.3f} s")
        for old, new in (("0-1", "2-3"), ("2-3", "0-1")):
            args = ["migratepages", str(task.pid), old, new]
            seconds = best(lambda args=args: run(*args, state=state), 1)
            print(f"  {' '.join(args):30} {seconds:20.3f} s, whole command")
        seconds = best(lambda: run("numa_maps", str(task.pid), state=state), 3)
        print(f"  numa_maps, whole command       {seconds:20.3f} s")


if __name__ == "__main__":
    main()
