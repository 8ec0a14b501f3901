"""What is asked for by writing to files: compaction, CMA, memory blocks, reclaim."""

from collections.abc import Callable

import pytest

from pymigrate.mm.compact.control import CompactResult
from pymigrate.mm.state.machine import Machine
from pymigrate.scenario.boot.build import boot
from pymigrate.scenario.spec.models import MachineSpec
from pymigrate.syscalls import cma, compact, memory_blocks, reclaim
from tests.conftest import MIB, errno_of, new_task, nodes_with, touched, two_nodes
from tests.property.invariants import check

Request = Callable[..., object]


def with_cma() -> Machine:
    nodes = {0: {"cpus": "0", "memory": "64MiB"}, 1: {"memory": "64MiB", "cma": "16MiB"}}
    return boot(MachineSpec.model_validate({"nodes": nodes}), "6.12")


@pytest.mark.parametrize(
    ("request_", "args"),
    [
        (compact.compact, ()),
        (cma.alloc, ("x", MIB)),
        (cma.release, ("x",)),
        (memory_blocks.offline, (0,)),
        (memory_blocks.online, (0,)),
        (reclaim.reclaim, (MIB,)),
    ],
)
def test_only_root_may_ask(request_: Request, args: tuple[object, ...]) -> None:
    machine = with_cma()
    assert errno_of(request_, machine, machine.shell_of(26), *args) == "EACCES"


@pytest.mark.parametrize(
    ("request_", "args", "errno"),
    [
        (compact.compact, (7,), "ENOENT"),
        (cma.alloc, ("x", MIB, 0), "ENODEV"),
        (cma.alloc, ("x", 0), "EINVAL"),
        (cma.alloc, ("x", 17 * MIB), "ENOMEM"),
        (cma.release, ("x",), "ENOENT"),
        (memory_blocks.offline, (7,), "ENOENT"),
        (memory_blocks.offline, (0, [99]), "ENOENT"),
        (reclaim.reclaim, (MIB, 7), "ENOENT"),
        (reclaim.reclaim, (MIB,), "EAGAIN"),
    ],
)
def test_what_cannot_be_is_refused(request_: Request, args: tuple[object, ...], errno: str) -> None:
    machine = with_cma()
    assert errno_of(request_, machine, machine.shell_of(0), *args) == errno
    check(machine)


def test_memory_for_cma_is_taken_once_and_given_back() -> None:
    machine = with_cma()
    root, free = machine.shell_of(0), machine.nodes[1].nr_free
    assert cma.alloc(machine, root, "x", MIB + 1).nr == 257
    assert errno_of(cma.alloc, machine, root, "x", MIB) == "EEXIST"
    assert machine.nodes[1].nr_free == free - 257
    cma.release(machine, root, "x")
    assert machine.nodes[1].nr_free == free


@pytest.mark.parametrize(
    ("nid", "order", "runs"),
    [
        (None, None, [(0, "DMA"), (0, "DMA32"), (1, "DMA32")]),
        (0, None, [(0, "DMA"), (0, "DMA32")]),
        (1, 9, [(1, "DMA32")]),
    ],
)
def test_zones_are_compacted_one_after_the_other(
    nid: int | None, order: int | None, runs: list[tuple[int, str]]
) -> None:
    machine = two_nodes("64MiB")
    found = compact.compact(machine, machine.shell_of(0), nid, order)
    assert [(run.node, run.zone) for run in found] == runs
    expected = CompactResult.SUCCESS if order else CompactResult.COMPLETE
    assert {run.result for run in found} == {expected}


def test_blocks_go_and_come_back_one_after_the_other() -> None:
    machine = nodes_with("256MiB", "256MiB")
    root = machine.shell_of(0)
    gone = memory_blocks.offline(machine, root, 1)
    assert [(each.number, each.error) for each in gone] == [(2, None), (3, None)]
    assert machine.nodes[1].nr_pages == 0
    [again, _] = memory_blocks.offline(machine, root, 1, [2, 3])
    assert again.error is not None
    assert again.error.name == "EINVAL"
    back = memory_blocks.online(machine, root, 1)
    assert [(each.number, each.error) for each in back] == [(2, None), (3, None)]
    assert machine.nodes[1].nr_pages == 65536


def test_the_tasks_of_a_cpuset_are_those_in_it() -> None:
    machine = two_nodes()
    task = new_task(machine)
    touched(machine, task, "4KiB")
    assert reclaim.cpuset_tasks(machine, "") == [task]
    assert errno_of(reclaim.cpuset_tasks, machine, "x") == "ENOENT"
