"""Reclaim: which pages are dropped, kept or demoted, in what order."""

from typing import Any

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.frames.frames import update_frames
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.frames.page_alloc import available
from pymigrate.mm.reclaim.lru import evictable, first_frame, in_lru_order
from pymigrate.mm.reclaim.vmscan import wakeup_kswapd
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.scenario.boot.build import boot
from pymigrate.scenario.spec.models import MachineSpec
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.mempolicy import set_mempolicy
from pymigrate.syscalls.mmap import mlock, munmap
from pymigrate.syscalls.process import fork, touch
from pymigrate.syscalls.reclaim import reclaim
from pymigrate.uapi import MPOL
from pymigrate.units import HPAGE_PMD_NR, PAGE_SHIFT, PAGE_SIZE, parse_size
from pymigrate.views.proc import vmstat
from tests.conftest import (
    MIB,
    errno_of,
    hold,
    mapped,
    new_file,
    new_task,
    nodes_of,
    pfn_at,
    touched,
)
from tests.property.invariants import check
from tests.unit.mm.conftest import file_of, huge, loaded, with_task


def tiers(*memory: str, kernel: str = "6.12", **more: Any) -> Machine:
    """A machine that demotes from node 0, DRAM, to node 1, and from there to node 2, and so on."""
    nodes: dict[int, dict[str, Any]] = {
        nid: {"memory": size, "adistance": 576 + 2000 * nid} for nid, size in enumerate(memory)
    }
    nodes[0]["cpus"] = "0-1"
    spec = {"nodes": nodes, "demotion": True, **more}
    return boot(MachineSpec.model_validate(spec), kernel)


@pytest.fixture
def machine() -> Machine:
    return tiers("64MiB", "64MiB")


def counted(machine: Machine, *names: str) -> list[int]:
    values = vmstat.rows(machine)
    return [values.get(name, 0) for name in names]


def take(machine: Machine, size: str, **how: Any) -> int:
    """Reclaim *size*, as root; the machine is as it should be afterwards."""
    got = reclaim(machine, machine.shell_of(0), parse_size(size), **how)
    check(machine)
    return got


def all_but(machine: Machine, task: Task, nid: int, left: int) -> None:
    """Fill node *nid*, but for *left* pages above its min watermark, with locked memory."""
    [zone] = machine.nodes[nid].zones
    nr = zone.nr_free - zone.watermark_min - left
    addr = touched(machine, task, f"{nr * 4}KiB", node=nid)
    mlock(machine, task, addr, nr << PAGE_SHIFT)


def test_demotion_totals_are_what_was_asked_for(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "32MiB")
    assert take(machine, "16MiB") == 4096
    assert nodes_of(machine, task, addr, "32MiB") == [[4096, 1], [4096, 0]]
    names = ("pgmigrate_success", "pgmigrate_fail", "pgdemote_direct", "pgdemote_kswapd")
    assert counted(machine, *names) == [4096, 0, 4096, 0]
    assert machine.nodes[0].numa["pgdemote_direct"] == 4096
    assert machine.nodes[1].numa["pgdemote_direct"] == 0


def test_demotion_totals_of_huge_pages_are_whole_ones(machine: Machine, task: Task) -> None:
    addr = huge(machine, task, "16MiB")
    assert take(machine, "5MiB") == 3 * HPAGE_PMD_NR
    assert nodes_of(machine, task, addr, "16MiB") == [[1536, 1], [2560, 0]]
    names = ("thp_migration_success", "thp_migration_split", "pgdemote_direct")
    assert counted(machine, *names) == [3, 0, 1536]


@pytest.mark.parametrize(
    ("size", "pages"), [("0", 0), ("4KiB", 64), ("256KiB", 64), ("260KiB", 128)]
)
def test_demotion_goes_by_lists_of_64_pages(machine: Machine, size: str, pages: int) -> None:
    touched(machine, new_task(machine), "8MiB")
    assert take(machine, size) == pages


