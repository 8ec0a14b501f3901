"""Every entry follows the folios that moved, and no other does."""

import pytest

from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.engine.migrate_folio import FolioMover
from pymigrate.mm.frames.placement import Placement, Prefer, Within
from pymigrate.mm.offline.page_isolation import isolate_range
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.migrate import move_pages
from pymigrate.syscalls.process import fork, touch
from tests.conftest import PAGE, kernel_page, new_task, nodes_of, nodes_with, pfn_at, touched
from tests.unit.mm.conftest import huge

MOVE_ALL = 4


def test_a_copy_right_behind_a_huge_page_stays_when_that_moves(
    machine: Machine, task: Task
) -> None:
    kernel_page(machine, 513)  # so that the huge page is the first one, and 512 the next page
    addr = huge(machine, task)
    child = fork(machine, task, "child")
    touch(machine, child, addr + 4 * PAGE, PAGE)
    assert (pfn_at(task, addr), pfn_at(child, addr + 4 * PAGE)) == (0, 512)
    assert move_pages(machine, task, task, [addr], [1], MOVE_ALL).status == [1]
    assert pfn_at(child, addr + 4 * PAGE) == 512
    assert pfn_at(child, addr + 5 * PAGE) == pfn_at(task, addr) + 5


def spilled(where: Placement, is_watched: bool) -> tuple[list[list[int]], dict[str, int], int]:
    """Where 48 MiB of node 0 go if 32 MiB of node 1 are taken; the counts and node 0's free."""
    machine = nodes_with("64MiB", "64MiB", "64MiB")
    task = new_task(machine)
    addr = touched(machine, task, "48MiB", node=0)
    touched(machine, task, "32MiB", node=1)
    machine.watch = Watch([] if is_watched else None)
    queue = isolate_range(machine, 0, machine.nodes[0].zones[-1].end).queue
    migrate_pages(machine, task, queue, where)
    names = ("numa_hit", "numa_miss", "numa_foreign", "pgmigrate_success")
    counts = {name: machine.counters[name] for name in names}
    return nodes_of(machine, task, addr, "48MiB"), counts, machine.nodes[0].nr_free


OTHERS = Within(1, Nodemask.parse("1-2"))


def test_what_the_first_node_has_no_room_for_goes_on_to_the_next_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unmap(*args: object) -> None:
        pytest.fail("a folio went its own way")

    monkeypatch.setattr(FolioMover, "unmap", unmap)
    nodes, counts, _ = spilled(OTHERS, is_watched=False)
    assert {nid for _, nid in nodes} == {1, 2}
    assert counts["pgmigrate_success"] == 12288


@pytest.mark.parametrize("where", [OTHERS, Prefer(1)], ids=["within", "prefer"])
def test_the_first_node_gets_as_much_as_when_each_folio_goes_its_own_way(where: Placement) -> None:
    at_once, one_by_one = spilled(where, is_watched=False), spilled(where, is_watched=True)
    assert sum(nr for nr, nid in at_once[0] if nid == 1) == 8009
    assert sorted_nodes(at_once[0]) == sorted_nodes(one_by_one[0])
    assert at_once[1:] == one_by_one[1:]


def sorted_nodes(nodes: list[list[int]]) -> dict[int, int]:
    """How many pages lie on each node."""
    return {n: sum(nr for nr, nid in nodes if nid == n) for _, n in nodes}
