"""``pymigrate move_pages``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain

import click

from pymigrate.arguments import parse_address
from pymigrate.cli.call import access_of, find_range, meanwhile_option, system_call
from pymigrate.cli.common import (
    TEXT_FILE,
    Options,
    common_options,
    find_task,
    parse_number,
    shorten,
)
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command, option
from pymigrate.errors import ERRNO, KernelError
from pymigrate.interface import noted
from pymigrate.interface.declare import MAX_PAGES
from pymigrate.mm.calls.move_pages import MovePagesResult
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls import migrate
from pymigrate.uapi import MPOL_MF_MOVE, MPOL_MF_MOVE_ALL
from pymigrate.units import PAGE_SIZE, sized
from pymigrate.views.why import stayed

_NAMES = {-number: f"-{name}" for name, number in ERRNO.items()}
_MEANING = {
    "-ENOENT": "not present",
    "-EFAULT": "not mapped, or the zero page",
    "-EACCES": "mapped by several processes",
    "-EBUSY": "isolated already",
}
UNWRITTEN = "unknown"
_WIDTH = 16  # of the column of addresses
_PLAIN_LOG = re.compile(r"(?:[0-9][0-9a-fA-Fx]{0,15} [0-9]{1,4}\n)++")


@click.command("move_pages", cls=Command)
@click.argument("pid", shell_complete=complete.tasks)
@click.argument(
    "pages", nargs=-1, metavar="[ADDR|REGION[+OFFSET[:LENGTH]]]...", shell_complete=complete.places
)
@option(
    "--to",
    type=int,
    metavar="NODE",
    shell_complete=complete.nodes,
    help="The node to move the pages to.",
)
@option("--move-all", is_flag=True, help="Move shared pages too (needs CAP_SYS_NICE).")
@option("--query", is_flag=True, help="Ask where the pages are; move nothing.")
@option(
    "--from-file",
    type=TEXT_FILE,
    metavar="FILE",
    help="Read lines ADDR [NODE] from FILE ('-': stdin); --to is the node where there is none.",
)
@meanwhile_option()
@common_options(changes=True, calls=True, leaves=True, strict=True)
def command(
    options: Options,
    pid: str,
    pages: tuple[str, ...],
    to: int | None,
    move_all: bool,
    query: bool,
    from_file: str | None,
    meanwhile: tuple[str, str, str] | None,
) -> None:
    """Move single pages of process PID to a node, or each to its own; or ask where they are.

    Prints the status of each run of pages: a node, an error's name, or `unknown` where the call did
    not get to. -q prints errors alone.
    """
    addrs, named = _parse_log(from_file, to) if from_file is not None else ([], [])
    with system_call(options, "move_pages") as call:
        task = find_task(call.machine, pid)
        ranges = [_addresses(call.machine, task, text) for text in pages]
        if sum(map(len, ranges)) > MAX_PAGES:
            raise click.UsageError(f"too many pages are named; expected at most {MAX_PAGES}")
        addrs += chain.from_iterable(ranges)
        named += [to] * (len(addrs) - len(named))
        if not addrs:
            raise click.UsageError("no page is named; expected addresses, regions or --from-file")
        if not query and None in named:
            raise click.UsageError("no node is named; expected --to NODE, or --query")
        nodes = None if query else [node for node in named if node is not None]
        flags = MPOL_MF_MOVE_ALL if move_all else MPOL_MF_MOVE
        told: dict[str, object] = {}
        with noted.meanwhile(call.machine, access_of(call.machine, meanwhile), told):
            result = migrate.move_pages(call.machine, call.shell, task, addrs, nodes, flags)
        if nodes is not None:
            call.noted.find_left = lambda stays: stayed.move_pages_rows(
                call.machine, task, addrs, nodes, result, stays
            )
        names = {value: _named(value) for value in set(result.status)}
        status = [names[value] for value in result.status]
        if options.json:
            call.answer = _answer(result, addrs, status) | told
        elif not options.quiet:
            call.text = _table(addrs, status)
        if result.ret > 0 and not options.quiet:
            plural = "page was" if result.ret == 1 else "pages were"
            call.text += f"{result.ret} {plural} not moved, or not come to\n"
        if result.errno:
            why = stayed.why_ended(call.machine, task, result.errno, nodes or [])
            raise KernelError(result.errno, why)


def _addresses(machine: Machine, task: Task, text: str) -> range:
    addr, length = find_range(machine, task, text)
    return range(addr, addr + (1 if length is None else length), PAGE_SIZE)


def _parse_log(log: str, to: int | None) -> tuple[list[int], list[int | None]]:
    """The pages of a log, and their nodes; raises click.BadParameter with the line's number."""
    if _PLAIN_LOG.fullmatch(log):  # else its lines are looked at one by one
        words = log.split()
        known = {word: int(word) for word in set(words[1::2])}
        try:
            addrs = [int(word, 16) & -PAGE_SIZE for word in words[::2]]
        except ValueError:
            pass
        else:
            return addrs, [known[word] for word in words[1::2]]
    addrs, nodes = [], []
    for number, line in enumerate(log.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        addr = parse_address(words[0])
        node = parse_number(words[1]) if len(words) > 1 else to
        if addr is None or len(words) > 2 or (node is None and len(words) > 1):
            raise click.BadParameter(
                f"line {number} is {shorten(line.strip())}, expected ADDR [NODE]",
                param_hint="--from-file",
            )
        addrs.append(addr & -PAGE_SIZE)
        nodes.append(node)
    return addrs, nodes


def _named(status: int | None) -> int | str:
    if status is None:
        return UNWRITTEN
    return status if status >= 0 else _NAMES[status]


def _answer(
    result: MovePagesResult, addrs: list[int], status: list[int | str]
) -> dict[str, object]:
    return {
        "ret": result.ret,
        "errno": result.errno,
        "pages": [
            {"address": f"{addr:#x}", "status": value}
            for addr, value in zip(addrs, status, strict=True)
        ],
        "summary": Counter(status),
    }


def _table(addrs: list[int], status: list[int | str]) -> str:
    """A line for each run of pages with one status, then one for each status."""
    texts = {value: _text(value) for value in set(status)}
    rows = [(_place(a, b), texts[value]) for a, b, value in _runs(addrs, status)]
    width = max([_WIDTH, *(len(place) for place, _ in rows)])
    lines = [f"{'ADDRESS':>{width}} STATUS\n"]
    lines += [f"{place:>{width}} {text}\n" for place, text in rows]
    for value, nr in sorted(Counter(status).items(), key=lambda item: (str(item[0]), item[1])):
        where = f"on node {value}" if isinstance(value, int) else texts[value]
        lines.append(f"{sized(nr)} {where}\n")
    return "".join(lines)


def _runs(addrs: list[int], status: list[int | str]) -> Iterator[tuple[int, int, int | str]]:
    """Pages in a row that have one status: where they begin and end, and the status."""
    start = end = 0
    last: int | str = UNWRITTEN
    for addr, value in zip(addrs, status, strict=True):
        if end and (addr, value) != (end, last):
            yield start, end, last
            start = addr
        elif not end:
            start = addr
        end, last = addr + PAGE_SIZE, value
    if end:
        yield start, end, last


def _place(start: int, end: int) -> str:
    return f"{start:x}" if end - start == PAGE_SIZE else f"{start:x}-{end:x}"


def _text(status: int | str) -> str:
    meaning = _MEANING.get(str(status))
    return f"{status} {meaning}" if meaning else str(status)
