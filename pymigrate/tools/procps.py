"""pidof, pgrep and ps of simulated processes, as far as scripts around numactl use them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from pymigrate.mm.state.task import TASK_COMM_LEN
from pymigrate.records import NamedTuple
from pymigrate.tools.getopt import Parsed, getopt_long, option_table
from pymigrate.tools.program import Exit, Process
from pymigrate.tools.system import System

_LIST = re.compile(r"[,\s]+")

# pidof

_PIDOF = option_table("single-shot,s ,x ,q separator,S: omit-pid,o:")


def pidof(argv: Sequence[str], system: System) -> Exit:
    """The PIDs of the processes of those names, the newest of each first.

    Mirrors pidof.c of procps.
    """
    parsed = getopt_long(argv, _PIDOF)
    if parsed.error:
        return Exit(1, stderr=f"{parsed.error}\n")
    given = dict(parsed.options)
    omitted = {
        part for name, value in parsed.options if name == "o" for part in _split(value or "")
    }
    found = []
    for operand in parsed.operands:
        named = operand.rpartition("/")[2][: TASK_COMM_LEN - 1]
        found += [str(p.pid) for p in reversed(system.processes()) if p.comm == named]
    found = [pid for pid in found if pid not in omitted]
    if "s" in given:
        found = found[:1]
    if not found:
        return Exit(1)
    return Exit(0, "" if "q" in given else f"{(given.get('S') or ' ').join(found)}\n")


# pgrep

_PGREP = option_table("""
    count,c full,f ignore-case,i newest,n oldest,o list-name,l list-full,a inverse,v exact,x
    delimiter,d: euid,u: parent,P:
""")


def pgrep(argv: Sequence[str], system: System) -> Exit:
    """The PIDs of the processes whose names match a pattern; 1 if there are none.

    A process is newer than those with lower PIDs. Mirrors pgrep.c of procps.
    """
    parsed = getopt_long(argv, _PGREP)
    given = {name: value or "" for name, value in parsed.options}
    refusal = _pgrep_refusal(parsed, given)
    pattern = parsed.operands[0] if parsed.operands else ""
    try:
        expression = re.compile(pattern, re.IGNORECASE if "i" in given else 0)
    except re.error as error:
        refusal = f"regex error: {error}\n"
    if refusal:
        return Exit(2, stderr=f"{argv[0]}: {refusal}")
    chosen = [p for p in system.processes() if _is_wanted(p, expression, given)]
    if "n" in given or "o" in given:
        chosen = chosen[-1:] if "n" in given else chosen[:1]
    status = 0 if chosen else 1
    if "c" in given:
        return Exit(status, f"{len(chosen)}\n")
    shown = [_listed(p, given) for p in chosen]
    return Exit(status, given.get("d", "\n").join(shown) + "\n" if shown else "")


def _pgrep_refusal(parsed: Parsed, given: dict[str, str]) -> str:
    if parsed.error:
        return f"{parsed.error.partition(': ')[2]}\n"
    if not parsed.operands and not given.keys() & {"u", "P"}:
        return "no matching criteria specified\nTry `pgrep --help' for more information.\n"
    if len(parsed.operands) > 1:
        return "only one pattern can be provided\nTry `pgrep --help' for more information.\n"
    return ""


def _is_wanted(process: Process, expression: re.Pattern[str], given: dict[str, str]) -> bool:
    text = process.args if "f" in given else process.comm
    is_match = bool((expression.fullmatch if "x" in given else expression.search)(text))
    if "u" in given:
        is_match &= _user_of(process) in _split(given["u"]) or str(process.uid) in _split(
            given["u"]
        )
    if "P" in given:
        is_match &= str(process.ppid) in _split(given["P"])
    return is_match != ("v" in given)


def _listed(process: Process, given: dict[str, str]) -> str:
    if "a" in given:
        return f"{process.pid} {process.args}"
    if "l" in given:
        return f"{process.pid} {process.args if 'f' in given else process.comm}"
    return str(process.pid)


# ps


class _Column(NamedTuple):
    """A column of ps: its heading, its least width, what it shows, and on which side it begins."""

    heading: str
    width: int
    text: Callable[[Process, System], str]
    is_left: bool = False


_COLUMNS = {
    "pid": _Column("PID", 7, lambda p, _: str(p.pid)),
    "ppid": _Column("PPID", 7, lambda p, _: str(p.ppid)),
    "uid": _Column("UID", 5, lambda p, _: str(p.uid)),
    "user": _Column("USER", 8, lambda p, _: _user_of(p), is_left=True),
    "comm": _Column("COMMAND", 15, lambda p, _: p.comm, is_left=True),
    "args": _Column("COMMAND", 27, lambda p, _: p.args, is_left=True),
    "psr": _Column("PSR", 3, lambda p, _: str(p.cpu)),
    "rss": _Column("RSS", 5, lambda p, system: str(system.memory_of(p.pid)[1])),
    "vsz": _Column("VSZ", 6, lambda p, system: str(system.memory_of(p.pid)[0])),
    "stat": _Column("STAT", 4, lambda _p, _s: "S", is_left=True),
    "tty": _Column("TTY", 8, lambda _p, _s: "?", is_left=True),
    "time": _Column("TIME", 8, lambda _p, _s: "00:00:00"),
}
_COLUMNS |= {
    "cmd": _COLUMNS["args"]._replace(heading="CMD"),
    "command": _COLUMNS["args"],
    "euser": _COLUMNS["user"]._replace(heading="EUSER"),
    "euid": _COLUMNS["uid"]._replace(heading="EUID"),
    "ucmd": _COLUMNS["comm"]._replace(heading="CMD"),
    "tt": _COLUMNS["tty"]._replace(heading="TT"),
    "s": _Column("S", 1, lambda _p, _s: "S", is_left=True),
}
_PS = option_table("""
    ,e ,A ,f ,h no-headers no-heading format,o: pid,p: ,q: ppid: ,C: user,u:
