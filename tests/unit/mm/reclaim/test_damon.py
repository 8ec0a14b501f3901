"""DAMON's migrate_hot and migrate_cold: which pages a scheme takes, and where they go."""

import pytest

from pymigrate.mm.reclaim.damon import Action, Kind, Scheme
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.damon import apply_to_node, apply_to_range
from pymigrate.syscalls.mmap import mlock, munmap
from pymigrate.syscalls.process import fork, touch
from pymigrate.syscalls.reclaim import reclaim
from pymigrate.units import PAGE_SIZE, parse_size
from tests.conftest import (
    errno_of,
    four_nodes,
    hold,
    mapped,
    new_file,
    new_task,
    nodes_of,
    nodes_with,
    touched,
    two_nodes,
)
from tests.property.invariants import check
from tests.unit.mm.conftest import with_task

COLD = Scheme(Action.MIGRATE_COLD, 1)


def on_node(machine: Machine, node: int = 0, scheme: Scheme = COLD) -> int:
    moved = apply_to_node(machine, machine.shell_of(0), scheme, node)
    check(machine)
    return moved


def on_range(machine: Machine, task: Task, addr: int, size: str, scheme: Scheme = COLD) -> int:
    moved = apply_to_range(machine, machine.shell_of(0), scheme, task, addr, parse_size(size))
    check(machine)
    return moved


def looked_at(machine: Machine, task: Task) -> None:
    """Let nothing that *task* maps be young."""
    nothing = COLD._replace(excluded=frozenset(Kind))
    apply_to_range(machine, machine.shell_of(0), nothing, task, 0, 1 << 47)


