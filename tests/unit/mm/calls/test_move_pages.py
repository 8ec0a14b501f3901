"""move_pages: the look-up, the loop, the queries."""

from random import Random

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.why import Stay, Why, merged
from pymigrate.mm.calls.move_pages import MIN_PAGES, MovePagesResult, Plan
from pymigrate.mm.state.machine import Machine, watching
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls.cpuset import attach_task, create
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.mempolicy import set_mempolicy
from pymigrate.syscalls.migrate import move_pages
from pymigrate.syscalls.mmap import mprotect
from pymigrate.syscalls.process import fork, touch
from tests.conftest import (
    PAGE,
    four_nodes,
    hold,
    mapped,
    new_file,
    nodes_of,
    pfn_at,
    placed_on,
    touched,
    two_nodes,
)
from tests.property.invariants import check
from tests.unit.mm.conftest import file_mapped, with_task

EPERM, ENOENT, EACCES, EFAULT, EBUSY = -1, -2, -13, -14, -16
MOVE, MOVE_ALL = 2, 4


def move(
    machine: Machine,
    task: Task,
    addr: int,
    pages: list[int],
    nodes: list[int] | int | None,
    flags: int = MOVE,
) -> tuple[int | str, list[int | None]]:
    """The return value (or errno) and the status array."""
    wanted = [nodes] * len(pages) if isinstance(nodes, int) else nodes
    addrs = [addr + page * PAGE for page in pages]
    result = move_pages(machine, task, task, addrs, wanted, flags)
    assert isinstance(result, MovePagesResult)
    check(machine)
    return result.errno or result.ret, result.status


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("is_unique", [True, False], ids=["once", "twice"])
@pytest.mark.parametrize("has_child", [False, True], ids=["alone", "shared"])
def test_many_pages_come_to_the_same_as_when_each_is_watched(
    seed: int, is_unique: bool, has_child: bool
) -> None:
    found = []
    for is_watched in (False, True):
        rnd = Random(seed)
        machine, task = with_task(four_nodes())
        addr = mapped(machine, task, "1MiB")
        for page in rnd.sample(range(256), 200):
            with placed_on(task, rnd.randrange(3)):
                touch(machine, task, addr + page * PAGE, PAGE, write=rnd.random() < 0.9)
        if has_child:
            fork(machine, task, "child")
        pages = rnd.sample(range(256), 180) if is_unique else rnd.choices(range(256), k=180)
        assert len(pages) > MIN_PAGES
        nodes = rnd.choices(range(4), k=180)
        machine.watch = Watch([] if is_watched else None)
        moved = [move(machine, task, addr, pages, nodes), move(machine, task, addr, pages, 3)]
        free = [node.nr_free for node in machine.nodes.values()]
        found.append((moved, nodes_of(machine, task, addr, "1MiB"), free, machine.counters))
    assert found[0] == found[1]


