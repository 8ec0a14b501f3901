"""The files that stand for the simulated machine's programs in a directory of a PATH."""

from __future__ import annotations

import os
import shlex
import sys

from pymigrate.cli.own_folder import OwnFolder
from pymigrate.tools.programs import PROGRAMS

_CODE = (
    "import sys; sys.path.append({root!r}); from pymigrate.cli.shim import main; main()"
    "  # pymigrate.cli.shim"
)
_MARK = b"pymigrate.cli.shim"
_START = 4096  # bytes of a shim, which hold the mark


class NotAShimError(Exception):
    """Where a shim is to be written there is something else."""


def write_shims(folder: str, named: dict[str, str] | None = None) -> None:
    """Write a shim for each program; *named* are paths for variables that are not set.

    Raises NotAShimError if something else has the name of one, InTheWayError, OSError.
    """
    own = OwnFolder(folder)
    try:
        news = {name: f"{name}.new" for name in PROGRAMS}
        for name, new in news.items():
            if os.path.lexists(os.path.join(folder, name)) and not _is_shim(own, name):
                where = os.path.join(folder, name)
                raise NotAShimError(f"{where} is no shim; expected a directory without one")
            if own.read(new, 1) and not _is_shim(own, new):  # not begun by a killed command
                raise own.in_the_way(new)
        for name, new in news.items():
            own.put(name, _shim(name, named or {}).encode("utf-8", "surrogateescape"), new, 0o777)
    finally:
        own.close()


def is_shim(path: str) -> bool:
    """Whether a file is a shim."""
    with open(path, "rb") as file:
        return _MARK in file.read(_START)


def _is_shim(folder: OwnFolder, name: str) -> bool:
    return _MARK in (folder.read(name, _START) or b"")


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
