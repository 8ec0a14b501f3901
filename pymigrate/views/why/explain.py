"""What would keep a task's pages from moving: every run of pages with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress

from pymigrate.errors import KernelError
from pymigrate.mm.base.memmap import Folio, FrameFlag
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.why import Why
from pymigrate.mm.calls.cpuset import cpuset_mems_allowed
from pymigrate.mm.engine.migrate_ops import obstacle, ops_of
from pymigrate.mm.frames.page_alloc import room_for
from pymigrate.mm.frames.placement import ThisNode
from pymigrate.mm.reclaim.lru import is_droppable, is_freed, nr_droppable
from pymigrate.mm.spaces.rmap import mappings, rmap_index
from pymigrate.mm.state.cost import NR_MAX_BATCHED_MIGRATION
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Cap, Task
from pymigrate.mm.state.vma import Vma, is_migratable
from pymigrate.records import NamedTuple
from pymigrate.syscalls.checks import check_access
from pymigrate.units import END_OF_MEMORY, MIB_PAGES, counted, size_of_pages
from pymigrate.views.pages.pieces import Piece, pieces
from pymigrate.views.pages.regions import region_offsets
from pymigrate.views.proc.numa_maps import policy_text
from pymigrate.views.why.reasons import ABSENT, BAD, REASONS, THERE, ZERO
from pymigrate.views.why.stayed import no_memory

_NO_PAGES = (ABSENT, ZERO, BAD)  # reasons of pages that no frame is behind
_NAMED = 5  # processes of a list that are named


class Question(NamedTuple):
    """Which pages are to move, where to, and who asks for it."""

    caller: Task
    to: int | None = None  # None: any other node
    a: int = 0
    b: int = END_OF_MEMORY


class Verdict(NamedTuple):
    """*nr* pages from page *start* on that move, or do not for one reason."""

    mapping: str
    start: int
    nr: int
    nodes: dict[int, int]
    why: str  # a key of REASONS; "" if they would move
    detail: str  # what the reason is made of
    note: str  # what is no reason


class Refusal(NamedTuple):
    """Why a call would be refused before it looks at a page."""

    why: str
    shows: str
    cure: str


def refusals(machine: Machine, task: Task, question: Question) -> list[Refusal]:
    """What keeps all pages where they are: permission, and the node that is named.

    Raises KernelError ENODEV, as move_pages() does, for one that no page can go to.
    """
    found = []
    caller, to = question.caller, question.to
    if to is not None and to not in machine.memory_nodes:
        raise KernelError("ENODEV", no_memory(machine, to))
    try:
        check_access(caller, task)
    except KernelError as error:
        shows = "EPERM of migrate_pages and move_pages"
        found.append(Refusal(error.why, shows, f"call as root, or as uid {task.uid}"))
    if to is not None and to not in cpuset_mems_allowed(machine, task):
        why = f"node {to} is not allowed to process {task.pid} by its cpuset {task.cpuset or '/'}"
        shows = "EACCES of move_pages; EPERM of migrate_pages without CAP_SYS_NICE; EINVAL of mbind"
        found.append(Refusal(why, shows, "add the node to the cpuset: pymigrate cpuset set"))
    return found


def rows(machine: Machine, task: Task, question: Question) -> list[Verdict]:
    """Every run of the task's pages, by address, with what would become of it."""
    out: list[Verdict] = []
    end = -1
    for vma, row in _verdicts(machine, task, question):
        last = out[-1] if out else None
        alike = last and last[4:] == row[4:] and end == row.start and row.start != vma.start
        end = row.start + row.nr
        if last and alike:
            nodes = dict(last.nodes)
            for nid, nr in row.nodes.items():
                nodes[nid] = nodes.get(nid, 0) + nr
            out[-1] = last._replace(nr=last.nr + row.nr, nodes=nodes)
        else:
            out.append(row)
    return out


def format_rows(task: Task, refused: list[Refusal], verdicts: list[Verdict]) -> str:
    """Text for people: what is refused, a line for each run, then what the reasons mean."""
    lines = [f"all pages of process {task.pid} stay: {each.why}" for each in refused]
    lines += [_line(row, "would move otherwise" if refused else "would move") for row in verdicts]
    for each in refused:
        lines += [f"{each.why}:", f"  shows in {each.shows}", f"  cure: {each.cure}"]
    lines += legend([row.why for row in verdicts if row.why and row.why != THERE])
    return "".join(f"{line}\n" for line in lines)


def legend(whys: list[str]) -> list[str]:
    """For each reason, where it would show and what would help."""
    lines = []
    for why in dict.fromkeys(whys):
        _, text, shows, cure = REASONS[why]
        lines += [f"{text}:", f"  shows in {shows}", f"  cure: {cure}"]
    return lines


