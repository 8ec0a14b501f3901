"""memhog: options, policies, output."""

import pytest

from pymigrate.mm.state.machine import Machine
from pymigrate.tools.memhog import USAGE
from pymigrate.tools.program import Exit
from tests.unit.tools.conftest import Run


def test_usage_text() -> None:
    assert USAGE == (
        "memhog [-fFILE] [-rNUM] [-H] size[kmg] [policy [nodeset]]\n"
        "-f mmap is backed by FILE\n"
        "-rNUM repeat memset NUM times\n"
        "-H disable transparent hugepages\n"
        "Policies: preferred-many local interleave membind preferred default weighted-interleave\n"
    )


@pytest.mark.parametrize("words", ["", "-x 1m", "1m foo", "1m membind", "-- 1m", "1m 0"])
def test_usage(run: Run, words: str) -> None:
    assert run(f"memhog {words}") == Exit(1, USAGE)


@pytest.mark.parametrize(
    ("words", "stdout"),
    [
        ("1m", ".\n"),
        ("10m", ".\n"),
        ("-r2 11m", "..\n..\n"),
        ("-r0 1m", ""),
        ("1m --interleave 0,1", ".\n"),
        ("1m local", ".\n"),
        ("1m local x", ".\n"),
        ("1m preferred 0 more", ".\n"),
        ("-H 4m default", ".\n"),
    ],
)
def test_dots(run: Run, words: str, stdout: str) -> None:
    assert run(f"memhog {words}") == Exit(0, stdout)


@pytest.mark.parametrize(
    ("words", "hits"),
    [
        ("1m", [256, 0, 0]),
        ("1m membind 3", [0, 0, 256]),
        ("1m interleave 0,1", [128, 128, 0]),
        ("-r3 1m preferred 1", [0, 256, 0]),
    ],
)
def test_pages_are_counted_and_freed(
    run: Run, machine: Machine, words: str, hits: list[int]
) -> None:
    free = [node.nr_free for node in machine.nodes.values()]
    run(f"memhog {words}")
    assert [machine.nodes[nid].numa["numa_hit"] for nid in (0, 1, 3)] == hits
    assert [node.nr_free for node in machine.nodes.values()] == free
    assert not machine.tasks
    assert not machine.regions


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("0", Exit(1, "", "numactl: mmap: Invalid argument\n")),
        ("abc", Exit(1, "", "numactl: mmap: Invalid argument\n")),
        ("99g", Exit(1, "", "numactl: mmap: Cannot allocate memory\n")),
        ("-f/nonexist 1m", Exit(0, ".\n", "/nonexist: No such file or directory\n")),
        ("1m interleave ''", Exit(0, ".\n", "mbind: Invalid argument\n")),
        (
            "1m membind 9",
            Exit(1, "<9> is invalid\n", "libnuma: Warning: node argument 9 is out of range\n\n"),
        ),
    ],
)
def test_failures(run: Run, words: str, outcome: Exit) -> None:
    assert run(f"memhog {words}") == outcome


def test_killed_when_memory_runs_out(run: Run, machine: Machine) -> None:
    assert run("memhog 80m membind 1").exit == 137
    assert machine.counters["oom_kill"] == 1


def test_full_node_counts_foreign_and_missed_pages(run: Run, machine: Machine) -> None:
    run("memhog 80m preferred 3")
    assert machine.nodes[3].numa["numa_foreign"] == machine.nodes[0].numa["numa_miss"] > 0
