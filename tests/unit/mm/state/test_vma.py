"""What makes two VMAs one."""

import pytest

from pymigrate.mm.base.release import RELEASES
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.vma import (
    Vm,
    Vma,
    can_join,
    is_migratable,
    joined_anon_vma,
    prepare_anon_vma,
)
from pymigrate.nodemask import Nodemask
from pymigrate.records import replaced
from pymigrate.uapi import MPOL

RW = Vm.READ | Vm.WRITE
LOWER, UPPER = Vma(10, 20, RW, 10), Vma(20, 30, RW, 20)
FILE, NEXT = Vma(10, 20, RW, 0, space=1), Vma(20, 30, RW, 10, space=1)
BIND = Mempolicy(MPOL.BIND, 0, Nodemask.of(1), Nodemask.of(0, 1))
AT_HOME = BIND._replace(home_node=0)


def joins(lower: Vma, upper: Vma, kernel: str = "6.12") -> bool:
    """Whether *lower*, which was changed, can be taken over by *upper*."""
    return can_join(RELEASES[kernel], lower, upper, lower, upper)


@pytest.mark.parametrize(
    ("lower", "upper", "answer"),
    [
        pytest.param(LOWER, UPPER, True, id="alike"),
        pytest.param(LOWER, replaced(UPPER, start=21, pgoff=21), False, id="not adjacent"),
        pytest.param(LOWER, replaced(UPPER, flags=Vm.READ), False, id="flags"),
        pytest.param(FILE, NEXT, True, id="one file"),
        pytest.param(FILE, replaced(NEXT, space=2), False, id="two files"),
        pytest.param(FILE, replaced(NEXT, pgoff=11), False, id="offset"),
        pytest.param(LOWER, replaced(UPPER, policy=BIND), False, id="a policy and none"),
        pytest.param(
            replaced(LOWER, policy=BIND), replaced(UPPER, policy=BIND), True, id="policies"
        ),
        pytest.param(
            replaced(LOWER, policy=BIND), replaced(UPPER, policy=AT_HOME), False, id="home nodes"
        ),
        *[
            pytest.param(
                replaced(LOWER, flags=RW | flag), replaced(UPPER, flags=RW | flag), False, id=name
            )
            for name, flag in (
                ("VM_IO", Vm.IO),
                ("VM_DONTEXPAND", Vm.DONTEXPAND),
                ("VM_PFNMAP", Vm.PFNMAP),
                ("VM_MIXEDMAP", Vm.MIXEDMAP),
            )
        ],
    ],
)
def test_what_must_agree(lower: Vma, upper: Vma, answer: bool) -> None:
    assert joins(lower, upper) is answer


@pytest.mark.parametrize(
    ("changed", "neighbour", "answer", "answer_7_2"),
    [
        pytest.param((0, False), (0, False), True, True, id="both none"),
        pytest.param((5, False), (5, False), True, True, id="the same"),
        pytest.param((5, False), (6, False), False, False, id="different ones"),
        pytest.param((0, False), (5, False), True, True, id="none beside one"),
        pytest.param((0, False), (5, True), False, False, id="none beside one that was forked"),
        pytest.param((5, False), (0, False), False, True, id="one beside none"),
        pytest.param((5, True), (0, False), False, False, id="a forked one beside none"),
    ],
)
def test_anon_vmas_must_be_compatible(
    changed: tuple[int, bool], neighbour: tuple[int, bool], answer: bool, answer_7_2: bool
) -> None:
    lower = replaced(LOWER, anon_vma=changed[0], anon_chained=changed[1])
    upper = replaced(UPPER, anon_vma=neighbour[0], anon_chained=neighbour[1])
    assert joins(lower, upper) is answer
    assert joins(lower, upper, "7.2") is answer_7_2


def test_who_is_taken_over_brings_its_anon_vma() -> None:
    keeper, gone = replaced(LOWER), replaced(UPPER, anon_vma=5, anon_chained=True)
    joined_anon_vma(keeper, gone)
    assert (keeper.anon_vma, keeper.anon_chained) == (5, True)
    joined_anon_vma(keeper, replaced(UPPER, anon_vma=6))
    assert keeper.anon_vma == 5


@pytest.mark.parametrize(
    ("neighbour", "anon_vma"),
    [
        pytest.param(replaced(UPPER, anon_vma=5), 5, id="like it"),
        pytest.param(replaced(UPPER, anon_vma=5, flags=Vm.READ), 5, id="other protection"),
        pytest.param(replaced(UPPER, anon_vma=5, flags=RW | Vm.LOCKED), 9, id="other flags"),
        pytest.param(replaced(UPPER, anon_vma=5, policy=BIND), 9, id="other policy"),
        pytest.param(replaced(UPPER, anon_vma=5, pgoff=3), 9, id="other offset"),
        pytest.param(replaced(UPPER, anon_vma=5, space=3), 9, id="a file"),
        pytest.param(replaced(UPPER, anon_vma=5, anon_chained=True), 9, id="went through fork"),
        pytest.param(UPPER, 9, id="has none"),
        pytest.param(Vma(0, 10, RW, 0, anon_vma=5), 5, id="below"),
    ],
)
def test_anon_vma_is_borrowed_from_a_neighbour_that_could_be_merged(
    neighbour: Vma, anon_vma: int
) -> None:
    vma = replaced(LOWER)
    assert prepare_anon_vma(vma, [neighbour], 9) is (anon_vma == 9)
    assert vma.anon_vma == anon_vma


def test_the_next_neighbour_is_asked_first() -> None:
    vma = replaced(LOWER)
    prepare_anon_vma(vma, [replaced(UPPER, anon_vma=5), Vma(0, 10, RW, 0, anon_vma=6)], 9)
    assert vma.anon_vma == 5


@pytest.mark.parametrize(("flag", "answer"), [(0, True), (Vm.IO, False), (Vm.PFNMAP, False)])
def test_device_memory_is_not_migratable(flag: int, answer: bool) -> None:
    assert is_migratable(replaced(LOWER, flags=RW | flag)) is answer


def test_a_part_keeps_its_place_in_the_object() -> None:
    part = NEXT.part(23, 25)
    assert (part.start, part.end, part.pgoff, part.index(24), part.nr) == (23, 25, 13, 14, 2)
    assert (part.is_anonymous, LOWER.is_anonymous) == (False, True)
    assert (replaced(part, flags=Vm.SHARED).is_shared, part.is_shared) == (True, False)
