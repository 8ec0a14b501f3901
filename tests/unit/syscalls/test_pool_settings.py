"""Settings of the hugetlb pools' surplus and of KSM: what they change, and what is refused."""

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.calls import ksm
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls import sysctl
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.mmap import mmap, munmap
from pymigrate.syscalls.process import touch
from pymigrate.units import HPAGE_SIZE
from tests.conftest import errno_of, nodes_of, touched


def put(machine: Machine, name: str, value: str) -> None:
    sysctl.write(machine, machine.shell_of(0), name, value)


# Surplus


def huge(machine: Machine, task: Task, nr: int) -> None:
    mmap(machine, task, 1 << 32, nr * HPAGE_SIZE, "rw", hugetlb=True)


def test_a_surplus_page_comes_and_goes_with_its_use(machine: Machine, task: Task) -> None:
    assert errno_of(huge, machine, task, 2) == "ENOMEM"
    put(machine, "nr_overcommit_hugepages", "2")
    assert sysctl.read(machine, "vm.nr_overcommit_hugepages") == "2"
    huge(machine, task, 2)
    touch(machine, task, 1 << 32, 2 * HPAGE_SIZE)
    # A node of 4 MiB has room for one.
    assert [(node.hugetlb.nr, node.hugetlb.surplus) for node in machine.nodes.values()] == [
        (1, 1),
        (1, 1),
    ]
    munmap(machine, task, 1 << 32, 2 * HPAGE_SIZE)
    assert sum(node.hugetlb.nr for node in machine.nodes.values()) == 0


def test_more_than_the_surplus_is_refused(machine: Machine, task: Task) -> None:
    put(machine, "nr_overcommit_hugepages", "1")
    assert errno_of(huge, machine, task, 2) == "ENOMEM"


@pytest.mark.parametrize("value", ["-1", "x", ""])
def test_no_number_of_pages(machine: Machine, value: str) -> None:
    assert errno_of(put, machine, "nr_overcommit_hugepages", value) == "EINVAL"


# KSM


def twins(machine: Machine, task: Task, size: str, node: int = 0) -> int:
    addr = touched(machine, task, size, node=node)
    madvise(machine, task, addr, int(size.removesuffix("KiB")) << 10, Madv.MERGEABLE)
    return addr


def test_a_merged_page_stands_for_so_many(machine: Machine, task: Task) -> None:
    put(machine, "ksm/max_page_sharing", "4")
    twins(machine, task, "40KiB")
    ksm.scan(machine)
    assert ksm.state(machine).pages_shared == 3


def test_nodes_can_have_merged_pages_of_their_own(machine: Machine, task: Task) -> None:
    put(machine, "ksm/merge_across_nodes", "0")
    near, far = twins(machine, task, "16KiB"), twins(machine, task, "16KiB", node=1)
    ksm.scan(machine)
    assert ksm.state(machine).pages_shared == 2
    assert nodes_of(machine, task, near, "16KiB") == [[4, 0]]
    assert nodes_of(machine, task, far, "16KiB") == [[4, 1]]


@pytest.mark.parametrize("name", ["ksm/merge_across_nodes", "ksm/max_page_sharing"])
def test_settings_wait_until_nothing_is_merged(machine: Machine, task: Task, name: str) -> None:
    twins(machine, task, "16KiB")
    ksm.scan(machine)
    other = {"ksm/merge_across_nodes": "0", "ksm/max_page_sharing": "8"}[name]
    assert errno_of(put, machine, name, other) == "EBUSY"
    put(machine, name, sysctl.read(machine, name))
    put(machine, "ksm/run", "2")
    assert ksm.state(machine).pages_shared == 0
    put(machine, name, other)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ksm/run", "3"),
        ("ksm/run", "x"),
        ("ksm/merge_across_nodes", "2"),
        ("ksm/max_page_sharing", "1"),
    ],
)
def test_values_that_are_refused(machine: Machine, name: str, value: str) -> None:
    before = sysctl.read(machine, name)
    assert errno_of(put, machine, name, value) == "EINVAL"
    assert sysctl.read(machine, name) == before


def test_pages_that_come_apart_are_the_tasks_own(task: Task, machine: Machine) -> None:
    addr = twins(machine, task, "16KiB")
    ksm.scan(machine)
    put(machine, "ksm/run", "2")
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 0]]
    assert sysctl.read(machine, "ksm/run") == "2"


def test_soft_offline_can_be_switched_off(machine: Machine, task: Task) -> None:
    put(machine, "enable_soft_offline", "0")
    addr = touched(machine, task, "4KiB")
    assert errno_of(madvise, machine, task, addr, 4096, Madv.SOFT_OFFLINE) == "EOPNOTSUPP"
