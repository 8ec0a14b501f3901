"""Start-up is a feature: what the frequent commands must not import."""

import pytest

from tests.cli.conftest import Shell, costly, imported


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
    assert costly(shell, line) == set()


@pytest.mark.parametrize("line", ["vmstat", "numa_maps a", "ps"])
def test_what_only_looks_does_not_import_what_moves(shell: Shell, line: str) -> None:
    names = imported(shell, "-m", "pymigrate", *line.split())
    assert "pymigrate.mm.state.machine" in names
    assert not any(name.startswith("pymigrate.mm.engine") for name in names)


def test_call_with_memory_to_spare_imports_nothing_that_makes_room(shell: Shell) -> None:
    names = imported(shell, "-m", "pymigrate", *"migratepages a 0 1".split())
    assert "pymigrate.mm.engine.migrate" in names
    layers = {f"pymigrate.mm.{layer}" for layer in ("compact", "balance", "faults", "offline")}
    assert not names & (layers | {"pymigrate.mm.reclaim.slowpath"})


def test_json_is_imported_for_json(shell: Shell) -> None:
    assert costly(shell, "vmstat --json") == {"json"}


def test_default_state_needs_platformdirs_alone(shell: Shell) -> None:
    shell.spawn("vmstat", env=shell.environment(PYMIGRATE_STATE=""))  # boots it
    assert costly(shell, "vmstat", PYMIGRATE_STATE="") == {"platformdirs"}
