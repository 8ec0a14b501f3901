"""Every call on a task whose pages lie partly on a device answers, and leaves a sound machine."""

from collections.abc import Callable
from contextlib import suppress

import pytest

import pymigrate
from pymigrate import Machine
from pymigrate.errors import PymigrateError
from pymigrate.mm.check import problems

SCENARIO = """\
machine:
  nodes:
    0: {cpus: "0", memory: 128MiB}
    1: {cpus: "1", memory: 128MiB}
  devices: {gpu: {memory: 16MiB}}
  numa_balancing: 1
  demotion: true
  thp: always
tasks:
  a:
    pid: 100
    cpus: "0"
    memory: [{as: heap, kind: anon, size: 8MiB, pages: [[2048, 0]]}]
    access: [{region: heap, rate: 1000}]
"""
ADVICE = """
    normal random sequential dontneed free dontfork dofork mergeable unmergeable hugepage nohugepage
    cold pageout populate_read populate_write collapse soft_offline
""".split()
Use = Callable[[Machine], object]


def traced(machine: Machine) -> None:
    with machine.trace(steps=True):
        machine.migrate_pages("a", 0, 1)


def in_turn(*calls: Use) -> Use:
    def use(machine: Machine) -> None:
        for call in calls:
            call(machine)

    return use


def step(**words: object) -> Use:
    return lambda machine: machine.step({"task": "a", "at": "heap", **words})


USES: dict[str, Use] = {
    **{f"madvise {word}": lambda m, w=word: m.madvise("a", "heap", w) for word in ADVICE},
    **{
        f"read {path}": lambda m, p=path: m.read(p)
        for path in (
            "proc/100/smaps",
            "proc/100/status",
            "proc/100/sched",
            "proc/meminfo",
            "sys/devices/system/node/node0/meminfo",
        )
    },
    "migrate_pages": lambda m: m.migrate_pages("a", 0, 1),
    "migrate_pages, traced": traced,
    "move_pages": lambda m: m.move_pages("a", "heap", 1),
    "move_pages that asks": lambda m: m.move_pages("a", "heap", None),
    "mbind": lambda m: m.mbind("a", "heap", "bind:1", move=True, strict=True),
    "mlock": lambda m: m.mlock("a", "heap"),
    "munlock": in_turn(lambda m: m.mlock("a", "heap"), lambda m: m.munlock("a", "heap")),
    "mprotect": lambda m: m.mprotect("a", "heap", "r"),
    "munmap": lambda m: m.munmap("a", "heap"),
    "munmap of a part": lambda m: m.munmap("a", "heap+1MiB:1MiB"),
    "fork": lambda m: m.fork("a", "b"),
    "touch after fork": in_turn(lambda m: m.fork("a", "b"), lambda m: m.touch("b", "heap")),
    "touch by a thread": in_turn(lambda m: m.clone("a", "b"), lambda m: m.touch("b", "heap")),
    "exit": lambda m: m.exit("a"),
    "pin": lambda m: m.pin("a", "heap"),
    "short pin": lambda m: m.pin("a", "heap", kind="short"),
    "numa_maps": lambda m: m.numa_maps_text("a"),
    "show": lambda m: m.show(),
    "explain": lambda m: m.explain("a"),
    "ps": lambda m: m.ps(),
    "get_mempolicy": lambda m: m.node_of("a", "heap+1MiB"),
    "ksm": in_turn(lambda m: m.madvise("a", "heap", "mergeable"), lambda m: m.step({"op": "ksm"})),
    "balance": lambda m: m.balance(10),
    "accesses": lambda m: m.accesses(),
    "reclaim": lambda m: m.reclaim("1MiB"),
    "compact": lambda m: m.compact(),
    "offline": lambda m: m.offline(1),
    "damon": step(op="damon", action="migrate_cold", to=1),
    "swap_cache": step(op="swap_cache"),
    "busy": step(op="busy", kind="locked", passes=1),
    "copy": lambda m: m.copy(),
    "cpuset": in_turn(
        lambda m: m.cpuset_create("x", "0-1", "1"), lambda m: m.cpuset_attach("x", "a")
    ),
    "drop_caches": lambda m: m.set_sysctl("drop_caches", "3"),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_pages_on_a_device_are_met_by_every_call(use: Use) -> None:
    machine = pymigrate.boot(SCENARIO)
    to_device = {"op": "migrate_vma", "offset": "1MiB", "length": "2MiB", "to": "gpu"}
    step(**to_device)(machine)
    with suppress(PymigrateError):
        use(machine)
    assert list(problems(machine._core)) == []
