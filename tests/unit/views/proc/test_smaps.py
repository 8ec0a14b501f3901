"""/proc/PID/smaps and smaps_rollup: who holds how much of what."""

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.state.machine import Machine, add_device
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.drivers import migrate_vma
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.mmap import mlock, munmap
from pymigrate.syscalls.process import fork, touch
from pymigrate.views.proc.smaps import SmapsRow, format_rollup, format_rows, kb, rows
from tests.conftest import HUGE, PAGE, mapped, new_file, touched


def shown(row: SmapsRow) -> dict[str, int]:
    """What is not 0, in kB, but for Referenced and what follows from the others."""
    left_out = ("Referenced", "Pss_Anon", "Pss_File", "Pss_Shmem", "RssFile", "RssShmem")
    found = {label: kb(row.counts, label) for label in row.counts if label not in left_out}
    return {label: value for label, value in found.items() if value}


def only(machine: Machine, task: Task) -> SmapsRow:
    [row] = rows(machine, task)
    return row


def test_anonymous_memory_is_private_and_dirty(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB")
    assert shown(only(machine, task)) == {
        "Rss": 16,
        "Pss": 16,
        "Pss_Dirty": 16,
        "Private_Dirty": 16,
        "Anonymous": 16,
    }


def test_the_zero_page_counts_nowhere(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    touch(machine, task, addr, 4 * PAGE, write=False)
    assert shown(only(machine, task)) == {}


def test_a_page_of_three_tasks_counts_a_third_for_each(machine: Machine, task: Task) -> None:
    touched(machine, task, "12KiB")
    for name in ("b", "c"):
        fork(machine, task, name)
    assert shown(only(machine, task)) == {
        "Rss": 12,
        "Pss": 3,  # three times 1365.3 bytes
        "Pss_Dirty": 3,
        "Shared_Dirty": 12,
        "Anonymous": 12,
    }


def test_pages_of_a_file_are_clean_until_somebody_writes(machine: Machine, task: Task) -> None:
    space = new_file(machine, "16KiB", "ext4")
    addr = mapped(machine, task, "16KiB", space=space, is_shared=True)
    touch(machine, task, addr, 4 * PAGE, write=False)
    touch(machine, task, addr, PAGE)
    row = only(machine, task)
    assert (kb(row.counts, "Private_Clean"), kb(row.counts, "Private_Dirty")) == (12, 4)
    assert (
        kb(row.counts, "Pss_File"),
        kb(row.counts, "Pss_Shmem"),
        kb(row.counts, "Anonymous"),
    ) == (16, 0, 0)


def test_shared_memory_counts_as_shmem(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB", is_shared=True)
    row = only(machine, task)
    assert (kb(row.counts, "Pss_File"), kb(row.counts, "Pss_Shmem")) == (0, 16)


def test_locked_memory_counts_its_share(machine: Machine, task: Task) -> None:
    mlock(machine, task, mapped(machine, task, "16KiB"), 4 * PAGE)
    row = only(machine, task)
    assert kb(row.counts, "Locked") == 16
    assert "lo" in row.flags


def test_what_madv_free_gave_up_is_lazily_freed(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "128KiB")
    madvise(machine, task, addr, 32 * PAGE, Madv.FREE)
    assert kb(only(machine, task).counts, "LazyFree") == 124  # the last page waits in a batch


def test_each_page_of_a_huge_one_has_its_own_share(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    addr = touched(machine, task, "2MiB")
    child = fork(machine, task, "b")
    munmap(machine, child, addr + HUGE // 2, HUGE // 2)
    row = only(machine, task)
    assert kb(row.counts, "AnonHugePages") == 2048
    assert kb(row.counts, "Pss") == 1024 + 512
    assert (kb(row.counts, "Private_Dirty"), kb(row.counts, "Shared_Dirty")) == (1024, 1024)
    assert kb(only(machine, child).counts, "AnonHugePages") == 0
    assert kb(only(machine, child).counts, "Pss") == 512


def test_pages_of_the_pools_are_not_in_rss(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 2, 0)
    touched(machine, task, "4MiB", hugetlb=True)
    row = only(machine, task)
    assert shown(row) == {"Private_Hugetlb": 4096}
    assert row.pagesize_kb == 2048
    assert "ht" in row.flags


def test_memory_on_a_device_is_resident(machine: Machine, task: Task) -> None:
    add_device(machine, "gpu", 64)
    addr = touched(machine, task, "16KiB")
    migrate_vma(machine, task, addr, 2 * PAGE, "gpu")
    assert kb(only(machine, task).counts, "Rss") == 16


@pytest.mark.parametrize(
    ("thp", "size", "eligible"),
    [
        pytest.param("always", "2MiB", True, id="a whole block"),
        pytest.param("always", "1MiB", False, id="no whole block"),
        pytest.param("madvise", "2MiB", False, id="not advised"),
    ],
)
def test_thp_eligible_says_whether_a_huge_page_fits(
    machine: Machine, task: Task, thp: str, size: str, eligible: bool
) -> None:
    machine.thp = thp
    mapped(machine, task, size)
    assert only(machine, task).is_thp_eligible == eligible


def test_the_text_of_a_vma(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB")
    assert (
        format_rows(rows(machine, task))
        == """\
200004000000-200004004000 rw-p 00000000 00:00 0\u0020
Size:                 16 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                  16 kB
Pss:                  16 kB
Pss_Dirty:            16 kB
Shared_Clean:          0 kB
Shared_Dirty:          0 kB
Private_Clean:         0 kB
Private_Dirty:        16 kB
Referenced:           16 kB
Anonymous:            16 kB
KSM:                   0 kB
LazyFree:              0 kB
AnonHugePages:         0 kB
ShmemPmdMapped:        0 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       0 kB
Swap:                  0 kB
SwapPss:               0 kB
Locked:                0 kB
THPeligible:           0
ProtectionKey:         0
VmFlags: rd wr mr mw me ac sd\u0020
"""
    )


def test_the_rollup_adds_all_vmas_up(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB")
    touched(machine, task, "8KiB", is_shared=True)
    lines = format_rollup(rows(machine, task)).splitlines()
    assert lines[0] == f"{'200004000000-200004202000 ---p 00000000 00:00 0':73}[rollup]"
    assert lines[1:7] == [
        "Rss:                  24 kB",
        "Pss:                  24 kB",
        "Pss_Dirty:            24 kB",
        "Pss_Anon:             16 kB",
        "Pss_File:              0 kB",
        "Pss_Shmem:             8 kB",
    ]
    assert lines[-1] == "Locked:                0 kB"


def test_a_task_without_memory_has_an_empty_rollup(machine: Machine, task: Task) -> None:
    assert format_rows(rows(machine, task)) == ""
    assert format_rollup(rows(machine, task)).startswith("00000000-00000000 ---p ")
