"""Edits of the memmap, and runs cut where their frames differ."""

import pytest

from pymigrate.mm.base.memmap import Frame, FrameFlag, FrameRun
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.frames.frames import (
    FrameEdits,
    extents_of,
    frame_of,
    new_frames,
    uniform_parts,
    update_frames,
    whole_folios,
)
from pymigrate.mm.frames.page_alloc import alloc_run
from pymigrate.mm.frames.placement import Cycle, ThisNode
from pymigrate.mm.state.machine import Machine
from tests.conftest import new_task, two_nodes

A, B = Frame(1, 0, 1), Frame(2, 0, 1)
NODE1 = 1 << 32


@pytest.fixture
def machine() -> Machine:
    """Frames 0-99 of each of two nodes are in use as A."""
    machine = two_nodes("4MiB")
    alloc_run(machine, new_task(machine), Cycle((0, 1)), PteRun(0, 200, ()))
    new_frames(machine, [PteRun(0, 200, (0, NODE1))], A)
    return machine


def test_new_frames_are_in_use_on_each_node(machine: Machine) -> None:
    assert machine.nodes[0].memmap.runs == [FrameRun(0, 100, A)]
    assert machine.nodes[1].memmap.runs == [FrameRun(NODE1, 100, A)]
    assert frame_of(machine, NODE1 + 99) == A


def test_a_free_frame_has_no_state(machine: Machine) -> None:
    with pytest.raises(AssertionError, match="0x64 is in nobody's use"):
        frame_of(machine, 100)


def test_updates_change_or_free_what_the_function_says(machine: Machine) -> None:
    update_frames(machine, [(10, 5)], lambda frame: frame._replace(owner=2))
    update_frames(machine, [(0, 20)], lambda frame: None if frame == A else frame)
    assert machine.nodes[0].memmap.runs == [FrameRun(10, 5, B), FrameRun(20, 80, A)]
    assert machine.nodes[0].nr_free == 1024 - 100 + 15
    assert machine.counters["pgfree"] == 15


def test_edits_are_made_together_in_any_order(machine: Machine) -> None:
    edits = FrameEdits(machine)
    edits.set([(50, 2), (NODE1, 1)], B)
    edits.free([(20, 10), (0, 5)])
    edits.commit()
    assert machine.nodes[0].memmap.runs == [
        FrameRun(5, 15, A),
        FrameRun(30, 20, A),
        FrameRun(50, 2, B),
        FrameRun(52, 48, A),
    ]
    assert machine.nodes[1].memmap.runs == [FrameRun(NODE1, 1, B), FrameRun(NODE1 + 1, 99, A)]


@pytest.mark.parametrize(
    ("run", "extents"),
    [
        pytest.param(PteRun(0, 4, (7,)), [(7, 4)], id="extent"),
        pytest.param(PteRun(0, 5, (7, 70)), [(7, 3), (70, 2)], id="lanes"),
        pytest.param(PteRun(0, 4, (9, 7, 8, 70)), [(7, 3), (70, 1)], id="table, sorted"),
    ],
)
def test_extents_are_as_few_as_possible(run: PteRun, extents: list[tuple[int, int]]) -> None:
    assert extents_of(run) == [Extent(*extent) for extent in extents]


@pytest.mark.parametrize(
    ("run", "parts"),
    [
        pytest.param(PteRun(0, 10, (20,)), [(0, 10, (A,))], id="all alike"),
        pytest.param(
            PteRun(0, 10, (35,)), [(0, 5, (A,)), (5, 3, (B,)), (8, 2, (A,))], id="cut twice"
        ),
        pytest.param(
            PteRun(0, 10, (40, NODE1)), [(0, 6, (B, A)), (6, 4, (A, A))], id="lanes that differ"
        ),
        pytest.param(PteRun(0, 3, (5, 9, 7)), [(0, 3, (A, A, A))], id="table, alike"),
        pytest.param(PteRun(0, 3, (5, NODE1, 7)), [(0, 3, (A, A, A))], id="table on two nodes"),
        pytest.param(PteRun(0, 3, (5, 41, 7)), [(0, 3, (A, B, A))], id="table that differs"),
        pytest.param(PteRun(0, 3, (39, 60, 7)), [(0, 3, (A, A, A))], id="table around others"),
        pytest.param(PteRun(0, 3, (39, 40, 7)), [(0, 3, (A, B, A))], id="table up to another"),
    ],
)
def test_uniform_parts(
    machine: Machine, run: PteRun, parts: list[tuple[int, int, tuple[Frame, ...]]]
) -> None:
    update_frames(machine, [(40, 3)], lambda _: B)
    found = list(uniform_parts(machine, run))
    assert [(part.start, part.nr, states.each) for part, states in found] == parts
    assert sum((part.pfns() for part, _ in found), ()) == run.pfns()


def test_huge_pages_that_differ_inside_are_parts_of_their_own() -> None:
    machine = two_nodes("16MiB")
    huge = PteRun(0, 2048, (0,), 9)
    alloc_run(machine, new_task(machine), ThisNode(0), huge)
    new_frames(machine, [huge], A._replace(order=9))
    assert whole_folios(machine, [(512, 1), (517, 600)]) == [Extent(512, 1024)]
    update_frames(machine, [(512 + 7, 1)], lambda frame: frame._replace(pins=1))
    update_frames(machine, [(1024, 512)], lambda frame: frame._replace(owner=2))
    found = [(part.start, part.nr, states.first) for part, states in uniform_parts(machine, huge)]
    plain, other = A._replace(order=9), B._replace(order=9)
    pinned = plain._replace(pins=1, flags=FrameFlag.MIXED)
    expected = [(0, 512, plain), (512, 512, pinned), (1024, 512, other), (1536, 512, plain)]
    assert found == expected
