from collections import Counter

import pytest

from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.process import fork
from pymigrate.views.pages.tables import count_nodes
from pymigrate.views.pictures import ps
from tests.conftest import mapped, new_task, nodes_with, touched

N0, N1, N2 = (nid << 32 for nid in range(3))
INTERLEAVED = PteRun(100, 3_000_000_000, (N0, N1, N2))


def count(run: PteRun, a: int, b: int) -> dict[int, int]:
    counts: Counter[int] = Counter()
    count_nodes(counts, run, a, b)
    return dict(counts)


def test_resident_pages_are_counted_on_each_node(machine: Machine, task: Task) -> None:
    touched(machine, task, "64KiB", node=0)
    touched(machine, task, "16KiB", node=1)
    mapped(machine, task, "1MiB")

    assert ps.rows(machine) == [ps.PsRow(1000, 0, "a", "0", "default", "a", {0: 16, 1: 4})]


def test_rss_is_in_kb() -> None:
    assert ps.PsRow(1, 0, "a", "0", "default", "a", {0: 16, 1: 4}).rss_kb == 80


def test_shared_page_counts_for_each_task_that_maps_it(machine: Machine) -> None:
    parent = new_task(machine)
    touched(machine, parent, "64KiB", node=1)
    fork(machine, parent, "child")

    assert [row.nodes for row in ps.rows(machine)] == [{0: 0, 1: 16}, {0: 0, 1: 16}]


def test_zero_page_is_not_resident(machine: Machine, task: Task) -> None:
    task.mm.page_table.put(1, 9, PteRun(1, 8, ()))

    assert ps.rows(machine)[0].rss_kb == 0


def test_node_without_memory_has_no_column() -> None:
    machine = nodes_with("64MiB", "0", "64MiB")
    new_task(machine)

    assert list(ps.rows(machine)[0].nodes) == [0, 2]


def test_tasks_are_sorted_by_pid(machine: Machine) -> None:
    first = new_task(machine, "a")
    second = new_task(machine, "b")
    machine.tasks = {second.pid: second, first.pid: first}

    assert [row.task for row in ps.rows(machine)] == ["a", "b"]


def test_columns_are_aligned_and_texts_with_blanks_come_last() -> None:
    rows = [
        ps.PsRow(7, 0, "db", "0-3", "weighted interleave:0-1", "my db", {0: 1024, 1: 5}),
        ps.PsRow(4321, 65534, "backup", "7", "default", "sh", {0: 0, 1: 0}),
    ]
    assert ps.format_rows(rows, (0, 1)) == (
        " PID   UID TASK   CPUS  RSS   N0 N1 POLICY                  COMM\n"
        "   7     0 db     0-3  4116 1024  5 weighted interleave:0-1 my db\n"
        "4321 65534 backup 7       0    0  0 default                 sh\n"
    )


def test_no_tasks_give_a_header() -> None:
    assert ps.format_rows([], (0, 2)) == "PID UID TASK CPUS RSS N0 N2 POLICY COMM\n"


def test_json_names_the_units_of_rss() -> None:
    assert ps.as_json(ps.PsRow(7, 26, "db", "0-3", "bind:1", "pg", {0: 0, 1: 3})) == {
        "pid": 7,
        "uid": 26,
        "task": "db",
        "cpus": "0-3",
        "policy": "bind:1",
        "comm": "pg",
        "rss_kB": 12,
        "nodes": {"0": 0, "1": 3},
    }


@pytest.mark.parametrize(
    ("run", "a", "b", "nodes"),
    [
        pytest.param(PteRun(100, 50, (N1,)), 110, 150, {1: 40}, id="extent"),
        pytest.param(INTERLEAVED, 101, 105, {0: 1, 1: 2, 2: 1}, id="interleaved"),
        pytest.param(
            INTERLEAVED, 100, 3_000_000_100, {0: 10**9, 1: 10**9, 2: 10**9}, id="all of it"
        ),
        pytest.param(PteRun(8, 4, (N0, N2, N2 + 7, N1)), 9, 11, {2: 2}, id="table"),
        pytest.param(
            PteRun(0, 4 * 512, (N0, N1), order=9), 500, 1030, {0: 12 + 6, 1: 512}, id="huge entries"
        ),
    ],
)
def test_part_of_a_run_is_counted(run: PteRun, a: int, b: int, nodes: dict[int, int]) -> None:
    assert count(run, a, b) == nodes


def test_every_part_of_a_run_counts_as_its_pages_do() -> None:
    run = PteRun(70, 14, (N0, N1 + 5, N0 + 900, N2, N1))
    nodes = [run.pfn(page) >> 32 for page in range(70, 84)]
    for a in range(14):
        for b in range(a + 1, 15):
            assert count(run, 70 + a, 70 + b) == Counter(nodes[a:b])
