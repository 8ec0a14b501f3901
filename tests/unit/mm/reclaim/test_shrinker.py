"""Huge pages that hold little are split where memory is short."""

import pytest

from pymigrate.errors import KernelError
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.reclaim.shrinker import shrink_slab
from pymigrate.mm.state.machine import Machine, telling
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.mmap import munmap
from pymigrate.syscalls.process import touch
from pymigrate.uapi import MPOL
from tests.conftest import HUGE, MIB, check, mapped, new_task, nodes_of, touched


def thin(machine: Machine, node: int, size: int) -> int:
    """A mapping of *size* MiB on *node* in huge pages, each with one page that holds something."""
    machine.thp = "always"
    task = new_task(machine, f"thin{node}", cpu=node)
    addr = mapped(machine, task, f"{size}MiB")
    assert touch(machine, task, addr, size * MIB, stride=HUGE) is None
    machine.thp = "never"
    return addr


def test_faults_that_find_no_room_have_them_split(machine: Machine, task: Task) -> None:
    thin(machine, 0, 40)
    task.policy = Mempolicy(MPOL.BIND, 0, Nodemask.of(0), Nodemask.of(0))
    addr = mapped(machine, task, "40MiB")
    assert touch(machine, task, addr, 40 * MIB) is None
    assert nodes_of(machine, task, addr, "40MiB") == [[10240, 0]]
    assert machine.counters["thp_underused_split_page"] == 20
    check(machine)


def test_a_migration_to_a_node_that_is_full_of_them_has_them_split(
    machine: Machine, task: Task
) -> None:
    thin(machine, 1, 40)
    addr = touched(machine, task, "40MiB")
    assert migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1)) == 0
    assert nodes_of(machine, task, addr, "40MiB") == [[10240, 1]]
    assert machine.counters["thp_underused_split_page"] == 20
    check(machine)


def test_those_of_all_nodes_are_in_one_queue(machine: Machine, task: Task) -> None:
    thin(machine, 0, 10)
    thin(machine, 1, 40)
    addr = touched(machine, task, "40MiB")
    assert migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1)) == 0
    assert nodes_of(machine, task, addr, "40MiB") == [[10240, 1]]
    assert machine.counters["thp_underused_split_page"] == 25


def test_huge_pages_that_hold_enough_stay_whole(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    other = new_task(machine, "b", cpu=1)
    touched(machine, other, "40MiB", node=1)
    machine.thp = "never"
    touched(machine, task, "40MiB")
    with pytest.raises(KernelError, match="ENOMEM"):
        migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1))
    assert machine.counters["thp_split_page"] == 0


def test_what_is_partly_unmapped_is_split_too(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    addr = touched(machine, task, "4MiB")
    munmap(machine, task, addr + MIB, MIB)
    assert shrink_slab(machine) == 1
    assert machine.counters["thp_underused_split_page"] == 0
    check(machine)


def test_what_is_isolated_is_not_split(machine: Machine) -> None:
    addr = thin(machine, 0, 4)
    run = machine.task("thin0").mm.page_table.at(addr >> 12)
    assert run is not None
    in_hand = RunMap([Extent(run.pfn(addr >> 12), 512)])
    with telling(machine, machine.scope._replace(off_lru=in_hand)):
        assert shrink_slab(machine) == 1
    assert machine.counters["thp_split_page_failed"] == 1
    assert shrink_slab(machine) == 0  # it is looked at no more
