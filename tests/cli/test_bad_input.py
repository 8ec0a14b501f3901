"""Whatever is typed: an answer of one line or two, no traceback, and a machine that is whole."""

import subprocess
import sys
from pathlib import Path

import pytest

from pymigrate.session import Request, session
from tests.cli.conftest import SCENARIO, Outcome, Shell
from tests.property.invariants import check

ANYTHING = [
    *("", " ", "a\nb", "a b", "\x1b[31m", "9" * 5000, "x" * 5000, "prefer (many):0"),
    *"- 0 1 -1 0x 0x0 1.5 1e3 1_0 inf 99999999999999999999 4294967297".split(),
    *"0xffffffffffffffff 0x10000000000000000".split(),
    *"é ٣ ² = : / . %s {} ' \" ;".split(),
    *"all ! !0 +0 0-1 1-0 0, 0,,1 0-99999999 node0 none rwx b".split(),
    *"heap heap+ heap+1 heap+64KiB heap+1TiB heap+-1 heap+0:0 heap:1 +4096".split(),
    *"buf+4KiB:1 lib stack 1TiB 99999TiB 4KiB 0x7ffffffff000+0:8KiB".split(),
    *"bind bind: bind:0 bind=:0 bind=static|relative:0 default:0".split(),
    *("drop_caches=1", "drop_caches=²", "weighted_interleave/node²", f"drop_caches={'9' * 5000}"),
]
# Each line is tried with each of the above in place of X.
LINES = [
    "boot X",
    "cpuset attach / X",
    "cpuset attach X a",
    "cpuset create X --cpus 0 --mems 0",
    "cpuset create new --cpus X --mems 0",
    "cpuset create new --cpus 0 --mems X",
    "cpuset set X --mems 0",
    "get_mempolicy X",
    "get_mempolicy a X --node",
    "mbind X heap 4096 bind:0",
    "mbind a X 4096 bind:1 --move",
    "mbind a heap X bind:1 --move --strict",
    "mbind a heap 4096 X",
    "mbind a heap 4096 bind:X",
    "migratepages X 0 1",
    "migratepages a X 1",
    "migratepages a 0 X -v",
    "move_pages X heap --query",
    "move_pages a X --query",
    "move_pages a X --to 1",
    "move_pages a heap --to X",
    "move_pages a --from-file X --query",
    "numa_maps X",
    "run X",
    "set_mempolicy X bind:0",
    "set_mempolicy a X",
    "set_mempolicy_home_node a X 4096 1",
    "set_mempolicy_home_node a heap X 1",
    "set_mempolicy_home_node a heap 4096 X",
    "show X",
    "sysctl X",
    "task exit X",
    "task fork X child",
    "task fork a X",
    "task madvise a X dontneed",
    "task madvise a X populate_write",
    "task madvise a heap X",
    "task mlock a X",
    "task mmap a X 4096",
    "task mmap a new X",
    "task mmap a new 4096 --align X",
    "task mmap a new 4096 --file /lib/c.so --offset X",
    "task mmap a new 4096 --prot X",
    "task mprotect a X r",
    "task mprotect a heap X",
    "task munlock a X",
    "task munmap a X",
    "task pin a X",
    "task touch a X",
    "task touch a heap --stride X",
    "task unpin a X",
    "vmstat --since X",
]


@pytest.mark.parametrize("line", LINES)
def test_any_argument(shell: Shell, line: str) -> None:
    whole = shell.state.read_bytes()
    for text in ANYTHING:
        exit_code, stdout, stderr = shell(
            [text if word == "X" else word.replace("X", text) for word in line.split(" ")]
        )
        assert exit_code in (0, 1, 2, 3), text
        assert exit_code == 0 or stdout or stderr, text
        assert len(stderr) < 6000, text
        if shell.state.read_bytes() != whole:
            assert exit_code in (0, 1), text
            with session(Request(None, str(shell.state))) as machine:
                check(machine)
            shell.state.write_bytes(whole)


@pytest.mark.parametrize("content", [b"\xff\xfe", bytes(range(256)) * 10, b"\0" * 100, b"9" * 5000])
@pytest.mark.parametrize("line", ["move_pages a --query --from-file", "vmstat --since"])
def test_file_that_is_no_text(shell: Shell, line: str, content: bytes) -> None:
    (shell.folder / "file").write_bytes(content)
    assert shell(f"{line} file").exit in (0, 2)


@pytest.mark.parametrize("line", ["move_pages a --query --from-file", "vmstat --since"])
@pytest.mark.parametrize(
    ("name", "why"), [(".", "Is a directory"), ("none", "No such file or directory")]
)
def test_file_that_cannot_be_read(shell: Shell, line: str, name: str, why: str) -> None:
    assert f"'{name}' cannot be read: {why}\n" in shell.err(f"{line} {name}")


@pytest.mark.parametrize("number", ["-", "--5", "9" * 5000])
def test_file_with_what_is_no_number(shell: Shell, number: str) -> None:
    shell.write("before", f"pgfree {number}\n")
    assert shell("vmstat --since before").exit == 2
    shell.write("log", f"10000000 {number}\n")
    assert shell("move_pages a --from-file log").exit in (1, 2)