def test_the_loop_is_not_played_where_no_status_depends_on_another(
    machine: Machine, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def isolate(*args: object) -> None:
        pytest.fail("a page was looked at alone")

    monkeypatch.setattr(Plan, "isolate", isolate)
    addr = touched(machine, task, "400KiB")
    assert move(machine, task, addr, [*range(100), 200], 1) == (0, [1] * 100 + [EFAULT])


def test_device_memory_is_efault(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    task.mm.vmas[0].flags |= Vm.IO
    assert move(machine, task, addr, [0], 1) == (0, [EFAULT])


@pytest.mark.parametrize(("kernel", "anonymous"), [("6.12", ENOENT), ("6.1", EFAULT)])
def test_an_absent_page_is_enoent(kernel: str, anonymous: int) -> None:
    machine, task = with_task(two_nodes(kernel=kernel))
    addr = mapped(machine, task, "4KiB")
    for nodes in ([0], None):
        assert move(machine, task, addr, [0], nodes) == (0, [anonymous])
    assert move(machine, task, file_mapped(machine, task, "4KiB"), [0], 1) == (0, [ENOENT])


@pytest.mark.parametrize(("kernel", "status"), [("6.12", 1), ("6.1", ENOENT)])
def test_prot_none_memory_moves_since_6_2(kernel: str, status: int) -> None:
    machine, task = with_task(two_nodes(kernel=kernel))
    addr = touched(machine, task, "4KiB")
    mprotect(machine, task, addr, PAGE, "none")
    assert move(machine, task, addr, [0], 1) == (0, [status])


def test_a_page_in_place_gives_its_node_even_if_it_is_shared(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    fork(machine, task, "b")
    assert move(machine, task, addr, [0], 0) == (0, [0])


@pytest.mark.parametrize(("flags", "status"), [(MOVE, EACCES), (MOVE_ALL, 1)])
def test_a_file_page_mapped_twice(machine: Machine, task: Task, flags: int, status: int) -> None:
    file = new_file(machine, "4KiB")
    addr = touched(machine, task, "4KiB", space=file, is_shared=True)
    touched(machine, task, "4KiB", space=file, is_shared=True)
    assert move(machine, task, addr, [0], 1, flags) == (0, [status])


def test_flags_0_mean_move(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    assert move(machine, task, addr, [0], 1, 0) == (0, [1])


@pytest.mark.parametrize(
    ("pages", "nodes", "answer"),
    [
        pytest.param([], 1, (0, []), id="nothing"),
        pytest.param([2, 2], 1, (0, [1, EBUSY]), id="the same page twice in a row"),
        pytest.param([2, 3, 2], 1, (0, [1, 1, EBUSY]), id="with another between"),
        pytest.param([2, 2, 3], [0, 1, 0], (0, [0, 1, 0]), id="each answer is true when given"),
        pytest.param([0, 1, 2, 3], [1, 1, 0, 0], (0, [1, 1, 0, 0]), id="some are in place"),
        pytest.param([0, 1], [1, 9], ("ENODEV", [1, None]), id="a node that does not exist"),
        pytest.param([0, 1], [1, -1], ("ENODEV", [1, None]), id="a negative node"),
        pytest.param([0, 1], [1024, 1], ("ENODEV", [None, None]), id="a node beyond all"),
        pytest.param(
            [0, 1, 2, 3, 4, 5, 6, 7],
            [1, 0, 1, 1, 0, 9, 1, 1],
            ("ENODEV", [1, 0, 1, 1, 0, None, None, None]),
            id="some done before the node that does not exist",
        ),
        pytest.param([3, 1, 3], [1, 1, 0], (0, [1, 1, 0]), id="there and back"),
        pytest.param([0, 20, -1, 1], 1, (0, [1, EFAULT, EFAULT, 1]), id="some outside"),
    ],
)
def test_statuses_of_pages_on_node_0(
    machine: Machine,
    task: Task,
    pages: list[int],
    nodes: list[int] | int,
    answer: tuple[int | str, list[int | None]],
) -> None:
    addr = touched(machine, task, "32KiB")
    assert move(machine, task, addr, pages, nodes) == answer


def test_a_pinned_page_fails_its_batch_without_a_status(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "40KiB")
    hold(machine, task, addr + 3 * PAGE)
    assert move(machine, task, addr, list(range(10)), 1) == (1, [None] * 10)
    assert nodes_of(machine, task, addr, "40KiB") == [[3, 1], [1, 0], [6, 1]]


def test_pages_behind_a_failed_batch_count_and_stay(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "40KiB")
    touch(machine, task, addr, 5 * PAGE)
    touch(machine, task, addr + 6 * PAGE, 4 * PAGE)
    hold(machine, task, addr + 3 * PAGE)
    answer = move(machine, task, addr, list(range(10)), 1)
    assert answer == (5, [None] * 5 + [ENOENT] + [None] * 4)
    assert nodes_of(machine, task, addr + 6 * PAGE, "16KiB") == [[4, 0]]


def test_a_page_in_place_ends_the_batch_that_fails(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "64KiB")
    assert move(machine, task, addr, list(range(4, 16)), 1) == (0, [1] * 12)
    hold(machine, task, addr, 4)
    answer = move(machine, task, addr, list(range(16)), 1)
    assert answer == (15, [None] * 4 + [1] + [None] * 11)


def test_a_new_target_ends_the_batch_that_fails(machine: Machine) -> None:
    machine, task = with_task(four_nodes())
    addr = touched(machine, task, "16KiB")
    hold(machine, task, addr)
    assert move(machine, task, addr, [0, 1, 2, 3], [1, 1, 2, 2]) == (3, [None] * 4)


def test_shared_and_pinned_pages_in_turn(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    child = fork(machine, task, "b")
    touch(machine, child, addr + PAGE, PAGE)
    touch(machine, child, addr + 3 * PAGE, PAGE)
    hold(machine, task, addr + PAGE)
    assert move(machine, task, addr, [0, 1, 2, 3], 1) == (2, [EACCES, None, EACCES, None])


def test_a_node_that_the_targets_cpuset_forbids_is_eacces(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    shell = machine.shell_of(0)
    create(machine, shell, "low", Cpumask(), Nodemask.of(0), memory_migrate=False)
    attach_task(machine, shell, task, "low")
    assert move(machine, task, addr, [0, 1], [0, 1]) == ("EACCES", [0, None])


def test_a_node_that_the_callers_cpuset_forbids_is_enomem(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    task.mems_allowed = Nodemask.of(0)
    assert move(machine, task, addr, [0, 1], 1) == ("ENOMEM", [None, None])
    assert machine.counters["pgmigrate_fail"] == 1


def test_a_full_target_is_enomem_with_what_moved_moved(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "1MiB")
    touched(machine, task, "3MiB", node=1)
    assert move(machine, task, addr, list(range(256)), 1) == ("ENOMEM", [None] * 256)
    assert nodes_of(machine, task, addr, "1MiB") == [[211, 1], [45, 0]]
    assert machine.counters["pgmigrate_fail"] == 1


@pytest.mark.parametrize("size", [10, 100], ids=["short", "long"])
class TestListsOfAnyLength:
    """Long lists are played through first: they must answer as the loop does."""

    def test_all_move(self, machine: Machine, task: Task, size: int) -> None:
        addr = touched(machine, task, "400KiB")
        assert move(machine, task, addr, list(range(size)), 1) == (0, [1] * size)
        expected = [[size, 1], [100 - size, 0]] if size < 100 else [[100, 1]]
        assert nodes_of(machine, task, addr, "400KiB") == expected
        assert machine.counters["pgmigrate_success"] == size

    def test_each_to_its_node(self, machine: Machine, task: Task, size: int) -> None:
        addr = touched(machine, task, "400KiB")
        nodes = [i % 2 for i in range(size)]
        assert move(machine, task, addr, list(range(size)), nodes) == (0, nodes)

    def test_twice_in_a_row(self, machine: Machine, task: Task, size: int) -> None:
        addr = touched(machine, task, "400KiB")
        pages = [i // 2 for i in range(size)]
        assert move(machine, task, addr, pages, 1) == (0, [1, EBUSY] * (size // 2))

    def test_there_and_back(self, machine: Machine, task: Task, size: int) -> None:
        addr = touched(machine, task, "400KiB")
        pages = [*range(size // 2), *range(size // 2)]
        nodes = [1] * (size // 2) + [0] * (size // 2)
        assert move(machine, task, addr, pages, nodes) == (0, nodes)
        assert machine.counters["pgmigrate_success"] == size

    def test_with_holes(self, machine: Machine, task: Task, size: int) -> None:
        addr = mapped(machine, task, "400KiB")
        touch(machine, task, addr, 400 << 10, stride=2 * PAGE)
        touch(machine, task, addr + PAGE, PAGE, write=False)
        status = [1, EFAULT] + [1, ENOENT] * (size // 2 - 1)
        assert move(machine, task, addr, list(range(size)), 1) == (0, status)

    def test_outside_of_all_memory(self, machine: Machine, task: Task, size: int) -> None:
        addr = touched(machine, task, "16KiB")
        status = [EFAULT] + [1] * 4 + [EFAULT] * (size - 5)
        assert move(machine, task, addr, list(range(-1, size - 1)), 1) == (0, status)

    def test_shared(self, machine: Machine, task: Task, size: int) -> None:
        addr = touched(machine, task, "400KiB")
        child = fork(machine, task, "b")
        touch(machine, child, addr, 400 << 10, stride=2 * PAGE)
        assert move(machine, task, addr, list(range(size)), 1) == (0, [1, EACCES] * (size // 2))

    def test_shared_with_move_all(self, machine: Machine, task: Task, size: int) -> None:
        addr = touched(machine, task, "400KiB")
        child = fork(machine, task, "b")
        assert move(machine, task, addr, list(range(size)), 1, MOVE_ALL) == (0, [1] * size)
        assert nodes_of(machine, child, addr, f"{size * 4}KiB") == [[size, 1]]

    def test_held(self, machine: Machine, task: Task, size: int) -> None:
        addr = touched(machine, task, "400KiB")
        hold(machine, task, addr + 5 * PAGE)
        assert move(machine, task, addr, list(range(size)), 1) == (1, [None] * size)
        assert machine.counters["pgmigrate_success"] == size - 1

    def test_no_such_node(self, machine: Machine, task: Task, size: int) -> None:
        addr = touched(machine, task, "400KiB")
        nodes = [1] * (size - 1) + [7]
        answer = ("ENODEV", [1] * (size - 1) + [None])
        assert move(machine, task, addr, list(range(size)), nodes) == answer

    def test_files_pages(self, machine: Machine, task: Task, size: int) -> None:
        file = new_file(machine, "400KiB")
        addr = touched(machine, task, "400KiB", space=file, is_shared=True)
        assert move(machine, task, addr, list(range(size)), 1) == (0, [1] * size)

    def test_scattered_tables(self, machine: Machine, task: Task, size: int) -> None:
        addr = mapped(machine, task, "400KiB")
        order = [i * 37 % 100 for i in range(100)]
        for page in order:
            touch(machine, task, addr + page * PAGE, PAGE)
        assert move(machine, task, addr, order[:size], 1) == (0, [1] * size)

    def test_several_vmas_clean_and_dirty(self, machine: Machine, task: Task, size: int) -> None:
        addr = touched(machine, task, "400KiB")
        mprotect(machine, task, addr + 3 * PAGE, 2 * PAGE, "r")
        madvise(machine, task, addr + 6 * PAGE, PAGE, Madv.FREE)
        assert move(machine, task, addr, list(range(size)), 1) == (0, [1] * size)


def test_a_query_moves_nothing(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    touch(machine, task, addr, PAGE)
    touch(machine, task, addr + PAGE, PAGE, write=False)
    assert move(machine, task, addr, [0, 1, 2, 9], None) == (0, [0, EFAULT, ENOENT, EFAULT])
    assert machine.lru_batches  # not even drained


def test_a_query_looks_into_prot_none_and_device_memory(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB", node=1)
    mprotect(machine, task, addr, 2 * PAGE, "none")
    task.mm.vmas[0].flags |= Vm.PFNMAP
    assert move(machine, task, addr, [0, 1], None) == (0, [1, 1])


def test_a_long_list_picks_pages_from_an_interleaved_range(machine: Machine, task: Task) -> None:
    set_mempolicy(machine, task, 3, Nodemask.of(0, 1))
    addr = mapped(machine, task, "1200KiB")
    touch(machine, task, addr, 1200 << 10)
    pages = list(range(0, 300, 3))
    assert move(machine, task, addr, pages, 1) == (0, [1] * 100)
    assert nodes_of(machine, task, addr, "24KiB") == [[2, 1], [1, 0], [1, 1], [1, 0], [1, 1]]


@pytest.mark.parametrize("nr", [3, 100])
def test_shared_pages_that_stay_are_noted(machine: Machine, task: Task, nr: int) -> None:
    addr = touched(machine, task, f"{nr * 4}KiB")
    fork(machine, task, "child")
    left: list[Stay] = []
    with watching(machine, Watch(left=left)):
        assert move(machine, task, addr, list(range(nr)), 1) == (0, [EACCES] * nr)

    assert merged(left) == [Stay(pfn_at(task, addr), nr, Why.SHARED)]
