"""Before and after: where the memory of tasks lies, side by side, and what moves and what stays."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise

from pymigrate.mm.base.why import Stay
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.records import NamedTuple
from pymigrate.views.pages.tables import is_resident
from pymigrate.views.pictures.show import Span
from pymigrate.views.pictures.strips import (
    ABSENT,
    Label,
    bounds_of,
    count_cells,
    labeller,
    labels_of,
    sign,
    turns,
)
from pymigrate.views.why import stayed
from pymigrate.views.why.reasons import LETTERS, REASONS

MOVES, COMES, GOES, SAME, STAYS = ">", "+", "-", " ", "="
MIN_CELLS, MAX_CELLS = 16, 64
_INDENT, _GAP = "  ", "  "
_WORDS = {MOVES: "moves", COMES: "is new", GOES: "is given back"}

Cell = Counter[int]  # pages by node, ABSENT or ZERO_PAGE
Stays = Mapping[int, Sequence[Stay]]  # pid -> frames that a call has left where they were
Kept = tuple[range, str]  # pages, and the letter of the reason for which some of them stay


class ChangedStrip(NamedTuple):
    """A range of a task's memory, before and after.

    A mark is MOVES, COMES, GOES, SAME, or a reason's letter where pages stay.
    """

    label: Label
    start: int
    nr: int
    before: list[int]
    after: list[int]
    marks: str


class ChangedTask(NamedTuple):
    """A task with the ranges of its memory in which something moves or stays."""

    pid: int
    task: str
    strips: list[ChangedStrip]


def rows(
    before: Machine, after: Machine, pids: Iterable[int], stays: Stays, cells: int
) -> list[ChangedTask]:
    """The tasks *pids* that something happens to, with strips of at most *cells* cells."""
    found = []
    for pid in pids:
        old, new = before.tasks.get(pid), after.tasks.get(pid)
        task = new or old
        if task is None:
            continue
        places = stayed.places(new, stays.get(pid, ())) if new else ()
        kept = [(span, LETTERS[stay.why]) for _, span, stay in places]
        strips = []
        for start, end, label in sorted(_ranges(before, after, old, new)):
            bounds = bounds_of(start, end - start, min(cells, end - start))
            strips.append(_strip(old, new, label, bounds, kept))
        strips = [strip for strip in strips if strip.marks.strip()]
        if strips:
            found.append(ChangedTask(pid, task.name, strips))
    return found


def cells_that_fit(machine: Machine, pids: Iterable[int], width: int) -> int:
    """How many cells each of two strips may have beside their label in *width* characters."""
    tasks = (machine.tasks[pid] for pid in pids if pid in machine.tasks)
    labels = [label for task in tasks for _, label in labels_of(machine, task)]
    if not labels:
        return MIN_CELLS
    used = len(_INDENT) + sum(len(_GAP) + width for width in _widths(labels)) + len(_GAP)
    return min(max((width - used) // 2, MIN_CELLS), MAX_CELLS)


def lines(tasks: list[ChangedTask]) -> Iterator[list[Span]]:
    """The strips side by side, with a line of marks below each, and what the marks say."""
    strips = [strip for task in tasks for strip in task.strips]
    if not strips:
        yield [Span("nothing moves or stays")]
        return
    names, sizes = _widths([strip.label for strip in strips])
    wide = max(len(strip.before) for strip in strips)
    for task in tasks:
        before = f"{'BEFORE':{wide}}"
        head = f"{task.pid} {task.task}"
        yield [Span(f"{head:{len(_INDENT) + names + sizes + 4}}{before}{_GAP}AFTER", "head")]
        for strip in task.strips:
            label = f"{_INDENT}{strip.label.name:{names}}{_GAP}{strip.label.size:>{sizes}}{_GAP}"
            rest = wide - len(strip.before) + len(_GAP)
            yield [Span(label), *_cells(strip.before), Span(" " * rest), *_cells(strip.after)]
            yield [Span(f"{' ' * len(label)}{_drawn(strip.marks)}".rstrip())]
    yield [Span(text, "dim") for text in (legend(tasks),)]


def legend(tasks: list[ChangedTask]) -> str:
    """What the marks of *tasks* say."""
    marks = {mark for task in tasks for strip in task.strips for mark in strip.marks}
    said = [f"{mark} {word}" for mark, word in _WORDS.items() if mark in marks]
    return "; ".join([*said, *(f"{key}= stays: {text}" for key, text in reasons(marks).items())])


def reasons(marks: Iterable[str]) -> dict[str, str]:
    """What the letters among *marks* stand for, by letter."""
    known = {letter: REASONS[why].text.partition(" (")[0] for why, letter in LETTERS.items()}
    return {mark: known[mark] for mark in sorted(marks) if mark in known}


def as_json(tasks: list[ChangedTask]) -> list[dict[str, object]]:
    """The picture for machines."""
    return [
        {
            "pid": task.pid,
            "task": task.task,
            "strips": [
                {
                    "name": strip.label.name,
                    "pages": strip.nr,
                    "before": strip.before,
                    "after": strip.after,
                    "marks": strip.marks,
                }
                for strip in task.strips
            ],
        }
        for task in tasks
    ]


def _ranges(
    before: Machine, after: Machine, old: Task | None, new: Task | None
) -> Iterator[tuple[int, int, Label]]:
    """The VMAs that there are afterwards, and what of the old ones is gone: [start, end)."""
    for vma, label in labels_of(after, new) if new else ():
        yield vma.start, vma.end, label
    if old is None:
        return
    label_of = labeller(before, old)
    for vma in old.mm.vmas:
        kept = new.mm.parts(vma.start, vma.end) if new else ()
        at = vma.start
        for a, b in [*((a, b) for _, a, b in kept), (vma.end, vma.end)]:
            if at < a:
                yield at, a, label_of(vma, at, a)
            at = b


def _strip(
    old: Task | None, new: Task | None, label: Label, bounds: list[int], kept: list[Kept]
) -> ChangedStrip:
    start, nr = bounds[0], bounds[-1] - bounds[0]
    cells = list(pairwise(bounds))
    was, now = (
        count_cells(task, start, nr, len(cells))
        if task
        else [Cell({ABSENT: b - a}) for a, b in cells]
        for task in (old, new)
    )
    marks = [_mark(old, new, a, b, cell) for a, b, cell in zip(was, now, cells, strict=True)]
    for span, letter in kept:
        if span.start < bounds[-1] and start < span.stop:
            first = max(bisect_right(bounds, span.start) - 1, 0)
            for cell in range(first, min(bisect_left(bounds, span.stop), len(cells))):
                marks[cell] = letter
    return ChangedStrip(label, start, nr, turns(was), turns(now), "".join(marks))


def _mark(old: Task | None, new: Task | None, was: Cell, now: Cell, cell: tuple[int, int]) -> str:
    """What happens to the pages of *cell*, from its first to before its last."""
    nodes = [node for node in was | now if node >= 0]
    fewer = any(now[node] < was[node] for node in nodes)
    more = any(now[node] > was[node] for node in nodes)
    if fewer or more:
        return MOVES if fewer and more else GOES if fewer else COMES
    return MOVES if old and new and _frames_differ(old, new, *cell) else SAME


def _frames_differ(old: Task, new: Task, a: int, b: int) -> bool:
    """Whether pages among [a, b) that have frames in both have others now."""
    was, now = old.mm.page_table.between(a, b), new.mm.page_table.between(a, b)
    if was == now:
        return False
    points = sorted({point for run in (*was, *now) for point in (run.start, run.end)})
    for low, high in pairwise(points):
        both = [*old.mm.page_table.between(low, high), *new.mm.page_table.between(low, high)]
        if len(both) == 2 and all(map(is_resident, both)) and both[0].lanes != both[1].lanes:
            return True
    return False


def _cells(cells: list[int]) -> Iterator[Span]:
    for cell, group in groupby(cells):
        yield Span(sign(cell) * len([*group]), "cell", cell)


def _drawn(marks: str) -> str:
    """The marks for people: a letter stands once where pages of many cells stay.

    >>> _drawn(">>ppp>")
    '>>p==>'
    """
    groups = ((mark, len([*group])) for mark, group in groupby(marks))
    return "".join(f"{mark}{(STAYS if mark.isalpha() else mark) * (nr - 1)}" for mark, nr in groups)


def _widths(labels: list[Label]) -> tuple[int, int]:
    """The widest name and size."""
    return max(len(label.name) for label in labels), max(len(label.size) for label in labels)
