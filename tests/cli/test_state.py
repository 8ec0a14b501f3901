"""The state file: nothing is lost, nothing is half done, whatever happens to a command."""

import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

from pymigrate.session import Request, session
from tests.cli.conftest import SCENARIO, Outcome, Shell, execute
from tests.property.invariants import check

SIGNALS = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
PERMISSIONS = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="needs permissions, and a user to whom they apply: not root",
)
PAGES = 4  # of the region that each command of the kill tests maps and faults in
BOOTED = re.compile(r"pymigrate: booted \S+\n")


def mapping(name: str) -> str:
    """A command that changes a VMA list, a page table, a memmap and counters at once."""
    return f"task mmap a {name} 16KiB --populate"


def assert_whole(shell: Shell, done: set[str], begun: set[str]) -> None:
    """The machine is sound; all commands of *done* show in it, none half, and none but *begun*."""
    with session(Request(None, str(shell.state))) as machine:
        check(machine)
        task = machine.task("a")
        regions = {name for owner, name in machine.regions if owner == "a" and name[0] == "r"}
        assert done <= regions <= begun
        for name in regions:
            start = machine.regions["a", name].start
            runs = task.mm.page_table.between(start, start + PAGES)
            assert sum(run.nr for run in runs) == PAGES
        assert len(task.mm.vmas) == 3 + len(regions)
        assert machine.counters["pgalloc_dma32"] == PAGES * len(regions)


def reap(process: "subprocess.Popen[str]") -> int:
    """Wait for a command; its exit code, or the signal's number negated."""
    process.communicate(timeout=60)
    return process.returncode


