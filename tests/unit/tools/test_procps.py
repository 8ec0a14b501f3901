"""pidof, pgrep and ps: what scripts around numactl use of them."""

from collections.abc import Callable

import pytest

from pymigrate.mm.state.machine import Machine
from pymigrate.tools.program import Exit
from tests.conftest import new_task, touched
from tests.unit.tools.conftest import Run

PS_USAGE = "\nUsage:\n ps [options]\n\nFor more details see ps(1).\n"


@pytest.fixture
def peopled(machine: Machine, run: Run) -> Callable[..., Exit]:
    """Two workers (1000 and 1002, root's) and a server (1001) of user 26 that has 1 MiB."""
    new_task(machine, "worker")
    server = new_task(machine, "server", cpu=3, uid=26)
    touched(machine, server, "1MiB")
    new_task(machine, "worker")
    return run


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("worker", Exit(0, "1002 1000\n")),
        ("/usr/bin/worker", Exit(0, "1002 1000\n")),
        ("worker server", Exit(0, "1002 1000 1001\n")),
        ("-s worker", Exit(0, "1002\n")),
        ("-x server", Exit(0, "1001\n")),
        ("-o 1002 worker", Exit(0, "1000\n")),
        ("-S , worker", Exit(0, "1002,1000\n")),
        ("-q worker", Exit(0)),
        ("nobody", Exit(1)),
        ("work", Exit(1)),
        ("", Exit(1)),
        ("-Z", Exit(1, "", "pidof: invalid option -- 'Z'\n")),
    ],
)
def test_pidof(peopled: Run, words: str, outcome: Exit) -> None:
    assert peopled(f"pidof {words}") == outcome


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("er", Exit(0, "1000\n1001\n1002\n")),
        ("'^w'", Exit(0, "1000\n1002\n")),
        ("-l server", Exit(0, "1001 server\n")),
        ("-a server", Exit(0, "1001 server\n")),
        ("-lf server", Exit(0, "1001 server\n")),
        ("-x work", Exit(1)),
        ("-x worker", Exit(0, "1000\n1002\n")),
        ("-n worker", Exit(0, "1002\n")),
        ("-o worker", Exit(0, "1000\n")),
        ("-c er", Exit(0, "3\n")),
        ("-c nobody", Exit(1, "0\n")),
        ("-d , worker", Exit(0, "1000,1002\n")),
        ("-u 26", Exit(0, "1001\n")),
        ("-u root er", Exit(0, "1000\n1002\n")),
        ("-P 1 serv", Exit(0, "1001\n")),
        ("-v worker", Exit(0, "1001\n")),
        ("-i WORKER", Exit(0, "1000\n1002\n")),
        ("nobody", Exit(1)),
    ],
)
def test_pgrep(peopled: Run, words: str, outcome: Exit) -> None:
    assert peopled(f"pgrep {words}") == outcome


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "pgrep: no matching criteria specified"),
        ("a b", "pgrep: only one pattern can be provided"),
        ("'('", "pgrep: regex error: missing ), unterminated subpattern at position 0"),
        ("-Z", "pgrep: invalid option -- 'Z'"),
    ],
)
def test_pgrep_refuses(peopled: Run, words: str, line: str) -> None:
    outcome = peopled(f"pgrep {words}")
    assert (outcome.exit, outcome.stdout, outcome.stderr.splitlines()[0]) == (2, "", line)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "-e",
            "    PID TTY          TIME CMD\n"
            "   1000 ?        00:00:00 worker\n"
            "   1001 ?        00:00:00 server\n"
            "   1002 ?        00:00:00 worker\n",
        ),
        ("-o pid,comm -p 1001", "    PID COMMAND\n   1001 server\n"),
        (
            "-o comm,pid -p 1001,1000",
            "COMMAND             PID\nworker             1000\nserver             1001\n",
        ),
        ("-o pid= -C worker", "   1000\n   1002\n"),
        ("-o pid=,comm= -C server", "   1001 server\n"),
        ("-o pid=PROC -o comm=NAME -p 1001", "   PROC NAME\n   1001 server\n"),
        ("-p 1001 -o comm --no-headers", "server\n"),
        ("-o comm 1001", "COMMAND\nserver\n"),
        (
            "-o psr,rss,vsz,uid,user -u 26",
            "PSR   RSS    VSZ   UID USER\n  3  1024   1024    26 26\n",
        ),
        (
            "-f -p 1001",
            "UID          PID    PPID TTY          TIME CMD\n"
            "26          1001       1 ?        00:00:00 server\n",
        ),
    ],
)
def test_ps(peopled: Run, line: str, text: str) -> None:
    assert peopled(f"ps {line}") == Exit(0, text)


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("-p 99 -o pid=", Exit(1)),
        ("-C nobody -o pid", Exit(1, "    PID\n")),
        ("-p x", Exit(1, "", f"error: process ID list syntax error\n{PS_USAGE}")),
        (
            "-o bogus",
            Exit(1, "", f'error: unknown user-defined format specifier "bogus"\n{PS_USAGE}'),
        ),
        ("-Z", Exit(1, "", f"error: invalid option -- 'Z'\n{PS_USAGE}")),
    ],
)
def test_ps_finds_none(peopled: Run, words: str, outcome: Exit) -> None:
    assert peopled(f"ps {words}") == outcome
