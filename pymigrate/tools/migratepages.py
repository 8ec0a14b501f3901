"""The program migratepages: ``migratepages PID FROM-NODES TO-NODES``."""

from __future__ import annotations

from collections.abc import Sequence

from pymigrate.errors import KernelError
from pymigrate.tools.getopt import getopt_long, option_table
from pymigrate.tools.nodestring import nodes_of
from pymigrate.tools.program import Exit, StoppedError
from pymigrate.tools.strtoul import strtoul, to_signed
from pymigrate.tools.system import System

USAGE = """\
usage: migratepages pid from-nodes to-nodes

nodes is a comma delimited list of node numbers or A-B ranges or all.
"""

_OPTIONS = option_table("help,h")


def run(argv: Sequence[str], system: System) -> Exit:
    """What the program prints and how it exits; how many pages stayed behind does not show.

    Mirrors main(), migratepages.c.
    """
    parsed = getopt_long(argv, _OPTIONS, permute="POSIXLY_CORRECT" not in system.environ)
    if parsed.error and not parsed.options:
        return Exit(1, stderr=f"{parsed.error}\n{USAGE}")
    if parsed.options or len(parsed.operands) != 3:
        return Exit(1, stderr=USAGE)
    number, trailing = strtoul(parsed.operands[0])
    if trailing or not parsed.operands[0]:
        return Exit(1, stderr=USAGE)
    try:
        old, new = [nodes_of(text, system.libnuma) for text in parsed.operands[1:]]
        system.migrate_pages(to_signed(number, 32), old, new)
    except StoppedError as stopped:
        return Exit(stopped.status, stopped.stdout, stopped.stderr)
    except KernelError as error:
        return Exit(1, stderr=f"migrate_pages: {error}\n")
    return Exit(0)
