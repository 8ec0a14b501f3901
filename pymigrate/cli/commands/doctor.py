"""``pymigrate doctor``."""

from __future__ import annotations

import os

import click

from pymigrate.cli.common import Options, common_options, print_json
from pymigrate.cli.helped import Command, option
from pymigrate.errors import PymigrateError, StoreError
from pymigrate.records import NamedTuple
from pymigrate.session import INLINE, boot, boot_scenario, is_unchanged, state_path
from pymigrate.store.store import Boot, Store

MAX_SHOWN = 20
UNUSABLE = StoreError.exit_code


class Finding(NamedTuple):
    """Something that is wrong, in a line, and what helps."""

    what: str
    cure: str
    is_broken: bool = True  # commands cannot rely on the state


@click.command(cls=Command)
@option("--reset", is_flag=True, help="If it is broken, boot its scenario afresh.")
@common_options()
def command(options: Options, reset: bool) -> None:
    """Check the stored machine for damage; print each finding, and its cure.

    It looks at the file, its version, the scenario that it was booted from, and everything that
    must be true of a machine (each frame has one owner, is mapped as often as it is counted, ...).
    Nothing changes without --reset. Exits with 0 if the state can be used, else with 3.
    """
    path = state_path(options.request())
    found = _findings(path)
    is_broken = any(each.is_broken for each in found)
    if options.json:
        print_json({"state": path, "broken": is_broken, "findings": [f._asdict() for f in found]})
    else:
        _print(path, found)
    if is_broken and reset:
        booted = _reset(options, path)
        click.echo(f"booted {booted} afresh", err=options.json)
    elif is_broken:
        raise click.exceptions.Exit(UNUSABLE)


def _print(path: str, found: list[Finding]) -> None:
    click.echo(f"{path}: " + ("nothing is wrong" if not found else f"{len(found)} found"))
    for each in found[:MAX_SHOWN]:
        text = f"{each.what}; {each.cure}" if each.cure else each.what
        click.echo(f"{'broken' if each.is_broken else 'note'}: {text}")
    if len(found) > MAX_SHOWN:
        click.echo(f"... and {len(found) - MAX_SHOWN} more")


def _findings(path: str) -> list[Finding]:
    if not os.path.exists(path):
        return [Finding("there is no state yet", "the first command boots it", is_broken=False)]
    try:
        booted, broken = _look_into(path)
    except StoreError as error:
        return [Finding(error.message, "")]
    if booted is None:
        what = "it holds no machine, as when the first boot was interrupted"
        return [Finding(what, "the next command boots it", is_broken=False)]
    found = [Finding(line, "`pymigrate doctor --reset` starts afresh") for line in broken]
    return found + _scenario_findings(booted)


def _look_into(path: str) -> tuple[Boot | None, list[str]]:
    """From what the state was booted, if it was, and what is wrong with its file and machine."""
    from pymigrate.mm.check import problems

    store = Store(path)
    try:
        store.begin(write=False)
        lines = store.integrity()
        if lines:
            raise StoreError(f"is damaged; SQLite says: {lines[0]}", path)
        booted = store.booted()
        if booted is None:
            return None, []
        machine = store.load()
        store.check_maps()
        store.read_ledger(machine)
        return booted, list(problems(machine))
    finally:
        store.close()


def _scenario_findings(booted: Boot) -> list[Finding]:
    """What keeps the machine's scenario from being the one that is meant."""
    path = booted.scenario
    if path == INLINE:
        return []
    if not os.path.isfile(path):
        what = f"the scenario {path} is gone"
        return [Finding(what, "commands go on without it; it cannot be booted", is_broken=False)]
    if not is_unchanged(booted):
        what = f"the scenario {path} was changed since it was booted"
        return [Finding(what, f"`pymigrate boot {path}` starts afresh")]
    try:
        boot_scenario(path)
    except PymigrateError as error:
        return [Finding(f"the scenario does not boot any more: {error}", "correct it", False)]
    return []


def _reset(options: Options, path: str) -> str:
    """Boot the scenario that was named, or that the state was booted from, in its place."""
    request = options.request(write=True)
    if not request.scenario:
        booted = _booted(path)
        if booted and os.path.isfile(booted.scenario):
            request = request._replace(scenario=booted.scenario)
        else:
            raise StoreError("does not say which scenario it is of; name it with --scenario", path)
    _, fresh = boot(request)
    return fresh.scenario


def _booted(path: str) -> Boot | None:
    """From what the state was booted, if at least that can be read."""
    try:
        store = Store(path)
        try:
            store.begin(write=False)
            return store.booted()
        finally:
            store.close()
    except StoreError:
        return None
