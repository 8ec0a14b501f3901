"""Strips: what stands for a range of a task's memory in a picture.

Its cells are equal parts of the range (single pages, where it has fewer pages than the strip may
have cells), each drawn as the node that most of its pages lie on. Where nodes mix, the cells take
turns in proportion: what a cell leaves undrawn is owed to its neighbours, so that an interleaved
region looks interleaved, and a quarter of all pages is a quarter of the strip.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from colorsys import hls_to_rgb
from itertools import pairwise
from math import log2

from pymigrate.mm.base.pte import Pte
from pymigrate.mm.state.machine import Machine, region_of, regions_of
from pymigrate.mm.state.task import Task, accessed
from pymigrate.mm.state.vma import Vma
from pymigrate.records import NamedTuple
from pymigrate.units import MAX_NUMNODES, PAGE_SHIFT
from pymigrate.views.pages.regions import region_names
from pymigrate.views.pages.tables import count_nodes, is_resident
from pymigrate.views.proc.numa_maps import policy_text

ABSENT, ZERO_PAGE = -1, -2
ABSENT_SIGN, ZERO_SIGN, OTHER_SIGN = ".", "z", "#"
HEAT_SIGNS = " .:-=+*#%@"  # by heat_level()
# From hardly to most accessed; the first is never seen.
HEAT_COLOURS = (
    "none #fff7ec #fee8c8 #fdd49e #fdbb84 #fc8d59 #ef6548 #d7301f #b30000 #7f0000".split()
)
NODE_SIGNS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXY"
# After Okabe and Ito: colour-blind people tell them apart too.
_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#8da0cb")
_GOLDEN = 0.381966  # of the circle of hues: those of any few numbers in a row lie far apart
_ABOUT = 8  # a difference of less than this part of a cell does not count


class Label(NamedTuple):
    """What is written beside the strip of a VMA."""

    name: str
    size: str
    policy: str


def labels_of(machine: Machine, task: Task) -> Iterator[tuple[Vma, Label]]:
    """The VMAs of *task*, by address, with what is written beside them."""
    label = labeller(machine, task)
    for vma in task.mm.vmas:
        yield vma, label(vma, vma.start, vma.end)


def labeller(machine: Machine, task: Task) -> Callable[[Vma, int, int], Label]:
    """A function from a VMA of *task*, and a part [start, end) of it, to what is written there."""
    names = region_names(machine, task)

    def label(vma: Vma, start: int, end: int) -> Label:
        name = names(start)
        name += _offset(machine, task, name, start)
        return Label(name, short_size(end - start), policy_text(machine, task, vma))

    return label


def count_cells(task: Task, start: int, nr: int, cells: int) -> list[Counter[int]]:
    """How many of the *nr* pages from *start* lie on each node, are ABSENT, or the ZERO_PAGE.

    For each of as many equal parts as there are to be *cells*.
    """
    counts: list[Counter[int]] = [Counter() for _ in range(cells)]
    cell, end = 0, start + nr // cells
    for a, b, run in task.mm.page_table.spans(start, start + nr):
        at = a
        while at < b:
            if at == end:
                cell += 1
                end = start + nr * (cell + 1) // cells
            upto = min(b, end)
            if run is not None and is_resident(run):
                count_nodes(counts[cell], run, at, upto)
            else:
                is_zero = run is not None and not run.lanes and run.flags & Pte.PRESENT
                counts[cell][ZERO_PAGE if is_zero else ABSENT] += upto - at
            at = upto
    return counts


def heat_of(machine: Machine, task: Task, bounds: Sequence[int]) -> list[float]:
    """The declared accesses of a process's threads to each part of [bounds[i], bounds[i + 1]).

    They are accesses a second to a page of the part, on average.
    """
    heat = [0.0] * (len(bounds) - 1)
    for thread in machine.tasks.values():
        if thread.mm is not task.mm or not thread.accesses:
            continue
        regions = regions_of(machine, thread)
        for pattern in thread.accesses:
            region = regions.get(pattern.region)
            for start, end, rate in accessed(pattern, region.start, region.nr) if region else ():
                for i, (a, b) in enumerate(pairwise(bounds)):
                    nr = max(min(b, end) - max(a, start), 0)
                    heat[i] += rate / (end - start) * nr / (b - a)
    return heat


def heat_level(rate: float, most: float) -> int:
    """How hot *rate* is: 9 from half of the *most* on, one less for each half of that, at least 1.

    >>> [heat_level(rate, 8.0) for rate in (8.0, 4.1, 4.0, 0.001, 0.0)]
    [9, 9, 8, 1, 0]
    """
    if not rate:
        return 0
    return max(9 - int(log2(most / rate)), 1)


def bounds_of(start: int, nr: int, cells: int) -> list[int]:
    """Where each of *cells* equal parts of the *nr* pages from *start* begins, and the end."""
    return [start + nr * cell // cells for cell in range(cells + 1)]


def turns(counts: list[Counter[int]]) -> list[int]:
    """What each cell is drawn as: of the kinds in it, the one that is owed most.

    A kind is owed its pages in this cell and in those before, less the cells drawn as it. Kinds
    that are owed about the same take turns in ascending order, as an interleave policy does.
    """
    owed: Counter[int] = Counter()
    cells: list[int] = []
    for count in counts:
        owed = Counter({kind: owed[kind] + nr for kind, nr in count.items()})
        size = count.total()
        enough = max(owed.values()) - size // _ABOUT
        equals = sorted((kind for kind in owed if owed[kind] >= enough), key=_rank)
        last = _rank(cells[-1]) if cells else -1
        cell = next((kind for kind in equals if _rank(kind) > last), equals[0])
        owed[cell] -= size
        cells.append(cell)
    return cells


def sign(cell: int) -> str:
    """The character for a cell; nodes beyond the letters share one."""
    if cell < 0:
        return ABSENT_SIGN if cell == ABSENT else ZERO_SIGN
    return NODE_SIGNS[cell] if cell < len(NODE_SIGNS) else OTHER_SIGN


def node_colour(nid: int) -> str:
    """The colour of a node, on which black text can be read.

    >>> node_colour(0), node_colour(7)
    ('#56b4e9', '#a09cec')
    """
    if nid < len(_COLOURS):
        return _COLOURS[nid]
    red, green, blue = hls_to_rgb(nid * _GOLDEN % 1, 0.77, 0.68)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def short_size(pages: int) -> str:
    """About how much *pages* base pages are; without a decimal it is exact.

    >>> short_size(33), short_size(1_000_000), short_size(524_280)
    ('132KiB', '3.8GiB', '2.0GiB')
    """
    size, units = float(pages << PAGE_SHIFT - 10), ["KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        del units[0]
    return f"{size:.{1 if size % 1 else 0}f}{units[0]}"


def _offset(machine: Machine, task: Task, name: str, start: int) -> str:
    """Where in the region *name* page *start* is, if not at its start: ``"+4MiB"``."""
    region = region_of(machine, task, name)
    if region is None:  # the name is an address
        return ""
    pages = start - region.start
    return f"+{short_size(pages)}" if 0 < pages < region.nr else ""


def _rank(kind: int) -> int:
    """Nodes first, by their numbers."""
    return kind if kind >= 0 else MAX_NUMNODES - kind
