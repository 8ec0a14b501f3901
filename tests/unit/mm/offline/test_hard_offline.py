"""Hard offline: pages that went bad, and who uses them is killed."""

from collections.abc import Callable

import pytest

from pymigrate.errors import UnsupportedError
from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import POISON_FRAME, Busy
from pymigrate.mm.calls import ksm
from pymigrate.mm.frames.busy import begin
from pymigrate.mm.frames.lru_batches import waiting_pfns
from pymigrate.mm.offline.memory_failure import memory_failure, soft_offline_page
from pymigrate.mm.offline.memory_hotplug import memory_blocks, offline_pages, online_pages
from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.gup import add_to_swap_cache, pin, unpin
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.memory_failure import hard_offline_store
from pymigrate.syscalls.mempolicy import get_mempolicy, mbind
from pymigrate.syscalls.migrate import migrate_pages, move_pages
from pymigrate.syscalls.mmap import mlock, mprotect, munmap
from pymigrate.syscalls.process import fork, touch
from pymigrate.uapi import MPOL, MPOL_MF_MOVE, MPOL_MF_STRICT
from pymigrate.views.proc import smaps, status
from tests.conftest import (
    PAGE,
    check,
    errno_of,
    kernel_page,
    mapped,
    new_task,
    nodes_of,
    nodes_with,
    pfn_at,
    touched,
)
from tests.unit.mm.conftest import file_of, huge, huge_pages, loaded, with_task

HUGE = 512 * PAGE
LONG, SHORT = True, False


def bad(machine: Machine, task: Task, addr: int, length: int = PAGE) -> None:
    """Let pages that *task* maps go bad."""
    madvise(machine, task, addr, length, Madv.HWPOISON)


def failures(machine: Machine, nid: int = 0) -> dict[str, int]:
    """What became of the bad pages of a node, but for what is 0."""
    return {k: v for k, v in machine.nodes[nid].failures._asdict().items() if v}


RECOVERED = {"total": 1, "recovered": 1}
FAILED = {"total": 1, "failed": 1}
IGNORED = {"total": 1, "ignored": 1}


def is_out_of_use(machine: Machine, pfn: int) -> bool:
    """Whether nothing has the frame any more, and it is not free either."""
    check(machine)
    run = machine.nodes[pfn >> 32].memmap.at(pfn)
    return run is not None and run.frame == POISON_FRAME


def test_anonymous_page_is_lost_and_who_uses_it_is_killed(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    pfn = pfn_at(task, addr)
    bad(machine, task, addr)
    assert is_out_of_use(machine, pfn)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, -1], [3, 0]]
    assert touch(machine, task, addr, 4 * PAGE, write=False) == "SIGBUS"
    assert touch(machine, task, addr + PAGE, 3 * PAGE) is None
    assert failures(machine) == RECOVERED
    assert machine.num_poisoned_pages == 1
    assert machine.counters["pgmigrate_success"] == 0


def test_what_waits_for_its_lru_list_comes_onto_it(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    pfns = {pfn_at(task, addr + i * PAGE) for i in range(4)}
    assert waiting_pfns(machine) == pfns
    memory_failure(machine, pfn_at(task, addr))
    assert waiting_pfns(machine) == set()


@pytest.mark.parametrize(
    ("call", "errno"),
    [
        (lambda m, t, a: pin(m, t, a, PAGE, LONG), "EFAULT"),
        (lambda m, t, a: pin(m, t, a, PAGE, SHORT), "EFAULT"),
        (lambda m, t, a: madvise(m, t, a, PAGE, Madv.POPULATE_READ), "EHWPOISON"),
        (lambda m, t, a: madvise(m, t, a, PAGE, Madv.POPULATE_WRITE), "EHWPOISON"),
        (lambda m, t, a: madvise(m, t, a, PAGE, Madv.SOFT_OFFLINE), "EFAULT"),
        (bad, "EFAULT"),
        (lambda m, t, a: mlock(m, t, a, PAGE), "ENOMEM"),
        (lambda m, t, a: get_mempolicy(m, t, a, 3), "EFAULT"),
    ],
    ids="pin short populate_read populate_write soft hard mlock get_mempolicy".split(),
)
def test_bad_page_cannot_be_had(
    machine: Machine, task: Task, call: Callable[[Machine, Task, int], None], errno: str
) -> None:
    addr = touched(machine, task, "16KiB")
    bad(machine, task, addr)
    assert errno_of(call, machine, task, addr) == errno


def test_movers_pass_over_the_entry(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    bad(machine, task, addr)
    nodes = Nodemask.of(0)
    pages = [addr + i * PAGE for i in range(4)]
    assert move_pages(machine, task, task, pages, [1] * 4, MPOL_MF_MOVE).status == [-2, 1, 1, 1]
    assert migrate_pages(machine, task, task, Nodemask.of(1), nodes) == 0
    mbind(machine, task, addr, 4 * PAGE, MPOL.BIND, nodes, MPOL_MF_STRICT | MPOL_MF_MOVE)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, -1], [3, 0]]


