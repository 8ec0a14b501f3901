"""How a policy is written on the command line: MODE[=FLAGS][:NODES], as numa_maps prints it."""

from __future__ import annotations

import click

from pymigrate.arguments import ModeAndNodes, parse_mode


class PolicyParam(click.ParamType[ModeAndNodes]):
    """A policy as an argument."""

    name = "policy"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> ModeAndNodes:
        """Parse it; a wrong one ends the command as a usage error."""
        try:
            return parse_mode(str(value))
        except ValueError as error:
            self.fail(str(error))


POLICY = PolicyParam()
