"""numastat: its tables, options and failures."""

from typing import Any

import pytest

from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.state.machine import Machine
from pymigrate.tools import numastat
from pymigrate.tools.program import Exit
from pymigrate.tools.system import System
from tests.conftest import new_task, touched
from tests.unit.tools.conftest import Run

SAMPLE = {
    0: (26119, 0, 0, 1976, 25442, 677),
    1: (15570, 0, 0, 1973, 10674, 4896),
    2: (0, 0, 0, 0, 0, 0),
    3: (2390, 0, 0, 312, 0, 2390),
}
COUNTERS = (
    *("numa_hit", "numa_miss", "numa_foreign"),
    *("numa_interleave", "numa_local", "numa_other"),
)
COMPATIBLE = """\
                           node0           node1           node2           node3
numa_hit                   26119           15570               0            2390
numa_miss                      0               0               0               0
numa_foreign                   0               0               0               0
interleave_hit              1976            1973               0             312
local_node                 25442           10674               0               0
other_node                   677            4896               0            2390
"""
RULE = " ---------------" * 5
COUNTED = f"""
Per-node numastat info (in MBs):
                          Node 0          Node 1          Node 2          Node 3           Total
                {RULE}
Numa_Hit                  102.03           60.82            0.00            9.34          172.18
Numa_Miss                   0.00            0.00            0.00            0.00            0.00
Numa_Foreign                0.00            0.00            0.00            0.00            0.00
Interleave_Hit              7.72            7.71            0.00            1.22           16.64
Local_Node                 99.38           41.70            0.00            0.00          141.08
Other_Node                  2.64           19.12            0.00            9.34           31.11
"""
SQUEEZED = """
Per-node numastat info (in MBs):
                Node 0 Node 1 Node 2 Node 3 Total
                ------ ------ ------ ------ -----
Numa_Hit           102     61      0      9   172
Numa_Miss            0      0      0      0     0
Numa_Foreign         0      0      0      0     0
Interleave_Hit       8      8      0      1    17
Local_Node          99     42      0      0   141
Other_Node           3     19      0      9    31
"""
USAGE = """\
Usage: numastat [-c] [-m] [-n] [-p <PID>|<pattern>] [-s[<node>]] [-v] [-V] [-z] [ <PID>|<pattern>... ]
-c to minimize column widths
-m to show meminfo-like system-wide memory usage
-n to show the numastat statistics info
-p <PID>|<pattern> to show process info
-s[<node>] to sort data by total column or <node>
-v to make some reports more verbose
-V to show the numastat code version
-z to skip rows and columns of zeros
"""  # noqa: E501 - the line is so long


@pytest.fixture
def counted(machine: Machine, run: Run) -> Run:
    """Runs programs where the sample's pages were counted."""
    for nid, values in SAMPLE.items():
        for name, value in zip(COUNTERS, values, strict=True):
            machine.nodes[nid].numa.add(name, value)
    return run


@pytest.fixture
def peopled(machine: Machine, run: Run) -> Run:
    """Runs programs where mapper (1000) and a longer-named task (1001) have memory."""
    mapper = new_task(machine, "mapper")
    touched(machine, mapper, "6MiB", node=0)
    touched(machine, mapper, "1540KiB", node=1)
    other = new_task(machine, "a-comm-so-long-15")
    touched(machine, other, "512KiB", node=3)
    return run


def names(text: str) -> list[str]:
    """The first word of each line that has one."""
    return [line.split()[0] for line in text.splitlines() if line[:1].isalpha()]


# tables of all nodes


def test_without_arguments(counted: Run) -> None:
    assert counted("numastat") == Exit(0, COMPATIBLE)


@pytest.mark.parametrize("words", ["-n", "-v", "-nv"])
def test_counters_in_mb(counted: Run, words: str) -> None:
    assert counted(f"numastat {words}") == Exit(0, COUNTED)


@pytest.mark.parametrize("words", ["-c", "-cn"])
def test_counters_squeezed(counted: Run, words: str) -> None:
    assert counted(f"numastat {words}") == Exit(0, SQUEEZED)


def test_without_zeros(counted: Run) -> None:
    rule = RULE[16:]
    assert counted("numastat -z").stdout == (
        "\nPer-node numastat info (in MBs):\n"
        "                          Node 0          Node 1          Node 3           Total\n"
        f"                {rule}\n"
        "Numa_Hit                  102.03           60.82            9.34          172.18\n"
        "Interleave_Hit              7.72            7.71            1.22           16.64\n"
        "Local_Node                 99.38           41.70            0.00          141.08\n"
        "Other_Node                  2.64           19.12            9.34           31.11\n"
    )


