"""What calls move finds room where clean page cache gives way, also what they have moved before."""

from collections.abc import Iterator

import pytest

from pymigrate.errors import KernelError
from pymigrate.mm.frames.page_alloc import available
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.mempolicy import mbind
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.process import touch
from pymigrate.uapi import MPOL, MPOL_MF_MOVE, MPOL_MF_STRICT
from tests.conftest import MIB, check, mapped, new_file, new_task, nodes_of, touched

WATCHES = pytest.mark.parametrize("events", [None, []], ids=["at once", "folio by folio"])


@pytest.fixture
def cache(machine: Machine, task: Task) -> Iterator[int]:
    """The address of 8 MiB of a disk's file, cached on node 0; all is as it should be later."""
    addr = mapped(machine, task, "8MiB", "r", space=new_file(machine, "8MiB", "ext4"))
    touch(machine, task, addr, 8 * MIB, write=False)
    yield addr
    check(machine)


def fill(machine: Machine, left: int, to_min: bool = True) -> None:
    """Leave room for so many pages on node 1."""
    nr = available(machine.nodes[1], to_min=to_min) - left
    touched(machine, new_task(machine, "b", cpu=1), f"{nr * 4}KiB", node=1)


@WATCHES
def test_page_cache_gives_way_to_what_the_same_call_moves_next(
    machine: Machine, task: Task, cache: int, events: list | None
) -> None:
    fill(machine, 600)
    machine.watch = Watch(events)
    assert migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1)) == 0
    assert machine.counters["pgmigrate_success"] == 2048
    found = dict(map(reversed, nodes_of(machine, task, cache, "8MiB")))
    assert found == {-1: machine.counters["pgsteal_file"], 1: 2048 - found[-1]}
    assert machine.counters["pgsteal_file"] == 1536


@WATCHES
def test_strict_mbind_moves_more_page_cache_than_there_is_room_for(
    machine: Machine, task: Task, cache: int, events: list | None
) -> None:
    fill(machine, 600)
    machine.watch = Watch(events)
    nodes, flags = Nodemask.of(1), MPOL_MF_STRICT | MPOL_MF_MOVE
    mbind(machine, task, cache, 8 * MIB, MPOL.BIND, nodes, flags)
    assert machine.counters["pgmigrate_success"] == 2048


@WATCHES
def test_what_a_batch_has_moved_does_not_give_way_to_the_rest_of_it(
    machine: Machine, task: Task, cache: int, events: list | None
) -> None:
    fill(machine, 500)
    machine.watch = Watch(events)
    with pytest.raises(KernelError, match="ENOMEM"):
        migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1))
    assert machine.counters["pgmigrate_success"] == 500
    assert machine.counters["pgmigrate_fail"] == 1
    assert nodes_of(machine, task, cache, "8MiB") == [[500, 1], [1548, 0]]


def test_page_cache_that_is_dirty_does_not_give_way(machine: Machine, task: Task) -> None:
    space = new_file(machine, "8MiB", "ext4")
    addr = touched(machine, task, "8MiB", space=space, is_shared=True)
    fill(machine, 600)
    with pytest.raises(KernelError, match="ENOMEM"):
        migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1))
    assert nodes_of(machine, task, addr, "8MiB") == [[600, 1], [1448, 0]]
