"""Start-up is a feature: what the frequent commands must not import."""

from collections.abc import Iterator
from inspect import cleandoc

import click
import pytest

from pymigrate.cli.helped import Option
from pymigrate.cli.main import cli
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


@pytest.mark.parametrize(
    ("line", "is_loaded"),
    [("vmstat", False), ("numa_maps a", False), ("migratepages a 0 1", False), ("ps -h", True)],
)
def test_what_help_alone_needs_is_loaded_for_it_alone(
    shell: Shell, line: str, is_loaded: bool
) -> None:
    names = imported(shell, "-m", "pymigrate", *line.split())
    assert ({"ast", "tokenize"} <= names) is is_loaded  # which the module inspect imports
    assert "dataclasses" not in names


def test_help_of_options_is_written_as_it_is_shown() -> None:
    def commands(command: click.Command) -> Iterator[click.Command]:
        yield command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                yield from commands(found)

    for command in commands(cli):
        for param in command.params:
            if isinstance(param, click.Option):
                assert isinstance(param, Option), (command.name, param.opts)
                assert param.help == (cleandoc(param.help) if param.help else None)


def test_json_is_imported_for_json(shell: Shell) -> None:
    assert costly(shell, "vmstat --json") == {"json"}


def test_default_state_needs_platformdirs_alone(shell: Shell) -> None:
    shell.spawn("vmstat", env=shell.environment(PYMIGRATE_STATE=""))  # boots it
    assert costly(shell, "vmstat", PYMIGRATE_STATE="") == {"platformdirs"}