def test_nothing_but_zeros(run: Run) -> None:
    text = "\nPer-node numastat info (in MBs):\nTable has no non-zero data.\n"
    assert run("numastat -z") == Exit(0, text)


@pytest.mark.parametrize(
    ("word", "order"),
    [
        # The rows without pages change places, as the real program has them.
        ("-s", "Numa_Hit Local_Node Other_Node Interleave_Hit Numa_Miss Numa_Foreign"),
        ("-s3", "Numa_Hit Other_Node Interleave_Hit Numa_Foreign Local_Node Numa_Miss"),
        ("-s9", "Numa_Hit Local_Node Other_Node Interleave_Hit Numa_Miss Numa_Foreign"),
        ("-sx", "Numa_Hit Local_Node Other_Node Interleave_Hit Numa_Miss Numa_Foreign"),
    ],
)
def test_sorted(counted: Run, word: str, order: str) -> None:
    assert names(counted(f"numastat {word}").stdout)[1:] == order.split()


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        pytest.param("48", [["Node 0", "Node 1"], ["Node 2", "Node 3"], ["Total"]], id="two"),
        pytest.param("47", [["Node 0"], ["Node 1"], ["Node 2"], ["Node 3"], ["Total"]], id="one"),
        pytest.param("5", [["Node 0"], ["Node 1"], ["Node 2"], ["Node 3"], ["Total"]], id="least"),
        pytest.param(
            "0", [["Node 0", "Node 1", "Node 2", "Node 3"], ["Total"]], id="80 if out of range"
        ),
        pytest.param("96", [["Node 0", "Node 1", "Node 2", "Node 3", "Total"]], id="all"),
    ],
)
def test_folded(counted: Run, width: str, columns: list[list[str]]) -> None:
    text = counted("numastat -n", NUMASTAT_WIDTH=width).stdout
    heads = [line for line in text.splitlines() if line.startswith(" ") and "-" not in line]
    assert [line.replace("Node ", "Node_").split() for line in heads] == [
        [name.replace(" ", "_") for name in section] for section in columns
    ]
    assert len(text.split("\n\n")) == len(columns)


def test_terminal_folds(machine: Machine) -> None:
    system = System(machine, machine.shell_of(0), terminal_width=80)
    assert numastat.run(["numastat"], system).stdout.count("numa_hit") == 1
    assert numastat.run(["numastat", "-n"], system).stdout.count("Numa_Hit") == 2


def test_meminfo(peopled: Run) -> None:
    lines = peopled("numastat -m").stdout.splitlines()
    assert lines[1:3] == [
        "Per-node system memory usage (in MBs):",
        "                          Node 0          Node 1          Node 2          Node 3"
        "           Total",
    ]
    rows = {line.split()[0]: line[16:].split() for line in lines[4:]}
    assert rows["MemTotal"] == ["64.00", "64.00", "0.00", "64.00", "192.00"]
    assert rows["MemUsed"] == ["6.00", "1.50", "0.00", "0.50", "8.00"]
    assert rows["AnonPages"] == ["6.00", "1.50", "0.00", "0.50", "8.00"]
    assert list(rows)[:4] == ["MemTotal", "MemFree", "MemUsed", "SwapCached"]
    assert list(rows)[-3:] == ["HugePages_Total", "HugePages_Free", "HugePages_Surp"]


def test_huge_pages_are_shown_by_size(machine: Machine, run: Run) -> None:
    set_nr_hugepages(machine, 7, 1)
    lines = run("numastat -m").stdout.splitlines()
    [row] = [line.split() for line in lines if line.startswith("HugePages_Total")]
    assert row == ["HugePages_Total", "0.00", "14.00", "0.00", "0.00", "14.00"]


# processes


def test_process(peopled: Run) -> None:
    assert peopled("numastat -p 1000") == Exit(
        0,
        f"""
Per-node process memory usage (in MBs) for PID 1000 (mapper)
                           Node 0          Node 1          Node 2          Node 3           Total
                 {RULE}
Huge                         0.00            0.00            0.00            0.00            0.00
Heap                         0.00            0.00            0.00            0.00            0.00
Stack                        0.00            0.00            0.00            0.00            0.00
Private                      6.00            1.50            0.00            0.00            7.50
---------------- {RULE}
Total                        6.00            1.50            0.00            0.00            7.50
""",
    )