def test_child_inherits_the_entry(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    bad(machine, task, addr)
    child = fork(machine, task, "b")
    assert touch(machine, child, addr, PAGE) == "SIGBUS"
    bad(machine, child, addr + PAGE)  # which both have
    assert touch(machine, task, addr + PAGE, PAGE) == "SIGBUS"


@pytest.mark.parametrize("advice", [Madv.DONTNEED, Madv.FREE])
def test_entry_goes_with_the_memory(machine: Machine, task: Task, advice: Madv) -> None:
    addr = touched(machine, task, "8KiB")
    bad(machine, task, addr)
    mprotect(machine, task, addr, PAGE, "r")
    mprotect(machine, task, addr, PAGE, "rw")
    madvise(machine, task, addr, PAGE, Madv.COLD)
    assert touch(machine, task, addr, PAGE) == "SIGBUS"
    madvise(machine, task, addr, PAGE, advice)
    assert touch(machine, task, addr, PAGE) is None
    munmap(machine, task, addr, 2 * PAGE)
    assert machine.num_poisoned_pages == 1


def test_clean_page_of_a_disk_file_is_read_again(machine: Machine, task: Task) -> None:
    file, addr = file_of(machine, task, "64KiB", "ext4")
    touch(machine, task, addr, 16 * PAGE, write=False)
    pfn = pfn_at(task, addr)
    bad(machine, task, addr)
    assert (is_out_of_use(machine, pfn), file.pages.at(0)) == (True, None)
    assert touch(machine, task, addr, PAGE, write=False) is None
    assert failures(machine) == RECOVERED


def test_dirty_page_of_a_disk_file_is_lost_where_it_was_mapped(
    machine: Machine, task: Task
) -> None:
    file, addr = file_of(machine, task, "64KiB", "ext4")
    touch(machine, task, addr, 16 * PAGE)
    bad(machine, task, addr)
    assert touch(machine, task, addr, PAGE, write=False) == "SIGBUS"
    other = mapped(machine, task, "64KiB", space=file, is_shared=True)
    assert touch(machine, task, other, PAGE, write=False) is None


@pytest.mark.parametrize("write", [False, True], ids=["clean", "dirty"])
def test_shared_memory_keeps_its_bad_page(machine: Machine, task: Task, write: bool) -> None:
    file, addr = file_of(machine, task, "64KiB")
    touch(machine, task, addr, 16 * PAGE, write=write)
    pfn = pfn_at(task, addr)
    bad(machine, task, addr + 2 * PAGE)
    assert file.pages.at(2) is not None
    madvise(machine, task, addr, 16 * PAGE, Madv.DONTNEED)
    assert touch(machine, task, addr, 16 * PAGE, write=not write) == "SIGBUS"
    assert nodes_of(machine, task, addr, "12KiB") == [[2, 0], [1, -1]]
    other = mapped(machine, task, "64KiB", space=file)
    assert touch(machine, task, other, 16 * PAGE) == "SIGBUS"
    assert errno_of(madvise, machine, task, other, HUGE, Madv.POPULATE_READ) == "EHWPOISON"
    check(machine)
    assert pfn_at(task, addr) == pfn


def test_bad_page_outlives_its_shared_memory(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB", is_shared=True)
    pfn = pfn_at(task, addr)
    bad(machine, task, addr)
    munmap(machine, task, addr, 4 * PAGE)
    assert is_out_of_use(machine, pfn)


def test_held_page_is_unmapped_and_bad_when_it_is_let_go(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    pfn = pfn_at(task, addr)
    pin(machine, task, addr, PAGE, LONG)
    bad(machine, task, addr)
    assert failures(machine) == RECOVERED
    assert not is_out_of_use(machine, pfn)
    unpin(machine, task, addr, PAGE, LONG)
    assert is_out_of_use(machine, pfn)


@pytest.mark.parametrize(("fs", "signal"), [("ext4", None), ("tmpfs", "SIGBUS")])
def test_held_page_of_a_file_fails(
    machine: Machine, task: Task, fs: str, signal: str | None
) -> None:
    _, addr = file_of(machine, task, "16KiB", fs)
    touch(machine, task, addr, 4 * PAGE, write=False)
    pin(machine, task, addr, PAGE, SHORT)
    assert errno_of(bad, machine, task, addr) == "EBUSY"
    assert failures(machine) == FAILED
    check(machine)
    assert touch(machine, task, addr, PAGE, write=False) == signal
    unpin(machine, task, addr, PAGE, SHORT)


def test_huge_page_is_split_for_one_bad_page(machine: Machine, task: Task) -> None:
    addr = huge(machine, task)
    bad(machine, task, addr + 5 * PAGE, HUGE - 5 * PAGE)
    assert nodes_of(machine, task, addr, "2MiB") == [[5, 0], [1, -1], [506, 0]]
    counters = machine.counters
    assert (counters["thp_split_page"], counters["thp_split_pmd"]) == (1, 1)
    assert errno_of(madvise, machine, task, addr, HUGE, Madv.COLLAPSE) == "EINVAL"
    assert failures(machine) == RECOVERED


def test_huge_page_that_cannot_be_split_stays_mapped(machine: Machine, task: Task) -> None:
    addr = huge(machine, task)
    pfn = pfn_at(task, addr) + 3
    pin(machine, task, addr, PAGE, LONG)
    assert errno_of(bad, machine, task, addr + 3 * PAGE) == "EHWPOISON"
    assert failures(machine) == FAILED
    assert touch(machine, task, addr, HUGE) is None
    unpin(machine, task, addr, PAGE, LONG)
    assert errno_of(bad, machine, task, addr + 3 * PAGE) == "EHWPOISON"
    assert move_pages(machine, task, task, [addr], [1], MPOL_MF_MOVE).status == [1]
    assert is_out_of_use(machine, pfn)
    assert machine.num_poisoned_pages == 1


def test_private_huge_page_leaves_its_pool(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 4, 0)
    addr = touched(machine, task, "4MiB", hugetlb=True)
    pfn = pfn_at(task, addr)
    bad(machine, task, addr + 3 * PAGE)
    assert is_out_of_use(machine, pfn + 3)
    assert machine.nodes[0].hugetlb.nr == 3
    assert nodes_of(machine, task, addr, "4MiB") == [[512, -1], [512, 0]]
    child = fork(machine, task, "b")
    assert touch(machine, child, addr, PAGE) == "SIGBUS"
    assert errno_of(madvise, machine, task, addr, HUGE, Madv.POPULATE_READ) == "EHWPOISON"
    madvise(machine, task, addr, HUGE, Madv.DONTNEED)
    assert touch(machine, task, addr, PAGE) is None


def test_held_huge_page_comes_back_and_is_not_used_again(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 2, 0)
    addr = touched(machine, task, "2MiB", hugetlb=True)
    pfn = pfn_at(task, addr)
    pin(machine, task, addr, PAGE, LONG)
    assert errno_of(bad, machine, task, addr) == "EBUSY"
    unpin(machine, task, addr, PAGE, LONG)
    assert huge_pages(machine)[0] == 2
    other = touched(machine, task, "2MiB", hugetlb=True)
    assert pfn_at(task, other) != pfn
    last = mapped(machine, task, "2MiB", hugetlb=True)
    assert touch(machine, task, last, 1) == "SIGBUS"
    munmap(machine, task, last, HUGE)
    set_nr_hugepages(machine, 0, 0)
    assert is_out_of_use(machine, pfn)
    assert not machine.nodes[0].memmap.at(pfn + 1)


def test_shared_huge_page_stays_in_its_file(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 2, 0)
    addr = touched(machine, task, "2MiB", hugetlb=True, is_shared=True)
    pfn = pfn_at(task, addr)
    bad(machine, task, addr)
    madvise(machine, task, addr, HUGE, Madv.DONTNEED)
    assert touch(machine, task, addr, PAGE) == "SIGBUS"
    assert errno_of(memory_failure, machine, pfn) == "EHWPOISON"
    munmap(machine, task, addr, HUGE)
    assert huge_pages(machine) == (1, 0)
    assert machine.nodes[0].hugetlb.nr == 2


def test_free_pages_are_just_taken(machine: Machine) -> None:
    hard_offline_store(machine, machine.shell_of(0), (64 << 20) + 0x5000)
    assert is_out_of_use(machine, (1 << 32) + 5)
    assert errno_of(hard_offline_store, machine, machine.shell_of(0), 1 << 40) == "ENXIO"
    assert errno_of(memory_failure, machine, (1 << 32) + 5) == "EHWPOISON"
    soft_offline_page(machine, (1 << 32) + 5)
    assert machine.num_poisoned_pages == 1
    assert failures(machine, 1) == RECOVERED


def test_free_huge_page_that_is_reserved_stays_in_its_pool(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 1, 0)
    pfn = machine.nodes[0].hugetlb.free.runs[0].start
    addr = mapped(machine, task, "2MiB", hugetlb=True)
    assert errno_of(memory_failure, machine, pfn + 7) == "EBUSY"
    assert touch(machine, task, addr, PAGE) == "SIGBUS"
    assert failures(machine) == FAILED


def test_kernels_own_page_is_ignored(machine: Machine) -> None:
    kernel_page(machine, 9)
    assert errno_of(memory_failure, machine, 9) == "EBUSY"
    assert failures(machine) == IGNORED
    assert errno_of(memory_failure, machine, 9) == "EHWPOISON"


def test_zero_page_is_ignored_once(machine: Machine, task: Task) -> None:
    addr = loaded(machine, task, "16KiB")
    assert errno_of(bad, machine, task, addr) == "EBUSY"
    assert failures(machine) == IGNORED
    assert errno_of(bad, machine, task, addr + PAGE) == "EHWPOISON"
    assert machine.num_poisoned_pages == 1
    assert touch(machine, task, addr, 4 * PAGE) is None


def test_huge_zero_page_is_not_split(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    addr = mapped(machine, task, "2MiB")  # read by the call itself
    assert errno_of(bad, machine, task, addr) == "EHWPOISON"
    assert failures(machine) == FAILED
    assert touch(machine, task, addr, PAGE, write=False) is None


def test_merged_page_is_lost_to_all(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "32KiB")
    madvise(machine, task, addr, 8 * PAGE, Madv.MERGEABLE)
    ksm.scan(machine)
    bad(machine, task, addr)
    assert nodes_of(machine, task, addr, "32KiB") == [[8, -1]]
    assert machine.num_poisoned_pages == 1
    madvise(machine, task, addr, 8 * PAGE, Madv.DONTNEED)
    touch(machine, task, addr, 8 * PAGE)
    ksm.scan(machine)
    assert ksm.state(machine) == (1, 7, 0)


def test_who_may(machine: Machine) -> None:
    task = new_task(machine, uid=1000)
    addr = touched(machine, task, "4KiB")
    assert errno_of(bad, machine, task, addr) == "EPERM"
    assert errno_of(hard_offline_store, machine, task, 0) == "EACCES"


def test_swap_cache_is_refused_and_left_alone(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    add_to_swap_cache(machine, task, addr, PAGE)
    with pytest.raises(UnsupportedError):
        bad(machine, task, addr)
    assert machine.num_poisoned_pages == 0


def test_work_on_the_page_is_waited_for(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    pfn = pfn_at(task, addr)
    begin(machine, pfn, Busy.LOCKED, passes=3)
    memory_failure(machine, pfn)
    assert is_out_of_use(machine, pfn)


def test_smaps_counts_bad_pages_and_status_does_not(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "64KiB")
    shared = touched(machine, task, "64KiB", is_shared=True)
    bad(machine, task, addr)
    bad(machine, task, shared)
    rows = smaps.rows(machine, task)
    labels = ("Rss", "Pss", "Shared_Dirty", "Private_Dirty", "Anonymous")
    shown = [[smaps.kb(row.counts, name) for name in labels] for row in rows]
    assert shown == [[64, 64, 4, 60, 64], [64, 64, 4, 60, 0]]
    sizes = status.sizes(machine, task, rows)
    assert (sizes["VmRSS"], sizes["RssAnon"], sizes["RssShmem"]) == (30, 15, 15)


def test_block_with_a_bad_page_does_not_come_back() -> None:
    machine, task = with_task(nodes_with("256MiB", "256MiB"))
    addr = touched(machine, task, "4KiB", node=1)
    block = memory_blocks(machine)[2]
    bad(machine, task, addr)
    offline_pages(machine, block)
    check(machine)
    assert errno_of(memory_failure, machine, block.start + 9) == "ENXIO"
    assert errno_of(online_pages, machine, block) == "EHWPOISON"


def test_shared_memory_leaves_a_block_without_its_bad_page() -> None:
    machine, task = with_task(nodes_with("256MiB", "256MiB"))
    addr = touched(machine, task, "16KiB", node=1, is_shared=True)
    bad(machine, task, addr)
    offline_pages(machine, memory_blocks(machine)[2])
    check(machine)
    assert nodes_of(machine, task, addr, "16KiB")[0] == [1, -1]
    assert touch(machine, task, addr, PAGE) == "SIGBUS"
