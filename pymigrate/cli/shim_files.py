"""The files that stand for the simulated machine's programs in a directory of a PATH."""

from __future__ import annotations

import os
import shlex
import sys

from pymigrate.tools.programs import PROGRAMS

_CODE = (
    "import sys; sys.path.append({root!r}); from pymigrate.cli.shim import main; main()"
    "  # pymigrate.cli.shim"
)
_MARK = b"pymigrate.cli.shim"


class NotAShimError(Exception):
    """Where a shim is to be written there is something else."""


def write_shims(folder: str, named: dict[str, str] | None = None) -> None:
    """Write a shim for each program; *named* are paths for variables that are not set.

    Raises NotAShimError if something else has the name of one, OSError.
    """
    os.makedirs(folder, exist_ok=True)
    paths = {name: os.path.join(folder, name) for name in PROGRAMS}
    for path in paths.values():
        if os.path.lexists(path) and not is_shim(path):
            raise NotAShimError(f"{path} is no shim; expected a directory without one")
    for name, path in paths.items():
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(_shim(name, named or {}))
        os.chmod(f"{path}.new", 0o755)
        os.replace(f"{path}.new", path)


def is_shim(path: str) -> bool:
    """Whether a file is a shim."""
    with open(path, "rb") as file:
        return _MARK in file.read(4096)


def _shim(name: str, named: dict[str, str]) -> str:
    """The text of a shim, which needs no more than /bin/sh and this Python."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    lines = ["#!/bin/sh"]
    for variable, path in named.items():
        quoted = shlex.quote(os.path.abspath(path))
        lines.append(f'[ -n "${variable}" ] || export {variable}={quoted}')
    code = shlex.quote(_CODE.format(root=root))
    lines.append(f'exec {shlex.quote(sys.executable)} -P -c {code} {name} "$@"')
    return "\n".join(lines) + "\n"
