"""Promotion from slow memory: tiering mode, its threshold and its limit."""

import pytest

from pymigrate.mm.balance.promotion import decided_until, may_promote
from pymigrate.mm.balance.scan import task_numa_work
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.clock.access_sweep import Sweep, run_sweep
from pymigrate.mm.frames.frames import update_frames
from pymigrate.mm.frames.hot_pages import reset_memory_tiering
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.migrate import move_pages
from pymigrate.syscalls.process import touch
from tests.conftest import MIB, PAGE, new_task, nodes_of, nodes_with, touched
from tests.property.invariants import check
from tests.unit.mm.conftest import frame_at, huge

GIB_PAGES = 1 << 18


def tiered(size: str = "512MiB") -> Machine:
    """A machine in tiering mode, whose node 1 is slow and has no CPUs."""
    machine = nodes_with(size, size, cpus=("0", ""))
    machine.nodes[1].adistance = 3456
    machine.numa_balancing = 2
    return machine


@pytest.fixture
def machine() -> Machine:
    return tiered()


def set_knobs(machine: Machine, **knobs: int) -> None:
    machine.numa_knobs = machine.numa_knobs._replace(**knobs)


def scan(machine: Machine, task: Task, now: int = 5000) -> None:
    """Let *task* scan at that time."""
    machine.now = now
    task_numa_work(machine, task)


def promoted(machine: Machine) -> tuple[int, int]:
    """Candidates and promotions on node 0."""
    numa = machine.nodes[0].numa
    return numa["pgpromote_candidate"], numa["pgpromote_success"]


def test_slow_pages_that_are_used_at_once_are_promoted(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8MiB", node=1)
    machine.counters.clear()
    touch(machine, task, addr, 8 * MIB, seconds=1.1)
    check(machine)
    for name in ("numa_pte_updates", "numa_hint_faults", "numa_pages_migrated"):
        assert machine.counters[name] == 2048, name
    assert promoted(machine) == (2048, 2048)
    assert nodes_of(machine, task, addr, "8MiB") == [[2048, 0]]


def test_huge_page_is_promoted_whole(machine: Machine, task: Task) -> None:
    addr = huge(machine, task, "4MiB", node=1)
    touch(machine, task, addr, 4 * MIB, stride=2 * MIB, seconds=1.1)
    assert promoted(machine) == (1024, 1024)
    assert machine.counters["numa_hint_faults"] == 2
    assert nodes_of(machine, task, addr, "4MiB") == [[1024, 0]]


@pytest.mark.parametrize(("wait", "node"), [(999, 0), (1000, 1)])
def test_page_not_used_in_time_stays(machine: Machine, task: Task, wait: int, node: int) -> None:
    addr = touched(machine, task, "16KiB", node=1)
    scan(machine, task)
    machine.now += wait
    touch(machine, task, addr, 4 * PAGE)
    assert nodes_of(machine, task, addr, "16KiB") == [[4, node]]


def test_latency_is_taken_from_the_scan_not_an_older_one(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB", node=1)
    for machine.now in (5000, 90000):
        task_numa_work(machine, task)
    machine.now += 10
    touch(machine, task, addr, 4 * PAGE)  # the second scan has found it inaccessible already
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 1]]
    scan(machine, task, 95000)
    machine.now += 10
    touch(machine, task, addr, 4 * PAGE)
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 0]]


@pytest.mark.parametrize(("cpus", "passing"), [("0", 37 * 7 - 1), ("0-1", 20 * 13 - 1)])
def test_limit_lets_so_many_pages_pass_in_a_second(cpus: str, passing: int) -> None:
    machine = nodes_with("512MiB", "512MiB", cpus=(cpus, ""))
    machine.nodes[1].adistance = 3456
    machine.numa_balancing = 2
    task = new_task(machine)
    set_knobs(machine, promote_rate_limit_mbps=1)
    addr = touched(machine, task, "4MiB", node=1)
    scan(machine, task)
    touch(machine, task, addr, 4 * MIB)
    # A CPU counts 7 candidates before it tells of them, or 13 where there are two: the one that
    # completes 256 for the node, or more, is one too many. All count.
    assert promoted(machine) == (1024, passing)
    machine.now += 1001
    assert may_promote(machine, 0, machine.now, 1, 1).may


def test_huge_page_that_opens_a_window_passes_whatever_the_limit(machine: Machine) -> None:
    set_knobs(machine, promote_rate_limit_mbps=1)
    machine.now = 2000
    assert may_promote(machine, 0, 2000, 512, 3) == (True, 1)
    assert may_promote(machine, 0, 2000, 512, 2) == (False, 2)
    assert promoted(machine) == (3 * 512, 0)


def test_node_with_much_free_memory_takes_all_and_forgets_its_threshold() -> None:
    machine = tiered("3GiB")
    node = machine.nodes[0]
    node.promotion = node.promotion._replace(threshold=125)
    machine.now = 99_000
    answer = may_promote(machine, 0, 0, 1, 10)
    assert answer == (True, 10)
    assert node.promotion.threshold == 0
    assert promoted(machine) == (0, 0)


