"""Soft offline: pages that are moved and taken out of use."""

import pytest

from pymigrate.errors import KernelError, UnsupportedError
from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import POISON_FRAME, Busy, Frame, FrameFlag, FrameRun
from pymigrate.mm.frames.busy import begin
from pymigrate.mm.frames.page_alloc import reserve_pages
from pymigrate.mm.offline.memory_failure import soft_offline_page
from pymigrate.mm.offline.memory_hotplug import memory_blocks, offline_pages, online_pages
from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.gup import pin
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.memory_failure import soft_offline_store
from pymigrate.syscalls.mmap import munmap
from pymigrate.syscalls.process import touch
from pymigrate.views.proc.meminfo import meminfo
from tests.conftest import (
    MIB,
    PAGE,
    errno_of,
    hold,
    mapped,
    new_file,
    new_task,
    nodes_of,
    nodes_with,
    pfn_at,
    placed_on,
    touched,
)
from tests.property.invariants import check
from tests.unit.mm.conftest import file_mapped, huge, loaded, with_driver, with_task

LONG, SHORT = True, False


def is_bad(machine: Machine, pfn: int) -> bool:
    """Whether the frame is out of use, and the machine in order."""
    check(machine)
    run = machine.nodes[pfn >> 32].memmap.at(pfn)
    return run is not None and run.frame == POISON_FRAME


def test_page_moves_within_its_node_and_leaves_a_bad_frame(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB", node=1)
    pfn, free = pfn_at(task, addr), machine.nodes[1].nr_free
    offline(machine, task, addr)
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 1]]
    assert pfn_at(task, addr) != pfn
    assert is_bad(machine, pfn)
    assert machine.nodes[1].nr_free == free - 1
    assert (machine.counters["pgmigrate_success"], machine.counters["pgfree"]) == (1, 0)


def offline(machine: Machine, task: Task, addr: int, length: int = PAGE) -> None:
    """Take pages that *task* maps out of use."""
    madvise(machine, task, addr, length, Madv.SOFT_OFFLINE)
    check(machine)


