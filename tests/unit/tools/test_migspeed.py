"""migspeed: options, output, failures."""

import re

import pytest

from pymigrate.mm.state.machine import Machine
from pymigrate.tools.program import Exit
from tests.unit.tools.conftest import Run


def usage(pages: int = 1000) -> str:
    return (
        "usage migspeed [-p pages] [-h] [-v] from-nodes to-nodes\n"
        "      from and to nodes may specified in form N or N-N\n"
        f"      -p pages  number of pages to try (defaults to {pages})\n"
        "      -v        verbose\n"
        "      -h        usage\n"
    )


@pytest.mark.parametrize(
    ("words", "stdout", "stderr"),
    [
        ("", usage(), ""),
        ("0", usage(), ""),
        ("-p 7 -h", usage(7), ""),
        ("-p5x 0 1", usage(5), ""),
        ("-v 0", "From: 0 \n" + usage(), ""),
        ("-z 0 1", usage(), "migspeed: invalid option -- 'z'\n"),
    ],
)
def test_usage(run: Run, words: str, stdout: str, stderr: str) -> None:
    assert run(f"migspeed {words}") == Exit(1, stdout, stderr)


def test_pages_move(run: Run, machine: Machine) -> None:
    assert run("migspeed 0 1") == Exit(
        0,
        "7ffff7817000 bind:0 anon=1000 dirty=1000 active=8 N0=1000 kernelpagesize_kB=4\n"
        "7ffff7817000 bind:1 anon=1000 dirty=1000 active=0 N1=1000 kernelpagesize_kB=4\n"
        "3.9 Mbyte migrated in 0.00 secs. 3021.1 Mbytes/second\n",
    )
    assert machine.counters["pgmigrate_success"] == 1000
    assert machine.watch.tally is None


def test_verbose(run: Run) -> None:
    text = run("migspeed -vv -p 10 0 3").stdout
    assert text.splitlines()[:6] == [
        "numa_max_node = 3",
        "From: 0 ",
        "To: 3 ",
        "Allocating 10 pages of 4096 bytes of memory",
        "Dirtying memory....",
        "Starting test",
    ]


def test_far_nodes_take_longer(run: Run) -> None:
    rates = [run(f"migspeed 0 {to}").stdout.split()[-2] for to in ("3", "1")]
    assert float(rates[0]) > float(rates[1])


def test_no_pages(run: Run) -> None:
    last = run("migspeed -p 0 0 1").stdout.splitlines()[-1]
    assert re.fullmatch(r"0\.0 Mbyte migrated in 0\.00 secs\. 0\.0 Mbytes/second", last)


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("'' 0", Exit(1, "", "mbind: Invalid argument\n")),
        (
            "9 0",
            Exit(1, "<9> is invalid\n", "libnuma: Warning: node argument 9 is out of range\n\n"),
        ),
        ("-p 99999999 0 1", Exit(2, "Out of Memory\n")),
    ],
)
def test_failures(run: Run, words: str, outcome: Exit) -> None:
    assert run(f"migspeed {words}") == outcome


def test_nowhere_to_move_to(run: Run) -> None:
    outcome = run("migspeed 0 ''")
    assert (outcome.exit, outcome.stderr) == (1, "memory move: Invalid argument\n")
    assert outcome.stdout.startswith("7ffff7817000 bind:0 ")


def test_killed_when_memory_runs_out(run: Run) -> None:
    assert run("migspeed -p 17000 1 0") == Exit(137)
