"""What is noted of a migration while somebody asks: what takes time, and what stays and why."""

from collections.abc import Callable

import pytest

from pymigrate.mm.base.memmap import Busy
from pymigrate.mm.base.why import Why, merged
from pymigrate.mm.frames.busy import begin
from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.state.cost import Tally
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.mmap import memfd_secret, mprotect, munmap
from pymigrate.syscalls.process import fork
from tests.conftest import PAGE, hold, new_task, pfn_at, touched, two_nodes
from tests.unit.mm.conftest import with_task

Setting = Callable[[Machine, Task], object]


def plain(machine: Machine, task: Task) -> int:
    return touched(machine, task, "16KiB")


def held(pins: int) -> Setting:
    return lambda machine, task: hold(machine, task, plain(machine, task), pins=pins)


def busy(kind: Busy, passes: int) -> Setting:
    return lambda machine, task: begin(
        machine, pfn_at(task, plain(machine, task)), kind, passes=passes
    )


def forked(machine: Machine, task: Task) -> None:
    plain(machine, task)
    fork(machine, fork(machine, task, "b"), "c")


def huge(machine: Machine, task: Task) -> int:
    machine.thp = "always"
    return touched(machine, task, "2MiB")


def by_pages(machine: Machine, task: Task) -> None:
    mprotect(machine, task, huge(machine, task), PAGE, "r")


def in_part(machine: Machine, task: Task) -> None:
    munmap(machine, task, huge(machine, task) + PAGE, 511 * PAGE)


def pool(machine: Machine, task: Task) -> int:
    set_nr_hugepages(machine, 1, 0)
    return touched(machine, task, "2MiB", hugetlb=True)


def full(setting: Setting) -> Setting:
    def fill(machine: Machine, task: Task) -> None:
        setting(machine, task)
        machine.thp = "never"
        touched(machine, new_task(machine, "other"), "15488KiB", node=1)

    return fill


def secret(machine: Machine, task: Task) -> None:
    touched(machine, task, "4KiB", space=memfd_secret(machine, PAGE), is_shared=True)


@pytest.mark.parametrize(
    ("setting", "moved", "expected", "stays"),
    [
        pytest.param(plain, 4, {"flushes": 1}, [], id="plain"),
        pytest.param(held(1), 3, {"flushes": 1, "attempts": 10}, [(1, Why.PINNED)], id="pinned"),
        pytest.param(held(0), 3, {"flushes": 2, "attempts": 10}, [(1, Why.HELD)], id="held"),
        pytest.param(busy(Busy.LOCKED, 2), 4, {"flushes": 1, "attempts": 2}, [], id="locked"),
        pytest.param(busy(Busy.WRITEBACK, 2), 4, {"flushes": 2, "attempts": 1}, [], id="written"),
        pytest.param(
            forked, 4, {"flushes": 1, "flushed_cpus": 2, "ptes": 8}, [], id="shared by three"
        ),
        pytest.param(huge, (1, 0), {"flushes": 1}, [], id="huge"),
        pytest.param(by_pages, (1, 512), {"flushes": 2}, [], id="huge, by pages"),
        pytest.param(in_part, 1, {"flushes": 1, "splits": 1}, [], id="huge, in part"),
        pytest.param(pool, (1, 0), {"flushes": 1}, [], id="hugetlb"),
        pytest.param(secret, 0, {"flushes": 2, "attempts": 2}, [(1, Why.SECRET)], id="secret"),
        pytest.param(
            full(huge),
            134,
            {"flushes": 1, "splits": 1},
            [(377, Why.ENDED), (1, Why.FULL)],
            id="huge, on a full node",
        ),
    ],
)
@pytest.mark.parametrize("is_watched", [False, True], ids=["alone", "watched"])
def test_what_a_call_comes_to(
    setting: Setting,
    moved: int | tuple[int, int],
    expected: dict[str, int],
    stays: list[tuple[int, Why]],
    is_watched: bool,
) -> None:
    machine, task = with_task(two_nodes("16MiB"))
    setting(machine, task)
    tally = Tally(**expected)
    if isinstance(moved, tuple):
        tally.folios[0, 1, 9], tally.ptes = moved
    elif moved:
        tally.pages[0, 1] = moved
    machine.watch = Watch([] if is_watched else None, tally=Tally(), left=[])
    migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1))
    assert machine.watch.tally == tally
    assert [(stay.nr, stay.why) for stay in merged(machine.watch.left or [])] == stays
