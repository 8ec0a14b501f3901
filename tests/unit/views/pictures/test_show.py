from typing import Any

import pytest

from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import AccessPattern, Region, Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.mempolicy import mbind
from pymigrate.syscalls.process import fork
from pymigrate.uapi import MPOL
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.pictures import show, strips
from tests.conftest import four_nodes, mapped, new_task, nodes_with, touched, two_nodes

START = 0x1000
N0, N1, N2, N3 = (nid << 32 for nid in range(4))


def with_vma(*runs: PteRun, nr: int) -> tuple[Machine, Task]:
    """A task with one VMA of *nr* pages from START, and *runs* in its page table."""
    machine = four_nodes()
    task = new_task(machine)
    task.mm.vmas.append(Vma(START, START + nr, Vm.READ | Vm.WRITE, START))
    for run in runs:
        task.mm.page_table.put(run.start, run.end, run)
    return machine, task


def strip(*runs: PteRun, nr: int, cells: int) -> str:
    """How the VMA of with_vma() is drawn."""
    machine, task = with_vma(*runs, nr=nr)
    [row] = show.rows(machine, [task], show.Draw(cells)).tasks
    return "".join(strips.sign(cell) for cell in row.strips[0].cells)


def names(machine: Machine, task: Task) -> list[str]:
    return [row.label.name for row in show.rows(machine, [task], show.Draw(8)).tasks[0].strips]


@pytest.mark.parametrize(
    ("runs", "nr", "drawn"),
    [
        pytest.param([(0, 75, (N0,)), (75, 25, (N1,))], 100, "00000011", id="equal parts"),
        pytest.param([(0, 16, (N0,)), (16, 84, (N1,))], 100, "0111", id="the node of most pages"),
        pytest.param([(4, 4, ())], 12, "..zz..", id="absent, and the zero page"),
        pytest.param([(0, 4, (), 0, 64)], 4, "....", id="swapped pages are absent"),
        pytest.param([(0, 400 << 18, (N0, N1, N2, N3))], 400 << 18, "0123" * 12 + "0", id="turns"),
        pytest.param(
            [(0, 1001, (N1, N2, N0))], 1001, "01201201201201201", id="wherever cells begin"
        ),
        pytest.param(
            [(i, 1, (N3 + i,)) for i in range(0, 64, 2)], 64, "3.3.3.3.", id="every second page"
        ),
        # What a cell leaves undrawn is forgotten where that kind is gone.
        pytest.param([(0, 3, (N0,)), (3, 97, (N1,))], 100, "1" * 10, id="not owed for ever"),
    ],
)
def test_a_region_is_drawn_in_cells(runs: list[Any], nr: int, drawn: str) -> None:
    made = [PteRun(START + start, *rest) for start, *rest in runs]
    assert strip(*made, nr=nr, cells=len(drawn)) == drawn


def test_small_region_has_a_cell_for_each_page() -> None:
    assert strip(PteRun(START, 2, (N2,)), nr=3, cells=48) == "22."


def test_weights_show_in_proportion() -> None:
    run = PteRun(START, 4000, (N0, N0 + 9000, N0 + 18000, N1))
    assert strip(run, nr=4000, cells=40).count("1") == 10


def test_even_scatter_looks_interleaved() -> None:
    table = tuple((N0, N1)[i * i % 7 % 2] + i for i in range(490))
    runs = [PteRun(START + a, 49, table[a : a + 49]) for a in range(0, 490, 49)]
    cells = strip(*runs, nr=490, cells=10)
    assert cells.count("1") == pytest.approx(10 * sum(p >> 32 for p in table) / 490, abs=1)


def test_pages_are_counted_by_node() -> None:
    runs = PteRun(START, 30, (N0, N1, N2)), PteRun(START + 40, 10, ())
    machine, task = with_vma(*runs, nr=100)
    [row] = show.rows(machine, [task], show.Draw(7)).tasks
    assert row.strips[0].pages == {-2: 10, -1: 60, 0: 10, 1: 10, 2: 10}


def test_nodes_beyond_the_letters_share_a_sign() -> None:
    assert [strips.sign(nid) for nid in (0, 9, 10, 34, 35, 1023)] == ["0", "9", "A", "Y", "#", "#"]


def test_region_has_its_name_and_a_split_one_its_offset() -> None:
    machine = four_nodes()
    task = new_task(machine)
    addr = mapped(machine, task, "8MiB")
    machine.regions["a", "heap"] = Region("a", "heap", addr >> PAGE_SHIFT, 2048)
    other = mapped(machine, task, "8MiB")
    mbind(machine, task, addr + (2 << 20), 4 << 20, MPOL.BIND, Nodemask.of(1), 0)

    assert names(machine, task) == ["heap", "heap+2MiB", "heap+6MiB", f"{other:08x}"]