def test_all_are_taken_only_while_there_is_much_free() -> None:
    machine = tiered("3GiB")
    [_, zone] = machine.nodes[0].zones
    step = zone.watermark_high - zone.watermark_low
    zone.nr_free = GIB_PAGES + zone.watermark_high + step + zone.reserve + 3
    assert may_promote(machine, 0, 0, 1, 10) == (True, 3)
    assert may_promote(machine, 0, 0, 512, 10) == (True, 1)
    zone.nr_free -= 3
    machine.now = 99_000
    assert may_promote(machine, 0, 0, 1, 10) == (False, 10)


@pytest.mark.parametrize(
    ("candidates", "before", "after"),
    [
        pytest.param(0, 0, 1125, id="too few"),
        pytest.param(16000, 1000, 1000, id="about right"),
        pytest.param(17000, 0, 875, id="too many"),
        pytest.param(13000, 1000, 1125, id="90 % is too few"),
        pytest.param(0, 2000, 2000, id="twice the default at most"),
        pytest.param(99999, 125, 125, id="a step at least"),
    ],
)
def test_threshold_follows_the_number_of_candidates(
    machine: Machine, candidates: int, before: int, after: int
) -> None:
    set_knobs(machine, promote_rate_limit_mbps=1)  # 256 pages a second, 15360 in a minute
    node = machine.nodes[0]
    node.promotion = node.promotion._replace(threshold=before)
    node.numa.add("pgpromote_candidate", candidates)
    machine.now = 60_001
    may_promote(machine, 0, 0, 1, 1)
    assert node.promotion.threshold == after
    assert node.promotion.threshold_start == 60_001


def test_threshold_is_looked_at_once_in_the_longest_period(machine: Machine) -> None:
    machine.now = 60_000
    may_promote(machine, 0, 0, 1, 1)
    assert machine.nodes[0].promotion.threshold == 0


@pytest.mark.parametrize(("demotes", "promoted_pages"), [(False, 0), (True, 63)])
def test_full_node_wakes_kswapd_which_makes_room_by_demotion(
    machine: Machine, task: Task, demotes: bool, promoted_pages: int
) -> None:
    machine.demotion = demotes
    touched(machine, task, "16MiB")
    addr = touched(machine, task, "256KiB", node=1)
    for run in task.mm.page_table.runs:
        task.mm.page_table.put(run.start, run.end, run.with_flags(run.flags & ~Pte.YOUNG))
    for zone in machine.nodes[0].zones:
        zone.watermark_low = zone.watermark_min = zone.nr_free - 300
        zone.watermark_high = zone.nr_free
    scan(machine, task)
    touch(machine, task, addr, 64 * PAGE)
    # The first page is refused, but kswapd is woken; the others find room.
    assert machine.nodes[0].numa["pgpromote_success"] == promoted_pages


def test_switching_tiering_on_begins_anew(machine: Machine) -> None:
    node = machine.nodes[0]
    node.numa.add("pgpromote_candidate", 7)
    node.promotion = node.promotion._replace(threshold=125)
    machine.now = 4000
    reset_memory_tiering(machine)
    found = node.promotion
    assert (found.threshold, found.threshold_start, found.threshold_candidates) == (0, 4000, 7)


@pytest.mark.parametrize(("to", "cpupid"), [(0, -1), (1, 5000)])
def test_page_that_leaves_slow_memory_forgets_when_it_was_used(
    machine: Machine, task: Task, to: int, cpupid: int
) -> None:
    addr = touched(machine, task, "4KiB", node=1)
    scan(machine, task)
    move_pages(machine, task, task, [addr], [to], 2)
    assert frame_at(machine, task, addr).cpupid == cpupid


def test_pages_of_a_long_list_forget_their_time_as_well(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "400KiB", node=1)
    machine.now = 5000
    for run in task.mm.page_table.runs:
        update_frames(machine, run.extents(), lambda frame: frame._replace(cpupid=7))
    move_pages(machine, task, task, [addr + i * PAGE for i in range(100)], [0] * 100, 2)
    assert {run.frame.cpupid for run in machine.nodes[0].memmap.runs} == {-1}


def test_hot_set_is_promoted_and_of_the_rest_what_happens_to_be_used_in_time(
    machine: Machine, task: Task
) -> None:
    addr = touched(machine, task, "8MiB", node=1)
    scan(machine, task)
    # 2048 pages in 10 s, half of them before: a tenth within the threshold of 1000 ms.
    sweep = Sweep(addr // PAGE, 2048, 204_800, 0)
    run_sweep(machine, task, sweep, 5000, 15000)
    assert nodes_of(machine, task, addr, "8MiB") == [[1024, 1], [204, 0], [820, 1]]


def test_accesses_are_alike_up_to_the_next_hint(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB", node=1)
    page, machine.now = addr // PAGE, 5000
    task_numa_work(machine, task)
    touch(machine, task, addr, 2 * PAGE)
    found = [decided_until(machine, task, page, page + nr) for nr in (2, 4)]
    assert found == [(page + 2, 6000)] * 2
