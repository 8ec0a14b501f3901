"""numactl: policies, options, what it prints (shared memory: test_numactl_shm.py)."""

import shlex

import pytest

from pymigrate.mm.base.release import RELEASES
from pymigrate.mm.state.machine import Machine
from pymigrate.tools import numactl
from pymigrate.tools.numactl import USAGE
from pymigrate.tools.program import Exit
from pymigrate.tools.system import System
from tests.unit.tools.conftest import Run

HARDWARE = """\
available: 4 nodes (0-3)
node 0 cpus: 0 1 2
node 0 size: 64 MB
node 0 free: 64 MB
node 1 cpus: 3 4 5
node 1 size: 64 MB
node 1 free: 64 MB
node 2 cpus: 6 7
node 2 size: 0 MB
node 2 free: 0 MB
node 3 cpus:
node 3 size: 64 MB
node 3 free: 64 MB
node distances:
node     0    1    2    3\x20
   0:   10   21   31   17\x20
   1:   21   10   31   28\x20
   2:   31   31   10   31\x20
   3:   17   28   31   10\x20
"""
SHOWN = """\
policy: {policy}
preferred node: {preferred_node}physcpubind: 0 1 2 3 4 5 6 7\x20
cpubind: 0 1\x20
nodebind: 0 1\x20
membind: {membind}\x20
preferred: {preferred}
"""


def shown(policy: str, preferred_node: str, preferred: str = "", membind: str = "0 1 3") -> str:
    return SHOWN.format(
        policy=policy, preferred_node=preferred_node, preferred=preferred, membind=membind
    )


def message(text: str) -> Exit:
    """What a message before the usage looks like: its newline goes to stdout."""
    return Exit(1, "\n", f"numactl: {text}{USAGE}")


# --hardware and --show


@pytest.mark.parametrize("words", ["-H", "--hardware", "--hard true", "-H -m 0"])
def test_hardware(run: Run, words: str) -> None:
    assert run(f"numactl {words}") == Exit(0, HARDWARE)


def test_hardware_with_cpus_as_ranges(run: Run) -> None:
    lines = run("numactl -H --cpu-compress").stdout.splitlines()
    assert [line for line in lines if "cpus" in line] == [
        "node 0 cpus: 0-2 (3)",
        "node 1 cpus: 3-5 (3)",
        "node 2 cpus: 6-7 (2)",
        "node 3 cpus: (0)",
    ]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        pytest.param("-s", shown("default", "current\n"), id="default"),
        pytest.param("-l -s", shown("local", ""), id="local"),
        pytest.param("-p 1 -s", shown("preferred", "1\n", "1 "), id="preferred"),
        pytest.param(
            "-P 0,1 -s",
            shown("preferred-many", "0 (preferred-many)\n", "0 1 "),
            id="preferred-many",
        ),
        pytest.param("-m 0-1 -s", shown("bind", "0\n", "0 1 ", "0 1"), id="bind"),
        pytest.param("-b -m 0-1 -s", shown("[8194]", "", "0 1 "), id="balancing"),
        pytest.param(
            "-i all -s",
            shown(
                "interleave",
                "0 (interleave next)\ninterleavemask: 0 1 3 \ninterleavenode: 0\n",
                "0 1 3 ",
            ),
            id="interleave",
        ),
        pytest.param(
            "-w 0-1 -s",
            shown(
                "weighted-interleave",
                "0 (interleave next)\ninterleavemask: 0 1 \ninterleaveweights: 5 1\n"
                "interleavenode: 0\n",
                "0 1 ",
            ),
            id="weighted interleave",
        ),
        pytest.param("-i '' -s", shown("default", "current\n"), id="interleave none"),
        pytest.param("--show --foo", shown("default", "current\n"), id="exits at once"),
        pytest.param("-m '!0' -s", shown("bind", "1\n", "1 3 ", "1 3"), id="inverted"),
        pytest.param("-a -m all -s", shown("bind", "0\n", "0 1 3 ", "0 1 3"), id="--all reduced"),
        pytest.param("-b -s", shown("default", "current\n"), id="balancing alone"),
    ],
)
def test_show(run: Run, machine: Machine, words: str, text: str) -> None:
    machine.weights[0] = 5
    assert run(f"numactl {words}").stdout == text


