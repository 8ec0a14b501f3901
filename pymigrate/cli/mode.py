"""How a policy is written on the command line: MODE[=FLAGS][:NODES], as numa_maps prints it."""

from __future__ import annotations

from typing import NamedTuple

import click

from pymigrate.mm.mempolicy import BALANCING, MODE_NAMES, RELATIVE, STATIC
from pymigrate.nodemask import Nodemask

_FLAGS = {
    "static": STATIC,
    "relative": RELATIVE,
    "balancing": BALANCING,
    "numa_balancing": BALANCING,
}
# Modes by numa_maps's names, and by those of the manual pages.
_MODES = {name: int(mode) for mode, name in MODE_NAMES.items()} | {
    "preferred": 1,
    "preferred-many": 5,
    "weighted-interleave": 6,
}


class ModeAndNodes(NamedTuple):
    """The arguments that a system call takes for a policy."""

    mode: int  # with mode flags
    nodes: Nodemask


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
        text, _, nodes_text = str(value).partition(":")
        name, _, flags_text = text.partition("=")
        mode = _MODES.get(name.strip())
        if mode is None:
            from difflib import get_close_matches

            near = get_close_matches(name, _MODES, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            self.fail(f"{name!r} is not a mode; expected one of {', '.join(_MODES)}{hint}")
        for flag in flags_text.split("|") if flags_text else []:
            if flag not in _FLAGS:
                self.fail(f"{flag!r} is not a mode flag; expected one of {', '.join(_FLAGS)}")
            mode |= _FLAGS[flag]
        try:
            return ModeAndNodes(mode, Nodemask.parse(nodes_text))
        except ValueError as error:
            self.fail(str(error))


POLICY = PolicyParam()
