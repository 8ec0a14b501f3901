"""The methods for what the kernel and its drivers do, and for looks at nodes."""

import pytest

import pymigrate
from pymigrate.api.machine import Machine
from pymigrate.api.movers import DriverMoved
from pymigrate.api.results import Placed
from pymigrate.errors import KernelError
from pymigrate.mm.state.node import Called

SCENARIO = """\
machine:
  nodes:
    0: {cpus: "0", memory: 64MiB, cma: 8MiB}
    1: {memory: 64MiB, adistance: 1000}
  devices: {gpu: {memory: 64MiB}}
drivers: {zs: {kind: zsmalloc, node: 0, pages: 2}}
tasks:
  a: {memory: [{as: heap, kind: heap, size: 1MiB, pages: [[256, 0]]}]}
  b: {memory: [{as: heap, shared: a.heap}]}
"""


@pytest.fixture
def machine() -> Machine:
    return pymigrate.boot(SCENARIO)


def test_damon_moves_a_task_a_place_or_a_node(machine: Machine) -> None:
    assert machine.damon("migrate_cold", 1, who="a", place="heap+0:64KiB") == 16
    assert machine.damon("migrate_hot", 1, node=0, quota="16KiB") == 4
    assert machine.damon("migrate_cold", 0, who="a") == 20
    with pytest.raises(ValueError, match="expected either node, or who"):
        machine.damon("migrate_cold", 1)
    with pytest.raises(KernelError) as refused:
        machine.damon("migrate_cold", 7, node=0)
    assert refused.value.name == "EINVAL"


def test_cma_gives_a_physical_address_and_takes_it_back(machine: Machine) -> None:
    address = machine.cma_alloc("camera", "4MiB")
    assert address == 0x3800000
    machine.cma_release("camera")
    assert machine.cma_alloc("camera", "4MiB") == address


def test_page_goes_out_of_use_by_place_or_address(machine: Machine) -> None:
    assert machine.soft_offline("a", "heap", length="4KiB", uid=0) == 4
    assert machine.soft_offline(address=0x2000000) == 8
    with pytest.raises(ValueError, match="expected either who and place, or address"):
        machine.soft_offline("a")


def test_page_goes_bad_by_place_or_address(machine: Machine) -> None:
    assert machine.hard_offline("a", "heap", length="4KiB", uid=0) == 4
    assert machine.hard_offline(address=0x2000000) == 8
    with pytest.raises(ValueError, match="expected either who and place, or address"):
        machine.hard_offline("a")


def test_equal_pages_are_merged(machine: Machine) -> None:
    machine.mmap("a", "buf", "32KiB")
    machine.madvise("a", "buf", "mergeable")
    machine.touch("a", "buf")
    assert machine.ksm() == (1, 7, 0)


def test_kernel_takes_blocks_and_gives_them_back(machine: Machine) -> None:
    assert machine.alloc("blocks", order=3, count=4, node=1, this_node=True) == 4
    assert machine.free("blocks") == 4
    with pytest.raises(ValueError, match="'now' is no mode"):
        machine.alloc("blocks", mode="now")


def test_drivers_pages_move_with_what_the_driver_was_asked(machine: Machine) -> None:
    moved = machine.migrate_driver("zs", 1, pages=[0])
    assert moved == DriverMoved(
        0,
        None,
        (Called("isolate_page", 0, "true"), Called("migrate_page", 0, "0")),
        (Placed(1, 1), Placed(1, 0)),
    )


def test_work_on_a_page_ends(machine: Machine) -> None:
    machine.busy("a", "heap", "writeback", length="4KiB")
    machine.busy("a", "heap", "none", length="4KiB")
    assert machine.migrate_pages("a", 0, 1).ret == 0


def test_pages_get_into_the_swap_cache(machine: Machine) -> None:
    machine.mmap("a", "buf", "16KiB")
    machine.touch("a", "buf")
    machine.swap_cache("a", "buf")
    assert [line.swapcache for line in machine.numa_maps("a")] == [4, 0]


def test_device_gets_pages_and_gives_them_back(machine: Machine) -> None:
    machine.mmap("a", "buf", "16KiB")
    machine.touch("a", "buf")
    assert machine.migrate_vma("a", "buf", "gpu") == (4, 4)
    assert machine.migrate_vma("a", "buf", "ram") == (4, 4)


def test_another_task_waits_in_the_middle_of_a_move(machine: Machine) -> None:
    with machine.meanwhile("b", "heap+4KiB") as other:
        machine.migrate_pages("a", 0, 1)
    assert (other.waited, other.signal) == (True, None)


def test_memory_of_memfd_secret_stays(machine: Machine) -> None:
    machine.mmap("a", "key", "8KiB", shared=True, secretmem=True)
    machine.touch("a", "key")
    assert [left.pages for left in machine.migrate_pages("a", 0, 1).stayed] == [2]


def test_nodes_are_looked_at(machine: Machine) -> None:
    assert [(row.node, row.is_top) for row in machine.tiers()] == [(0, True), (1, False)]
    assert machine.numastat()[0]["numa_hit"] == 0
    machine.mmap("a", "buf", "8KiB")
    machine.touch("a", "buf")
    assert machine.numastat()[0]["numa_hit"] == 2
    assert {row.node for row in machine.buddyinfo()} == {0, 1}
