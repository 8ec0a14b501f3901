"""Each CPU's batch of pages on their way to the LRU lists."""

import pytest

from pymigrate.mm.base.runs import Extent
from pymigrate.mm.frames.lru_batches import (
    folio_add_lru,
    forget,
    lru_add_drain,
    lru_add_drain_all,
    mlocked_pfns,
    waiting_pfns,
)
from pymigrate.mm.state.machine import Machine


@pytest.mark.parametrize(
    ("before", "nr", "left"),
    [
        (0, 20, 20),
        (0, 30, 30),
        (0, 31, 0),
        (0, 32, 1),
        (0, 1024, 1),
        (20, 10, 30),
        (20, 11, 0),
        (20, 12, 1),
    ],
)
def test_a_batch_is_emptied_at_31(machine: Machine, before: int, nr: int, left: int) -> None:
    folio_add_lru(machine, 0, before, list(range(before)))
    folio_add_lru(machine, 0, nr, list(range(100, 100 + nr)))
    assert len(waiting_pfns(machine)) == left


def test_the_last_pages_are_those_that_wait(machine: Machine) -> None:
    folio_add_lru(machine, 0, 33, list(range(33)))
    assert waiting_pfns(machine) == {31, 32}


def test_each_cpu_has_a_batch_of_its_own(machine: Machine) -> None:
    folio_add_lru(machine, 0, 20, list(range(20)))
    folio_add_lru(machine, 1, 20, list(range(50, 70)))
    lru_add_drain(machine, 0)
    assert waiting_pfns(machine) == set(range(50, 70))
    lru_add_drain_all(machine)
    assert waiting_pfns(machine) == set()


def test_mlocked_pages_wait_apart(machine: Machine) -> None:
    folio_add_lru(machine, 0, 20, list(range(20)))
    folio_add_lru(machine, 0, 20, list(range(50, 70)), is_mlocked=True)
    assert (len(waiting_pfns(machine)), len(mlocked_pfns(machine))) == (20, 20)


def test_pages_that_are_freed_wait_no_longer(machine: Machine) -> None:
    folio_add_lru(machine, 0, 5, [3, 4, 5, 6, 7])
    folio_add_lru(machine, 0, 2, [8, 9], is_mlocked=True)
    forget(machine, [Extent(0, 4), Extent(6, 1), Extent(9, 9)])
    assert (waiting_pfns(machine), mlocked_pfns(machine)) == ({4, 5, 7}, {8})
