"""The program migratepages: ``migratepages PID FROM-NODES TO-NODES``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pymigrate.errors import KernelError
from pymigrate.nodemask import Nodemask
from pymigrate.tools.getopt import Option, getopt_long
from pymigrate.tools.nodestring import parse_nodestring
from pymigrate.tools.program import Exit, Libnuma, strtoul, to_signed
from pymigrate.tools.system import System

USAGE = """\
usage: migratepages pid from-nodes to-nodes

nodes is a comma delimited list of node numbers or A-B ranges or all.
"""

_OPTIONS = [Option("help", "h")]


def main(argv: Sequence[str], system: System) -> Exit:
    """What the program prints and how it exits, on *system*."""
    permute = "POSIXLY_CORRECT" not in system.environ
    return run(argv, system.libnuma, system.migrate_pages, permute=permute)


def run(
    argv: Sequence[str],
    libnuma: Libnuma,
    migrate_pages: Callable[[int, Nodemask, Nodemask], int],
    *,
    permute: bool = True,
) -> Exit:
    """What the program prints and how it exits; *migrate_pages* is called with PID, FROM and TO.

    PID is as the program understands it: 0 means itself, and it may be negative. How many pages
    stayed behind does not show. A KernelError of *migrate_pages* is reported, and is exit 1.
    Options may stand behind operands if they *permute*.

    Mirrors main(), migratepages.c.
    """
    parsed = getopt_long(argv, _OPTIONS, permute=permute)
    if parsed.error and not parsed.options:
        return Exit(1, stderr=f"{parsed.error}\n{USAGE}")
    if parsed.options or len(parsed.operands) != 3:
        return Exit(1, stderr=USAGE)
    if not libnuma.available:
        return Exit(1, stderr="numactl: This system does not support NUMA functionality\n")
    number, trailing = strtoul(parsed.operands[0])
    if trailing or not parsed.operands[0]:
        return Exit(1, stderr=USAGE)
    masks: list[Nodemask] = []
    for text in parsed.operands[1:]:
        mask, warning = parse_nodestring(text, libnuma.allowed, libnuma.configured)
        if mask is None:
            stderr = f"libnuma: Warning: {warning}\n" if warning else ""
            return Exit(1, f"<{text}> is invalid\n", stderr)
        masks.append(mask)
    try:
        migrate_pages(to_signed(number, 32), *masks)
    except KernelError as error:
        return Exit(1, stderr=f"migrate_pages: {error}\n")
    return Exit(0)
