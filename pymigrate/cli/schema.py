"""``pymigrate schema``."""

import click

from pymigrate.cli.common import print_json


@click.command()
def command() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    from pymigrate.scenario.schema import json_schema

    print_json(json_schema())
