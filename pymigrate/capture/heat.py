"""Which pages are in use, as other tools have recorded it: declared accesses of regions.

Read are the samples of perf, the records of DAMON, and bitmaps of idle pages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pymigrate.capture.damon import damon_heat
from pymigrate.capture.idle import idle_heat
from pymigrate.capture.process import Process
from pymigrate.capture.recorded import Heat, Seen
from pymigrate.capture.samples import perf_heat
from pymigrate.capture.tree import Tree
from pymigrate.errors import ScenarioError
from pymigrate.reading import MAX_RECORD, inflate, read_file
from pymigrate.scenario.text.dump import Line
from pymigrate.units import PAGE_SIZE, format_size, pages_of, parse_size

_MAX_PARTS = 64  # of a region
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")  # how its streams begin
_OTHERS = (b"PERFILE2", b"2ELIFREP", b"damon_recfmt_ver")  # files of perf record, and of old damo
_EXPECTED = "expected the text of perf, the JSON of `damo record`, or a bitmap of idle pages"


def read_heat(
    path: str, seconds: float | None, tree: Tree, processes: Sequence[Process] = ()
) -> Heat:
    """The accesses that the file at *path* tells of. Raises ScenarioError.

    It was recorded for so many *seconds*, if it does not say so itself. Whose the frames of a
    bitmap are is read in *tree* for *processes*, whose mappings are in the machine's own pages.
    """
    try:
        content = read_file(path, MAX_RECORD)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ScenarioError(f"cannot be read: {reason}", path) from None
    if content[:2] in _ZLIB:
        try:
            content = inflate(content)
        except ValueError as error:
            raise ScenarioError(f"is compressed and broken: {error}", path) from None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        if content.startswith(_OTHERS) or len(content) % 8:
            raise ScenarioError(f"is binary; {_EXPECTED}", path)
        return idle_heat(content, path, seconds, tree, processes)
    if text.lstrip()[:1] in ("[", "{"):
        return damon_heat(text, path)
    return perf_heat(text, path, seconds)


def add_heat(data: dict[str, object], heat: Heat, path: str) -> list[str]:
    """Let the tasks of the scenario *data* access their regions so; gives notes.

    Raises ScenarioError if none of it lies in their memory.
    """
    tasks = data.get("tasks")
    assert isinstance(tasks, dict)
    if len(tasks) != 1 and any(not seen.pid for seen in heat.seen):
        raise ScenarioError("does not tell of which process it is; expected one PID", path)
    total = sum(seen.nr for seen in heat.seen)
    found = 0.0
    for task in tasks.values():
        mine = [seen for seen in heat.seen if seen.pid in (0, task["pid"])]
        access: list[Line] = []
        for region in task.get("memory", ()):
            parts = _parts(region, mine)
            found += sum(sum(part[2:]) for part in parts)
            access += _access(region, parts, heat.seconds)
        if access:
            task["access"] = access
    if not found:
        raise ScenarioError("none of its accesses lies in memory that is captured", path)
    outside = round((total - found) / total * 100)
    notes = list(heat.notes)
    if outside:
        notes.append(f"{outside} % of the accesses in {path} are of other memory, and left out")
    return notes


def _parts(region: dict[str, object], seen: list[Seen]) -> list[tuple[int, int, float, float]]:
    """Pages [a, b) of *region* that are accessed, with how many loads and stores."""
    start, nr = int(str(region["address"])), pages_of(parse_size(str(region["size"])))
    step = -(-nr // _MAX_PARTS)
    counts: dict[int, list[float]] = {}
    for each in seen:
        low, high = max(each.start, start), min(each.end, start + nr * PAGE_SIZE)
        if low >= high:
            continue
        for part in range(
            (low - start) // PAGE_SIZE // step, -(-(high - start) // PAGE_SIZE // step)
        ):
            a, b = start + part * step * PAGE_SIZE, start + (part + 1) * step * PAGE_SIZE
            share = (min(b, high) - max(a, low)) / (each.end - each.start)
            if share > 0:
                counts.setdefault(part, [0.0, 0.0])[each.is_store] += each.nr * share
    parts: list[tuple[int, int, float, float]] = []
    for part, (loads, stores) in sorted(counts.items()):
        a, b = part * step, min((part + 1) * step, nr)
        if parts and parts[-1][1] == a and _is_alike(parts[-1], (a, b, loads, stores)):
            first = parts.pop()
            a, loads, stores = first[0], loads + first[2], stores + first[3]
        parts.append((a, b, loads, stores))
    return parts


def _is_alike(one: tuple[int, int, float, float], other: tuple[int, int, float, float]) -> bool:
    """Whether each page of both gets as many accesses, within 1 %."""
    a, b = ([count / (part[1] - part[0]) for count in part[2:]] for part in (one, other))
    return all(abs(x - y) <= max(x, y) / 100 for x, y in zip(a, b, strict=True))


def _access(
    region: dict[str, object], parts: list[tuple[int, int, float, float]], seconds: float
) -> Iterator[Line]:
    """What a task says of its accesses to *region*."""
    nr = pages_of(parse_size(str(region["size"])))
    for a, b, loads, stores in parts:
        all_of_it = loads + stores
        line = Line({"region": region["as"], "rate": float(f"{all_of_it / seconds:.6g}")})
        line |= {"writes": float(f"{stores / all_of_it:.4g}")} if stores else {}
        if b - a < nr:
            line |= {"hot": (b - a) / nr, "hot_rate": 1.0}
            line |= {"hot_at": format_size(a * PAGE_SIZE)} if a else {}
        yield line