def test_child_has_its_parents_names() -> None:
    machine = two_nodes()
    task = new_task(machine)
    addr = touched(machine, task, "64KiB")
    machine.regions["a", "heap"] = Region("a", "heap", addr >> PAGE_SHIFT, 16)

    assert names(machine, fork(machine, task, "child")) == ["heap"]


def test_policy_is_the_regions_else_the_tasks() -> None:
    machine = four_nodes()
    task = new_task(machine)
    addr = mapped(machine, task, "8MiB")
    shared = mapped(machine, task, "8MiB", is_shared=True)
    mbind(machine, task, addr, 4 << 20, MPOL.BIND, Nodemask.of(1), 0)
    mbind(machine, task, shared, 8 << 20, MPOL.INTERLEAVE, Nodemask.parse("0-3"), 0)
    [row] = show.rows(machine, [task], show.Draw(8)).tasks

    assert [s.label.policy for s in row.strips] == ["bind:1", "default", "interleave:0-3"]


def test_node_row_counts_pages() -> None:
    machine = nodes_with("64MiB", "0", cpus=("", "0-3"), distances=((10, 17), (17, 10)))
    touched(machine, new_task(machine), "4MiB")

    assert show.rows(machine, [], show.Draw(8)).nodes == [
        show.NodeRow(0, "", 16384, 15360, {0: 10, 1: 17}),
        show.NodeRow(1, "0-3", 0, 0, {0: 17, 1: 10}),
    ]


def picture() -> show.Picture:
    """A machine in which everything happens."""
    nodes = [
        show.NodeRow(0, "0-3", 1000, 1000, {0: 10, 1: 21, 2: 17, 3: 20}),
        show.NodeRow(1, "4-7", 1000, 1, {0: 21, 1: 10, 2: 28, 3: 20}),
        show.NodeRow(2, "", 262144, 131000, {0: 17, 1: 28, 2: 10, 3: 20}),
        show.NodeRow(3, "8", 0, 0, {0: 20, 1: 20, 2: 20, 3: 10}),
    ]
    heap = show.StripRow(strips.Label("heap", "64MiB", "bind:0"), 16, 16384, {}, [0, 0, -1, -2])
    stack = show.StripRow(strips.Label("stack+4KiB", "8KiB", "default"), 90000, 2, {}, [1, 0])
    return show.Picture(
        nodes,
        [
            show.TaskRow(1, "db", "postgres", 26, "0-3", "bind:0", [heap, stack]),
            show.TaskRow(2, "sh", "sh", 0, "4", "default", []),
        ],
        [],
        [],
    )


def test_text() -> None:
    assert show.format_rows(picture(), 70) == (
        "NODE  CPUS                                      USED      FREE   TOTAL\n"
        "   0  0-3   ------------------------------      0KiB    3.9MiB  3.9MiB\n"
        "   1  4-7   #############################-    3.9MiB      4KiB  3.9MiB\n"
        "   2  none  ###############---------------  512.3MiB  511.7MiB    1GiB\n"
        "   3  8                                         0KiB      0KiB    0KiB\n"
        "\n"
        "DISTANCE   0   1   2   3\n"
        "       0  10  21  17  20\n"
        "       1  21  10  28  20\n"
        "       2  17  28  10  20\n"
        "       3  20  20  20  10\n"
        "\n"
        "1 db (postgres)  uid 26, CPUs 0-3, bind:0\n"
        "  heap        64MiB  bind:0   00.z\n"
        "  stack+4KiB   8KiB  default  10\n"
        "\n"
        "2 sh  uid 0, CPUs 4, default\n"
        "\n"
        "A cell is an equal part of a region, drawn as the node of most of its pages;\n"
        "where nodes mix, cells take turns in proportion. '.': absent, 'z': zero page.\n"
    )


def test_json() -> None:
    machine, task = with_vma(PteRun(START, 3, (N1,)), nr=4)
    machine.nodes = {0: machine.nodes[0]}
    machine.distances = {0: {0: 10}}

    assert show.as_json(show.rows(machine, [task], show.Draw(2))) == {
        "nodes": [
            {
                "nid": 0,
                "cpus": "0",
                "total": 16384,
                "free": 16384,
                "distances": {0: 10},
                "hugetlb": None,
            }
        ],
        "devices": [],
        "drivers": [],
        "tasks": [
            {
                "pid": 1000,
                "task": "a",
                "comm": "a",
                "uid": 0,
                "cpus": "0",
                "policy": "default",
                "strips": [
                    {
                        "name": "01000000",
                        "start": "0x1000000",
                        "pages": 4,
                        "policy": "default",
                        "absent": 1,
                        "zero_page": 0,
                        "nodes": {1: 3},
                        "strip": [1, -1],
                    }
                ],
            }
        ],
    }


