"""Pages that are to move, as address ranges, and as the folios in them that calls can name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.why import Stay
from pymigrate.mm.state.cost import Kind, more_entries
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma, is_migratable
from pymigrate.records import NamedTuple
from pymigrate.views.pages.pieces import Piece, pieces


class Segment(NamedTuple):
    """The pages [a, b) of a process that lie on *source* are to go to *target*."""

    pid: int
    a: int
    b: int
    source: int
    target: int


class Part(NamedTuple):
    """Folios of one kind at regular distances, each named by its first page there."""

    pages: range
    kind: Kind

    @property
    def nr(self) -> int:
        """How many base pages they are."""
        return len(self.pages) << self.kind.order


def parts_of(machine: Machine, segment: Segment, move_all: bool) -> Iterator[Part]:
    """The folios of a segment that move_pages() can name and would queue."""
    task = machine.tasks[segment.pid]
    seen: set[int] = set()
    for vma, a, b in task.mm.parts(segment.a, segment.b):
        if not _is_followed(machine, vma):
            continue
        for run in task.mm.page_table.between(a, b):
            if not run.lanes or not run.flags & Pte.PRESENT:
                continue
            for piece in pieces(machine, run):
                if segment.source in piece.nodes and (move_all or not piece.folio.likely_shared):
                    yield from _parts(run, piece, segment, seen)


def _is_followed(machine: Machine, vma: Vma) -> bool:
    """Whether move_pages() finds the pages of *vma*."""
    is_absent = machine.release.prot_none_is_absent and not vma.flags & Vm.ACCESS
    return is_migratable(vma) and not is_absent


def _parts(run: PteRun, piece: Piece, segment: Segment, seen: set[int]) -> Iterator[Part]:
    folio = piece.folio
    frame = folio.merged()
    more = more_entries(folio.order, frame.pmd_maps, max(frame.mapcount, 0))
    kind = Kind(segment.source, segment.target, folio.order, max(folio.mapcount, 0), more)
    if folio.order > run.order:  # mapped page by page
        if folio.pfn not in seen:
            seen.add(folio.pfn)
            yield Part(range(piece.start, piece.start + 1), kind)
        return
    part = run.clip(piece.start, piece.start + piece.nr)
    step, k = 1 << part.order, len(part.lanes)
    mine = [i for i, pfn in enumerate(part.lanes) if nid_of(pfn) == segment.source]
    if len(mine) == k:
        yield Part(range(part.start, part.end, step), kind)
    elif k < part.nr >> part.order:
        for i in mine:
            yield Part(range(part.start + i * step, part.end, k * step), kind)
    else:
        for first, last in _in_a_row(mine):
            yield Part(range(part.start + first * step, part.start + last * step + 1, step), kind)


def _in_a_row(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and last of *numbers*, which are sorted, that follow each other."""
    first = last = -1
    for number in numbers:
        if number != last + 1 or first < 0:
            if first >= 0:
                yield first, last
            first = number
        last = number
    if first >= 0:
        yield first, last


def without(machine: Machine, segments: Iterable[Segment], stays: Sequence[Stay]) -> list[Segment]:
    """*segments* without the pages that lie in the frames of *stays*, which are merged()."""
    if not stays:
        return list(segments)
    kept: list[Segment] = []
    pages: dict[int, list[tuple[int, int]]] = {}
    for segment in segments:
        task = machine.tasks[segment.pid]
        if segment.pid not in pages:
            pages[segment.pid] = sorted(_pages_in(task, stays))
        at = segment.a
        for a, b in pages[segment.pid]:
            if a >= segment.b:
                break
            if b > at:
                if a > at:
                    kept.append(segment._replace(a=at, b=a))
                at = b
        if at < segment.b:
            kept.append(segment._replace(a=at))
    return kept


def _pages_in(task: Task, stays: Sequence[Stay]) -> Iterator[tuple[int, int]]:
    """The pages [a, b) of *task* that lie in frames of *stays*."""
    for run in task.mm.page_table.runs:
        if not run.lanes or not run.flags & Pte.PRESENT:
            continue
        k, order = len(run.lanes), run.order
        for lane, pfn in enumerate(run.lanes):
            nr = run.count(lane)
            for stay in stays:
                first = max(stay.start - pfn >> order, 0)
                last = min(-(-(stay.start + stay.nr - pfn) >> order), nr)
                for i in range(first, last):
                    a = run.start + (lane + i * k << order)
                    yield a, a + (1 << order)