def as_json(row: Verdict) -> dict[str, object]:
    """A run for machines."""
    reason = REASONS.get(row.why)
    return {
        "mapping": row.mapping,
        "address": f"{row.start << 12:#x}",
        "pages": row.nr,
        "nodes": {str(nid): nr for nid, nr in sorted(row.nodes.items())},
        "moves": not row.why,
        "why": reason.text if reason else None,
        "detail": row.detail or None,
        "note": row.note or None,
        "shows": reason.shows if reason else None,
        "cure": reason.cure if reason else None,
    }


def _line(row: Verdict, moves: str) -> str:
    nodes = " ".join(f"N{nid}={nr}" for nid, nr in sorted(row.nodes.items()))
    size = size_of_pages(row.nr) if row.nr >= MIB_PAGES else ""
    where = "; ".join(filter(None, (nodes, size)))
    what = f"{row.mapping}: {counted(row.nr, 'page')}" + (f" ({where})" if where else "")
    if not row.why:
        return f"{what} {moves}" + (f"; {row.note}" if row.note else "")
    verb = "are" if row.why in (*_NO_PAGES, THERE) else "would stay:"
    rest = "".join(f"; {text}" for text in (row.detail, row.note) if text)
    return f"{what} {verb} {REASONS[row.why].text}{rest}"


def _verdicts(machine: Machine, task: Task, question: Question) -> Iterator[tuple[Vma, Verdict]]:
    """The runs piece by piece, with the VMA of each."""
    names = region_offsets(machine, task)
    room = _Room(machine, question)
    for vma, a, b in task.mm.parts(question.a, question.b):
        at = a
        for run in task.mm.page_table.between(a, b):
            if run.start > at:
                yield vma, Verdict(names(at), at, run.start - at, {}, ABSENT, "", "")
            at = run.end
            if not run.lanes or not run.flags & Pte.PRESENT:
                why = _without_frame(run)
                yield vma, Verdict(names(run.start), run.start, run.nr, {}, why, "", "")
                continue
            for piece in pieces(machine, run):
                for part, why, room_note in _judged(machine, vma, piece, question, room):
                    detail = _detail(machine, vma, part, why)
                    notes = [] if why else _notes(machine, task, vma, part, question)
                    note = "; ".join([*notes, *filter(None, [room_note])])
                    name = names(part.start)
                    yield vma, Verdict(name, part.start, part.nr, part.nodes, why, detail, note)
        if at < b:
            yield vma, Verdict(names(at), at, b - at, {}, ABSENT, "", "")


def _without_frame(run: PteRun) -> str:
    """Why there is nothing behind an entry that could move."""
    if run.flags & Pte.HWPOISON:
        return BAD
    return ZERO if run.flags & Pte.PRESENT else ABSENT


class _Room:
    """How many pages the target still has room for, as those before have taken theirs.

    What it has free comes first, then what gives way: clean page cache, lazily freed memory.
    """

    def __init__(self, machine: Machine, question: Question) -> None:
        self.machine = machine
        self.left: int | None = None  # None: nobody asked
        self.clean = 0
        self.words = ""
        self.moved_gives_way = False
        caller, to = question.caller, question.to
        if to is not None:
            self.left = room_for(machine, caller, ThisNode(to))
            cache, freed = nr_droppable(machine, to)
            self.clean = cache + freed
            words = ("clean page cache", "lazily freed memory")
            self.words = " or ".join(compress(words, (cache or not freed, freed)))
            self.moved_gives_way = self.left + self.clean >= NR_MAX_BATCHED_MIGRATION
        else:
            self.open = {
                nid for nid in machine.memory_nodes if room_for(machine, caller, ThisNode(nid)) > 0
            }
        self.to = to

    def take(self, piece: Piece) -> tuple[int, int]:
        """Let the pages that are to move have theirs.

        Gives how many of all find their place, and how many others do if something gives way.
        """
        if self.to is None:
            return (piece.nr, 0) if all(self.open - {nid} for nid in piece.nodes) else (0, 0)
        if self.left is None:
            return piece.nr, 0
        there = piece.nodes.get(self.to, 0)
        fitting = min(piece.nr - there, self.left)
        self.left -= fitting
        frame = piece.folio.frame
        is_clean = is_droppable(self.machine, frame) or is_freed(frame, piece.flags)
        if self.moved_gives_way and is_clean:
            self.clean += piece.nr - there  # it may give way itself to what moves later
        giving = min(piece.nr - there - fitting, self.clean)
        self.clean -= giving
        return there + fitting, giving


def _judged(
    machine: Machine, vma: Vma, piece: Piece, question: Question, room: _Room
) -> Iterator[tuple[Piece, str, str]]:
    """The piece with what keeps it, or what gives way to it; cut where the target is full."""
    why = _obstacle(machine, piece.folio, vma, question.caller.has(Cap.SYS_NICE))
    if set(piece.nodes) == {question.to}:
        why = THERE
    if why:
        yield piece, why, ""
        return
    fitting, giving = room.take(piece)
    if piece.nr > piece.folio.nr:
        fitting -= fitting % piece.folio.nr
        giving -= giving % piece.folio.nr
    note = f"{room.words} on node {question.to} gives way to them"
    rest = piece.nr - fitting - giving
    if len(piece.nodes) > 1 or fitting == piece.nr:
        yield piece, Why.FULL if rest else "", note if giving and not rest else ""
        return
    at = piece.start
    [nid] = piece.nodes
    for nr, full, gives_way in ((fitting, "", ""), (giving, "", note), (rest, Why.FULL, "")):
        if nr:
            yield piece._replace(start=at, nr=nr, nodes={nid: nr}), full, gives_way
            at += nr