def test_what_is_out_of_use_is_counted(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    madvise(machine, task, addr, 3 * PAGE, Madv.SOFT_OFFLINE)
    assert machine.num_poisoned_pages == 3
    assert meminfo(machine)["HardwareCorrupted"] == 12


def test_its_migration_is_told_as_such(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    machine.watch = Watch([])
    offline(machine, task, addr)
    texts = [event.text for event in machine.watch.events if hasattr(event, "text")]
    assert texts[0] == "mode=MIGRATE_SYNC reason=memory_failure"


def test_frame_goes_once(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    pfn = pfn_at(task, addr)
    soft_offline_page(machine, pfn)
    soft_offline_page(machine, pfn)
    assert machine.num_poisoned_pages == 1


def test_full_node_lets_the_page_go_to_another(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB", node=1)
    for zone in machine.nodes[1].zones:
        zone.watermark_min = zone.watermark_low = 1 << 20
    offline(machine, task, addr)
    assert nodes_of(machine, task, addr, "4KiB") == [[1, 0]]


def test_full_machine_keeps_the_page(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    for node in machine.nodes.values():
        for zone in node.zones:
            zone.watermark_min = zone.watermark_low = 1 << 20
    assert errno_of(offline, machine, task, addr) == "ENOMEM"


@pytest.mark.parametrize("kind", [LONG, SHORT], ids=["long", "short"])
def test_pinned_page_stays(machine: Machine, task: Task, kind: bool) -> None:
    addr = touched(machine, task, "4KiB")
    pin(machine, task, addr, PAGE, kind)
    assert errno_of(offline, machine, task, addr) == "EBUSY"
    assert not is_bad(machine, pfn_at(task, addr))
    assert machine.counters["pgmigrate_fail"] == 1


@pytest.mark.parametrize(
    ("fs", "pins", "why"),
    [
        ("tmpfs", 1, "it is pinned"),
        ("tmpfs", 0, "somebody holds it"),
        ("ramfs", None, "who owns it refuses"),
    ],
)
def test_what_keeps_the_page_is_told(
    machine: Machine, task: Task, fs: str, pins: int | None, why: str
) -> None:
    addr = file_mapped(machine, task, "4KiB", fs)
    touch(machine, task, addr, PAGE)
    if pins is not None:
        hold(machine, task, addr, pins=pins)
    with pytest.raises(KernelError) as failure:
        soft_offline_page(machine, pfn_at(task, addr))
    assert failure.value.name == "EBUSY"
    assert failure.value.why == f"what it holds did not move: {why}"


def test_huge_page_is_split_first(machine: Machine, task: Task) -> None:
    addr = huge(machine, task)
    pfn = pfn_at(task, addr)
    offline(machine, task, addr)
    assert is_bad(machine, pfn)
    assert machine.num_poisoned_pages == 1
    assert machine.counters["thp_split_page"] == 1
    assert machine.counters["pgmigrate_success"] == 1
    assert pfn_at(task, addr + PAGE) == pfn + 1


def test_of_a_huge_page_only_one_page_goes(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    offline(machine, task, touched(machine, task, "2MiB"), 2 * MIB)
    assert machine.num_poisoned_pages == 1


def test_zeroed_page_of_a_huge_page_becomes_the_zero_page(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    addr = mapped(machine, task, "2MiB")
    touch(machine, task, addr + PAGE, PAGE)
    pfn = pfn_at(task, addr)
    soft_offline_page(machine, pfn)
    assert is_bad(machine, pfn)
    assert nodes_of(machine, task, addr, "2MiB") == [[1, -1], [1, 0], [510, -1]]


def test_pinned_huge_page_is_not_split(machine: Machine, task: Task) -> None:
    addr = huge(machine, task)
    pin(machine, task, addr + PAGE, PAGE, LONG)
    assert errno_of(offline, machine, task, addr) == "EBUSY"
    assert machine.counters["thp_split_page_failed"] == 1


@pytest.mark.parametrize("is_mapped", [False, True], ids=["dropped", "moves if it is mapped"])
def test_clean_page_cache(machine: Machine, task: Task, is_mapped: bool) -> None:
    file = new_file(machine, "16KiB", "ext4")
    addr = loaded(machine, task, "16KiB", "r", space=file)
    pfn = pfn_at(task, addr)
    if not is_mapped:
        munmap(machine, task, addr, 4 * PAGE)
    soft_offline_page(machine, pfn)
    assert is_bad(machine, pfn)
    assert [bool(file.pages.at(page)) for page in (0, 1)] == [is_mapped, True]
    assert machine.counters["pgmigrate_success"] == is_mapped
    assert not is_mapped or pfn_at(task, addr) == file.pages.runs[0].lanes[0] != pfn


def test_free_page_is_taken_off_its_list(machine: Machine) -> None:
    for pfn in (78, 77):
        soft_offline_page(machine, (1 << 32) + pfn)
    assert is_bad(machine, (1 << 32) + 77)
    assert is_bad(machine, (1 << 32) + 78)


def test_drivers_page_moves_and_leaves_a_bad_frame(machine: Machine) -> None:
    driver = with_driver(machine, "zsmalloc", 2)
    first, second = driver.pages
    soft_offline_page(machine, first)
    assert is_bad(machine, first)
    assert driver.pages[1] == second
    assert driver.pages[0] not in (first, second)


def test_kernel_memory_cannot_be_handled(machine: Machine) -> None:
    node = machine.nodes[1]
    [(start, _)] = reserve_pages(node, 1)
    node.memmap.put(start, start + 1, FrameRun(start, 1, Frame(0, FrameFlag.KERNEL)))
    assert errno_of(soft_offline_page, machine, start) == "EIO"


def test_huge_page_is_dissolved_but_for_its_bad_page(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 2, 0)
    addr = mapped(machine, task, "2MiB", hugetlb=True)
    touch(machine, task, addr, PAGE)
    pfn, free = pfn_at(task, addr), machine.nodes[0].nr_free
    offline(machine, task, addr)
    assert is_bad(machine, pfn)
    assert pfn_at(task, addr) != pfn
    assert machine.nodes[0].hugetlb.nr == 1
    assert machine.nodes[0].nr_free == free + 511


def test_free_huge_page_that_is_reserved_stays(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 1, 0)
    mapped(machine, task, "2MiB", hugetlb=True)
    pfn = machine.nodes[0].hugetlb.free.runs[0].start
    assert errno_of(soft_offline_page, machine, pfn + 5) == "EBUSY"


def test_absent_page_is_read_in_and_zero_pages_are_eio(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "4KiB")
    assert errno_of(offline, machine, task, addr) == "EIO"


def test_pages_before_the_one_that_fails_are_gone(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    pin(machine, task, addr + 2 * PAGE, PAGE, LONG)
    assert errno_of(madvise, machine, task, addr, 4 * PAGE, Madv.SOFT_OFFLINE) == "EBUSY"
    assert machine.num_poisoned_pages == 2


def test_who_is_not_root_may_not(machine: Machine) -> None:
    task = new_task(machine, uid=1000)
    addr = touched(machine, task, "4KiB")
    assert errno_of(offline, machine, task, addr) == "EPERM"
    assert errno_of(soft_offline_store, machine, task, 0x1000) == "EACCES"


def test_hole_cannot_be_had(machine: Machine, task: Task) -> None:
    assert errno_of(madvise, machine, task, 0x1000, PAGE, Madv.SOFT_OFFLINE) == "EFAULT"


def test_there_is_memory_at_the_physical_address_or_not(machine: Machine) -> None:
    soft_offline_store(machine, machine.shell_of(0), (64 << 20) + 0x5000)
    assert is_bad(machine, (1 << 32) + 5)
    assert errno_of(soft_offline_store, machine, machine.shell_of(0), 1 << 40) == "ENXIO"


def test_block_with_a_bad_page_goes_offline_and_does_not_come_back() -> None:
    machine, task = with_task(nodes_with("256MiB", "256MiB"))
    addr = touched(machine, task, "4KiB", node=1)
    with placed_on(task, 1):
        madvise(machine, task, addr, PAGE, Madv.SOFT_OFFLINE)
    block = memory_blocks(machine)[2]
    offline_pages(machine, block)
    check(machine)
    assert machine.num_poisoned_pages == 1
    assert errno_of(soft_offline_page, machine, block.start + 9) == "EIO"
    assert errno_of(online_pages, machine, block) == "EHWPOISON"


@pytest.mark.parametrize("kind", [Busy.LOCKED, Busy.READING, Busy.WRITEBACK])
def test_work_on_the_page_is_waited_for(machine: Machine, task: Task, kind: Busy) -> None:
    addr = touched(machine, task, "4KiB")
    pfn = pfn_at(task, addr)
    begin(machine, pfn, kind, passes=3)
    soft_offline_page(machine, pfn)
    assert is_bad(machine, pfn)
    assert machine.busy == {}


def test_work_without_an_end_would_be_waited_for_for_ever(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    begin(machine, pfn_at(task, addr), Busy.LOCKED)
    with pytest.raises(UnsupportedError, match="for ever"):
        soft_offline_page(machine, pfn_at(task, addr))
    assert not is_bad(machine, pfn_at(task, addr))
