"""``pymigrate schema``."""

import click

from pymigrate.cli.helped import Command


@click.command(cls=Command)
def command() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    import json

    from pymigrate.scenario.read.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
