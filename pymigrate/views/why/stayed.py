"""Why pages stayed where they are, after a call that was to move them."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.why import Stay, Why, merged
from pymigrate.mm.calls.cpuset import cpuset_mems_allowed
from pymigrate.mm.calls.move_pages import MovePagesResult
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Left, Task
from pymigrate.mm.state.vma import Vma
from pymigrate.syscalls.checks import checked_range
from pymigrate.units import END_OF_MEMORY, PAGE_SHIFT, sized
from pymigrate.views.pages.regions import region_names
from pymigrate.views.why.reasons import KEPT, REASONS

_EACCES = -13


def rows(
    machine: Machine,
    task: Task,
    stays: Iterable[Stay],
    shared: str = Why.SHARED,
    pages: tuple[int, int] = (0, END_OF_MEMORY),
) -> list[Left]:
    """Those of *task*'s *pages* (first, end) that lie in frames that a call has left, and why.

    *shared* is the key of REASONS for folios that are mapped more than once.
    """
    found: dict[tuple[str, int, str], int] = {}
    names = region_names(machine, task)
    for vma, span, stay in places(task, stays, pages):
        why = shared if stay.why == Why.SHARED else stay.why.value
        key = _mapping(names, vma, span.start), nid_of(stay.start), why
        found[key] = found.get(key, 0) + stay.nr
    return [Left(task.pid, mapping, nid, nr, why) for (mapping, nid, why), nr in found.items()]


def places(
    task: Task, stays: Iterable[Stay], pages: tuple[int, int] = (0, END_OF_MEMORY)
) -> Iterator[tuple[Vma, range, Stay]]:
    """Where *task* maps the frames of *stays*: the VMA, and among which pages they lie evenly."""
    left = merged(stays)
    if not left:
        return
    for vma, a, b in task.mm.parts(*pages):
        for run in task.mm.page_table.between(a, b):
            if run.lanes and run.flags & Pte.PRESENT:
                found = sorted(_stays_in(run, left), key=lambda each: (each[0].start, each[1]))
                yield from ((vma, span, stay) for span, stay in found)


def mbind_rows(
    machine: Machine, task: Task, addr: int, length: int, stays: Iterable[Stay]
) -> list[Left]:
    """The pages of its range that mbind() has left outside of the policy's nodes."""
    return rows(machine, task, stays, KEPT, checked_range(addr, length))


def cpuset_rows(machine: Machine, tasks: Iterable[Task], stays: Sequence[Stay]) -> list[Left]:
    """The pages of *tasks* that did not follow to the nodes of their cpusets."""
    return [row for task in tasks for row in rows(machine, task, stays)]


def move_pages_rows(
    machine: Machine,
    task: Task,
    addrs: Sequence[int],
    nodes: Sequence[int],
    answer: MovePagesResult,
    stays: Iterable[Stay],
) -> list[Left]:
    """The pages at *addrs* that move_pages() did not bring to *nodes*, and why.

    Those that are not present, or not memory of the task's own, are not counted.
    """
    if not {None, _EACCES} & set(answer.status):
        return []
    found: dict[tuple[str, int, str], int] = {}
    names, left = region_names(machine, task), merged(stays)
    ended = Why.FULL if answer.errno == "ENOMEM" else Why.ENDED
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
        stay = next(iter(_between(left, pfn, pfn + 1)), None)
        why = KEPT if status is not None else (stay.why if stay else ended).value
        key = _mapping(names, vma, page), nid_of(pfn), why
        found[key] = found.get(key, 0) + 1
    return [Left(task.pid, mapping, nid, nr, why) for (mapping, nid, why), nr in found.items()]


def why_ended(machine: Machine, task: Task, errno: str, nodes: Iterable[int]) -> str:
    """The rule that ended a move_pages(): the first node that it could not take, or a full one."""
    if errno == "ENOMEM":
        return "a node that pages were to go to is full"
    allowed = cpuset_mems_allowed(machine, task)
    node = next(node for node in nodes if node not in allowed)
    if node in machine.memory_nodes:
        return f"node {node} is not allowed to process {task.pid} by its cpuset"
    return no_memory(machine, node)


def no_memory(machine: Machine, node: int) -> str:
    """Why no page can go to *node*, which is none of memory_nodes."""
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
    return f"{sized(sum(counts.values()))} of {whose} {verb}: {reasons}"


def format_rows(left: Iterable[Left], verb: str = "stayed") -> list[str]:
    """A line for each process and reason; *verb* is what the pages did."""
    groups: dict[tuple[int, str], list[Left]] = {}
    for row in left:
        groups.setdefault((row.pid, row.why), []).append(row)
    lines = []
    for (pid, why), group in groups.items():
        where = ", ".join(f"{row.nr} of {row.mapping} on node {row.node}" for row in group)
        total = sized(sum(row.nr for row in group))
        lines.append(f"{total} of process {pid} {verb}: {REASONS[why].text}: {where}")
    return lines


def as_json(left: Iterable[Left]) -> list[dict[str, object]]:
    """An object for each row."""
    return [row._asdict() | {"why": REASONS[row.why].text} for row in left]


def _stays_in(run: PteRun, left: Sequence[Stay]) -> Iterator[tuple[range, Stay]]:
    """The parts of *left* that *run* maps, each with the pages from its first to its last."""
    k, order = len(run.lanes), run.order
    if not _between(left, min(run.lanes), max(run.lanes) + (run.nr // k)):
        return
    for lane, pfn in enumerate(run.lanes):
        nr = run.count(lane) << order if k < run.nr >> order else 1 << order
        for stay in _between(left, pfn, pfn + nr):
            first, last = (
                run.start + (lane + (frame >> order) * k << order) + frame % (1 << order)
                for frame in (stay.start - pfn, stay.start - pfn + stay.nr - 1)
            )
            yield range(first, last + 1), stay


def _between(left: Sequence[Stay], a: int, b: int) -> list[Stay]:
    """*left* within frames [a, b)."""
    i = max(bisect_right(left, a, key=lambda stay: stay.start) - 1, 0)
    found = []
    for start, nr, why in islice(left, i, None):
        if start >= b:
            break
        low, high = max(start, a), min(start + nr, b)
        if low < high:
            found.append(Stay(low, high - low, why))
    return found


def _mapping(names: Callable[[int], str], vma: Vma, page: int) -> str:
    """The region that *page* lies in; memory without a name is called by where it begins."""
    name = names(page)
    return names(vma.start) if name == f"{page << PAGE_SHIFT:08x}" else name
