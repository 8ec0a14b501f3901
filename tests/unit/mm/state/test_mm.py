"""VMAs of an address space: found, split, merged, removed."""

import pytest

from pymigrate.mm.base.release import RELEASES
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.nodemask import Nodemask
from pymigrate.uapi import MPOL

RW = Vm.READ | Vm.WRITE
R612 = RELEASES["6.12"]
BIND = Mempolicy(MPOL.BIND, 0, Nodemask.of(1), Nodemask.of(0, 1))


def mm_with(*ranges: tuple[int, int], anon_vmas: tuple[int, ...] = ()) -> Mm:
    """Private writable VMAs that have not been merged."""
    mm = Mm(1, 1)
    for i, (a, b) in enumerate(ranges):
        mm.vmas.append(Vma(a, b, RW, a, anon_vma=anon_vmas[i] if anon_vmas else 0))
    return mm


def layout(mm: Mm) -> list[tuple[int, int]]:
    return [(vma.start, vma.end) for vma in mm.vmas]


def set_policy(mm: Mm, a: int, b: int, policy: Mempolicy | None) -> Vma:
    """What mbind() does to the one VMA of [a, b)."""
    (vma,) = mm.vmas_between(a, b)
    new = vma.part(a, b)
    new.policy = policy
    return mm.modify(R612, vma, a, b, new)


def test_find_vma_finds_what_contains_a_page() -> None:
    mm = mm_with((10, 20), (20, 25))
    lower, upper = mm.vmas
    assert [mm.find_vma(page) for page in (9, 10, 19)] == [None, lower, lower]
    assert [mm.find_vma(page) for page in (20, 25)] == [upper, None]


@pytest.mark.parametrize(
    ("a", "b", "parts"),
    [
        (0, 10, []),
        (0, 11, [(10, 11)]),
        (12, 14, [(12, 14)]),
        (19, 31, [(19, 20), (20, 25), (30, 31)]),
        (25, 30, []),
        (40, 50, []),
    ],
)
def test_parts_of_a_range(a: int, b: int, parts: list[tuple[int, int]]) -> None:
    mm = mm_with((10, 20), (20, 25), (30, 40))
    assert [(start, end) for _, start, end in mm.parts(a, b)] == parts


@pytest.mark.parametrize(
    ("a", "b", "answer"),
    [
        (10, 25, False),
        (9, 12, True),
        (12, 26, True),
        (22, 31, True),
        (35, 41, True),
        (31, 40, False),
    ],
)
def test_holes(a: int, b: int, answer: bool) -> None:
    assert mm_with((10, 20), (20, 25), (30, 40)).has_hole(a, b) is answer


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        pytest.param((20, 30), [(10, 40)], id="fills a gap"),
        pytest.param((20, 25), [(10, 25), (30, 40)], id="grows the lower"),
        pytest.param((25, 30), [(10, 20), (25, 40)], id="grows the upper"),
        pytest.param((22, 28), [(10, 20), (22, 28), (30, 40)], id="stands alone"),
        pytest.param((0, 5), [(0, 5), (10, 20), (30, 40)], id="below"),
    ],
)
def test_a_new_mapping_merges_with_its_neighbours(
    new: tuple[int, int], expected: list[tuple[int, int]]
) -> None:
    mm = mm_with((10, 20), (30, 40))
    vma = mm.insert(R612, Vma(new[0], new[1], RW, new[0]))
    assert layout(mm) == expected
    assert vma in mm.vmas
    assert all(vma.pgoff == vma.start for vma in mm.vmas)


def test_neighbours_with_different_anon_vmas_are_not_bridged() -> None:
    mm = mm_with((10, 20), (30, 40), anon_vmas=(5, 6))
    mm.insert(R612, Vma(20, 30, RW, 20))
    assert layout(mm) == [(10, 30), (30, 40)]


