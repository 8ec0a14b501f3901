"""What calls would do to a machine, found out on a copy of it: the answer to a Question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pymigrate.errors import KernelError, PymigrateError
from pymigrate.mm.base.why import Stay, Why
from pymigrate.mm.state.cost import NR_MAX_BATCHED_MIGRATION, Estimate, Tally, estimate
from pymigrate.mm.state.machine import Machine, watching
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Left
from pymigrate.nodemask import Nodemask
from pymigrate.plan.calls import Call, Mbind, MovePages, make
from pymigrate.plan.pause import HIGH, LOW, Pause, locked, waits
from pymigrate.records import NamedTuple
from pymigrate.store.codec import copy_machine
from pymigrate.units import END_OF_MEMORY, PAGE_SIZE
from pymigrate.views.told import changes
from pymigrate.views.why import stayed
from pymigrate.views.why.reasons import KEPT


class PlanError(PymigrateError):
    """A plan that cannot be made as it is wanted."""

    exit_code = 2


class Goal(NamedTuple):
    """What is asked: the calls in one piece, whose memory they move, and where it is to be."""

    title: str
    uid: int  # of the user who makes the calls
    pids: tuple[int, ...]
    wanted: Nodemask  # pages that move go to these, or have fallen back
    calls: tuple[Call, ...]


class Limits(NamedTuple):
    """What the calls of a plan must keep."""

    max_pause: float = 0.0  # microseconds that one may take; 0: any
    rate: int = 0  # bytes a second; 0: any

    @property
    def are_set(self) -> bool:
        """Whether there are any."""
        return bool(self.max_pause or self.rate)

    def most_nr(self, period: float) -> int:
        """The most base pages that one call may move if it lasts so many seconds."""
        return max(int(self.rate * period) // PAGE_SIZE, 1) if self.rate else END_OF_MEMORY


UNLIMITED = Limits()


class Moved(NamedTuple):
    """The pages of one mapping by node, before and afterwards."""

    pid: int
    mapping: str
    before: dict[int, int]
    after: dict[int, int]

    @property
    def nr(self) -> int:
        """How many base pages leave their nodes."""
        return sum(max(nr - self.after.get(nid, 0), 0) for nid, nr in self.before.items())


class NodeFit(NamedTuple):
    """A node before and afterwards, in base pages; watermarks are those of its zones together."""

    node: int
    total: int
    free: int
    free_after: int
    arrives: int
    leaves: int
    dropped: int  # clean page cache that gives way
    watermark_min: int
    watermark_low: int
    full: int  # pages that find no room

    @property
    def verdict(self) -> str:
        """Whether what is to come fits, in words."""
        if self.full:
            return "full"
        if self.dropped:
            return "fits as page cache gives way"
        if self.arrives and self.free_after < self.watermark_low:
            return "fits, below the low watermark"
        return "fits" if self.arrives else "nothing arrives"


class Plan(NamedTuple):
    """The answer. Counts are base pages, times microseconds as estimated."""

    goal: Goal
    calls: tuple[Call, ...]
    limits: Limits
    refused: KernelError | None
    moves: tuple[Moved, ...]
    stays: tuple[Left, ...]
    blocks: tuple[str, ...]  # memory blocks that stay online, and why
    nodes: tuple[NodeFit, ...]
    elsewhere: dict[int, int]  # pages that fall back to nodes that were not named
    counters: dict[str, int]
    time: Estimate
    pairs: dict[tuple[int, int], int]  # bytes that are copied from node to node
    pause: Pause
    after: Machine  # once the calls are made
    frames: tuple[Stay, ...]  # that stay

    def __repr__(self) -> str:
        stays = sum(left.nr for left in self.stays)
        return f"<{self.goal.title}: {self.nr} pages move, {stays} stay>"

    @property
    def nr(self) -> int:
        """How many base pages are moved, those that a shared mapping shows twice counted once."""
        return sum(self.pairs.values()) // PAGE_SIZE

    @property
    def duration(self) -> tuple[float, float]:
        """The shortest and the longest time from the first call to the last, rests included.

        After a call that must keep a pause others get as long again.
        """
        whole = self.time.total * (2 if self.limits.max_pause else 1)
        least = self.nr * PAGE_SIZE * 1e6 / self.limits.rate if self.limits.rate else 0.0
        return max(whole * LOW, least), max(whole * HIGH, least)

    @property
    def is_whole(self) -> bool:
        """Whether nothing stays, and nothing is refused."""
        return not (self.stays or self.blocks or self.refused)


class Outcome(NamedTuple):
    """What calls have come to on a machine of their own."""

    machine: Machine
    tally: Tally
    stays: list[Stay]
    left: list[Left]
    blocks: list[str]
    dropped: dict[int, int]
    refused: KernelError | None
    times: list[float]  # of each call
    mmap_lock: float
    sizes: Sequence[int] = ()  # base pages that each call has moved


def make_plan(machine: Machine, goal: Goal) -> Plan:
    """What the calls of *goal* would do to *machine*, which stays as it is."""
    return told(machine, goal, goal.calls, play(machine, goal, goal.calls))


def play(machine: Machine, goal: Goal, calls: Iterable[Call]) -> Outcome:
    """Make *calls* on a copy of *machine*, up to the first that is refused."""
    copy, sum_, mmap_lock = copy_machine(machine), Tally(), 0.0
    stays: list[Stay] = []
    left: list[Left] = []
    blocks: list[str] = []
    dropped: dict[int, int] = {}
    times: list[float] = []
    sizes: list[int] = []
    refused = None
    for call in calls:
        tally, mine = Tally(), list[Stay]()
        with watching(copy, Watch(tally=tally, left=mine, dropped=dropped)):
            try:
                blocks += make(copy, goal.uid, call)
            except KernelError as error:
                refused = error
        times.append(estimate(tally, copy.costs, copy.distances).total)
        sizes.append(sum(_bytes(tally).values()) // PAGE_SIZE)
        mmap_lock = max(mmap_lock, locked(copy, call, tally, times[-1]))
        add(sum_, tally)
        shared = KEPT if isinstance(call, Mbind | MovePages) else Why.SHARED.value
        pids = [pid for pid in goal.pids if pid in copy.tasks] if mine else ()
        left += [row for pid in pids for row in stayed.rows(copy, copy.tasks[pid], mine, shared)]
        stays += mine
        if refused:
            break
    return Outcome(copy, sum_, stays, left, blocks, dropped, refused, times, mmap_lock, sizes)


def add(sum_: Tally, more: Tally) -> None:
    """Add what *more* counts to *sum_*."""
    sum_.pages += more.pages
    sum_.folios += more.folios
    sum_.kinds += more.kinds
    sum_.ptes += more.ptes
    sum_.flushes += more.flushes
    sum_.flushed_cpus += more.flushed_cpus
    sum_.attempts += more.attempts
    sum_.splits += more.splits
    sum_.hint_faults += more.hint_faults


def told(
    machine: Machine,
    goal: Goal,
    calls: Sequence[Call],
    outcome: Outcome,
    limits: Limits = UNLIMITED,
) -> Plan:
    """The plan that *outcome* of *calls* makes, with what differs from *machine*."""
    others = {task.pid for task in machine.processes} - {*goal.pids}
    before = changes.snapshot(machine, others)
    changed = changes.diff(before, outcome.machine, others)
    moves = [Moved(*change) for change in changed.moves]
    nr_bytes = _bytes(outcome.tally)
    elsewhere = Counter[int]()
    for (_, target), nr in nr_bytes.items():
        if target not in goal.wanted:
            elsewhere[target] += nr // PAGE_SIZE
    left = merged_rows(outcome.left)
    nrs = [call.nr for call in calls if isinstance(call, MovePages)] + [*outcome.sizes]
    most = max(nrs, default=NR_MAX_BATCHED_MIGRATION)
    kinds = waits(machine, outcome.tally.kinds, _threads(machine, goal.pids), most)
    pause = Pause(
        tuple(kinds),
        max((wait.time for wait in kinds), default=0.0),
        max(outcome.times, default=0.0),
        outcome.mmap_lock,
        any(isinstance(call, Mbind) for call in calls),
    )
    return Plan(
        goal,
        tuple(calls),
        limits,
        outcome.refused,
        tuple(moves),
        tuple(left),
        tuple(outcome.blocks),
        tuple(_fits(machine, goal, outcome, nr_bytes)),
        dict(sorted(elsewhere.items())),
        changed.counted,
        estimate(outcome.tally, machine.costs, machine.distances),
        dict(sorted(nr_bytes.items())),
        pause,
        outcome.machine,
        tuple(outcome.stays),
    )


def merged_rows(rows: Iterable[Left]) -> list[Left]:
    """*rows* with those of one mapping, node and reason added up."""
    found: dict[tuple[int, str, int, str], int] = {}
    for pid, mapping, node, nr, why in rows:
        key = pid, mapping, node, why
        found[key] = found.get(key, 0) + nr
    return [Left(pid, mapping, node, nr, why) for (pid, mapping, node, why), nr in found.items()]


def _threads(machine: Machine, pids: Iterable[int]) -> int:
    """The most threads that one of the processes has."""
    return max((machine.mm_users(machine.tasks[pid].mm) for pid in pids), default=1)


def _bytes(tally: Tally) -> Counter[tuple[int, int]]:
    nr_bytes = Counter({pair: nr * PAGE_SIZE for pair, nr in tally.pages.items()})
    for (source, target, order), nr in tally.folios.items():
        nr_bytes[source, target] += nr * PAGE_SIZE << order
    return nr_bytes


def _fits(
    machine: Machine, goal: Goal, outcome: Outcome, nr_bytes: Counter[tuple[int, int]]
) -> list[NodeFit]:
    """A row for each node that pages leave, come to, or were to come to."""
    touched = {nid for pair in nr_bytes for nid in pair} | {*goal.wanted}
    full = sum(row.nr for row in outcome.left if row.why in (Why.FULL, Why.ENDED))
    free = {nid: outcome.machine.nodes[nid].nr_free for nid in touched & {*machine.nodes}}
    low = {nid: sum(z.watermark_low for z in machine.nodes[nid].zones) for nid in free}
    is_low = {nid for nid in goal.wanted if nid in free and free[nid] < low[nid]} or goal.wanted
    rows = []
    for nid in sorted(free):
        node = machine.nodes[nid]
        rows.append(
            NodeFit(
                nid,
                node.nr_pages,
                node.nr_free,
                free[nid],
                sum(nr for (_, target), nr in nr_bytes.items() if target == nid) // PAGE_SIZE,
                sum(nr for (source, _), nr in nr_bytes.items() if source == nid) // PAGE_SIZE,
                outcome.dropped.get(nid, 0),
                sum(zone.watermark_min for zone in node.zones),
                low[nid],
                full if nid in is_low else 0,
            )
        )
    return rows
