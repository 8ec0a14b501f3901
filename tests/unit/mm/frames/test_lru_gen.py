"""The generation that a folio is in, as its frames remember it."""

import pytest

from pymigrate.mm.base.memmap import Frame, FrameFlag
from pymigrate.mm.frames.lru_gen import (
    added,
    arrived,
    in_generation,
    is_active,
    list_of,
    promoted,
    seq_of,
)
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import LruGen

ANON = Frame(1, FrameFlag.ANON | FrameFlag.SWAPBACKED, 1)
FILE = Frame(1, 0)


def test_new_memory_is_of_the_youngest_generation_of_a_new_machine(machine: Machine) -> None:
    assert added(machine, 0, ANON) == ANON
    assert (seq_of(LruGen(), ANON), list_of(LruGen(), ANON)) == (3, 3)


@pytest.mark.parametrize("youngest", range(3, 12))
def test_each_of_four_generations_is_told_apart(youngest: int) -> None:
    lrugen = LruGen(youngest, youngest - 3, youngest - 3)
    for seq in range(youngest - 3, youngest + 1):
        frame = in_generation(ANON, seq)
        assert (seq_of(lrugen, frame), list_of(lrugen, frame)) == (seq, seq)
        assert in_generation(frame, 3) == ANON


def test_what_is_promoted_stays_on_its_list() -> None:
    lrugen = LruGen(6, 3, 3)
    frame = promoted(in_generation(ANON, 4), 6)
    assert (seq_of(lrugen, frame), list_of(lrugen, frame)) == (6, 4)


@pytest.mark.parametrize(
    ("frame", "active", "lrugen", "seq"),
    [
        (ANON, True, LruGen(7, 4, 4), 7),
        (ANON, False, LruGen(7, 4, 4), 6),
        (FILE, True, LruGen(7, 4, 4), 7),
        (FILE, False, LruGen(7, 4, 4), 5),
        (FILE, False, LruGen(6, 4, 4), 4),  # of the oldest of three
    ],
)
def test_generation_of_what_comes_to_its_list(
    machine: Machine, frame: Frame, active: bool, lrugen: LruGen, seq: int
) -> None:
    machine.nodes[0].lrugen = lrugen
    assert seq_of(lrugen, added(machine, 0, frame, active)) == seq


def test_pages_of_pools_are_on_no_list(machine: Machine) -> None:
    machine.nodes[0].lrugen = LruGen(5, 3, 3)
    huge = Frame(1, FrameFlag.HUGETLB, order=9)
    assert added(machine, 0, huge) == huge


@pytest.mark.parametrize(("seq", "moved"), [(7, 9), (6, 9), (5, 8), (4, 8)])
def test_what_moves_is_the_youngest_there_if_it_was_active(
    machine: Machine, seq: int, moved: int
) -> None:
    machine.nodes[0].lrugen = here = LruGen(7, 4, 4)
    machine.nodes[1].lrugen = there = LruGen(9, 6, 6)
    frame = in_generation(ANON, seq)
    assert is_active(machine, 0, frame) == (seq >= here.max_seq - 1)
    old, new = (next(iter(machine.nodes[nid].zones)).start for nid in (0, 1))
    assert seq_of(there, arrived(machine, old, new, frame, is_reclaimed=False)) == moved
    assert seq_of(there, arrived(machine, old, new, frame, is_reclaimed=True)) == 8