def kill_later(process: "subprocess.Popen[str]", seconds: float) -> int:
    """Kill a command that has not ended after *seconds*."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    return reap(process)


def kill_when_writing(shell: Shell, process: "subprocess.Popen[str]") -> int:
    """Kill a command as soon as SQLite has begun to write the file."""
    journal = f"{shell.state}-journal"
    while process.poll() is None:
        if os.path.exists(journal):
            process.kill()
    return reap(process)


def duration(shell: Shell) -> float:
    """How long a command takes here and now."""
    found = []
    for _ in range(3):
        start = time.perf_counter()
        assert shell.spawn(f"{mapping('warm')} --dry-run").exit == 0
        found.append(time.perf_counter() - start)
    return min(found)


@SIGNALS
def test_kill_at_random_moments(shell: Shell) -> None:
    chance, whole = random.Random(20), duration(shell)
    names = [f"r{i}" for i in range(160)]
    delays = {name: whole * chance.uniform(0.3, 2) for name in names}
    delays |= dict.fromkeys(names[::10], 60.0)  # these may end

    def run(name: str) -> int:
        return kill_later(shell.start(mapping(name)), delays[name])

    with ThreadPoolExecutor(3) as pool:
        codes = dict(zip(names, pool.map(run, names), strict=True))
    assert set(codes.values()) == {0, -signal.SIGKILL}
    assert_whole(shell, {name for name, code in codes.items() if code == 0}, set(names))


@SIGNALS
def test_kill_while_writing(shell: Shell) -> None:
    names = [f"r{i}" for i in range(40)]
    codes = {name: kill_when_writing(shell, shell.start(mapping(name))) for name in names}
    assert -signal.SIGKILL in codes.values()
    assert_whole(shell, {name for name, code in codes.items() if code == 0}, set(names))


@SIGNALS
def test_kill_leaves_nothing_that_stops_the_next_command(shell: Shell) -> None:
    while kill_when_writing(shell, shell.start(mapping("r1"))) == 0:
        shell.boot()
    assert shell.spawn(mapping("r2")).exit == 0
    assert {"r2"} <= {name for _, name in _regions(shell)}


@SIGNALS
def test_kill_in_the_first_boot(unbooted: Shell) -> None:
    for _ in range(5):
        kill_when_writing(unbooted, unbooted.start("vmstat"))
        exit_code, stdout, stderr = unbooted.spawn("vmstat")
        assert (exit_code, stdout.count("\n")) == (0, 185)
        assert BOOTED.fullmatch(stderr) or not stderr
        unbooted.state.unlink()


def test_twenty_commands_at_once_are_all_counted(shell: Shell) -> None:
    names = {f"r{i}" for i in range(20)}
    processes = [shell.start(mapping(name)) for name in names]
    ended = [(process.communicate(timeout=120), process.returncode) for process in processes]
    assert {(stderr, code) for (_, stderr), code in ended} == {("", 0)}
    assert len({stdout for (stdout, _), _ in ended}) == 20
    assert_whole(shell, names, names)


def test_twenty_migrations_at_once_are_all_counted(shell: Shell) -> None:
    lines = ["migratepages a 0 1", "migratepages a 1 0"] * 5 + ["sysctl drop_caches=2"] * 10
    codes = [reap(process) for process in [shell.start(line) for line in lines]]
    assert codes == [0] * 20
    [moved, freed, dropped] = shell.counted("pgmigrate_success", "pgfree", "drop_slab")
    assert dropped == 10
    assert moved == freed
    assert moved % 28 in (26, 2)  # the first to move takes 26 pages or 2, each other all or none


def test_first_commands_at_once_boot_one_machine(unbooted: Shell) -> None:
    names = {f"r{i}" for i in range(8)}
    processes = [unbooted.start(mapping(name)) for name in names]
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8
    assert sorted(said)[:-1] == [""] * 7
    assert BOOTED.fullmatch(max(said))
    assert_whole(unbooted, names, names)


def test_readers_see_whole_commands_while_writers_run(shell: Shell) -> None:
    processes = [shell.start(mapping(f"r{i}")) for i in range(8)]
    seen = []
    while any(process.poll() is None for process in processes):
        values = shell.json("vmstat")
        assert values["nr_anon_pages"] == 11 + values["pgalloc_dma32"]
        assert values["pgalloc_dma32"] % PAGES == 0
        seen.append(values["pgalloc_dma32"])
    assert [reap(process) for process in processes] == [0] * 8
    assert seen == sorted(seen)
    assert shell.counted("pgalloc_dma32") == [8 * PAGES]


@contextmanager
def another_writer(shell: Shell) -> Iterator[None]:
    """Somebody has begun to write the state, and thinks better of it in the end."""
    other = sqlite3.connect(shell.state, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


@SIGNALS
def test_interrupt_changes_nothing(shell: Shell) -> None:
    with shell.unchanged():
        with another_writer(shell):
            process = shell.start(mapping("r1"))
            time.sleep(2)  # by then it waits, even on a busy machine
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        _, stderr = process.communicate(timeout=60)
    assert "Traceback" not in stderr
    assert process.returncode == 130


def test_scenario_changed_since_boot(shell: Shell) -> None:
    shell.write("machine.yaml", f"{SCENARIO}# changed\n")
    expected = (
        f"pymigrate: {shell.scenario}: the scenario was changed since it was booted;"
        f" `pymigrate boot {shell.scenario}` starts afresh\n"
    )
    with shell.unchanged():
        assert shell.err("migratepages a 0 1", 3) == expected
        assert shell.err("vmstat", 3) == expected
    shell.out("boot")
    assert shell("migratepages a 0 1") == Outcome(0)


def test_scenario_written_again_without_a_change(shell: Shell) -> None:
    shell.write("machine.yaml", SCENARIO)
    os.utime(shell.scenario, (1, 1))
    assert shell("migratepages a 0 1") == Outcome(0)


def test_scenario_that_is_gone_since_boot(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.scenario.unlink()
    assert shell("migratepages a 0 1") == Outcome(0)
    monkeypatch.delenv("PYMIGRATE_SCENARIO")
    assert shell("migratepages a 1 0") == Outcome(0)


def test_state_of_another_scenario(shell: Shell) -> None:
    other = shell.write("other.yaml", SCENARIO)
    with shell.unchanged():
        assert shell.err("vmstat --scenario other.yaml", 3) == (
            f"pymigrate: {shell.state}: holds a machine of {shell.scenario}, not of {other};"
            " `pymigrate boot other.yaml` would replace it\n"
        )


@pytest.mark.parametrize("content", [b"garbage\n", b"\0" * 4096, b"SQLite format 3\0 no it is not"])
@pytest.mark.parametrize("line", ["vmstat", "migratepages a 0 1", "boot"])
def test_file_of_somebody_else_is_left_alone(unbooted: Shell, content: bytes, line: str) -> None:
    unbooted.state.write_bytes(content)
    with unbooted.unchanged():
        stderr = unbooted.err(line, 3)
    assert stderr.startswith(f"pymigrate: {unbooted.state}: ")
    assert stderr.count("\n") == 1


@pytest.mark.parametrize("line", ["vmstat", "migratepages a 0 1", "boot"])
def test_database_of_another_application_is_left_alone(unbooted: Shell, line: str) -> None:
    execute(unbooted, "CREATE TABLE bookmark (name)")
    with unbooted.unchanged():
        assert unbooted.err(line, 3) == (
            f"pymigrate: {unbooted.state}: is not a state file of pymigrate; name another file, or"
            " remove it\n"
        )


def test_empty_file_is_a_machine_that_was_never_booted(unbooted: Shell) -> None:
    unbooted.state.write_bytes(b"")
    assert BOOTED.fullmatch(unbooted("vmstat").stderr)


@pytest.mark.parametrize("size", [100, 512, 4096, 16384, 40000])
def test_truncated_state_is_damaged_until_it_is_booted_afresh(shell: Shell, size: int) -> None:
    os.truncate(shell.state, size)
    damaged = f"pymigrate: {shell.state}: is damaged; `pymigrate boot` starts afresh\n"
    assert shell.err("migratepages a 0 1", 3) == damaged
    shell.out("boot")
    assert shell.counted("pgmigrate_success") == [0]


@pytest.mark.parametrize("seed", range(20))
def test_flipped_bytes_are_no_traceback(shell: Shell, seed: int) -> None:
    chance, content = random.Random(seed), bytearray(shell.state.read_bytes())
    for _ in range(20):
        content[chance.randrange(100, len(content))] = chance.randrange(256)
    shell.state.write_bytes(content)
    for line in ("numa_maps a", "vmstat", "migratepages a 0 1"):
        exit_code, _, stderr = shell(line)
        assert exit_code in (0, 1, 3)
        assert stderr.count("\n") <= 1


@PERMISSIONS
def test_read_only_state(shell: Shell) -> None:
    shell.state.chmod(0o444)
    shell.folder.chmod(0o555)
    assert shell("vmstat").exit == 0
    assert shell.err("migratepages a 0 1", 3) == (
        f"pymigrate: {shell.state}: cannot be written: the file or its directory is read-only\n"
    )
    shell.folder.chmod(0o755)


@PERMISSIONS
def test_unreadable_scenario(unbooted: Shell) -> None:
    unbooted.scenario.chmod(0)
    expected = (
        f"pymigrate: {unbooted.scenario}: cannot be read: Permission denied; expected a file\n"
    )
    assert unbooted.err("vmstat") == expected


def test_wrong_scenario_boots_nothing(unbooted: Shell) -> None:
    unbooted.write("machine.yaml", "machine: 1\n")
    assert unbooted("vmstat").exit == 2
    unbooted.write("machine.yaml", SCENARIO)
    assert BOOTED.fullmatch(unbooted("vmstat").stderr)


def test_dry_run_on_a_machine_never_booted_keeps_no_machine(unbooted: Shell) -> None:
    unbooted("migratepages a 0 1 --dry-run")
    assert BOOTED.fullmatch(unbooted("vmstat").stderr)


def test_copied_state_is_a_machine_of_its_own(shell: Shell) -> None:
    shutil.copy(shell.state, shell.folder / "copy.db")
    shell.out("--state copy.db migratepages a 0 1")
    assert shell.counted("pgmigrate_success") == [0]


def _regions(shell: Shell) -> list[tuple[str, str]]:
    with session(Request(None, str(shell.state))) as machine:
        return list(machine.regions)
