"""Why pages stayed where they are, after a call that was to move them."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from pymigrate.mm.base.cred import Cap
from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.calls.cpuset import cpuset_mems_allowed
from pymigrate.mm.calls.migrate_pages import node_pairs
from pymigrate.mm.calls.move_pages import MovePagesResult
from pymigrate.mm.frames.frames import folio_of
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Left, Task
from pymigrate.mm.state.vma import Vma, is_migratable
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.mmap import checked_range
from pymigrate.units import END_OF_MEMORY, PAGE_SHIFT
from pymigrate.views.pages.pieces import pieces
from pymigrate.views.pages.regions import region_names
from pymigrate.views.why.reasons import ENDED, FULL, KEPT, REASONS, SHARED, obstacle

_EACCES = -13


class Search(NamedTuple):
    """Which pages a call was to move.

    On the nodes *filled*, which pages have also come to, only those count that cannot have moved.
    """

    is_left: Callable[[int], bool]  # of a node: it was to be emptied
    filled: frozenset[int] = frozenset()
    move_all: bool = True  # shared pages were to move too
    shared: str = SHARED  # why they stayed if not
    is_full: bool = False  # the call ended for want of memory
    a: int = 0
    b: int = END_OF_MEMORY


def rows(machine: Machine, task: Task, search: Search) -> list[Left]:
    """The pages of *task* that a call has left where it looked for them, and why."""
    found: dict[tuple[str, int, str], int] = {}
    names = region_names(machine, task)
    for vma, a, b in task.mm.parts(search.a, search.b):
        for run in task.mm.page_table.between(a, b):
            if not run.lanes or not run.flags & Pte.PRESENT:
                continue
            low, high = nid_of(min(run.lanes)), nid_of(max(run.lanes))
            if not any(search.is_left(nid) for nid in range(low, high + 1)):
                continue
            for piece in pieces(machine, run):
                why = obstacle(machine, piece.folio, vma, search.move_all)
                for nid, nr in piece.nodes.items():
                    if search.is_left(nid) and (why or nid not in search.filled):
                        key = _mapping(names, vma, piece.start), nid, _why(why, search)
                        found[key] = found.get(key, 0) + nr
    return [Left(task.pid, mapping, nid, nr, why) for (mapping, nid, why), nr in found.items()]


def move_pages_rows(
    machine: Machine,
    task: Task,
    addrs: Sequence[int],
    nodes: Sequence[int],
    answer: MovePagesResult,
) -> list[Left]:
    """The pages at *addrs* that move_pages() did not bring to *nodes*, and why.

    Those that are not present, or not memory of the task's own, are not counted.
    """
    if not {None, _EACCES} & set(answer.status):
        return []
    found: dict[tuple[str, int, str], int] = {}
    names = region_names(machine, task)
    is_full = answer.errno == "ENOMEM"
    for addr, node, status in zip(addrs, nodes, answer.status, strict=True):
        if status is not None and status != _EACCES:
            continue
        page = addr >> PAGE_SHIFT
        run, vma = task.mm.page_table.at(page), task.mm.find_vma(page)
        if run is None or vma is None or not run.lanes or not run.flags & Pte.PRESENT:
            continue
        pfn = run.pfn(page)
        if nid_of(pfn) == node:
            continue
        why = KEPT
        if status is None:
            why = obstacle(machine, folio_of(machine, pfn), vma, True) or (
                FULL if is_full else ENDED
            )
        key = _mapping(names, vma, page), nid_of(pfn), why
        found[key] = found.get(key, 0) + 1
    return [Left(task.pid, mapping, nid, nr, why) for (mapping, nid, why), nr in found.items()]


class Move(NamedTuple):
    """A migrate_pages(): who calls it, whose pages move, and between which nodes."""

    caller: Task
    task: Task
    old: Nodemask
    new: Nodemask


def migrate_pages_rows(
    machine: Machine, move: Move, ret: int | None, is_full: bool = False
) -> list[Left]:
    """The pages that migrate_pages() has left on nodes that were to be emptied.

    They are not looked for where *ret*, what the call returned, says that there are none; None:
    look in any case.
    """
    move_all = move.caller.has(Cap.SYS_NICE)
    has_moved_all = move_all and not is_full and ret == 0
    if has_moved_all and all(map(is_migratable, move.task.mm.vmas)):
        return []
    pairs = dict(node_pairs(move.old, move.new))
    search = Search(pairs.__contains__, frozenset(pairs.values()), move_all, is_full=is_full)
    return rows(machine, move.task, search)


def mbind_rows(
    machine: Machine, task: Task, addr: int, length: int, nodes: Nodemask, move_all: bool
) -> list[Left]:
    """The pages that mbind() has left outside of the policy's *nodes*.

    A policy without nodes asks for all pages to move, and does not say where to.
    """
    filled = frozenset() if nodes else frozenset(machine.nodes)
    a, b = checked_range(addr, length)
    search = Search(lambda nid: nid not in nodes, filled, move_all, KEPT, is_full=True, a=a, b=b)
    return rows(machine, task, search)


def cpuset_rows(machine: Machine, tasks: Iterable[Task], old: Nodemask) -> list[Left]:
    """The pages of *tasks* that did not follow from nodes *old* to those of their cpusets."""
    left: list[Left] = []
    for task in tasks:
        group = machine.cpusets[task.cpuset]
        pairs = dict(node_pairs(old, task.mems_allowed)) if group.memory_migrate else {}
        search = Search(pairs.__contains__, frozenset(pairs.values()), is_full=True)
        left += rows(machine, task, search) if pairs else []
    return left


def why_ended(machine: Machine, task: Task, errno: str, nodes: Iterable[int]) -> str:
    """The rule that ended a move_pages(): the first node that it could not take, or a full one."""
    if errno == "ENOMEM":
        return "a node that pages were to go to is full"
    allowed = cpuset_mems_allowed(machine, task)
    node = next(node for node in nodes if node not in allowed)
    if node in machine.memory_nodes:
        return f"node {node} is not allowed to process {task.pid} by its cpuset"
    return f"node {node} {'has no memory' if node in machine.nodes else 'does not exist'}"


def summary(left: Sequence[Left], verb: str = "stayed") -> str:
    """One line: how many pages stayed, with the reasons counted."""
    counts: dict[str, int] = {}
    for row in left:
        short = REASONS[row.why].short
        counts[short] = counts.get(short, 0) + row.nr
    pids = {row.pid for row in left}
    whose = f"process {left[0].pid}" if len(pids) == 1 else f"{len(pids)} processes"
    reasons = ", ".join(f"{nr} {short}" for short, nr in counts.items())
    return f"{_pages(sum(counts.values()))} of {whose} {verb}: {reasons}"


def format_rows(left: Iterable[Left], verb: str = "stayed") -> list[str]:
    """A line for each process and reason; *verb* is what the pages did."""
    groups: dict[tuple[int, str], list[Left]] = {}
    for row in left:
        groups.setdefault((row.pid, row.why), []).append(row)
    lines = []
    for (pid, why), group in groups.items():
        where = ", ".join(f"{row.nr} of {row.mapping} on node {row.node}" for row in group)
        total = _pages(sum(row.nr for row in group))
        lines.append(f"{total} of process {pid} {verb}: {REASONS[why].text}: {where}")
    return lines


def as_json(left: Iterable[Left]) -> list[dict[str, object]]:
    """An object for each row."""
    return [row._asdict() | {"why": REASONS[row.why].text} for row in left]


def _mapping(names: Callable[[int], str], vma: Vma, page: int) -> str:
    """The region that *page* lies in; memory without a name is called by where it begins."""
    name = names(page)
    return names(vma.start) if name == f"{page << PAGE_SHIFT:08x}" else name


def _why(obstacle: str | None, search: Search) -> str:
    if obstacle is None:
        return FULL if search.is_full else ENDED
    return search.shared if obstacle == SHARED else obstacle


def _pages(nr: int) -> str:
    return "1 page" if nr == 1 else f"{nr} pages"
