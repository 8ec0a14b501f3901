"""/proc/vmstat: events as counted, gauges as the memmap says."""

from pymigrate.mm.base.vmstat import NAMES
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.mmap import mlock, munmap
from pymigrate.syscalls.process import touch
from pymigrate.views.proc.vmstat import format_rows, rows
from tests.conftest import PAGE, mapped, new_file, new_task, touched, two_nodes


def gauges(machine: Machine) -> dict[str, int]:
    """The node's gauges that are not 0, but for how much is free."""
    found = {name: value for name, value in rows(machine).items() if value}
    return {
        name: value
        for name, value in found.items()
        if name.startswith("nr_")
        and name not in ("nr_free_pages", "nr_dirty_threshold")
        and not name.startswith(("nr_zone_", "nr_dirty_background"))
    }


def test_all_counters_come_in_the_kernels_order(machine: Machine) -> None:
    assert list(rows(machine)) == NAMES
    text = format_rows(rows(machine))
    assert text.startswith("nr_free_pages 32768\nnr_zone_inactive_anon 0\n")
    assert text.endswith("\nnr_unstable 0\n")


def test_anonymous_memory(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB")
    assert gauges(machine) == {"nr_active_anon": 4, "nr_anon_pages": 4}
    assert rows(machine)["nr_free_pages"] == 32764
    assert rows(machine)["nr_zone_active_anon"] == 4


def test_shared_memory(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB", is_shared=True)
    found = {"nr_active_anon": 4, "nr_file_pages": 4, "nr_shmem": 4}
    assert gauges(machine) == found | {"nr_mapped": 4}
    munmap(machine, task, addr, PAGE)
    assert gauges(machine) == found | {"nr_mapped": 3}


def test_disk_files(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB", space=new_file(machine, "16KiB", "ext4"), is_shared=True)
    touch(machine, task, addr, PAGE)
    assert gauges(machine) == {
        "nr_active_file": 4,
        "nr_dirty": 1,
        "nr_file_pages": 4,
        "nr_mapped": 1,
    }
    assert rows(machine)["nr_zone_write_pending"] == 1


def test_locked_memory(machine: Machine, task: Task) -> None:
    mlock(machine, task, mapped(machine, task, "16KiB"), 4 * PAGE)
    assert gauges(machine) == {"nr_anon_pages": 4, "nr_mlock": 4, "nr_unevictable": 4}


def test_6_1_counts_fresh_memory_as_inactive() -> None:
    machine = two_nodes(kernel="6.1")
    touched(machine, new_task(machine), "16KiB")
    assert gauges(machine) == {"nr_anon_pages": 4, "nr_inactive_anon": 4}


def test_numa_events_are_those_of_all_nodes(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB", node=1)
    found = {name: value for name, value in rows(machine).items() if name.startswith("numa_")}
    assert {name: value for name, value in found.items() if value} == {
        "numa_hit": 4,
        "numa_other": 4,
    }


def test_dirty_thresholds_follow_what_is_free(machine: Machine, task: Task) -> None:
    names = ("nr_dirty_threshold", "nr_dirty_background_threshold")
    assert [rows(machine)[name] for name in names] == [6434, 3213]
    touched(machine, task, "4MiB")
    assert [rows(machine)[name] for name in names] == [6230, 3111]
