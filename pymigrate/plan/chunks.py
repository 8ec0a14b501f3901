"""Plans that are made of many calls: in chunks that keep limits, and of single ranges of pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pymigrate.errors import KernelError
from pymigrate.mm.base.why import Why, merged
from pymigrate.mm.calls.cpuset import cpuset_mems_allowed
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.engine.queue_folios import Queue, Walk
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.frames.placement import ThisNode
from pymigrate.mm.reclaim.room import FOR_CALLS
from pymigrate.mm.state.cost import Kind, Tally
from pymigrate.mm.state.machine import Machine, watching
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Cap
from pymigrate.mm.state.vma import is_migratable
from pymigrate.plan.calls import MovePages
from pymigrate.plan.pause import HIGH, WALK_US, batch_of, folio_time
from pymigrate.plan.plan import Goal, Limits, Outcome, Plan, PlanError, told
from pymigrate.plan.plan import play as play_calls
from pymigrate.plan.segments import Part, Segment, parts_of, without
from pymigrate.records import NamedTuple
from pymigrate.store.codec import copy_machine
from pymigrate.syscalls.checks import check_access
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.why import stayed
from pymigrate.views.why.reasons import KEPT

MOST = 1 << 20  # base pages that are simulated call by call where that makes a difference
PERIOD = 0.1  # seconds that a chunk lasts where only a rate is given
# Counters that migrations without trouble raise; any other means that the order of calls matters.
_PLAIN = ("numa_", "pgalloc_", "pgfree", "pgmigrate_success", "thp_migration_success")


class Chunk(NamedTuple):
    """A call, and how long it takes: microseconds, as estimated."""

    call: MovePages
    time: float


def make_moved(machine: Machine, goal: Goal, segments: list[Segment], limits: Limits) -> Plan:
    """The plan of calls of move_pages() that move *segments* within *limits*.

    Raises as moved() does.
    """
    calls, outcome = moved(machine, goal, segments, limits)
    return told(machine, goal, calls, outcome, limits)


def moved(
    machine: Machine, goal: Goal, segments: list[Segment], limits: Limits
) -> tuple[list[MovePages], Outcome]:
    """Calls of move_pages() that move *segments* within *limits*, and what they come to.

    What certainly stays is left out of the calls, and told. Raises PlanError; and KernelError as
    move_pages() does: EPERM if the user may not, EACCES for a node that the process's cpuset does
    not allow, ENODEV for one without memory.
    """
    caller = machine.shell_of(goal.uid)
    for pid in goal.pids:
        check_access(caller, machine.tasks[pid])
    for segment in segments:
        _check_target(machine, segment)
    move_all = caller.has(Cap.SYS_NICE)
    trial = _in_bulk(machine, goal, segments, move_all)
    never = merged(stay for stay in trial.stays if stay.why not in (Why.FULL, Why.ENDED))
    cut = without(machine, segments, never)
    chunks = list(chunks_of(machine, cut, move_all, limits))
    calls = [chunk.call for chunk in chunks]
    nr = sum(len(pages) for call in calls for pages in call.pages)
    smooth = _in_bulk(machine, goal, cut, move_all) if never else trial
    if _is_smooth(machine, smooth, nr):
        times = [chunk.time for chunk in chunks]
        lock = WALK_US if chunks else 0.0
        outcome = smooth._replace(left=trial.left, stays=never, times=times, mmap_lock=lock)
    elif sum(smooth.tally.kinds.values()) > MOST or nr > MOST:
        what = "there is no room for it" if smooth.stays else "page cache has to give way"
        raise PlanError(f"so much memory is only moved in pieces if it moves easily; {what}")
    else:
        outcome = play_calls(machine, goal, calls)
        kept = [row for row in trial.left if row.why not in (Why.FULL, Why.ENDED)]
        outcome = outcome._replace(left=kept + outcome.left, stays=never + outcome.stays)
    return calls, outcome


def _check_target(machine: Machine, segment: Segment) -> None:
    """Raise what move_pages() fails with for the segment's target, if it does."""
    task = machine.tasks[segment.pid]
    if segment.target not in machine.memory_nodes:
        raise KernelError("ENODEV", stayed.no_memory(machine, segment.target))
    if segment.target not in cpuset_mems_allowed(machine, task):
        raise KernelError("EACCES", stayed.why_ended(machine, task, "EACCES", [segment.target]))


