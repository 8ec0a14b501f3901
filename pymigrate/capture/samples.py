"""Samples of memory accesses, as `perf mem record` takes them and perf 6.1 to 6.12 prints them.

`perf script` tells times and periods. `perf mem report -D` tells neither; its columns are named in
its first line, and by dump_raw_samples() in tools/perf/builtin-mem.c.
"""

from __future__ import annotations

import re

from pymigrate.capture.recorded import Heat, Seen, asked
from pymigrate.capture.tree import Tree
from pymigrate.errors import ScenarioError

_SAMPLE = re.compile(
    r"(?:.*?\s)??(\d+)(?:/\d+)?\s+(?:\[\d+\]\s+)?(\d+\.\d+):\s+(?:(\d+)\s+)?(\S+):\s+"
    r"([0-9a-f]+)(\s.*)?"
)
_FORM = "a sample, as `perf script -F pid,time,period,event,addr` prints it"
_RAW_HEADER = "# PID, TID, IP, ADDR, "
_RAW = re.compile(r"\s*(\d+)(\s|[^\s\w]+)\s*\d+\2\s*0x[0-9a-f]+\2\s*0x([0-9a-f]+)\2(.*)")
_RAW_FORM = "PID TID IP ADDR ..., as `perf mem report -D` prints it"
_LITERAL = "016"  # is printed before the first address: a slip in perf's format
_STORE = 1 << 2  # PERF_MEM_OP_STORE of the data source


def perf_heat(text: str, path: str, seconds: float | None) -> Heat:
    """Samples with addresses; those of `perf mem report -D` were taken for so many *seconds*.

    Raises ScenarioError.
    """
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith(_RAW_HEADER):
            return _raw(lines, number, path, seconds)
    return _script(lines, path)


def _script(lines: list[str], path: str) -> Heat:
    seen: list[Seen] = []
    times: list[float] = []
    has_periods = True
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _SAMPLE.fullmatch(line.strip())
        if match is None:
            raise Tree("").malformed(path, number, line, _FORM)
        has_periods = has_periods and match[3] is not None
        times.append(float(match[2]))
        at = int(match[5], 16)
        if at:  # else its address is not known
            seen.append(Seen(int(match[1]), at, at + 1, int(match[3] or 1), _is_store(match)))
    if not seen:
        raise ScenarioError(f"has no sample with an address; expected {_FORM}", path)
    seconds = max(times) - min(times)
    if seconds <= 0:
        raise ScenarioError("all samples are of one time; expected some time between them", path)
    return Heat(seen, seconds, [] if has_periods else [_no_periods(path)])


def _is_store(match: re.Match[str]) -> bool:
    """Whether a sample is of a write: by its data source, or else by the name of the event."""
    source = match[6] or ""
    return "|OP STORE" in source or ("|OP LOAD" not in source and "store" in match[4])


def _raw(lines: list[str], header: int, path: str, seconds: float | None) -> Heat:
    """The samples below line *header* (from 0), which names the columns."""
    names = lines[header].removeprefix("# ").split(", ")
    if names[-2:] != ["DSRC", "SYMBOL"]:
        raise Tree("").malformed(path, header + 1, lines[header], "... DSRC, SYMBOL")
    at_source = len(names) - 2 - 4
    seen: list[Seen] = []
    for number, line in enumerate(lines[header + 1 :], header + 2):
        if not line.strip() or line.startswith("#"):
            continue
        match = _RAW.fullmatch(line)
        rest = re.split(rf"{re.escape(match[2])}\s*", match[4].lstrip()) if match else []
        if match is None or len(rest) < at_source + 2 or not rest[at_source].startswith("0x"):
            raise Tree("").malformed(path, number, line, _RAW_FORM)
        at = int(match[3].removeprefix(_LITERAL) or "0", 16)
        try:
            source = int(rest[at_source], 16)
        except ValueError:
            raise Tree("").malformed(path, number, line, _RAW_FORM) from None
        if at:
            seen.append(Seen(int(match[1]), at, at + 1, 1, bool(source & _STORE)))
    if not seen:
        raise ScenarioError("has no sample with an address", path)
    return Heat(seen, asked(seconds, path), [_no_periods(path)])


def _no_periods(path: str) -> str:
    return f"{path} has no periods: each sample is taken for one access"