@pytest.mark.parametrize(
    ("width", "cells"),
    [
        pytest.param(20, 16, id="never fewer"),
        pytest.param(80, 52, id="what labels leave"),
        pytest.param(500, 128, id="never more"),
    ],
)
def test_strips_fill_the_line(width: int, cells: int) -> None:
    machine, task = with_vma(nr=4096)
    assert show.cells_that_fit(machine, [task], width) == cells


def test_task_without_memory_needs_no_room() -> None:
    machine = two_nodes()
    assert show.cells_that_fit(machine, [new_task(machine)], 80) == 78


def test_pools_devices_and_drivers_are_listed() -> None:
    nodes = [show.NodeRow(0, "0", 2048, 1024, {0: 10}, {"nr": 4, "free": 1, "surplus": 0})]
    drivers, devices = [show.DriverRow("z", "zsmalloc", {0: 3, 1: 2})], [show.DeviceRow("g", 3, 16)]
    drawn = show.Picture(nodes, [], drivers, devices)
    assert show.format_rows(drawn, 70).splitlines()[-8:] == [
        "HUGETLB  2MiB PAGES  FREE  SURPLUS",
        "      0           4     1        0",
        "",
        "DEVICE   USED  TOTAL",
        "g       12KiB  64KiB",
        "",
        "DRIVER  KIND      PAGES",
        "z       zsmalloc  N0=3 N1=2",
    ]


def test_strips_to_scale_are_as_long_as_their_mappings() -> None:
    machine = two_nodes()
    task = new_task(machine)
    for size in ("4MiB", "1MiB", "4KiB"):
        touched(machine, task, size)
    rows = show.rows(machine, [task], show.Draw(40, is_scaled=True)).tasks[0].strips

    assert [len(row.cells) for row in rows] == [40, 10, 1]


def test_the_largest_mappings_are_drawn_and_the_rest_counted() -> None:
    machine = two_nodes()
    task = new_task(machine)
    for size in ("1MiB", "4MiB", "2MiB"):
        touched(machine, task, size)
    mapped(machine, task, "32MiB")
    drawn = show.rows(machine, [task, new_task(machine, "b")], show.Draw(8, top=2))

    assert [[row.nr for row in task.strips] for task in drawn.tasks] == [[1024, 512]]
    assert drawn.rest == show.Rest(2, 256)
    assert "and 2 more mappings with 1MiB\n" in show.format_rows(drawn, 80)


def test_of_what_is_shared_the_first_is_enough() -> None:
    machine = two_nodes()
    task = new_task(machine)
    touched(machine, task, "4MiB", is_shared=True)
    touched(machine, task, "1MiB")
    child = fork(machine, task, "child")
    drawn = show.rows(machine, [task, child], show.Draw(8, top=2))

    assert [[row.nr for row in task.strips] for task in drawn.tasks] == [[1024, 256]]


def test_heat_is_the_declared_accesses_to_a_page() -> None:
    machine = two_nodes()
    task = new_task(machine)
    addr = touched(machine, task, "400KiB")
    machine.regions["a", "heap"] = Region("a", "heap", addr >> PAGE_SHIFT, 100)
    touched(machine, task, "400KiB")
    task.accesses.append(AccessPattern("heap", 1000.0, hot=0.2, hot_rate=0.8))
    drawn = show.rows(machine, [task], show.Draw(10, has_heat=True))
    hot, cold = drawn.tasks[0].strips

    assert hot.heat == pytest.approx([40.0] * 2 + [2.5] * 8)
    assert cold.heat == [0.0] * 10
    assert [line for line in show.format_rows(drawn, 80).splitlines() if "@" in line] == [
        " " * 33 + "@@++++++++",
        "Heat is declared accesses a page: '@' most, then by halves '%#*+=-:.'.",
    ]


def test_a_matrix_of_distances_that_is_too_wide_becomes_lists() -> None:
    machine = four_nodes()
    drawn = show.rows(machine, [], show.Draw(8))

    assert "       0  10  20  20  20\n" in show.format_rows(drawn, 40)
    assert "   1  10: 1  20: 0,2-3\n" in show.format_rows(drawn, 20)


def test_the_letters_of_many_nodes_are_explained() -> None:
    nodes = [show.NodeRow(nid, "", 0, 0, {}) for nid in range(12)]
    picture = show.Picture(nodes, [], [], [])

    assert show.legend(picture, has_heat=False)[-1] == "A to B: nodes 10 to 11."


def test_nodes_have_colours_of_their_own() -> None:
    assert len({strips.node_colour(nid) for nid in range(64)}) == 64
