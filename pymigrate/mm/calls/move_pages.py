"""move_pages(): single pages go where each is told. Mirrors do_pages_move(), mm/migrate.c."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from pymigrate.errors import ERRNO
from pymigrate.mm.base.memmap import NODE_SHIFT, Frame, FrameFlag, FrameRun, nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.release import Release
from pymigrate.mm.base.runs import Extent, pages_to_extents
from pymigrate.mm.base.why import Stay, Why
from pymigrate.mm.calls.cpuset import cpuset_mems_allowed
from pymigrate.mm.engine.folio_list import Slice, folio_at
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.frames.frames import FrameEdits, by_node, folio_of, frame_of, states_of
from pymigrate.mm.frames.hot_pages import TIERING
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.frames.lru_gen import arrived, changes_generation
from pymigrate.mm.frames.mlock import migrated
from pymigrate.mm.frames.page_alloc import alloc_run, free_extents, room_for
from pymigrate.mm.frames.placement import ThisNode
from pymigrate.mm.reclaim.room import FOR_CALLS
from pymigrate.mm.state.cost import NR_MAX_BATCHED_MIGRATION, Kind
from pymigrate.mm.state.events import MigrateReason
from pymigrate.mm.state.machine import Machine, migrating, note_left
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma, is_migratable
from pymigrate.nodemask import Nodemask
from pymigrate.records import NamedTuple
from pymigrate.units import MAX_NUMNODES

EACCES, EBUSY, EFAULT, ENOENT, ENOMEM = (
    -ERRNO[name] for name in ("EACCES", "EBUSY", "EFAULT", "ENOENT", "ENOMEM")
)
# Below this the page by page loop is fast enough, and tried far more often.
MIN_PAGES = 64


class MovePagesResult(NamedTuple):
    """What the call answers: a status for each page that the kernel wrote one for, else None."""

    ret: int
    errno: str | None
    status: list[int | None]


class Carrier(Protocol):
    """Finds single pages, isolates their folios, and moves what it has isolated."""

    def place(self, page: int) -> int:
        """The frame of *page*, or the negative errno that is its status."""

    def isolate(self, page: int, pfn: int) -> int | None:
        """Isolate the folio of *page*, which is frame *pfn*, or say why it is not queued.

        That is -EACCES if the call may not move it, or -EBUSY if it is isolated already. Mirrors
        add_folio_for_migration(), which has compared the nodes first.
        """

    def migrate(self, node: int) -> int:
        """Move what is isolated to *node*: how many folios stayed, or -ENOMEM."""


def do_pages_stat(machine: Machine, target: Task, pages: Sequence[int]) -> list[int]:
    """The node of each page, or a negative errno. Mirrors do_pages_stat_array()."""
    return [_stat(machine, target, page) for page in pages]


def do_pages_move(
    machine: Machine,
    caller: Task,
    target: Task,
    pages: Sequence[int],
    nodes: Sequence[int],
    move_all: bool,
) -> MovePagesResult:
    """Move each of *target*'s *pages* to the node at the same place in *nodes*.

    Pages are moved in runs of one target node; a page that is
    not queued ends a run.
    """
    lru_add_drain_all(machine)
    refused = _refused_nodes(machine, set(nodes), cpuset_mems_allowed(machine, target))
    plan = planned(machine, target, pages, move_all)
    if plan is not None:
        result = plan.at_once(pages, nodes) if not refused else None
        result = result or Loop(plan, refused).play(pages, nodes)
        if plan.carry_out(caller):
            return result
    one_by_one = _OneByOne(machine, caller, target, move_all)
    return Loop(one_by_one, refused).play(pages, nodes)


def _refused_nodes(machine: Machine, nodes: set[int], allowed: Nodemask) -> dict[int, str]:
    """Those of *nodes* that end the call, and with which errno."""
    memory = machine.memory_nodes
    refused = {}
    for node in nodes:
        if not 0 <= node < MAX_NUMNODES or node not in memory:
            refused[node] = "ENODEV"
        elif node not in allowed:
            refused[node] = "EACCES"
    return refused


class _OneByOne:
    """Isolates folios as they are met, and lets the engine move each run of them."""

    def __init__(self, machine: Machine, caller: Task, target: Task, move_all: bool) -> None:
        self.machine, self.caller, self.target = machine, caller, target
        self.move_all = move_all
        self.queue: list[Slice] = []
        self.isolated: set[int] = set()

    def place(self, page: int) -> int:
        """The frame of *page*, or the negative errno that is its status."""
        vma = self.target.mm.find_vma(page)
        if vma is None or not is_migratable(vma):
            return EFAULT
        return _followed(self.machine, self.target, vma, page)

    def isolate(self, page: int, pfn: int) -> int | None:
        """Put the folio on the list for the engine, or say why it is not queued."""
        if not self._may_move(pfn):
            note_left(self.machine, [Stay(pfn, 1, Why.SHARED)])
            return EACCES
        part = folio_at(self.machine, self.target.mm, page)
        first = part.run.lanes[0]
        if first in self.isolated:
            return EBUSY
        self.isolated.add(first)
        self.queue.append(part)
        return None

    def migrate(self, node: int) -> int:
        """Move what is isolated to *node*: how many folios stayed, or -ENOMEM."""
        where = ThisNode(node)
        result = migrate_pages(self.machine, self.caller, self.queue, where, room=FOR_CALLS)
        note_left(self.machine, result.stays())
        self.queue, self.isolated = [], set()
        return ENOMEM if result.is_enomem else result.stayed

    def _may_move(self, pfn: int) -> bool:
        """Whether the folio is not shared, or may be moved all the same.

        Before there were folios, a tail page of hugetlb memory could not be named, either.
        """
        folio, frame = folio_of(self.machine, pfn), frame_of(self.machine, pfn)
        if self.machine.release.folios_not_pages:
            return self.move_all or not folio.likely_shared
        is_tail = frame.flags & FrameFlag.HUGETLB and pfn != folio.pfn
        return not is_tail and (self.move_all or frame.mapcount <= 1)


def _stat(machine: Machine, target: Task, page: int) -> int:
    vma = target.mm.find_vma(page)
    if vma is None:
        return EFAULT
    pfn = _followed(machine, target, vma, page)
    return pfn if pfn < 0 else nid_of(pfn)


def _followed(machine: Machine, target: Task, vma: Vma, page: int) -> int:
    """The frame of *page* in *vma*, or the negative errno that says why there is none."""
    run = target.mm.page_table.at(page)
    return without_frame(machine.release, vma, run) or (run.pfn(page) if run else 0)


def planned(machine: Machine, target: Task, pages: Sequence[int], move_all: bool) -> Plan | None:
    """A plan for the loop over *pages*; None if they are few, or one of them needs more care."""
    is_tiered = machine.numa_balancing & TIERING  # pages remember something else in other tiers
    if len(pages) < MIN_PAGES or machine.is_watched or is_tiered:
        return None
    looked_up = _look_up(machine, target, sorted(set(pages)), move_all)
    return Plan(machine, target, *looked_up) if looked_up else None


class Plan:
    """What the loop would isolate and move, noted alone: it is moved when the loop is through.

    This is only done where nothing can go wrong on the way: every page to be moved is anonymous,
    mapped once and held by nobody, none moves twice, and each target has room. Then no folio stays
    and no call of the engine runs out of memory, so that neither the order of the moves nor the
    kernel's runs of pages show in the result: the loop may be told that each run has moved, and
    what it would have found meanwhile is the node that a page has moved to, and nothing else.
    """

    def __init__(
        self, machine: Machine, target: Task, found: Mapping[int, int], shared: set[int]
    ) -> None:
        self.machine, self.target, self.found, self.shared = machine, target, found, shared
        self.moved: dict[int, int] = {}  # what has moved, to some frame of its node
        self.queue: dict[int, None] = {}
        self.kept: list[Stay] = []
        self.moves: list[tuple[int, Collection[int]]] = []  # to which node, and which pages

    def place(self, page: int) -> int:
        """The frame of *page*, or the negative errno that is its status."""
        return self.moved.get(page, self.found[page])

    def isolate(self, page: int, pfn: int) -> int | None:
        """Note that *page* is isolated, or say why it is not queued."""
        if page in self.shared:
            self.kept.append(Stay(pfn, 1, Why.SHARED))
            return EACCES
        if page in self.queue:
            return EBUSY
        self.queue[page] = None
        return None

    def migrate(self, node: int) -> int:
        """Note that what is isolated moves to *node*; nothing stays."""
        self.moves.append((node, self.queue))
        self.moved.update(dict.fromkeys(self.queue, node << NODE_SHIFT))
        self.queue = {}
        return 0

    def at_once(self, pages: Sequence[int], nodes: Sequence[int]) -> MovePagesResult | None:
        """What the loop comes to where no page may say another status than its node, or errno.

        None if one is named twice, or shared; or if the loop's runs of one node count.
        """
        found = self.found
        if self.shared or len(found) < len(pages) or self.machine.watch.tally is not None:
            return None
        wanted: dict[int, list[int]] = {node: [] for node in set(nodes)}
        status: list[int | None] = [*nodes]
        for at, (page, node) in enumerate(zip(pages, nodes, strict=True)):
            pfn = found[page]
            if pfn < 0:
                status[at] = pfn
            elif pfn >> NODE_SHIFT != node:
                wanted[node].append(page)
        self.moves = [(node, moved) for node, moved in wanted.items() if moved]
        return MovePagesResult(0, None, status)

    def carry_out(self, caller: Task) -> bool:
        """Move what was noted and return True; False if a page moves twice, or has no room."""
        machine, found = self.machine, self.found
        wanted: dict[int, list[int]] = {}
        for node, pages in self.moves:
            wanted.setdefault(node, []).extend(pages)
        if any(
            len(pages) > room_for(machine, caller, ThisNode(node)) for node, pages in wanted.items()
        ) or len(set().union(*wanted.values())) < sum(map(len, wanted.values())):
            return False
        with migrating(machine, MigrateReason.SYSCALL):
            _replace_frames(machine, caller, self.target, found, wanted)
        note_left(machine, self.kept)
        if machine.watch.tally is not None:
            batch = NR_MAX_BATCHED_MIGRATION if machine.release.batches_flush else 1
            machine.watch.tally.flushed(sum(-(-len(pages) // batch) for _, pages in self.moves))
            pairs = Counter(
                (found[page] >> NODE_SHIFT, node) for node, pages in self.moves for page in pages
            )
            machine.watch.tally.pages += pairs
            machine.watch.tally.kinds.update({Kind(*pair, 0, 1, 0): n for pair, n in pairs.items()})
        return True


def _look_up(
    machine: Machine, target: Task, pages: list[int], move_all: bool
) -> tuple[dict[int, int], set[int]] | None:
    """Each page's frame number or negative errno, and which pages may not move: they are shared.

    *pages* is sorted. None if some page needs the slower way.
    """
    found = dict.fromkeys(pages, EFAULT)
    there: list[int] = []  # the pages that have a frame
    table, release = target.mm.page_table, machine.release
    i = 0
    while i < len(pages):
        vma = target.mm.find_vma(pages[i])
        if vma is None or not is_migratable(vma):
            i += 1
            continue
        end = bisect_left(pages, vma.end, i)
        while i < end:
            run = table.at(pages[i])
            j = i + 1 if run is None else bisect_left(pages, run.start + run.nr, i, end)
            status = without_frame(release, vma, run)
            if run is None or status:
                found.update(dict.fromkeys(pages[i:j], status))
            elif run.flags & Pte.HINT:
                return None
            elif j == i + 1:
                there.append(pages[i])
                found[pages[i]] = run.pfn(pages[i])
            else:
                part = pages[i:j]
                there += part
                found.update(zip(part, _pfns(run, part), strict=True))
            i = j
    if not there:
        return found, set()
    pfns = [found[page] for page in there]
    states = states_of(machine, pfns)
    stays = [] if move_all else [f for f in states.distinct if f.pte_maps > 1 and not f.order]
    if not all(f in stays or _moves_simply(f) for f in states.distinct):
        return None
    each = zip(there, states.each, strict=True) if stays else ()
    return found, {page for page, f in each if f in stays}


def _pfns(run: PteRun, pages: list[int]) -> list[int]:
    if len(run.lanes) == 1:
        shift = run.lanes[0] - run.start
        return [page + shift for page in pages]
    return [run.pfn(page) for page in pages]


def _moves_simply(frame: Frame) -> bool:
    """Whether a base page is anonymous memory, which surely moves, that one entry maps."""
    return frame.is_anon and frame.is_plain and frame.pte_maps == 1 and not frame.order


def _replace_frames(
    machine: Machine,
    caller: Task,
    target: Task,
    found: Mapping[int, int],
    wanted: Mapping[int, list[int]],
) -> None:
    """Give each page of *wanted* a frame on its node: all tables in one sweep each."""
    fresh: dict[int, int] = {}
    edits = FrameEdits(machine)
    for node, pages in wanted.items():
        where = ThisNode(node)
        runs = alloc_run(machine, caller, where, PteRun(0, len(pages), ()))
        extents = [extent for run in runs for extent in run.extents()]
        pfns = [pfn for start, nr in extents for pfn in range(start, start + nr)]
        fresh.update(zip(pages, pfns, strict=True))
        _set_frames(machine, target, edits, extents, pages, [found[page] for page in pages])
    edits.commit()
    moved = [page for page in found if page in fresh]

    def replace(run: PteRun, points: Sequence[int]) -> list[PteRun]:
        return run.scattered(points, [fresh[page] for page in points])

    target.mm.page_table.edit_points(moved, replace)
    for old in by_node([found[page] for page in moved]):
        machine.memmap_of(old[0]).edit_points(old, FrameRun.without)
        free_extents(machine, pages_to_extents(old))
    machine.counters.add("pgmigrate_success", len(moved))


def _set_frames(
    machine: Machine,
    target: Task,
    edits: FrameEdits,
    extents: list[Extent],
    pages: list[int],
    old: list[int],
) -> None:
    """Let the frames of *extents* be what the *old* frames of *pages* were.

    A folio is dirty if its entry was.
    """
    table = target.mm.page_table
    a, b = min(pages), max(pages) + 1
    is_dirty = {bool(run.flags & Pte.DIRTY) for run in table.between(a, b) if run.lanes}
    states = states_of(machine, old)
    if any(frame.flags & FrameFlag.MLOCKED for frame in states.distinct):
        migrated(machine, states, Counter(states.each))  # base pages stay as they are
    if len(is_dirty) == 1:
        flag = FrameFlag.DIRTY if True in is_dirty else 0
        after = {frame.with_flags(flag) for frame in states.distinct}
        if len(after) == 1 and not changes_generation(machine, states.first):
            edits.set(extents, after.pop())
            return
    fresh = (pfn for start, nr in extents for pfn in range(start, start + nr))
    for page, before, pfn, new in zip(pages, states.each, old, fresh, strict=True):
        run = table.at(page)
        assert run is not None
        flag = FrameFlag.DIRTY if run.flags & Pte.DIRTY else 0
        edits.set([(new, 1)], arrived(machine, pfn, new, before.with_flags(flag)))


class Loop:
    """The run of pages for one node that is being collected, and what was written so far."""

    def __init__(self, carrier: Carrier, refused: Mapping[int, str]) -> None:
        self.carrier, self.refused = carrier, refused
        self.status: list[int | None] = []
        self.node, self.start, self.is_empty = -1, 0, True

    def play(self, pages: Sequence[int], nodes: Sequence[int]) -> MovePagesResult:
        """Move *pages* to *nodes* in runs of one node; a page that is not queued ends a run.

        A node of *refused* ends the call. Mirrors do_pages_move().
        """
        self.status = [None] * len(pages)
        place, isolate = self.carrier.place, self.carrier.isolate
        for at, (page, node) in enumerate(zip(pages, nodes, strict=True)):
            if node in self.refused:
                return self._answer(self._submit(at), self.refused[node])
            if node != self.node:
                left = self._submit(at)
                if left:
                    return self._answer(left)
                self.node, self.start = node, at
            pfn = place(page)
            outcome: int | None = pfn
            if pfn >= 0:
                outcome = node if pfn >> NODE_SHIFT == node else isolate(page, pfn)
            if outcome is None:
                self.is_empty = False
                continue
            self.status[at] = outcome
            left = self._submit(at)
            if left:
                return self._answer(left - 1 if left > 0 else left)
            self.node = -1
        return self._answer(self._submit(len(pages)))

    def _submit(self, at: int) -> int:
        """Move the run, which ends before *at*: 0, or how many pages were left, or -ENOMEM.

        Mirrors move_pages_and_store_status().
        """
        if self.is_empty:
            return 0
        self.is_empty = True
        stayed = self.carrier.migrate(self.node)
        if not stayed:
            self.status[self.start : at] = [self.node] * (at - self.start)
            return 0
        return stayed + len(self.status) - at if stayed > 0 else stayed

    def _answer(self, left: int, errno: str | None = None) -> MovePagesResult:
        if errno is None and left < 0:
            errno = "ENOMEM"
        return MovePagesResult(-1 if errno else left, errno, self.status)


def without_frame(release: Release, vma: Vma, run: PteRun | None) -> int:
    """The status of pages of *vma* that *run* maps, if they have no frame to follow; else 0.

    Mirrors folio_walk_start() and its callers.
    """
    if run is None or (release.prot_none_is_absent and not vma.flags & Vm.ACCESS):
        is_none = run is None or run.order > 0  # nothing to follow at the level of its table
        in_anon = release.absent_anon_is_efault and vma.is_anonymous and is_none
        return EFAULT if in_anon else ENOENT
    if not run.flags & Pte.PRESENT:
        return ENOENT
    return 0 if run.lanes else EFAULT