@pytest.mark.parametrize(
    ("words", "cpus", "nodes"),
    [
        pytest.param("-N 1", "3 4 5 ", "1 ", id="-N"),
        pytest.param("-c 0-1", "0 1 2 3 4 5 ", "0 1 ", id="-c"),
        pytest.param("-a -N 2", "6 7 ", "", id="node without memory"),
        pytest.param("-C 2-3", "2 3 ", "0 1 ", id="-C"),
        pytest.param("-C '!0-5'", "6 7 ", "", id="all but some"),
        pytest.param("-C 5-3", "5 ", "1 ", id="descending"),
        pytest.param("-C 0 -C 7", "7 ", "", id="again"),
        pytest.param("-N 1 -N same", "3 4 5 ", "1 ", id="same"),
    ],
)
def test_cpus(run: Run, words: str, cpus: str, nodes: str) -> None:
    lines = run(f"numactl {words} -s").stdout.splitlines()
    assert lines[2:5] == [f"physcpubind: {cpus}", f"cpubind: {nodes}", f"nodebind: {nodes}"]


def test_version(run: Run) -> None:
    assert run("numactl --vers") == Exit(0, "2.0.19\n")


# usage


def test_usage_text() -> None:
    assert USAGE.splitlines()[0] == "usage: numactl [--all | -a] [--balancing | -b]"
    assert len(USAGE.splitlines()) == 33


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", ""),
        ("-m 0", ""),
        ("-p 0,1 true", ""),
        ("-p '' true", ""),
        ("-M 9", ""),
        ("-I x", ""),
        ("--help", "numactl: unrecognized option '--help'\n"),
        ("-h", "numactl: invalid option -- 'h'\n"),
        ("-m", "numactl: option requires an argument -- 'm'\n"),
        ("--membind", "numactl: option '--membind' requires an argument\n"),
        ("--show=1", "numactl: option '--show' doesn't allow an argument\n"),
        (
            "--s",
            "numactl: option '--s' is ambiguous;"
            " possibilities: '--show' '--shm' '--strict' '--shmmode' '--shmid'\n",
        ),
        (
            "--cpu",
            "numactl: option '--cpu' is ambiguous;"
            " possibilities: '--cpubind' '--cpunodebind' '--cpu-compress'\n",
        ),
        ("--ver", "numactl: option '--ver' is ambiguous; possibilities: '--verify' '--version'\n"),
    ],
)
def test_plain_usage(run: Run, words: str, line: str) -> None:
    assert run(f"numactl {words}") == Exit(1, "", line + USAGE)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("-i 0 -i 1", "Conflicting policies"),
        ("-m 0 -l true", "Conflicting policies"),
        ("-m 0 -m 9 true", "Conflicting policies"),
        ("-l -H", "specify policy after --shm/--file"),
        ("-l -b", "specify policy after --shm/--file"),
        ("-l -S key", "specify policy after --shm/--file"),
        ("-l --version", "specify policy after --shm/--file"),
        ("-m same", "same needs previous node specification"),
        ("-C 0 -a", "--all/-a option must be before all cpu/node specifications"),
        ("-L 4k -N 0", "--length shm option is not allowed before -c/--cpubind/--cpunodebind"),
        ("-u -C 0", "--huge shm option is not allowed before -C/--physcpubind"),
        ("-N 0 -S key", "cannot do --cpubind on shared memory\n"),
        ("-T", "--touch must be after shared memory specification"),
        ("-V", "--verify must be after shared memory specification"),
        ("-o 4k true", "shm related option --offset for process"),
        ("-M 644 true", "shm related option --shmmode for process"),
    ],
)
def test_usage_with_a_message(run: Run, words: str, text: str) -> None:
    assert run(f"numactl {words}") == message(text)


