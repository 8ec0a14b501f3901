"""A task's memory in pieces of pages whose folios are alike."""

from collections import Counter
from collections.abc import Iterator

from pymigrate.mm.base.memmap import Folio, FrameFlag, nid_of
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.frames.frames import folio_of, uniform_parts
from pymigrate.mm.state.machine import Machine
from pymigrate.records import NamedTuple
from pymigrate.views.pages.tables import count_nodes


class Piece(NamedTuple):
    """Pages that folios in the same state hold: *folio* is that of the first page."""

    start: int
    nr: int
    nodes: dict[int, int]  # base pages by node
    folio: Folio
    flags: int  # of the entries


def pieces(machine: Machine, run: PteRun) -> Iterator[Piece]:
    """The pieces of *run*, whose pages are present; a folio mapped by pages is cut up."""
    for part, states in uniform_parts(machine, run):
        frame = states.first
        if states.is_alike and frame.order == part.order and not frame.flags & FrameFlag.MIXED:
            folio = folio_of(machine, part.lanes[0])
            yield Piece(part.start, part.nr, nodes_of(part), folio, run.flags)
            continue
        for one in part.entries():
            folio = folio_of(machine, one.lanes[0])
            yield Piece(one.start, one.nr, {nid_of(one.lanes[0]): one.nr}, folio, run.flags)


def nodes_of(run: PteRun) -> dict[int, int]:
    """The base pages of *run* by node."""
    counts: Counter[int] = Counter()
    count_nodes(counts, run, run.start, run.end)
    return dict(counts)