def _obstacle(machine: Machine, folio: Folio, vma: Vma, move_all: bool) -> str | None:
    """What keeps *folio*, mapped by *vma*, from moving wherever there is room."""
    if not is_migratable(vma):
        return Why.UNMOVABLE
    if folio.likely_shared and not move_all:
        return Why.SHARED
    return obstacle(machine, folio)


def _detail(machine: Machine, vma: Vma, piece: Piece, why: str) -> str:
    """What *why* is made of: who maps the pages, or the sum of their references."""
    if why == Why.SHARED:
        return f"each by {piece.folio.mapcount} entries, {_mappers(machine, vma, piece)}"
    if why not in (Why.PINNED, Why.HELD):
        return ""
    holders = [
        machine.tasks[pin.pid].pid
        for pin in machine.pins
        if pin.pid in machine.tasks and pin.meets(piece.folio.pfn, piece.folio.pfn + piece.folio.nr)
    ]
    by = f", held by {_listed(holders)}" if holders else ""
    is_early = why == Why.PINNED and piece.folio.is_anon and bool(piece.flags & Pte.EXCLUSIVE)
    step = "4, because they are exclusive" if is_early else "6"
    return f"{refcount_text(machine, piece.folio)}; found in step {step}{by}"


def refcount_text(machine: Machine, folio: Folio) -> str:
    """The references of a mapped folio that a migration has isolated, as a sum."""
    parts = [*references(machine, folio), (1, "isolation")]
    expected = sum(nr for nr, _ in parts)
    more = [text for _, text in holders(folio)]
    total = expected + sum(nr for nr, _ in holders(folio))
    listed = " + ".join(f"{nr} {name}" for nr, name in parts if nr)
    return f"refcount {total}, expected {expected} ({listed}): {' and '.join(more)} too many"


def references(machine: Machine, folio: Folio) -> list[tuple[int, str]]:
    """The references of a folio that nobody holds or has isolated, and whose they are."""
    parts = [(folio.mapcount, "mappings" if folio.mapcount > 1 else "mapping")]
    if folio.is_anon:
        if folio.flags & FrameFlag.SWAPCACHE:
            parts.append((folio.nr, "swap cache"))
    else:
        parts.append((folio.nr, "page cache"))
        if ops_of(machine, folio).has_private(folio):
            parts.append((1, "private data"))
    return parts


def holders(folio: Folio) -> list[tuple[int, str]]:
    """The references of those that hold a folio: how many, and what they are."""
    weight = 1 if folio.order else 1024  # GUP_PIN_COUNTING_BIAS
    parts = []
    if folio.pins:
        parts.append((folio.pins * weight, f"{counted(folio.pins, 'pin')} of {weight}"))
    if folio.extra_refs:
        parts.append((folio.extra_refs, counted(folio.extra_refs, "reference")))
    return parts


def _mappers(machine: Machine, vma: Vma, piece: Piece) -> str:
    """The processes that map the first page."""
    frame, pfn = piece.folio.frame, piece.folio.pfn
    page = rmap_index(frame, vma, piece.start)
    found = []
    for mapping in mappings(machine, frame, page, page + 1):
        run = mapping.table.at(page + mapping.shift)
        if mapping.mm is None or run is None or not run.lanes:
            continue
        if pfn <= run.pfn(page + mapping.shift) < pfn + piece.folio.nr:
            found += [task.pid for task in machine.processes if task.mm is mapping.mm]
    return f"of {_listed(found)}"


def _listed(pids: list[int]) -> str:
    known = sorted(set(pids))
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    plural = "process" if len(known) == 1 else "processes"
    return f"{plural} {', '.join(map(str, known[:_NAMED]))}{more}"


def _notes(machine: Machine, task: Task, vma: Vma, piece: Piece, question: Question) -> list[str]:
    """What looks like a reason for pages to stay, and is none."""
    notes = []
    if piece.folio.likely_shared:
        notes.append("mapped more than once, so that move_pages and mbind need --move-all")
    if piece.folio.flags & FrameFlag.MLOCKED:
        notes.append("locked in memory, which keeps them from reclaim and not from migration")
    policy = vma.policy or task.policy
    if question.to is not None and policy and policy.nodes and question.to not in policy.nodes:
        text = policy_text(machine, task, vma)
        notes.append(f"policy {text} decides where new pages go and does not keep these")
    return notes
