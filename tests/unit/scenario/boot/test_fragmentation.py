"""Fragmentation that a scenario declares."""

from pathlib import Path

import pytest

from pymigrate.errors import ScenarioError, ScenarioErrors
from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.base.pageblock import MigrateType
from pymigrate.mm.state.machine import Machine
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_bytes, load_text
from pymigrate.syscalls.process import touch
from pymigrate.views.proc.meminfo import node_meminfo
from tests.conftest import mapped
from tests.property.invariants import check


def booted(*patterns: str, more: str = "") -> Machine:
    """A machine with 16 MiB, 4096 pages, on node 0, and *patterns* there."""
    text = (
        'machine:\n  nodes:\n    0:\n      cpus: "0"\n      memory: 16MiB\n      fragmentation:\n'
    )
    text += "".join(f"        - {{{pattern}}}\n" for pattern in patterns)
    machine = build(load_bytes((text + more).encode(), "test.yaml"))
    check(machine)
    return machine


def used(machine: Machine, flag: int = 0) -> list[int]:
    """The frames in use, those with *flag* if one is given."""
    return [
        pfn
        for run in machine.nodes[0].memmap.runs
        if run.frame.flags & flag or not flag
        for pfn in range(run.start, run.start + run.nr)
    ]


def test_a_checkerboard_has_every_second_page_in_use() -> None:
    machine = booted("stride: 2, size: 4MiB")
    assert used(machine) == list(range(0, 1024, 2))
    [space] = machine.spaces.values()
    assert [space.pages.at(index).pfn(index) for index in (0, 1, 511)] == [0, 2, 1022]  # type: ignore[union-attr]


def test_a_run_of_pages_in_each_stride() -> None:
    assert used(booted("run: 3, stride: 8, offset: 1MiB, size: 64KiB")) == [
        *(256, 257, 258),
        *(264, 265, 266),
    ]


def test_kernel_pages_are_nobodys_cache_and_give_their_blocks_a_type() -> None:
    machine = booted(
        "pages: unmovable, stride: 512, size: 4MiB", "pages: reclaimable, offset: 14MiB"
    )
    assert used(machine, FrameFlag.RECLAIMABLE) == list(range(3584, 4096, 2))
    assert len(used(machine, FrameFlag.KERNEL)) == 2 + 256
    runs = [
        (run.start, run.nr, run.migratetype) for run in machine.nodes[0].zones[0].pageblocks.runs
    ]
    assert runs == [(0, 1024, MigrateType.UNMOVABLE), (3584, 512, MigrateType.RECLAIMABLE)]


def test_blocks_are_drawn_by_lot_with_a_seed() -> None:
    first, again, other = (
        used(booted(f"pages: unmovable, stride: 512, blocks: 50, seed: {seed}"))
        for seed in (1, 1, 2)
    )
    assert len(first) == len(other) == 4
    assert first == again != other


def test_patterns_lie_one_over_the_other() -> None:
    machine = booted("pages: unmovable, stride: 4, size: 2MiB", "stride: 2, size: 2MiB")
    assert used(machine) == list(range(0, 512, 2))
    assert used(machine, FrameFlag.KERNEL) == list(range(0, 512, 4))


def test_a_type_alone_takes_no_memory() -> None:
    machine = booted("pages: none, type: reclaimable, size: 2MiB")
    assert used(machine) == []
    assert machine.nodes[0].zones[0].pageblocks.runs[0].migratetype == MigrateType.RECLAIMABLE


def test_fully_used_memory_is_few_runs() -> None:
    machine = booted("run: 1, stride: 1, size: 8MiB")
    assert len(machine.nodes[0].memmap.runs) == 1
    [space] = machine.spaces.values()
    assert len(space.pages.runs) == 1


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        pytest.param("run: 3, stride: 2", "3 of 2 pages; expected at most 2", id="run"),
        pytest.param("pages: none", "missing key 'type'", id="no type"),
        pytest.param(
            "offset: 16MiB", "16MiB; expected a multiple of 4KiB in the node", id="offset"
        ),
        pytest.param("size: 5", "5; expected a multiple of 4KiB, or no size", id="size"),
        pytest.param("blocks: 101", "101; expected at most 100", id="blocks"),
    ],
)
def test_mistakes_are_told_with_their_place(pattern: str, message: str) -> None:
    with pytest.raises(ScenarioError) as error:
        booted(pattern)
    assert message in str(error.value)
    assert "test.yaml:7:" in str(error.value)


def test_memory_that_does_not_fit_beside_it_is_refused(tmp_path: Path) -> None:
    more = "tasks:\n  a: {memory: [{as: x, size: 12MiB, pages: [[3072, 0]]}]}\n"
    with pytest.raises(ScenarioError, match="node 0"):
        booted("stride: 2", more=more)


def test_what_fills_a_node_at_boot_is_seen_and_gives_way() -> None:
    machine = build(
        load_text(
            "machine:\n  nodes:\n"
            '    0: {cpus: "0", memory: 64MiB, kernel: 4MiB, cache: 40MiB}\n'
            '    1: {cpus: "1", memory: 64MiB}\n'
            "tasks:\n  a: {mempolicy: {mode: bind, nodes: 0}}\n"
        )
    )
    shown = node_meminfo(machine, 0)
    assert (shown["MemFree"], shown["FilePages"], shown["MemUsed"]) == (20480, 40960, 45056)
    task = machine.tasks[1000]
    assert touch(machine, task, mapped(machine, task, "48MiB"), 48 << 20) is None
    assert node_meminfo(machine, 0)["FilePages"] < 13 * 1024
    assert machine.counters["oom_kill"] == 0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("kernel: 65MiB", "65MiB; expected a multiple of 4KiB, at most 64MiB"),
        ("kernel: 40MiB, movable: 32MiB", "40MiB; expected a multiple of 4KiB, at most 32MiB"),
        ("kernel: 40MiB, cache: 30MiB", "30MiB; expected a multiple of 4KiB, at most 24MiB"),
        ("cache: 3KiB", "3KiB; expected a multiple of 4KiB, at most 64MiB"),
    ],
)
def test_what_fills_a_node_must_fit(keys: str, message: str) -> None:
    with pytest.raises(ScenarioErrors, match=message):
        load_text(f'machine: {{nodes: {{0: {{cpus: "0", memory: 64MiB, {keys}}}}}}}\n')
