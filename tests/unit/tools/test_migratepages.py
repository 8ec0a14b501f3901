"""migratepages: arguments, output, failures."""

import shlex

import pytest

from pymigrate.errors import KernelError
from pymigrate.nodemask import Nodemask
from pymigrate.tools.migratepages import run
from pymigrate.tools.program import Exit
from pymigrate.tools.system import System
from tests.conftest import nodes_with

USAGE = """\
usage: migratepages pid from-nodes to-nodes

nodes is a comma delimited list of node numbers or A-B ranges or all.
"""


class Kernel(System):
    """Nodes 0 to 3, of which 2 has no memory; notes its calls and gives one answer."""

    def __init__(self, answer: int | str = 0) -> None:
        machine = nodes_with("64MiB", "64MiB", "0", "64MiB")
        super().__init__(machine, machine.shell_of(0))
        self.answer = answer
        self.calls: list[tuple[int, str, str]] = []

    def migrate_pages(self, pid: int, old: Nodemask, new: Nodemask) -> int:
        self.calls.append((pid, str(old), str(new)))
        if isinstance(self.answer, str):
            raise KernelError(self.answer)
        return self.answer


def migratepages(words: str, kernel: Kernel | None = None) -> Exit:
    return run(["migratepages", *shlex.split(words)], kernel or Kernel())


@pytest.mark.parametrize(
    ("words", "call"),
    [
        pytest.param("581 0 1", (581, "0", "1"), id="plain"),
        pytest.param("581 0-1,3 3,0,1", (581, "0-1,3", "0-1,3"), id="sets, any order"),
        pytest.param("581 all 3", (581, "0-1,3", "3"), id="all"),
        pytest.param("581 '!0' 1", (581, "1-3", "1"), id="inverted"),
        pytest.param("581 '' 1", (581, "", "1"), id="FROM empty"),
        pytest.param("581 1 1", (581, "1", "1"), id="FROM = TO"),
        pytest.param("0x1 0 1", (1, "0", "1"), id="PID hexadecimal"),
        pytest.param("010 0 1", (8, "0", "1"), id="PID octal"),
        pytest.param("' 1' 0 1", (1, "0", "1"), id="PID after a blank"),
        pytest.param("+1 0 1", (1, "0", "1"), id="PID with plus"),
        pytest.param("4294967297 0 1", (1, "0", "1"), id="PID cut to 32 bits"),
        pytest.param("99999999999999999999 0 1", (-1, "0", "1"), id="PID beyond 64 bits"),
        pytest.param("0 0 1", (0, "0", "1"), id="PID 0 is the program itself"),
        pytest.param("-- -5 0 1", (-5, "0", "1"), id="negative PID after --"),
        pytest.param("581 -- 0 1", (581, "0", "1"), id="-- between operands"),
    ],
)
def test_success_is_silent(words: str, call: tuple[int, str, str]) -> None:
    kernel = Kernel()
    assert migratepages(words, kernel=kernel) == Exit(0, "", "")
    assert kernel.calls == [call]


def test_pages_left_behind_do_not_show() -> None:
    assert migratepages("581 0 1", kernel=Kernel(8)) == Exit(0, "", "")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        pytest.param("-h", "", id="-h"),
        pytest.param("--help", "", id="--help"),
        pytest.param("--he", "", id="--help abbreviated"),
        pytest.param("581 0 1 -h", "", id="-h after the operands"),
        pytest.param("-h -x", "", id="-h before a mistake"),
        pytest.param("-x", "migratepages: invalid option -- 'x'\n", id="unknown letter"),
        pytest.param("-1 0 1", "migratepages: invalid option -- '1'\n", id="negative PID"),
        pytest.param(
            "--bogus", "migratepages: unrecognized option '--bogus'\n", id="unknown option"
        ),
        pytest.param(
            "--help=1",
            "migratepages: option '--help' doesn't allow an argument\n",
            id="--help with an argument",
        ),
        pytest.param("", "", id="no operands"),
        pytest.param("581 0", "", id="two operands"),
        pytest.param("581 0 1 2", "", id="four operands"),
        pytest.param("none 0 1", "", id="PID not a number"),
        pytest.param("'' 0 1", "", id="PID empty"),
        pytest.param("' ' 0 1", "", id="PID blank"),
        pytest.param("12x 0 1", "", id="PID with trailing text"),
        pytest.param("12x 9 x", "", id="PID is checked before FROM"),
    ],
)
def test_usage(words: str, line: str) -> None:
    kernel = Kernel()
    assert migratepages(words, kernel=kernel) == Exit(1, "", line + USAGE)
    assert kernel.calls == []


def test_getopt_names_the_program_as_typed() -> None:
    stderr = run(["/usr/bin/migratepages", "-x"], Kernel()).stderr
    assert stderr == "/usr/bin/migratepages: invalid option -- 'x'\n" + USAGE


@pytest.mark.parametrize(
    ("words", "invalid", "warning"),
    [
        pytest.param("581 0 0-9", "0-9", "node argument 9 out of range\n", id="TO out of range"),
        pytest.param("581 9 x", "9", "node argument 9 is out of range\n", id="FROM before TO"),
        pytest.param("581 same 1", "same", "unparseable node description `same'\n", id="same"),
        pytest.param("581 0 2", "2", "node argument 2 is out of range\n", id="memory-less node"),
        pytest.param("581 0 1x", "1x", "", id="without a warning"),
        pytest.param(
            "581 netdev:lo 1", "netdev:lo", "Cannot read node mask for net device `lo'", id="device"
        ),
    ],
)
def test_invalid_nodes(words: str, invalid: str, warning: str) -> None:
    kernel = Kernel()
    stderr = f"libnuma: Warning: {warning}\n" if warning else ""
    assert migratepages(words, kernel) == Exit(1, f"<{invalid}> is invalid\n", stderr)
    assert kernel.calls == []


@pytest.mark.parametrize(
    ("errno", "words", "text"),
    [
        pytest.param("ESRCH", "4194303 0 1", "No such process", id="no such process"),
        pytest.param("ESRCH", "-- -5 0 1", "No such process", id="negative PID"),
        pytest.param("EINVAL", "2 0 1", "Invalid argument", id="kernel thread"),
        pytest.param("EINVAL", "581 0 ''", "Invalid argument", id="TO empty"),
        pytest.param("EPERM", "581 0 1", "Operation not permitted", id="not permitted"),
        pytest.param("ENOMEM", "581 0 1", "Cannot allocate memory", id="target full"),
    ],
)
def test_refusal_of_the_kernel(errno: str, words: str, text: str) -> None:
    kernel = Kernel(errno)
    assert migratepages(words, kernel=kernel) == Exit(1, "", f"migrate_pages: {text}\n")
    assert len(kernel.calls) == 1
