"""A call that would wait for ever is not simulated; like others it leaves a sound machine."""

from collections.abc import Callable
from pathlib import Path

import pytest

import pymigrate
from pymigrate import Machine, UnsupportedError
from pymigrate.mm.base.memmap import Busy
from pymigrate.mm.check import problems
from pymigrate.mm.frames.busy import begin
from pymigrate.mm.state.scope import OUTERMOST, UNWATCHED

SCENARIO = """\
machine:
  nodes:
    0: {cpus: "0", memory: 256MiB, movable: 128MiB}
    1: {cpus: "1", memory: 256MiB}
files:
  data: {size: 64KiB, fs: ext4}
tasks:
  a:
    pid: 100
    cpus: "0"
    memory:
      - {as: heap, kind: anon, size: 64KiB, pages: [[16, 0]]}
      - {as: map, kind: file, file: data, map: shared, size: 64KiB, pages: [[16, 0]]}
      - {as: tail, kind: anon, size: 64KiB, pages: [[16, 0]]}
"""
Use = Callable[[Machine], object]


def worked_on(kind: str, at: str = "map") -> Machine:
    machine = pymigrate.boot(SCENARIO)
    work = {"task": "a", "at": at, "offset": "32KiB", "length": "4KiB", "kind": kind}
    machine.step({"op": "busy", **work})
    return machine


def state(machine: Machine) -> object:
    return machine.numa_maps_text("a"), [node.free for node in machine.nodes.values()]


def check(machine: Machine) -> None:
    assert list(problems(machine._core)) == []
    assert (machine._core.scope, machine._core.watch) == (OUTERMOST, UNWATCHED)


def traced(machine: Machine) -> None:
    with machine.trace(steps=True), machine.timed():
        machine.migrate_pages("a", 0, 1)


def met(machine: Machine) -> None:
    other = {"task": "a", "at": "heap"}
    machine.step({"op": "migrate_pages", "task": "a", "from": 0, "to": 1, "meanwhile": other})


def followed(machine: Machine) -> None:
    machine.cpuset_create("x", "0-1", "0", memory_migrate=True)
    machine.cpuset_attach("x", "a")
    machine.cpuset_set("x", mems="1")


UNCHANGED: dict[str, Use] = {
    "migrate_pages": lambda m: m.migrate_pages("a", 0, 1),
    "migrate_pages, traced": traced,
    "migrate_pages, met by an access": met,
    "move_pages": lambda m: m.move_pages("a", "map", 1),
    "offline": lambda m: m.offline(0),
    "soft_offline": lambda m: m.madvise("a", "map+32KiB:4KiB", "soft_offline"),
    "cpuset": followed,
}


@pytest.mark.parametrize("kind", ["locked", "reading", "writeback", "buffer"])
@pytest.mark.parametrize("use", UNCHANGED.values(), ids=UNCHANGED)
def test_nothing_has_begun(use: Use, kind: str) -> None:
    machine = worked_on(kind)
    before = state(machine)
    with pytest.raises(UnsupportedError, match="wait for ever"):
        use(machine)
    assert state(machine) == before
    check(machine)


def test_a_pin_that_must_move_pages_is_not_taken() -> None:
    machine = worked_on("locked", at="heap")
    with pytest.raises(UnsupportedError):
        machine.pin("a", "heap")
    assert machine._core.pins == []
    check(machine)


def test_mbind_has_set_its_policy() -> None:
    machine = worked_on("writeback")
    with pytest.raises(UnsupportedError):
        machine.mbind("a", "map", "bind:1", move=True)
    assert machine.placement("a", "map") == [(16, 0)]
    check(machine)


def test_a_call_that_may_lack_memory_breaks_off_with_the_others_moved(tmp_path: Path) -> None:
    """What ends it first is known only when it is met: after the asynchronous passes."""
    machine = worked_on("writeback")
    core = machine._core
    for zone in core.nodes[1].zones:
        zone.watermark_min = zone.nr_free - 24
    with pytest.raises(UnsupportedError):
        machine.migrate_pages("a", 0, 1)
    check(machine)
    assert machine.vmstat()["pgmigrate_success"] == 3 * 16 - 1
    path = tmp_path / "state.db"
    machine.save(path)
    assert list(problems(pymigrate.load(path)._core)) == []


# Where memory is scattered, and allocations compact it

SCATTERED = """\
machine:
  nodes:
    0: {cpus: "0", memory: 32MiB, fragmentation: [{stride: 3}]}
    1: {cpus: "1", memory: 32MiB, fragmentation: [{stride: 3}]}
  thp: always
  thp_defrag: always
tasks:
  a:
    pid: 100
    cpus: "0"
    memory:
      - {as: room, kind: anon, size: 8MiB, address: 0x40000000, pages: [[2048, -1]]}
"""


def scattered(locked: int) -> Machine:
    """Every page of a number that *locked* divides is locked for ever."""
    machine = pymigrate.boot(SCATTERED)
    core = machine._core
    for node in core.nodes.values():
        used = [pfn for run in node.memmap.runs for pfn in range(run.start, run.start + run.nr)]
        for pfn in used[locked::locked]:
            begin(core, pfn, Busy.LOCKED)
    return machine


def touched_huge(machine: Machine) -> None:
    machine.madvise("a", "room", "hugepage")
    machine.touch("a", "room")


COMPACTING: dict[str, Use] = {
    "compact": lambda m: m.compact(),
    "huge pages of a pool": lambda m: m.set_sysctl("nr_hugepages", "12"),
    "huge faults": touched_huge,
    "the kernel's blocks": lambda m: m.step({"op": "alloc", "name": "k", "order": 9, "count": 4}),
}


@pytest.mark.parametrize("use", COMPACTING.values(), ids=COMPACTING)
def test_compaction_that_breaks_off_gives_all_frames_back(use: Use) -> None:
    machine = scattered(locked=37)
    with pytest.raises(UnsupportedError):
        use(machine)
    check(machine)


def test_a_block_that_was_made_free_is_given_back_when_kcompactd_breaks_off() -> None:
    machine = scattered(locked=300)
    with pytest.raises(UnsupportedError):
        machine.set_sysctl("nr_hugepages", "12")
    check(machine)