def chunks_of(
    machine: Machine, segments: Iterable[Segment], move_all: bool, limits: Limits
) -> Iterator[Chunk]:
    """The calls for *segments*, each within *limits*, for one target each."""
    pids: tuple[int, int] | None = None
    packer = _Packer(machine, limits, move_all)
    for segment in segments:
        if pids != (segment.pid, segment.target):
            yield from packer.close()
            pids = segment.pid, segment.target
        packer.begin(segment)
        for part in parts_of(machine, segment, move_all):
            yield from packer.add(part)
    yield from packer.close()


class _Packer:
    """Fills a chunk after the other."""

    def __init__(self, machine: Machine, limits: Limits, move_all: bool) -> None:
        self.machine, self.move_all = machine, move_all
        self.most_us = limits.max_pause / HIGH if limits.max_pause else float("inf")
        self.most_nr = limits.most_nr(PERIOD)
        self.pid = self.target = -1
        self.threads = 1
        self.pages: list[range] = []
        self.nr, self.time = 0, 0.0

    def begin(self, segment: Segment) -> None:
        """Let what is added be of *segment*."""
        self.pid, self.target = segment.pid, segment.target
        self.threads = self.machine.mm_users(self.machine.tasks[segment.pid].mm)

    def add(self, part: Part) -> Iterator[Chunk]:
        """Add the folios of *part*; gives the chunks that are full."""
        flush, per = self._costs(part.kind)
        pages, order = part.pages, part.kind.order
        while pages:
            by_time = (self.most_us - self.time - flush) / per
            room = self.most_nr - self.nr >> order
            if not self.nr and self.most_nr < 1 << order:
                room = 1  # a folio is moved whole; the next begins later
            nr = min(len(pages), room, len(pages) if by_time > len(pages) else int(by_time))
            if nr > 0:
                self.pages.append(pages[:nr])
                self.nr += nr << order
                self.time += flush + nr * per
                pages = pages[nr:]
            elif self.nr:
                yield from self.close()
            else:
                us = (flush + per) * HIGH
                raise PlanError(
                    f"a folio of {1 << order + PAGE_SHIFT - 10} KiB waits up to {us:.3g} us,"
                    " longer than the pause may be"
                )

    def close(self) -> Iterator[Chunk]:
        """The chunk that is being filled, if there is anything in it."""
        if self.pages:
            call = MovePages(self.pid, self.target, tuple(self.pages), self.move_all, self.nr)
            yield Chunk(call, self.time)
        self.pages, self.nr, self.time = [], 0, 0.0

    def _costs(self, kind: Kind) -> tuple[float, float]:
        """What a flush takes, and a folio with its share of the flush of a whole batch."""
        cpus = min(max(kind.maps, 1) - 1 + self.threads, len(self.machine.cpus))
        batch = batch_of(self.machine, kind.order)
        one, two = (folio_time(self.machine, kind, nr, cpus) for nr in (1, 2))
        flush = one - (two - one)
        return flush, two - one + flush / batch


def _in_bulk(machine: Machine, goal: Goal, segments: Sequence[Segment], move_all: bool) -> Outcome:
    """Move *segments* on a copy, each at one go, as move_pages() does with the folios in them."""
    copy, tally, dropped = copy_machine(machine), Tally(), dict[int, int]()
    caller = copy.shell_of(goal.uid)
    outcome = Outcome(copy, tally, [], [], [], dropped, None, [], 0.0)
    with watching(copy, Watch(tally=tally, left=[], dropped=dropped)):
        lru_add_drain_all(copy)
        for segment in segments:
            task, source = copy.tasks[segment.pid], segment.source
            queue = Queue(copy, Walk(source.__eq__, not move_all, move_all))
            for vma, a, b in task.mm.parts(segment.a, segment.b):
                if is_migratable(vma):
                    queue.add_vma(task.mm, vma, a, b)
                else:
                    queue.pass_over(task.mm, vma, a, b)
            stays = list(queue.stays())
            if queue.slices:
                where = ThisNode(segment.target)
                result = migrate_pages(copy, caller, queue.slices, where, room=FOR_CALLS)
                stays += result.stays()
            window = segment.a, segment.b
            outcome.left.extend(stayed.rows(copy, task, stays, KEPT, window))
            outcome.stays.extend(stays)
    return outcome


def _is_smooth(machine: Machine, outcome: Outcome, nr_folios: int) -> bool:
    """Whether all *nr_folios* have moved without trouble, so that the order of calls is all one."""
    tally, counters = outcome.tally, outcome.machine.counters
    raised = [name for name, nr in counters.items() if nr != machine.counters[name]]
    return (
        sum(tally.kinds.values()) == nr_folios
        and not (outcome.stays or outcome.dropped or tally.attempts or tally.splits)
        and all(name.startswith(_PLAIN) for name in raised)
    )