def test_processes_squeezed(peopled: Run) -> None:
    assert peopled("numastat -c 1001 1000 1001") == Exit(
        0,
        """
Per-node process memory usage (in MBs)
PID              Node 0 Node 1 Node 2 Node 3 Total
---------------  ------ ------ ------ ------ -----
1000 (mapper)         6      2      0      0     8
1001 (a-comm-so-      0      0      0      0     0
---------------  ------ ------ ------ ------ -----
Total                 6      2      0      0     8
""",
    )


def test_processes_with_long_names(peopled: Run) -> None:
    lines = peopled("numastat 1000 1001").stdout.splitlines()
    assert lines[2].startswith("PID                               Node 0")
    assert lines[4].startswith("1000 (mapper)                       6.00")
    assert lines[5].startswith("1001 (a-comm-so-long-15)            0.00")


def test_verbose_gives_each_process_a_table(peopled: Run) -> None:
    text = peopled("numastat -v 1000 1001").stdout
    assert text.count("Private") == 2
    assert "for PID 1001 (a-comm-so-long-15)\n" in text


def test_processes_without_zeros(peopled: Run) -> None:
    text = peopled("numastat -z -p 1001").stdout
    assert text == (
        "\nPer-node process memory usage (in MBs) for PID 1001 (a-comm-so-long-15)\n"
        "                           Node 3           Total\n"
        f"                 {RULE[: 2 * 16]}\n"
        "Private                      0.50            0.50\n"
        f"---------------- {RULE[: 2 * 16]}\n"
        "Total                        0.50            0.50\n"
    )


@pytest.mark.parametrize("words", ["mapp", "-p mapp", "-p 1000 'mapper '"])
def test_pattern(peopled: Run, words: str) -> None:
    assert "for PID 1000 (mapper)\n" in peopled(f"numastat {words}").stdout


def test_pattern_that_nothing_matches(counted: Run) -> None:
    text = 'Found no processes containing pattern: "xyz"\n'
    assert counted("numastat xyz") == Exit(0, text + COUNTED)


def test_order_of_tables(peopled: Run) -> None:
    text = peopled("numastat -nm -p 1000").stdout
    assert [line for line in text.splitlines() if line.startswith("Per-node")] == [
        "Per-node process memory usage (in MBs) for PID 1000 (mapper)",
        "Per-node system memory usage (in MBs):",
        "Per-node numastat info (in MBs):",
    ]


def test_options_that_need_nothing_are_bundled(peopled: Run) -> None:
    assert peopled("numastat -cps1 1000").stdout.startswith(
        'Found no processes containing pattern: "s1"\n'
    )


@pytest.mark.parametrize("word", ["99999", ""])
def test_process_that_is_not_there(run: Run, word: str) -> None:
    pid = word or "0"
    assert run(f"numastat -p '{word}'") == Exit(
        0,
        f"\nPer-node process memory usage (in MBs) for PID {pid} ((null))\n",
        f"Can't read /proc/{pid}/numa_maps: No such file or directory\n",
    )


def test_last_of_several_that_is_not_there_costs_the_table(peopled: Run) -> None:
    assert peopled("numastat 1000 99999") == Exit(
        0,
        "\nPer-node process memory usage (in MBs)\n",
        "Can't read /proc/99999/numa_maps: No such file or directory\n",
    )


def test_process_of_another_user(machine: Machine, peopled: Run) -> None:
    outcome = numastat.run(["numastat", "1000"], System(machine, machine.shell_of(26)))
    assert outcome.stderr == "Can't read /proc/1000/numa_maps: Permission denied\n"


# options


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("'-?'", ""),
        ("--help", ""),
        ("--he", ""),
        ("-x", "numastat: invalid option -- 'x'\n"),
        ("-p", "numastat: option requires an argument -- 'p'\n"),
        ("--bogus", "numastat: unrecognized option '--bogus'\n"),
    ],
)
def test_usage(run: Run, words: str, line: str) -> None:
    assert run(f"numastat {words}") == Exit(1, "", line + USAGE)


def test_version(run: Run) -> None:
    assert run("numastat -V -x") == Exit(0, "numastat version: 2.0.19: Nov 12 2024\n")


@pytest.mark.parametrize(
    ("environ", "is_sorted"), [({}, True), ({"POSIXLY_CORRECT": "1"}, False)], ids=["gnu", "posix"]
)
def test_option_behind_an_operand(run: Run, environ: dict[str, Any], is_sorted: bool) -> None:
    text = run("numastat 999 -n", **environ).stdout
    assert ("numastat info" in text) is is_sorted