def test_folios_of_the_region_are_what_migrates(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4MiB")
    assert on_range(machine, task, addr + (1 << 20), "2MiB") == 512
    assert nodes_of(machine, task, addr, "4MiB") == [[256, 0], [512, 1], [256, 0]]
    assert machine.counters["pgmigrate_success"] == 512
    assert machine.nodes[0].numa["pgdemote_direct"] == 0
    assert not machine.lru_batches


def test_mode_is_async_and_reason_damon_one_list_for_each_node() -> None:
    machine, task = with_task(four_nodes())
    for nid in range(4):
        touched(machine, task, "16KiB", node=nid)
    machine.watch = Watch([])
    assert on_range(machine, task, 0, "127TiB") == 12
    starts = [e.text for e in machine.watch.events if e.name == "mm_migrate_pages_start"]
    assert starts == ["mode=MIGRATE_ASYNC reason=damon"] * 3


def test_node_is_a_region_with_page_cache_that_nobody_maps(machine: Machine) -> None:
    task, file = new_task(machine), new_file(machine, "1MiB", "ext4")
    cached = mapped(machine, task, "1MiB", space=file, prot="r")
    touch(machine, task, cached, 1 << 20, write=False)
    munmap(machine, task, cached, 1 << 20)
    touched(machine, task, "1MiB")
    assert on_node(machine) == 512
    assert {run.lanes[0] >> 32 for run in file.pages.runs} == {1}


def test_what_lies_on_the_target_is_untouched(machine: Machine) -> None:
    touched(machine, new_task(machine), "1MiB", node=1)
    machine.watch = Watch([])
    assert on_node(machine, 1) == 0
    assert machine.watch.events == []


def test_mlocked_and_shared_folios_move(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "1MiB")
    mlock(machine, task, addr, 1 << 19)
    child = fork(machine, task, "child")
    assert on_range(machine, task, addr, "1MiB") == 256
    assert nodes_of(machine, child, addr, "1MiB") == [[256, 1]]


def test_pinned_folio_stays_and_is_counted(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "64KiB")
    hold(machine, task, addr + 3 * PAGE_SIZE)
    assert apply_to_range(machine, machine.shell_of(0), COLD, task, addr, 1 << 16) == 15
    assert nodes_of(machine, task, addr, "64KiB") == [[3, 1], [1, 0], [12, 1]]
    assert machine.counters["pgmigrate_fail"] == 1


def test_only_the_target_will_do() -> None:
    machine = nodes_with("64MiB", "4MiB", "64MiB")
    addr = touched(machine, task := new_task(machine), "8MiB")
    [zone] = machine.nodes[1].zones
    room = zone.nr_free - zone.watermark_min
    assert on_range(machine, task, addr, "8MiB") == room
    assert nodes_of(machine, task, addr, "8MiB") == [[room, 1], [2048 - room, 0]]
    assert machine.counters["pgmigrate_fail"] == 1


@pytest.mark.parametrize(
    ("action", "first"), [(Action.MIGRATE_COLD, 0), (Action.MIGRATE_HOT, 1)], ids=["cold", "hot"]
)
def test_quota_begins_with_the_coldest_or_the_hottest(
    machine: Machine, task: Task, action: Action, first: int
) -> None:
    regions = [touched(machine, task, "1MiB"), touched(machine, task, "1MiB")]
    looked_at(machine, task)
    touch(machine, task, regions[1], 1 << 20, write=False)
    assert on_node(machine, 0, Scheme(action, 1, quota=300)) == 300
    assert nodes_of(machine, task, regions[first], "1MiB") == [[256, 1]]
    assert nodes_of(machine, task, regions[1 - first], "1MiB") == [[44, 1], [212, 0]]


@pytest.mark.parametrize(
    ("kind", "moved"),
    [
        pytest.param(Kind.YOUNG, [False, True, True], id="young"),
        pytest.param(Kind.OLD, [True, False, False], id="old"),
        pytest.param(Kind.ANON, [False, False, True], id="anon"),
        pytest.param(Kind.FILE, [True, True, False], id="file"),
    ],
)
def test_filters(machine: Machine, task: Task, kind: Kind, moved: list[bool]) -> None:
    hot, cold = touched(machine, task, "1MiB"), touched(machine, task, "1MiB")
    file = mapped(machine, task, "1MiB", space=new_file(machine, "1MiB", "ext4"), prot="r")
    touch(machine, task, file, 1 << 20, write=False)
    looked_at(machine, task)
    touch(machine, task, hot, 1 << 20, write=False)
    assert on_node(machine, 0, COLD._replace(excluded=frozenset({kind}))) == 256 * sum(moved)
    found = [nodes_of(machine, task, addr, "1MiB") for addr in (hot, cold, file)]
    assert found == [[[256, int(has)]] for has in moved]


def test_young_pages_are_not_young_once_a_filter_has_seen_them(machine: Machine) -> None:
    touched(machine, new_task(machine), "1MiB")
    scheme = COLD._replace(excluded=frozenset({Kind.YOUNG}))
    assert [on_node(machine, 0, scheme), on_node(machine, 0, scheme)] == [0, 256]


def test_huge_pages_move_whole(machine: Machine) -> None:
    machine.thp = "always"
    addr = touched(machine, task := new_task(machine), "8MiB")
    assert on_node(machine, 0, COLD._replace(quota=600)) == 1024
    assert nodes_of(machine, task, addr, "8MiB") == [[1024, 1], [1024, 0]]
    assert machine.counters["thp_migration_success"] == 2


def test_refusals_leave_all_as_it_was(machine: Machine) -> None:
    touched(machine, new_task(machine), "1MiB")
    user, root = new_task(machine, uid=5), machine.shell_of(0)
    assert errno_of(apply_to_node, machine, user, COLD, 0) == "EACCES"
    assert errno_of(apply_to_node, machine, root, COLD._replace(target=9), 0) == "EINVAL"
    assert errno_of(apply_to_node, machine, root, COLD, 9) == "EINVAL"
    assert machine.counters["pgmigrate_success"] == 0


def test_linux_6_1_has_no_such_schemes() -> None:
    machine = two_nodes(kernel="6.1")
    assert errno_of(apply_to_node, machine, machine.shell_of(0), COLD, 0) == "EINVAL"


def test_it_takes_no_tiers_and_no_reclaim(machine: Machine) -> None:
    touched(machine, new_task(machine), "1MiB")
    assert errno_of(reclaim, machine, machine.shell_of(0), 1 << 20) == "EAGAIN"
    assert on_node(machine) == 256
