"""Start-up is a feature: what the frequent commands must not import."""

import subprocess
import sys

import pytest

from tests.cli.conftest import Shell, imported


@pytest.mark.parametrize(
    "line",
    [
        "vmstat",
        "vmstat --migration",
        "numa_maps a",
        "ps",
        "migratepages a 0 1",
        "move_pages a heap --to 1",
        "mbind a heap 32KiB bind:0 --move",
        "--help",
        "migratepages --help",
        "--version",
    ],
)
def test_lean_commands(shell: Shell, line: str) -> None:
    assert imported(shell, line) == set()


@pytest.mark.parametrize("line", ["vmstat", "numa_maps a", "ps"])
def test_what_only_looks_does_not_import_what_moves(shell: Shell, line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pymigrate", *line.split()],
        env=shell.environment(),
        cwd=shell.folder,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert "pymigrate.mm.state.machine\n" in done.stderr
    assert "pymigrate.mm.engine" not in done.stderr


def test_call_with_memory_to_spare_imports_nothing_that_makes_room(shell: Shell) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pymigrate", *"migratepages a 0 1".split()],
        env=shell.environment(),
        cwd=shell.folder,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert "pymigrate.mm.engine.migrate\n" in done.stderr
    for layer in ("compact", "balance", "faults", "offline"):
        assert f"pymigrate.mm.{layer}\n" not in done.stderr
    assert "pymigrate.mm.reclaim.slowpath" not in done.stderr


def test_json_is_imported_for_json(shell: Shell) -> None:
    assert imported(shell, "vmstat --json") == {"json"}


def test_default_state_needs_platformdirs_alone(shell: Shell) -> None:
    shell.spawn("vmstat", env=shell.environment(PYMIGRATE_STATE=""))  # boots it
    assert imported(shell, "vmstat", PYMIGRATE_STATE="") == {"platformdirs"}