""")
_PLAIN, _FULL = "pid,tty,time,ucmd", "user=UID,pid,ppid,tty,time,cmd"
_PS_USAGE = "\nUsage:\n ps [options]\n\nFor more details see ps(1).\n"
_SELECTIONS: dict[str, tuple[str, Callable[[Process], tuple[str, ...]]]] = {
    "p": ("process ID", lambda p: (str(p.pid),)),
    "q": ("process ID", lambda p: (str(p.pid),)),
    "ppid": ("process ID", lambda p: (str(p.ppid),)),
    "C": ("", lambda p: (p.comm,)),
    "u": ("", lambda p: (_user_of(p), str(p.uid))),
}


def ps(argv: Sequence[str], system: System) -> Exit:
    """A table of processes: of all, or of those that -p, -C, -u or --ppid name.

    None has a terminal, so that without a selection all are shown. Mirrors ps of procps.
    """
    parsed = getopt_long(argv, _PS)
    if parsed.error:
        return _ps_refusal(parsed.error.partition(": ")[2])
    options = [(name, value or "") for name, value in parsed.options]
    options += [("p", operand) for operand in parsed.operands if operand[:1].isdigit()]
    wanted = [option for option in options if option[0] in _SELECTIONS]
    for name, value in wanted:
        kind, _ = _SELECTIONS[name]
        if kind and not all(part.isdigit() for part in _split(value)):
            return _ps_refusal(f"{kind} list syntax error")
    formats = [value for name, value in options if name == "o"]
    names = {name for name, _ in options}
    try:
        columns = _columns(formats or [_FULL if "f" in names else _PLAIN])
    except KeyError as unknown:
        return _ps_refusal(f'unknown user-defined format specifier "{unknown.args[0]}"')
    chosen = [p for p in system.processes() if _is_chosen(p, wanted)]
    has_headings = not names & {"h", "no-headers", "no-heading"}
    text = "".join(f"{line}\n" for line in _lines(columns, chosen, has_headings, system))
    return Exit(0 if chosen else 1, text)


def _ps_refusal(message: str) -> Exit:
    return Exit(1, stderr=f"error: {message}\n{_PS_USAGE}")


def _columns(formats: list[str]) -> list[_Column]:
    """The columns that -o's arguments name; ``name=TEXT`` has another heading, which ends it.

    Raises KeyError, of a name that is none.
    """
    columns = []
    for text in formats:
        rest = text.strip(", \t")
        while rest:
            match = re.match(r"([^,=\s]+)(=[^,]*)?[,\s]*", rest)
            if match is None or match[1] not in _COLUMNS:
                raise KeyError(match[1] if match else rest)
            column = _COLUMNS[match[1]]
            columns.append(column._replace(heading=match[2][1:]) if match[2] else column)
            rest = rest[match.end() :]
    return columns


def _is_chosen(process: Process, wanted: list[tuple[str, str]]) -> bool:
    return not wanted or any(
        set(_SELECTIONS[name][1](process)) & set(_split(value)) for name, value in wanted
    )


def _lines(
    columns: list[_Column], chosen: list[Process], has_headings: bool, system: System
) -> Iterator[str]:
    """The table; the last column is not filled up where it begins on the left."""
    if has_headings and any(column.heading for column in columns):
        yield _line(columns, [column.heading for column in columns])
    for process in chosen:
        yield _line(columns, [column.text(process, system) for column in columns])


def _line(columns: list[_Column], cells: list[str]) -> str:
    parts = []
    for i, (column, cell) in enumerate(zip(columns, cells, strict=True)):
        width = max(column.width, len(column.heading))
        is_last = i == len(columns) - 1
        parts.append(
            (cell if is_last else cell.ljust(width)) if column.is_left else cell.rjust(width)
        )
    return " ".join(parts)


def _user_of(process: Process) -> str:
    return "root" if process.uid == 0 else str(process.uid)


def _split(text: str) -> list[str]:
    return [part for part in _LIST.split(text) if part]