@pytest.mark.parametrize(
    ("words", "text", "warning"),
    [
        ("-m 9", "9", "node argument 9 is out of range\n"),
        ("-i 0-9", "0-9", "node argument 9 out of range\n"),
        ("-N 2", "2", "node argument 2 is out of range\n"),
        ("-N same,1", "same,1", "unparseable node description `same,1'\n"),
        ("-p x", "x", "unparseable node description `x'\n"),
        ("-C 99", "99", "cpu argument 99 is out of range\n"),
        ("-C 1,,2", "1,,2", "unparseable cpu description `,2'\n"),
        ("-C 6-7,90-95", "6-7,90-95", "cpu argument 90-95 is out of range\n"),
        ("-C 0-99,1", "0-99,1", "cpu argument 99,1 out of range\n"),
        ("-C 1-", "1-", "missing cpu argument \n"),
        ("-C +9", "+9", "cpu argument 9 is out of range\n"),
        ("-C file:/", "file:/", "unparseable cpu description `file:/'\n"),
    ],
)
def test_invalid_strings(run: Run, words: str, text: str, warning: str) -> None:
    outcome = Exit(1, f"<{text}> is invalid\n", f"libnuma: Warning: {warning}\n{USAGE}")
    assert run(f"numactl {words} true") == outcome


def test_string_without_a_warning(run: Run) -> None:
    assert run("numactl -m 1x true") == Exit(1, "<1x> is invalid\n", USAGE)


# what the kernel refuses


@pytest.mark.parametrize(
    ("words", "calls"),
    [
        ("-m ''", ["set_mempolicy", "setting membind"]),
        ("-m '!0-1,3'", ["set_mempolicy", "setting membind"]),
        ("-a -m 2", ["set_mempolicy", "setting membind"]),
        ("-a -i 2", ["set_mempolicy", "setting interleave mask"]),
        ("-a -p 2", ["set_mempolicy", "setting preferred node"]),
        ("-N 3", ["numa_sched_setaffinity_v2_int() failed", "sched_setaffinity"]),
        ("-C '!all'", ["sched_setaffinity"]),
        ("-C ''", ["sched_setaffinity"]),
    ],
)
def test_refusals(run: Run, words: str, calls: list[str]) -> None:
    stderr = "".join(f"{call}: Invalid argument\n" for call in calls)
    assert run(f"numactl {words} true") == Exit(1, "", stderr)


def test_weighted_interleave_on_a_kernel_without_it(machine: Machine, run: Run) -> None:
    machine.release = RELEASES["6.1"]
    assert run("numactl -w 0 true") == Exit(
        1, "", "set_mempolicy: Invalid argument\nsetting interleave mask: Invalid argument\n"
    )


# the command


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("true", ("true",)),
        ("-- true", ("true",)),
        ("-N 1 -C 3 cmd -x -- y", ("cmd", "-x", "--", "y")),
    ],
)
def test_command(run: Run, words: str, command: tuple[str, ...]) -> None:
    assert run(f"numactl {words}") == Exit(0, "", "", command)


def test_strict_is_ignored_for_a_process(run: Run) -> None:
    warning = "numactl: warning. Strict flag for process ignored.\n"
    assert run("numactl --strict -m 0 true") == Exit(0, "", warning, ("true",))


@pytest.mark.parametrize(
    ("words", "policy"),
    [
        ("-m 0-1", "bind:0-1"),
        ("-b -m 0-1", "bind=balancing:0-1"),
        ("-i 0-1,3", "interleave:0-1,3"),
        ("-w 0-1", "weighted interleave:0-1"),
        ("-p 1", "prefer:1"),
        ("-P 0,1", "prefer (many):0-1"),
        ("-l", "local"),
        ("", "None"),
    ],
)
def test_policy_that_a_command_inherits(machine: Machine, words: str, policy: str) -> None:
    system = System(machine, machine.shell_of(0))
    numactl.run(["numactl", *shlex.split(words), "true"], system)
    assert str(system.task.policy) == policy
