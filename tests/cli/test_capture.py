"""capture: of an exported tree, and of a process of this host."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Shell

PROGRAM = """\
import mmap, sys
shared = mmap.mmap(-1, 1 << 20)
shared[:8192] = bytes(8192)
private = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
private[4096 * 7] = 3
print(flush=True)
sys.stdin.read()
"""
LIVE = Path("/proc/self/numa_maps")


@pytest.fixture
def exported(unbooted: Shell) -> Shell:
    """A shell whose folder holds the tree of a machine with two nodes."""
    unbooted.out("--ephemeral --scenario two-node export tree")
    return unbooted


def maps_of(shell: Shell, scenario: str, who: str) -> str:
    return shell.out(f"--ephemeral --scenario {scenario} numa_maps {who}")


def comparable(text: str) -> str:
    """numa_maps without what other processes and the LRU lists decide."""
    return re.sub(r" (active|mapmax)=\d+", "", text)


@pytest.mark.parametrize(
    "name", ["two-node", "four-node-two-socket", "cxl-memory-only", "full-target"]
)
def test_an_exported_tree_comes_back(unbooted: Shell, name: str) -> None:
    unbooted.out(f"--ephemeral --scenario {name} export tree")
    assert unbooted("capture --root tree -o captured.yaml").exit == 0
    pids = [path.name for path in (unbooted.folder / "tree/proc").iterdir() if path.name.isdigit()]
    assert pids
    for pid in pids:
        exported = (unbooted.folder / f"tree/proc/{pid}/numa_maps").read_text()
        assert maps_of(unbooted, "captured.yaml", pid) == exported


def test_what_is_captured_again_is_the_same(exported: Shell) -> None:
    exported.out("capture --root tree -o one.yaml")
    exported.out("--ephemeral --scenario one.yaml export again")
    assert exported.out("capture --root again") == (exported.folder / "one.yaml").read_text()


def test_anonymized_it_is_the_same_machine(exported: Shell) -> None:
    exported.out("capture --root tree --anonymize -o captured.yaml")
    text = (exported.folder / "captured.yaml").read_text()
    assert not re.search("postgres|libc|26", text)
    known = (exported.folder / "tree/proc/4321/numa_maps").read_text()
    hidden = known.replace("/usr/lib/x86_64-linux-gnu/libc.so.6", "/file1")
    assert maps_of(exported, "captured.yaml", "4321") == hidden


def test_only_the_processes_that_are_named(exported: Shell) -> None:
    text = exported("capture 4400 --root tree").stdout
    assert "pid: 4400" in text
    assert "pid: 4321" not in text


@pytest.mark.skipif(not LIVE.exists(), reason="this kernel has no numa_maps")
def test_a_process_of_this_host_comes_back(unbooted: Shell) -> None:
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        assert unbooted(f"capture {process.pid} -o live.yaml").exit == 0
        real = Path(f"/proc/{process.pid}/numa_maps").read_text()
        process.stdin.close()
    ours = maps_of(unbooted, "live.yaml", str(process.pid))
    assert comparable(ours) == comparable(real)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("capture x", "pymigrate: Invalid value for PID: 'x' is not a pid\n"),
        ("capture 0", "pymigrate: Invalid value for PID: '0' is not a pid\n"),
        ("capture --root none", "none/sys/devices/system/node: there are no NUMA nodes;"),
        ("capture 7 --root tree", "tree/proc/7: there is no process 7\n"),
        ("capture --root tree -o none/x", "none/x: cannot be written: No such file or dir"),
    ],
)
def test_mistakes(exported: Shell, line: str, message: str) -> None:
    assert message in exported.err(line)


@pytest.mark.skipif(not LIVE.exists(), reason="this kernel has no numa_maps")
def test_another_users_process_is_refused_in_a_line(unbooted: Shell) -> None:
    for line in ("capture 1", "capture --root none"):  # all is imported that may not be read then
        unbooted(line)
    with as_nobody():
        stderr = unbooted.err("capture 1")
    assert stderr.endswith("/proc/1/numa_maps: cannot be read: Permission denied\n")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Have no more rights than a user that owns nothing; who is not root has few enough."""
    if os.geteuid():
        yield
        return
    try:
        os.seteuid(65534)
    except OSError as error:
        pytest.skip(f"cannot become another user: {error}")
    try:
        yield
    finally:
        os.seteuid(0)


def test_settings_that_are_not_taken_over_are_one_line(exported: Shell) -> None:
    for path in ("proc/sys/vm/swappiness", "proc/sys/vm/page-cluster", "sys/kernel/mm/swap/x"):
        file = exported.folder / "tree" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("3\n")
    exit_code, _, stderr = exported("capture --root tree -o one.yaml")
    assert exit_code == 0
    assert stderr.splitlines() == [
        "pymigrate: 3 settings not taken over; the scenario names them",
    ]
    text = (exported.folder / "one.yaml").read_text()
    assert "# Not as it was: proc/sys/vm: not taken over: page-cluster, swappiness\n" in text


def test_a_bitmap_of_idle_pages_tells_which_are_hot(unbooted: Shell) -> None:
    unbooted.out("--ephemeral --scenario two-node export --pages tree")
    flags = (unbooted.folder / "tree/proc/kpageflags").stat().st_size
    (unbooted.folder / "idle").write_bytes(bytes(flags // 64))
    capture = "capture 4321 --root tree --heat idle"
    assert "add --heat-time SECONDS" in unbooted.err(capture)
    text = unbooted(f"{capture} --heat-time 2s").stdout
    # 16384 pages of 64 MiB, each once in 2 s.
    assert "- {region: heap, rate: 8192.0}" in text


def test_the_time_of_a_record_goes_with_a_record(unbooted: Shell) -> None:
    assert "--heat-time goes with --heat" in unbooted.err("capture --heat-time 2")
