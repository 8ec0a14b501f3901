"""/proc/PID/status, stat and statm."""

import pytest

from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.gup import pin
from pymigrate.syscalls.mmap import mlock
from pymigrate.syscalls.process import fork, touch
from pymigrate.views.proc import smaps, status
from tests.conftest import PAGE, mapped, new_file, new_task, nodes_with, touched

NAMES = """
Name Umask State Tgid Ngid Pid PPid TracerPid Uid Gid FDSize Groups NStgid NSpid NSpgid NSsid
Kthread VmPeak VmSize VmLck VmPin VmHWM VmRSS RssAnon RssFile RssShmem VmData VmStk VmExe VmLib
VmPTE VmSwap HugetlbPages CoreDumping THP_enabled untag_mask Threads SigQ SigPnd ShdPnd SigBlk
SigIgn SigCgt CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp Seccomp_filters
Speculation_Store_Bypass SpeculationIndirectBranch Cpus_allowed Cpus_allowed_list Mems_allowed
Mems_allowed_list voluntary_ctxt_switches nonvoluntary_ctxt_switches x86_Thread_features
x86_Thread_features_locked
""".split()


@pytest.fixture
def machine() -> Machine:
    return nodes_with("64MiB", "64MiB", cpus=("0-3", "4-7"))


@pytest.fixture
def task(machine: Machine) -> Task:
    return new_task(machine, cpu=5)


def lines(machine: Machine, task: Task) -> dict[str, str]:
    return dict(status.status(machine, task, smaps.rows(machine, task)))


def kb(machine: Machine, task: Task) -> dict[str, int]:
    """The sizes that are not 0."""
    found = {
        name: int(value.removesuffix(" kB"))
        for name, value in lines(machine, task).items()
        if value.endswith(" kB")
    }
    return {name: size for name, size in found.items() if size}


def test_all_lines_come_in_the_kernels_order(machine: Machine, task: Task) -> None:
    assert list(lines(machine, task)) == NAMES


def test_sizes_are_right_aligned_in_kb(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB")
    text = status.format_status(status.status(machine, task, smaps.rows(machine, task)))
    assert "\nVmRSS:\t      16 kB\n" in text
    assert "\nGroups:\t \n" in text


def test_resident_memory_by_its_kind(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB")
    touched(machine, task, "8KiB", is_shared=True)
    mapped(machine, task, "64KiB")
    assert kb(machine, task) == {
        "VmPeak": 88,
        "VmSize": 88,
        "VmHWM": 24,
        "VmRSS": 24,
        "RssAnon": 16,
        "RssShmem": 8,
        "VmData": 80,
    }


def test_executed_files_count_as_libraries(machine: Machine, task: Task) -> None:
    space = new_file(machine, "64KiB", "ext4")
    addr = mapped(machine, task, "16KiB", prot="rx", space=space)
    touch(machine, task, addr, 4 * PAGE, write=False)
    assert {name: kb(machine, task)[name] for name in ("VmLib", "RssFile")} == {
        "VmLib": 16,
        "RssFile": 16,
    }


def test_pool_pages_count_apart(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 1, 0)
    touched(machine, task, "2MiB", hugetlb=True)
    assert kb(machine, task)["HugetlbPages"] == 2048
    assert "VmRSS" not in kb(machine, task)


def test_locked_and_pinned_memory(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    mlock(machine, task, addr, 2 * PAGE)
    pin(machine, task, addr, PAGE, is_long=True)
    assert (kb(machine, task)["VmLck"], kb(machine, task)["VmPin"]) == (8, 4)


def test_where_it_may_run_and_allocate(machine: Machine, task: Task) -> None:
    found = lines(machine, task)
    assert (found["Cpus_allowed"], found["Cpus_allowed_list"]) == ("20", "5")
    assert found["Mems_allowed"] == "00000000," * 31 + "00000003"
    assert found["Mems_allowed_list"] == "0-1"


@pytest.mark.parametrize(
    ("uid", "caps"),
    [
        pytest.param(0, "000001ffffffffff", id="root"),
        pytest.param(26, "0000000000000000", id="user"),
    ],
)
def test_identity_and_capabilities(machine: Machine, uid: int, caps: str) -> None:
    found = lines(machine, new_task(machine, uid=uid))
    assert found["Uid"] == f"{uid}\t{uid}\t{uid}\t{uid}"
    assert found["CapEff"] == caps


def test_a_child_knows_its_parent_while_there_is_one(machine: Machine, task: Task) -> None:
    child = fork(machine, task, "b")
    assert lines(machine, child)["PPid"] == str(task.pid)
    del machine.tasks[task.pid]
    assert lines(machine, child)["PPid"] == "0"


def test_stat_has_52_fields_and_the_cpu_is_the_39th(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB")
    fields = status.stat(machine, task, smaps.rows(machine, task)).split()
    assert len(fields) == 52
    assert fields[:4] == ["1000", "(a)", "S", "0"]
    assert fields[22:24] == [str(4 * PAGE), "4"]
    assert fields[38] == "5"


def test_statm_is_in_pages(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB")
    touched(machine, task, "8KiB", is_shared=True)
    assert status.statm(machine, task, smaps.rows(machine, task)) == "6 6 2 0 0 4 0\n"