def test_a_line_of_ten_megabytes_is_not_repeated(shell: Shell) -> None:
    (shell.folder / "log").write_bytes(b"z" * 10_000_000)
    for line in ("move_pages a --query --from-file log", "vmstat --since log"):
        exit_code, _, stderr = shell(line)
        assert exit_code == 2
        assert len(stderr) < 2000


def test_long_log(shell: Shell) -> None:
    shell.write("log", "10000000 1\n10001000 0\n" * 100_000)
    text = shell.out("move_pages a --from-file log --json --dry-run")
    assert '"1": 100000' in text


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of memory that is kept")
def test_more_addresses_than_there_is_memory(shell: Shell) -> None:
    exit_code, stdout, stderr = shell.spawn(
        "move_pages a heap+0:16TiB --query", preexec_fn=_with_little_memory
    )
    assert (exit_code, stdout) in ((1, ""), (2, ""))
    assert "Traceback" not in stderr


def test_region_of_more_than_the_address_space(shell: Shell) -> None:
    said = "mmap: Cannot allocate memory: the address space has no room for it\n"
    assert shell("task mmap a new 999999TiB") == Outcome(1, "", said)


def test_offset_beyond_a_region(shell: Shell) -> None:
    for line in ("touch a heap+1TiB", "mlock a heap+1TiB", "pin a heap+1TiB"):
        assert shell(f"task {line}").exit == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "machine: [[[[" + "[" * 5000,
        "machine: &a {nodes: *a}",
        "a: &a [x]\n" + "".join(f"{c}: &{c} [{'*a,' * 9}*a]\n" for c in "bcdefgh"),
        "machine: !!python/object/apply:os.getcwd []",
        "machine: {nodes: {0: {cpus: '0', memory: 1e99}}}",
        f"machine: {{nodes: {{{'9' * 5000}: 1}}}}",
        SCENARIO.replace("pid: 200", "pid: 100"),
        SCENARIO.replace("memory: 64MiB", "memory: 99999999TiB"),
        SCENARIO.replace("[[6, 0], [2, 1]]", "[[6, 0], [99999999999999, 1]]"),
        SCENARIO.replace("uid: 26", "uid: -1"),
        SCENARIO.replace("address: 0x10000000", "address: 0xffffffffffffffff"),
    ],
)
def test_wrong_scenarios(unbooted: Shell, text: str) -> None:
    unbooted.write("machine.yaml", text)
    for line in ("boot", "vmstat", "run machine.yaml"):
        folder = "" if "run" in line else unbooted.folder
        assert unbooted.err(line).startswith(f"pymigrate: {folder}")


@pytest.mark.parametrize("content", [bytes(range(256)), b"\xff\xfem\0", b"machine:\0"])
def test_scenario_that_is_no_text(unbooted: Shell, content: bytes) -> None:
    unbooted.scenario.write_bytes(content)
    assert unbooted("boot").exit == 2


@pytest.mark.skipif(not Path("/dev/stdin").exists(), reason="needs /dev/stdin")
def test_scenario_from_a_pipe(unbooted: Shell) -> None:
    with unbooted.start("boot /dev/stdin", stdin=subprocess.PIPE) as process:
        stdout, stderr = process.communicate(SCENARIO, timeout=60)
    assert (process.returncode, stderr) == (0, "")
    assert stdout == "booted /dev/stdin: Linux 6.12, 2 nodes, 128MiB, 2 tasks\n"


def _with_little_memory() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "machine:\n\tnodes: {}\n",
            "2:1: not YAML: a tab where a line or a value begins; YAML is indented by spaces;"
            " expected valid YAML",
        ),
        (
            "machine: {nodes: {0: {cpus: 0,1, memory: 64MiB}}}\n",
            "1:31: unknown key 1; expected cpus, memory, movable, cma, kernel, cache, hmat,"
            " adistance or fragmentation; a list of numbers needs quotes, as in cpus: '0,1'",
        ),
        (
            "machine: {nodes: {0: {cpus: '0', memory: 64MiB}}}\n"
            "tasks: {t: {memory: [{as: h, kind: heap, size: 128MiB}]}}\n",
            " task t, region h: the nodes it may use hold 62.8 MiB of its 128MiB",
        ),
        (
            "machine: {nodes: {0: {cpus: '0', memory: 64MiB}}}\n"
            "tasks:\n"
            "  a: {memory: [{as: m, kind: shmem, size: 40MiB}]}\n"
            "  b: {memory: [{as: h, kind: heap, size: 30MiB}]}\n",
            " task b, region h: its nodes have no room left, and a would be killed to make some",
        ),
    ],
    ids=["a tab", "CPUs without quotes", "a region that does not fit", "a task in its place"],
)
def test_common_slips_of_scenarios_are_named(shell: Shell, text: str, message: str) -> None:
    shell.write("wrong.yaml", text)
    assert shell.err("boot wrong.yaml") == f"pymigrate: wrong.yaml:{message}\n"


def test_ps_without_tasks_has_the_nodes(shell: Shell) -> None:
    shell.write("idle.yaml", "machine: {nodes: {0: {cpus: '0', memory: 64MiB}}}\n")
    text = shell.out("--ephemeral --scenario idle.yaml ps")
    assert text == "PID UID TASK CPUS RSS N0 POLICY COMM\n"
