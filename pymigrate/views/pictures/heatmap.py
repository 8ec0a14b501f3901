"""Address by time: where memory that tasks access lies, moment by moment, and how hot it is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from pymigrate.mm.state.machine import Machine, regions_of
from pymigrate.records import NamedTuple
from pymigrate.views.pictures.show import LEGEND, Span, heat_legend, heat_spans
from pymigrate.views.pictures.strips import bounds_of, count_cells, heat_of, short_size, sign, turns

LINES = 16  # moments at most, besides the first and the last


class Moment(NamedTuple):
    """Where the parts of a region lie at a time: nodes, ABSENT or ZERO_PAGE."""

    time: int  # ms, of the machine's clock
    cells: list[int]


@dataclass(slots=True)
class Heatmap:
    """A region that a process accesses, and its moments."""

    pid: int
    task: str
    region: str
    start: int
    nr: int
    heat: list[float]  # accesses a second to a page of each part, when it began
    moments: list[Moment] = field(default_factory=list)


class Watcher:
    """Looks at the regions that tasks access while time passes, without touching anything."""

    def __init__(self, machine: Machine, ms: int, cells: int) -> None:
        """Look for the first time; *ms* are to pass."""
        self.begin, self.step = machine.now, max(ms // LINES, 1)
        self.due = machine.now
        self.maps = [*_regions(machine, cells)]
        self.look(machine)

    def look(self, machine: Machine) -> None:
        """Note where all lies, if enough time has passed since the last look."""
        if machine.now >= self.due:
            self.note(machine)
            self.due = self.begin + ((machine.now - self.begin) // self.step + 1) * self.step

    def note(self, machine: Machine) -> None:
        """Note where all lies now."""
        for each in self.maps:
            task = machine.tasks.get(each.pid)
            if task is None or (each.moments and each.moments[-1].time == machine.now):
                continue
            counts = count_cells(task, each.start, each.nr, len(each.heat))
            each.moments.append(Moment(machine.now, turns(counts)))


def lines(maps: Iterable[Heatmap]) -> Iterator[list[Span]]:
    """A line for each moment, below the heat of the region."""
    maps = list(maps)
    most = max((rate for each in maps for rate in each.heat), default=0.0)
    for each in maps:
        width = max(len(_time(moment)) for moment in each.moments)
        yield [Span(f"{each.pid} {each.task}: {each.region} {short_size(each.nr)}", "head")]
        yield [Span(f"{'heat':>{width}}  "), *heat_spans(each.heat, most)]
        for moment in each.moments:
            cells = groupby(moment.cells)
            spans = [Span(sign(cell) * len([*group]), "cell", cell) for cell, group in cells]
            yield [Span(f"{_time(moment):>{width}}  "), *spans]
    if maps:
        yield from ([Span(text, "dim")] for text in (*LEGEND, heat_legend()))


def as_json(maps: Iterable[Heatmap]) -> list[dict[str, object]]:
    """The maps for machines; times in ms."""
    return [
        {
            "pid": each.pid,
            "task": each.task,
            "region": each.region,
            "pages": each.nr,
            "heat": [round(rate, 3) for rate in each.heat],
            "moments": [moment._asdict() for moment in each.moments],
        }
        for each in maps
    ]


def _regions(machine: Machine, cells: int) -> Iterator[Heatmap]:
    """The regions that the tasks' declared accesses name, each once for a process."""
    seen = set()
    for _, task in sorted(machine.tasks.items()):
        regions = regions_of(machine, task)
        for pattern in task.accesses:
            region, pid = regions.get(pattern.region), machine.process_of(task).pid
            if region is None or (pid, region.start) in seen:
                continue
            seen.add((pid, region.start))
            bounds = bounds_of(region.start, region.nr, min(cells, region.nr))
            heat = heat_of(machine, task, bounds)
            yield Heatmap(pid, task.name, region.name, region.start, region.nr, heat)


def _time(moment: Moment) -> str:
    return f"{moment.time / 1000:.3f} s"
