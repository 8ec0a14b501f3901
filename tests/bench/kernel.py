"""The same work here and on Linux 6.12 in QEMU: `make bench-kernel`, which needs `make oracle`.

The guest's CPU is emulated, so what is compared is the CPU time of two programs on this machine.
"""

import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.bench.common import PYMIGRATE, ROOT, run, state_file
from tests.oracle.asking import Asking
from tests.oracle.guest import Guest
from tests.oracle.kernels import kernel
from tests.oracle.needs import MissingError

TURNS = 3
NODE_MIB = 1024
Steps = list[dict[str, Any]]


class Work(NamedTuple):
    """Steps that are done on a machine of two nodes, behind those that get it ready."""

    name: str
    ready: Steps
    steps: Steps


def mapped(mib: int) -> Steps:
    """A region of so many MiB on node 0."""
    return [
        {"op": "set_mempolicy", "task": "a", "mode": "bind", "nodes": "0"},
        {"op": "mmap", "task": "a", "as": "heap", "length": f"{mib}MiB"},
        {"op": "touch", "task": "a", "at": "heap"},
        {"op": "set_mempolicy", "task": "a", "mode": "default"},
    ]


def scattered(mib: int, nr: int) -> Steps:
    """Move *nr* pages of that region, chosen at random."""
    pages = random.Random(1).sample(range(mib << 8), nr)
    return [{"op": "move_pages", "task": "a", "at": "heap", "pages": pages, "nodes": 1}]


def migrated(there: str, back: str) -> Steps:
    """All pages of the task, from one node to the other."""
    return [{"op": "migrate_pages", "task": "a", "from": there, "to": back}]


WORKS = (
    Work("migrate_pages of 768 MiB", mapped(768), migrated("0", "1")),
    Work(
        "... there and back four times", mapped(768), (migrated("0", "1") + migrated("1", "0")) * 4
    ),
    Work("move_pages of 20 000 random pages", mapped(768), scattered(768, 20_000)),
    Work(
        "... and of all that are left",
        mapped(768) + scattered(768, 20_000),
        migrated("0", "1"),
    ),
)
SESSION = Work(
    "boot, numa_maps, migratepages, vmstat",
    [],
    [
        *mapped(256),
        {"op": "numa_maps", "task": "a", "at": "heap"},
        *migrated("0", "1"),
        {"op": "vmstat"},
    ],
)


def main() -> None:
    try:
        guest = Guest(kernel("6.12"), lambda _: None)
    except MissingError as error:
        sys.exit(str(error))
    print("  CPU seconds                                   here     6.12 in QEMU   here / QEMU")
    theirs = best(lambda: asked(guest, SESSION.ready + SESSION.steps))
    told(SESSION.name, best(session), theirs)
    for work in WORKS:
        ours = added(simulated, work)
        theirs = added(lambda steps: asked(guest, steps), work)
        told(work.name, ours, theirs)


def told(name: str, ours: float, theirs: float) -> None:
    ratio = f"1/{theirs / ours:.1f}" if ours < theirs else f"{ours / max(theirs, 0.01):.1f}"
    print(f"  {name:40} {ours:9.2f} s {theirs:14.2f} s   {ratio:>11}", flush=True)


def added(do: Callable[[Steps], float], work: Work) -> float:
    """What the steps themselves take: all of it, without what gets the machine ready."""
    whole = best(lambda: do(work.ready + work.steps))
    return max(whole - best(lambda: do(work.ready)), 0.01)


def best(do: Callable[[], float]) -> float:
    return min(do() for _ in range(TURNS))


def case(steps: Steps) -> dict[str, Any]:
    """A case with *steps*, on a machine of two nodes."""
    nodes = {nid: {"cpus": str(nid), "memory": f"{NODE_MIB}MiB"} for nid in (0, 1)}
    return {"machine": {"nodes": nodes}, "tasks": {"a": {"cpus": "0"}}, "steps": steps}


def asked(guest: Guest, steps: Steps) -> float:
    """CPU seconds of a guest that boots, and does *steps*."""
    before = used()
    asking = Asking(guest, {"bench": case(steps)})
    asking.once()
    assert not asking.failed, asking.failed
    return used() - before


def simulated(steps: Steps) -> float:
    """CPU seconds of `pymigrate run` with *steps*."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.yaml"
        path.write_text(yaml.safe_dump(case(steps)), encoding="utf-8")
        before = used()
        subprocess.run([*PYMIGRATE, "run", str(path)], cwd=ROOT, capture_output=True, check=True)
        return used() - before


def session() -> float:
    """CPU seconds of the four commands, one by one."""
    machine = case([])
    del machine["steps"]
    [task] = machine["tasks"].values()
    task["memory"] = [{"as": "heap", "size": "256MiB", "policy": "bind:0"}]
    with state_file() as state, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "machine.yaml"
        path.write_text(yaml.safe_dump(machine), encoding="utf-8")
        before = used()
        run("boot", str(path), state=state)
        run("numa_maps", "a", state=state)
        run("migratepages", "a", "0", "1", state=state)
        run("vmstat", state=state)
        return used() - before


def used() -> float:
    """CPU seconds of all programs that have ended."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


if __name__ == "__main__":
    main()