@pytest.mark.parametrize("anon_vmas", [(5, 0), (0, 5), (5, 5)])
def test_neighbours_are_bridged_if_one_has_no_anon_vma(anon_vmas: tuple[int, int]) -> None:
    mm = mm_with((10, 20), (30, 40), anon_vmas=anon_vmas)
    mm.insert(R612, Vma(20, 30, RW, 20))
    assert layout(mm) == [(10, 40)]
    assert mm.vmas[0].anon_vma == 5


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (10, 40, [(10, 40)]),
        (10, 20, [(10, 20), (20, 40)]),
        (30, 40, [(10, 30), (30, 40)]),
        (20, 30, [(10, 20), (20, 30), (30, 40)]),
    ],
)
def test_a_changed_part_is_split_off(a: int, b: int, expected: list[tuple[int, int]]) -> None:
    mm = mm_with((10, 40))
    vma = set_policy(mm, a, b, BIND)
    assert layout(mm) == expected
    assert (vma.start, vma.end, vma.policy, vma.pgoff) == (a, b, BIND, a)


@pytest.mark.parametrize(
    ("first", "anon_vmas", "then", "expected"),
    [
        pytest.param((20, 30, BIND), (5, 5, 5), (20, 30, None), [(10, 40)], id="restored"),
        pytest.param((30, 40, BIND), (0, 0), (20, 30, BIND), [(10, 20), (20, 40)], id="at its end"),
        pytest.param((10, 20, BIND), (0, 0), (20, 30, BIND), [(10, 30), (30, 40)], id="its start"),
        pytest.param(
            (20, 40, BIND), (5, 6), (20, 40, None), [(10, 20), (20, 40)], id="both touched"
        ),
        pytest.param(
            (20, 40, BIND), (0, 5), (20, 40, None), [(10, 20), (20, 40)], id="it is touched"
        ),
        pytest.param((20, 40, BIND), (5, 0), (20, 40, None), [(10, 40)], id="the other is touched"),
    ],
)
def test_a_part_goes_over_to_a_neighbour_that_is_alike(
    first: tuple[int, int, Mempolicy],
    anon_vmas: tuple[int, ...],
    then: tuple[int, int, Mempolicy | None],
    expected: list[tuple[int, int]],
) -> None:
    mm = mm_with((10, 40))
    set_policy(mm, *first)
    for vma, anon_vma in zip(mm.vmas, anon_vmas, strict=True):
        vma.anon_vma = anon_vma
    changed = set_policy(mm, *then)
    assert layout(mm) == expected
    assert changed in mm.vmas
    assert all(vma.pgoff == vma.start for vma in mm.vmas)
    assert mm.vmas[0].anon_vma == anon_vmas[0]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        pytest.param(10, 40, [], id="all"),
        pytest.param(10, 20, [(20, 30), (30, 40)], id="the start"),
        pytest.param(15, 18, [(10, 15), (18, 30), (30, 40)], id="the middle"),
        pytest.param(25, 35, [(10, 25), (35, 40)], id="over two"),
        pytest.param(0, 99, [], id="more than there is"),
    ],
)
def test_remove_cuts_a_hole(a: int, b: int, expected: list[tuple[int, int]]) -> None:
    mm = mm_with((10, 30), (30, 40))
    mm.remove(a, b)
    assert layout(mm) == expected
    assert all(vma.pgoff == vma.start for vma in mm.vmas)


def test_no_vma_meets_an_empty_range() -> None:
    mm = Mm(1, 1, [Vma(0, 8, Vm.READ, 0)])
    assert mm.vmas_between(4, 4) == []
    assert list(mm.parts(4, 4)) == []


def test_a_mapping_may_stay_apart() -> None:
    mm = mm_with((10, 20))
    mm.add(Vma(20, 30, RW, 20))
    assert layout(mm) == [(10, 20), (20, 30)]


def test_page_tables_go_with_the_last_mapping_of_their_block() -> None:
    mm = mm_with((0, 600), (600, 2048))
    mm.note_tables([(0, 2048)])
    left = []
    for a, b in [(600, 1024), (0, 600), (1536, 1540)]:
        mm.remove(a, b)
        left += [tuple(extent) for extent in mm.tables.runs]
    assert left == [(0, 2048), (1024, 1024), (1024, 1024)]