@pytest.mark.parametrize("is_watched", [False, True])
def test_demotion_is_asynchronous_and_counts_the_same_when_it_is_watched(
    machine: Machine, is_watched: bool
) -> None:
    touched(machine, new_task(machine), "8MiB")
    machine.watch = Watch([] if is_watched else None)
    assert take(machine, "1MiB") == 256
    assert counted(machine, "pgmigrate_success", "pgdemote_direct") == [256, 256]
    calls = [e.text for e in machine.watch.events or () if e.name == "mm_migrate_pages_start"]
    assert calls == ["mode=MIGRATE_ASYNC reason=demotion"] * (4 if is_watched else 0)


def test_when_nothing_is_left_to_demote_it_fails_with_eagain(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4MiB")
    lru_add_drain_all(machine)
    assert errno_of(take, machine, "8MiB") == "EAGAIN"
    assert nodes_of(machine, task, addr, "4MiB") == [[1024, 1]]
    assert errno_of(take, machine, "4KiB") == "EAGAIN"
    assert counted(machine, "pgdemote_direct") == [1024]


def test_proactive_reclaim_has_counters_of_its_own_in_7_2() -> None:
    machine = tiers("64MiB", "64MiB", kernel="7.2")
    touched(machine, new_task(machine), "4MiB")
    take(machine, "1MiB")
    assert counted(machine, "pgdemote_proactive", "pgdemote_direct") == [263, 0]


def test_without_demotion_anonymous_memory_stays(machine: Machine, task: Task) -> None:
    machine.demotion = False
    addr = touched(machine, task, "4MiB")
    assert errno_of(take, machine, "1MiB") == "EAGAIN"
    assert nodes_of(machine, task, addr, "4MiB") == [[1024, 0]]
    assert counted(machine, "pgscan_anon", "pgmigrate_success") == [0, 0]


def test_without_demotion_clean_page_cache_is_dropped(machine: Machine, task: Task) -> None:
    machine.demotion = False
    file, addr = file_of(machine, task, "4MiB", "ext4")
    touch(machine, task, addr, 4 << 20, write=False)
    assert take(machine, "1MiB") == 256
    assert nodes_of(machine, task, addr, "4MiB") == [[256, -1], [768, 0]]
    assert sum(run.nr for run in file.pages.runs) == 768
    assert counted(machine, "pgsteal_file", "pgscan_file", "pgmigrate_success") == [256, 256, 0]


def test_page_cache_that_an_entry_has_dirtied_is_unmapped_and_stays(
    machine: Machine, task: Task
) -> None:
    machine.demotion = False
    file, addr = file_of(machine, task, "1MiB", "ext4")
    touch(machine, task, addr, 1 << 20, write=True)
    for run in file.pages.runs:
        update_frames(machine, run.extents(), lambda f: f.without_flags(FrameFlag.DIRTY))
    assert errno_of(take, machine, "1MiB") == "EAGAIN"
    assert nodes_of(machine, task, addr, "1MiB") == [[256, -1]]
    assert sum(run.nr for run in file.pages.runs) == 256
    assert counted(machine, "nr_dirty") == [256]


def test_what_was_freed_lazily_and_is_clean_is_dropped(machine: Machine, task: Task) -> None:
    machine.demotion = False
    addr = touched(machine, task, "2MiB")
    madvise(machine, task, addr, 2 << 20, Madv.FREE)
    touch(machine, task, addr, 1 << 20, write=True)
    assert errno_of(take, machine, "2MiB") == "EAGAIN"
    assert nodes_of(machine, task, addr, "2MiB") == [[256, 0], [256, -1]]
    assert counted(machine, "pglazyfreed") == [256]


def test_page_cache_goes_before_anonymous_memory(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "1MiB")
    file = mapped(machine, task, "1MiB", space=new_file(machine, "1MiB", "ext4"), prot="r")
    touch(machine, task, file, 1 << 20, write=False)
    lru_add_drain_all(machine)
    assert take(machine, "512KiB") == 128
    assert nodes_of(machine, task, file, "1MiB") == [[128, 1], [128, 0]]
    assert nodes_of(machine, task, addr, "1MiB") == [[256, 0]]
    names = ("pgsteal_file", "pgsteal_anon", "pgscan_file", "pgscan_anon", "pgsteal_direct")
    assert counted(machine, *names) == [128, 0, 128, 0, 0]  # a cgroup's own pgsteal_direct


def test_shared_memory_that_is_being_faulted_in_goes_last() -> None:
    machine, task = with_task(tiers("115MiB", "256MiB"))
    old = touched(machine, task, "15MiB", is_shared=True)
    only = Nodemask.of(0)
    task.policy = Mempolicy(MPOL.BIND, 0, only, only)
    new = mapped(machine, task, "110MiB", is_shared=True)
    assert touch(machine, task, new, 110 * MIB) is None
    assert nodes_of(machine, task, old, "4KiB") == [[1, 1]]


def test_page_cache_that_nobody_maps_is_demoted_too(machine: Machine, task: Task) -> None:
    file = new_file(machine, "1MiB", "ext4")
    addr = loaded(machine, task, "1MiB", space=file, prot="r")
    munmap(machine, task, addr, 1 << 20)
    assert take(machine, "1MiB") == 320  # a list more than was wanted
    assert {run.lanes[0] >> 32 for run in file.pages.runs} == {0, 1}


@pytest.mark.parametrize(("fs", "stays"), [("ext4", True), ("tmpfs", False)], ids=["ext4", "tmpfs"])
def test_dirty_pages_of_a_disk_stay(machine: Machine, task: Task, fs: str, stays: bool) -> None:
    addr = mapped(machine, task, "1MiB", space=new_file(machine, "1MiB", fs), is_shared=True)
    touch(machine, task, addr, 1 << 20, write=True)
    if stays:
        assert errno_of(take, machine, "1MiB") == "EAGAIN"
    else:
        assert take(machine, "1MiB") == 256
    assert nodes_of(machine, task, addr, "1MiB") == [[256, 0 if stays else 1]]


def test_mlocked_memory_stays_and_is_not_scanned(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "1MiB")
    mlock(machine, task, addr, 1 << 19)
    assert errno_of(take, machine, "1MiB") == "EAGAIN"
    assert nodes_of(machine, task, addr, "1MiB") == [[128, 0], [128, 1]]
    assert counted(machine, "pgscan_anon") == [128]


def test_pinned_page_stays_and_is_counted_as_failed(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "256KiB")
    hold(machine, task, addr + 5 * PAGE_SIZE)
    assert errno_of(reclaim, machine, machine.shell_of(0), 1 << 18) == "EAGAIN"
    assert nodes_of(machine, task, addr, "256KiB") == [[5, 1], [1, 0], [58, 1]]
    success, failed = counted(machine, "pgmigrate_success", "pgmigrate_fail")
    assert (success, failed > 1) == (63, True)  # it is tried again and again


def test_shared_pages_are_demoted_for_all_who_map_them(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "1MiB")
    child = fork(machine, task, "child")
    assert take(machine, "1MiB") == 256
    for each in (task, child):
        assert nodes_of(machine, each, addr, "1MiB") == [[256, 1]]
    assert counted(machine, "pgmigrate_success") == [256]


def test_policies_are_ignored(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "1MiB")
    only = Nodemask.of(0)
    task.policy = Mempolicy(MPOL.BIND, 0, only, only)
    task.mems_allowed = only
    assert take(machine, "1MiB") == 256
    assert nodes_of(machine, task, addr, "1MiB") == [[256, 1]]


def test_madv_pageout_never_demotes(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "1MiB")
    madvise(machine, task, addr, 1 << 20, Madv.PAGEOUT)
    assert nodes_of(machine, task, addr, "1MiB") == [[256, 0]]


def test_what_was_used_since_the_last_look_goes_last(machine: Machine, task: Task) -> None:
    hot = touched(machine, task, "1MiB")
    cold = touched(machine, task, "2MiB")
    take(machine, "256KiB")  # all was looked at
    touch(machine, task, hot + (1 << 18), 3 << 18, write=False)
    assert take(machine, "1MiB") == 256
    assert nodes_of(machine, task, hot, "1MiB") == [[64, 1], [192, 0]]
    assert nodes_of(machine, task, cold, "2MiB") == [[256, 1], [256, 0]]


def test_only_what_some_tasks_map_is_reclaimed(machine: Machine) -> None:
    a, b = new_task(machine, "a"), new_task(machine, "b")
    first, second = touched(machine, a, "1MiB"), touched(machine, b, "1MiB")
    assert take(machine, "512KiB", tasks=[b]) == 128
    assert nodes_of(machine, a, first, "1MiB") == [[256, 0]]
    assert nodes_of(machine, b, second, "1MiB") == [[128, 1], [128, 0]]


def test_one_node_can_be_named() -> None:
    machine, task = with_task(tiers("64MiB", "64MiB", "64MiB"))
    first, second = touched(machine, task, "1MiB", node=0), touched(machine, task, "1MiB", node=1)
    assert take(machine, "1MiB", node=1) == 256
    assert nodes_of(machine, task, first, "1MiB") == [[256, 0]]
    assert nodes_of(machine, task, second, "1MiB") == [[256, 2]]
    assert errno_of(take, machine, "1MiB", node=2) == "EAGAIN"
    assert errno_of(take, machine, "1MiB", node=3) == "ENOENT"


@pytest.mark.parametrize(
    ("size", "asked", "reclaimed"),
    [
        pytest.param("64MiB", ["1MiB", "2MiB", "4MiB", "8MiB"], [288, 519, 1073, 2051], id="much"),
        pytest.param("64MiB", ["16MiB", "16MiB"], [4106, 4115], id="much at once"),
        pytest.param("32MiB", ["8MiB"], [2082], id="half as much"),
        pytest.param("1MiB", ["4KiB"] * 6, [64, 39, 59, 34, 36, 16], id="little"),
    ],
)
def test_what_7_2_takes_is_no_more_than_its_shares(
    size: str, asked: list[str], reclaimed: list[int]
) -> None:
    """As recorded on 7.2.13. The last pages wait in the CPU's batch, and are no part of it."""
    machine, task = with_task(tiers("128MiB", "128MiB", kernel="7.2"))
    addr = mapped(machine, task, size)
    touch(machine, task, addr, parse_size(size))
    assert [take(machine, nr, tasks=[task]) for nr in asked] == reclaimed
    assert nodes_of(machine, task, addr, size)[0] == [sum(reclaimed), 1]


def test_7_2_empties_the_batches_before_it_gives_up() -> None:
    machine, task = with_task(tiers("64MiB", "64MiB", kernel="7.2"))
    addr = mapped(machine, task, "64KiB")
    touch(machine, task, addr, 16 * PAGE_SIZE)
    assert take(machine, "64KiB", tasks=[task]) == 16
    assert errno_of(take, machine, "4KiB", tasks=[task]) == "EAGAIN"


def test_file_of_a_node_of_7_2_reclaims_nothing() -> None:
    machine, task = with_task(tiers("64MiB", "64MiB", kernel="7.2"))
    addr = touched(machine, task, "1MiB")
    assert errno_of(take, machine, "4KiB", node=0) == "EAGAIN"
    assert nodes_of(machine, task, addr, "1MiB") == [[256, 0]]


def test_only_root_may_ask_for_it(machine: Machine) -> None:
    task = new_task(machine, uid=5)
    assert errno_of(reclaim, machine, task, 4096) == "EACCES"


def test_kswapd_of_the_target_makes_room_there() -> None:
    machine, task = with_task(tiers("64MiB", "8MiB", "64MiB"))
    old = touched(machine, task, "6MiB", node=1)
    new = touched(machine, task, "16MiB", node=0)
    reclaim(machine, machine.shell_of(0), 4096, node=1)
    before = counted(machine, "pgdemote_direct")[0]
    assert take(machine, "4MiB", node=0) == 1024
    assert nodes_of(machine, task, new, "16MiB") == [[1024, 1], [3072, 0]]
    assert nodes_of(machine, task, old, "6MiB")[0][1] == 2
    [zone] = machine.nodes[1].zones
    assert zone.nr_free >= zone.watermark_low
    direct, kswapd = counted(machine, "pgdemote_direct", "pgdemote_kswapd")
    assert direct - before == 1024
    assert counted(machine, "pgsteal_kswapd") == [kswapd]
    assert machine.nodes[1].numa["pgdemote_kswapd"] == kswapd


def test_what_the_target_has_no_room_for_goes_to_any_lower_tier() -> None:
    machine = tiers("64MiB", "8MiB", "64MiB")
    machine.nodes[1].adistance = machine.nodes[2].adistance  # neither demotes any further
    machine.distances[0][2] = 30
    task = new_task(machine)
    all_but(machine, task, 1, 100)
    addr = touched(machine, task, "2MiB", node=0)
    assert take(machine, "2MiB") == 512
    assert nodes_of(machine, task, addr, "2MiB") == [[100, 1], [412, 2]]
    assert counted(machine, "pgdemote_direct", "pgmigrate_fail") == [512, 0]


def test_when_no_lower_tier_has_room_the_rest_stays() -> None:
    machine, task = with_task(tiers("64MiB", "8MiB"))
    all_but(machine, task, 1, 100)
    addr = touched(machine, task, "2MiB", node=0)
    assert errno_of(take, machine, "2MiB") == "EAGAIN"
    assert nodes_of(machine, task, addr, "2MiB") == [[100, 1], [412, 0]]
    assert counted(machine, "pgdemote_direct", "pgmigrate_fail") == [100, 1]


def test_each_list_goes_to_one_of_several_nearest_nodes() -> None:
    nodes = {
        0: {"cpus": "0", "memory": "64MiB"},
        1: {"memory": "64MiB", "adistance": 2880},
        2: {"memory": "64MiB", "adistance": 2880},
    }
    spec = {"nodes": nodes, "demotion": True, "seed": 7}
    machine = boot(MachineSpec.model_validate(spec), "6.12")
    addr = touched(machine, task := new_task(machine), "8MiB")
    lru_add_drain_all(machine)
    assert take(machine, "8MiB") == 2048
    found = nodes_of(machine, task, addr, "8MiB")
    assert {nid for _, nid in found} == {1, 2}
    assert all(nr % 64 == 0 for nr, _ in found)


def test_kswapd_stops_at_the_high_watermark(machine: Machine, task: Task) -> None:
    zone = machine.nodes[0].zones[-1]
    touched(machine, task, f"{available(machine.nodes[0], to_min=False) * 4}KiB", node=0)
    lacking = zone.watermark_high + 1 - zone.watermark_low
    lists = -(-lacking // 64) * 64
    assert wakeup_kswapd(machine, 0) == lists
    assert counted(machine, "pgdemote_kswapd", "pgsteal_kswapd", "pageoutrun") == [lists, lists, 1]
    assert wakeup_kswapd(machine, 0) == 0


@pytest.mark.parametrize("is_shared", [False, True], ids=["goes first", "not if it is shared"])
def test_what_one_task_says_is_cold(machine: Machine, task: Task, is_shared: bool) -> None:
    first, second = touched(machine, task, "1MiB"), touched(machine, task, "1MiB")
    if is_shared:
        fork(machine, task, "child")
    madvise(machine, task, second, 1 << 20, Madv.COLD)
    lru_add_drain_all(machine)
    assert take(machine, "1MiB") == 256
    assert nodes_of(machine, task, first, "1MiB") == [[256, int(is_shared)]]
    assert nodes_of(machine, task, second, "1MiB") == [[256, int(not is_shared)]]


def test_dropped_pages_leave_their_page_table() -> None:
    machine = tiers("64MiB")
    machine.thp = "never"
    addr = touched(machine, task := new_task(machine), "2MiB")
    madvise(machine, task, addr, 2 << 20, Madv.FREE)
    assert take(machine, "2MiB") == 512
    machine.thp = "always"
    touch(machine, task, addr, PAGE_SIZE)
    assert nodes_of(machine, task, addr, "2MiB") == [[1, 0], [511, -1]]


def test_pages_that_take_turns_are_looked_at_together(machine: Machine, task: Task) -> None:
    machine.weights = {0: 2}
    set_mempolicy(machine, task, MPOL.WEIGHTED_INTERLEAVE, Nodemask.of(0, 1))
    touch(machine, task, mapped(machine, task, "1MiB"), 1 << 20)
    first, second = evictable(machine, 0)
    node, start = machine.nodes[0], first_frame(first)
    assert in_lru_order(node, [first, second], start) == [first, second]
    assert in_lru_order(node, [first, second], start + 1) == [second, first]


def test_what_the_hand_has_passed_of_a_run_comes_last(machine: Machine, task: Task) -> None:
    touched(machine, task, "1MiB")
    [part] = evictable(machine, 0)
    start = first_frame(part)
    found = in_lru_order(machine.nodes[0], [part], start + 100)
    assert [(first_frame(each) - start, each.nr) for each in found] == [(100, 156), (0, 100)]


def test_locked_pages_of_a_table_and_ramfs_are_not_looked_at(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "48KiB")
    for page in range(12):
        touch(machine, task, addr + page * 7 % 12 * PAGE_SIZE, PAGE_SIZE)
    locked = [(pfn_at(task, addr + 3 * PAGE_SIZE), 1)]
    update_frames(machine, locked, lambda frame: frame.with_flags(FrameFlag.MLOCKED))
    _, kept = file_of(machine, task, "16KiB", "ramfs")
    touch(machine, task, kept, 4 * PAGE_SIZE, write=False)
    [part] = evictable(machine, 0)
    assert (part.nr_folios, 3 in part.picked) == (11, False)


@pytest.mark.parametrize(
    ("swappiness", "answer"), [(0, "EAGAIN"), (201, "EINVAL"), (-1, "EINVAL"), (200, 1024)]
)
def test_swappiness_0_leaves_anonymous_memory_alone(
    machine: Machine, task: Task, swappiness: int, answer: int | str
) -> None:
    touched(machine, task, "16MiB")
    if isinstance(answer, str):
        assert errno_of(take, machine, "4MiB", swappiness=swappiness) == answer
        assert counted(machine, "pgdemote_direct") == [0]
    else:
        assert take(machine, "4MiB", swappiness=swappiness) == answer


def test_each_node_gives_its_share(machine: Machine, task: Task) -> None:
    """The figures are those of a real kernel (64 MiB in the first of three tiers)."""
    machine = tiers("256MiB", "256MiB", "256MiB")
    task = new_task(machine)
    addr = touched(machine, task, "64MiB")
    for size, nodes in (
        ("16MiB", [[960, 2], [2176, 1], [13248, 0]]),
        ("48MiB", [[5824, 2], [4736, 1], [5824, 0]]),
    ):
        take(machine, size)
        assert nodes_of(machine, task, addr, "64MiB") == nodes


def test_pages_that_were_used_are_scanned_in_vain() -> None:
    machine, task = with_task(tiers("256MiB", "256MiB"))
    addr = touched(machine, task, "32MiB")
    take(machine, "4MiB")
    assert machine.counters["pgscan_anon"] == 1024  # the aging has looked at all that was used
    touch(machine, task, addr + (8 << 20), 8 << 20, write=False)
    take(machine, "8MiB")
    found = nodes_of(machine, task, addr, "32MiB")
    assert found == [[2048, 1], [2048, 0], [1024, 1], [3072, 0]]
    assert machine.counters["pgscan_anon"] == 1024 + 4096
    assert machine.counters["pgsteal_anon"] == 1024 + 2048
