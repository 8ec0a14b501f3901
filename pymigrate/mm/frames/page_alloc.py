"""Free memory: zonelists, watermarks, and the pages that are taken and given back."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain

from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.base.pte import PteRun, weave
from pymigrate.mm.base.runs import Extent, coalesce
from pymigrate.mm.frames.free_area import nr_available, take
from pymigrate.mm.frames.lru_batches import forget
from pymigrate.mm.frames.placement import Cycle, Demote, Placement, ThisNode, rounds_of, turns_of
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Isolated, Node, Zone
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.records import NamedTuple
from pymigrate.units import HPAGE_PMD_ORDER, MAX_NUMNODES, huge_ceil, huge_floor


class _Target(NamedTuple):
    """Where the next folio of a lane comes from."""

    node: Node
    to_min: bool  # whether it may be taken down to "min"
    room: int  # how many such folios can be taken


class Lane(NamedTuple):
    """Where the pages of one turn of a placement come from, and in which order."""

    nid: int  # the node that is asked for
    preferred: int  # the first one that will do, -1 if none does
    passes: tuple[tuple[tuple[int, ...], bool], ...]  # nodes to try; whether down to "min"
    is_interleaved: bool

    def above_low(self) -> Lane:
        """This lane, but that no node is taken below its low watermark."""
        return self._replace(passes=tuple(p for p in self.passes if not p[1]))


def zonelist(machine: Machine, nid: int) -> tuple[int, ...]:
    """The nodes with memory in the order in which node *nid* falls back to them.

    Mirrors find_next_best_node() and build_zonelists(), mm/page_alloc.c.
    """
    if not machine.zonelists:
        machine.zonelists.update(_build_zonelists(machine)[0])
    return machine.zonelists[nid]


def node_load(machine: Machine) -> dict[int, int]:
    """How often each node stands first among those at a new distance, in all zonelists."""
    return _build_zonelists(machine)[1]


def find_next_best_node(
    machine: Machine,
    nid: int,
    left: Sequence[int],
    load: Mapping[int, int],
    with_cpus_last: bool = False,
) -> int:
    """The one of *left* to fall back to first from node *nid*: itself, or else the nearest.

    Nodes with CPUs come later *with_cpus_last*; zonelists are built before the CPUs are known.
    """
    if nid in left:
        return nid

    def penalty(n: int) -> tuple[int, int]:
        has_cpus = with_cpus_last and bool(machine.nodes[n].cpus)
        return (machine.distance(nid, n) + (n < nid) + has_cpus) * MAX_NUMNODES + load[n], n

    return min(left, key=penalty)


def _build_zonelists(machine: Machine) -> tuple[dict[int, tuple[int, ...]], dict[int, int]]:
    load = dict.fromkeys(machine.nodes, 0)
    return {nid: _build_zonelist(machine, nid, load) for nid in machine.possible_nodes}, load


def _build_zonelist(machine: Machine, nid: int, load: dict[int, int]) -> tuple[int, ...]:
    left = list(machine.memory_nodes)
    order: list[int] = []
    prev = nid
    while left:
        best = find_next_best_node(machine, nid, left, load)
        if machine.distance(nid, best) != machine.distance(nid, prev):
            load[best] += 1
        left.remove(best)
        order.append(best)
        prev = best
    return tuple(order)


def available(node: Node, to_min: bool, order: int = 0, is_movable: bool = True) -> int:
    """How many folios can be taken from *node* before its low (or min) watermark."""
    nr = 0
    for zone in node.zones:
        nr += _zone_available(zone, to_min, order, is_movable)
    return nr


def shortage(machine: Machine, task: Task, where: Placement, nr: int) -> int:
    """How many of *nr* base pages the allowed nodes have no room for above their low watermarks."""
    return shortage_on(machine, allowed_nodes(machine, task, where), nr)


def shortage_on(machine: Machine, nids: Iterable[int], nr: int) -> int:
    """How many of *nr* base pages nodes *nids* have no room for above their low watermarks."""
    return max(nr - sum(available(machine.nodes[nid], to_min=False) for nid in nids), 0)


def room_for(machine: Machine, task: Task, where: Placement, order: int = 0) -> int:
    """How many folios *where* surely has room for on the nodes that it asks for first."""
    lanes = lanes_of(machine, task, where)
    if isinstance(where, ThisNode | Demote):  # with no others behind them they go down to "min"
        nodes = {nid for tried, _ in lanes[0].passes for nid in tried}
        return sum(_available(machine, nid, True, order) for nid in nodes)
    firsts = {lane.preferred for lane in lanes}
    return min(_available(machine, nid, False, order) if nid >= 0 else 0 for nid in firsts)


def room_on(machine: Machine, nids: Iterable[int], order: int) -> int:
    """How many folios nodes *nids* have above their low watermarks, for a present allocation."""
    return sum(_available(machine, nid, False, order) for nid in nids)


def _available(machine: Machine, nid: int, to_min: bool, order: int) -> int:
    """What the present caller may take: one that pins for long gets no page that must be movable.

    Mirrors current_gfp_context().
    """
    return available(machine.nodes[nid], to_min, order, not machine.scope.memalloc_pin)


def alloc_folio(machine: Machine, task: Task, where: Placement, order: int = 0) -> int | None:
    """The first frame of a folio of ``1 << order`` pages, or None if no block is free.

    Mirrors alloc_pages_mpol().
    """
    page = get_page_from_freelist(machine, task, lanes_of(machine, task, where)[0], order)
    return page.start if page else None


def alloc_run(machine: Machine, task: Task, where: Placement, wanted: PteRun) -> list[PteRun]:
    """Give the entries of *wanted* frames, each a folio; the runs end early if memory does.

    *wanted* names no frames, and its first entry has the first turn of *where*.
    """
    return fill_run(machine, task, lanes_of(machine, task, where), wanted)


def finds_no_zone(machine: Machine, task: Task) -> bool:
    """Whether what will be pinned for long has no zone at all on the nodes that *task* may use.

    __alloc_pages_slowpath() gives up then before it reclaims.
    """
    return machine.scope.memalloc_pin and not task.mems_allowed & machine.normal_nodes


def lanes_of(machine: Machine, task: Task, where: Placement) -> list[Lane]:
    """A lane for each turn of *where*, for an allocation by *task*. Mirrors prepare_alloc_pages().

    Their pages count as interleaved where the policy interleaves.
    """
    turns = turns_of(where)
    lanes = {nid: _lane(machine, nid, where, task.mems_allowed) for nid in set(turns)}
    return [lanes[nid] for nid in turns]


def fill_run(
    machine: Machine,
    task: Task,
    lanes: Sequence[Lane],
    wanted: PteRun,
    slow: Callable[[Lane], Extent | None] | None = None,
) -> list[PteRun]:
    """Give the entries of *wanted* frames as alloc_run() does: entry i those of lane ``i % k``.

    Where no block is free, *slow* is asked, if it is given. The kernel allocates folio by folio.
    Here as many rows, a folio of each lane, are taken at once as every lane surely has where it
    takes its next one. That is the same, for nothing but these folios changes meanwhile what is
    free: each lane finds its target above the watermark until the last of them. Only which frames
    of a node its lanes get differs where they share it, and no kernel promises any.
    """
    nr, order = wanted.nr >> wanted.order, wanted.order
    turn = lanes[:nr]
    taken: list[list[Extent]] = [[] for _ in turn]
    done = 0
    while done < nr:
        place, left = done % len(turn), nr - done
        whole_rows = not place and left >= max(len(turn), 2)  # a single folio is had without
        targets = _targets(machine, turn, order) if whole_rows else {}
        rows = _full_rows(turn, targets, left) if targets else 0
        if rows:
            for lane, extents in zip(turn, taken, strict=True):
                extents += _take(machine, task, lane, targets[lane.nid], rows, order)
            done += rows * len(turn)
            continue
        page = get_page_from_freelist(machine, task, turn[place], order)
        if page is None and slow is not None:
            with freed_on_error(machine, taken):
                page = slow(turn[place])
        if page is None:
            break
        taken[place].append(page)
        done += 1
    return weave(wanted.start, done << order, taken[:done], order, wanted.flags) if done else []


def get_page_from_freelist(machine: Machine, task: Task, lane: Lane, order: int) -> Extent | None:
    """Take a block of ``1 << order`` frames that is free. Counts NUMA events."""
    target = _target_of(machine, lane, order)
    return _take(machine, task, lane, target, 1, order)[0] if target else None


def allowed_nodes(machine: Machine, task: Task, where: Placement) -> list[int]:
    """The nodes that *where* may use, in the order in which it asks for them."""
    return nodes_of(lanes_of(machine, task, where))


def nodes_of(lanes: Iterable[Lane]) -> list[int]:
    """The nodes that *lanes* try, in the order in which they ask for them."""
    tried = (nid for lane in lanes for nodes, _ in lane.passes for nid in nodes)
    return list(dict.fromkeys(tried))


def reserve_pages(node: Node, nr: int) -> list[Extent]:
    """Take *nr* frames of *node*, uncounted, whatever the watermarks; fewer if it has fewer."""
    taken: list[Extent] = []
    for zone in reversed(node.zones):
        part = min(nr - sum(extent.nr for extent in taken), zone.nr_free)
        if part:
            taken += zone.free.pop_front(part)
            zone.nr_free -= part
    return taken


def reserve_blocks(node: Node, nr: int) -> list[Extent]:
    """Take *nr* blocks of a huge page's size of *node*, uncounted; fewer if it has fewer."""
    taken: list[Extent] = []
    for zone in reversed(node.zones):
        found: list[Extent] = []
        for extent in zone.free.runs:
            start = huge_ceil(extent.start)
            part = min(nr, huge_floor(extent.start + extent.nr) - start >> HPAGE_PMD_ORDER)
            if part > 0:
                found.append(Extent(start, part << HPAGE_PMD_ORDER))
                nr -= part
        zone.free.edit([(start, start + size, ()) for start, size in found])
        zone.nr_free -= sum(extent.nr for extent in found)
        taken += found
    return taken


def free_pages(machine: Machine, extents: Iterable[tuple[int, int]]) -> None:
    """Give frames back."""
    free_extents(machine, coalesce(extents))


@contextmanager
def freed_on_error(machine: Machine, taken: Iterable[Iterable[Extent]]) -> Iterator[None]:
    """Give the frames *taken* so far back if the block raises."""
    try:
        yield
    except BaseException:
        free_pages(machine, chain.from_iterable(taken))
        raise


def free_extents(machine: Machine, freed: list[Extent]) -> None:
    """Give back frames in sorted extents that do not touch each other."""
    forget(machine, freed)
    if machine.scope.isolated:
        freed = keep_isolated(machine, machine.scope.isolated, freed)
    for zone, parts in _by_zone(machine, freed):
        nr = sum(part.nr for part in parts)
        zone.free.insert(parts)
        zone.nr_free += nr
        machine.counters.add("pgfree", nr)


def keep_isolated(machine: Machine, isolated: Isolated, freed: list[Extent]) -> list[Extent]:
    """Set aside those of *freed* frames that are of isolated pageblocks; gives the others."""
    others: list[Extent] = []
    for start, nr in freed:
        a, b = max(start, isolated.start), min(start + nr, isolated.end)
        if a >= b:
            others.append(Extent(start, nr))
            continue
        isolated.free.put(a, b, Extent(a, b - a))
        machine.counters.add("pgfree", b - a)
        others += [
            Extent(low, high - low) for low, high in ((start, a), (b, start + nr)) if low < high
        ]
    return others


def _by_zone(machine: Machine, extents: list[Extent]) -> Iterator[tuple[Zone, list[Extent]]]:
    i = 0
    rest = extents[0] if extents else None
    while rest is not None:
        zone = machine.nodes[nid_of(rest.start)].zone_of(rest.start)
        end = zone.parts(rest.start, zone.end)[0][1]
        j = bisect_left(extents, (end,), i)
        parts = [rest, *extents[i + 1 : j]]
        last = parts[-1]
        rest, i = (extents[j], j) if j < len(extents) else (None, j)
        if last.start + last.nr > end:
            parts[-1], rest = last.split(end)
            i = j - 1
        yield zone, parts


def _lane(machine: Machine, nid: int, where: Placement, mems: Nodemask) -> Lane:
    anywhere = tuple(n for n in zonelist(machine, nid) if n in mems and machine.nodes[n].has_pages)
    rounds = [
        anywhere if nodes is None else tuple(n for n in anywhere if n in nodes)
        for nodes in rounds_of(where, nid)
    ]
    passes = tuple((nodes, to_min) for nodes in rounds if nodes for to_min in (False, True))
    preferred = passes[0][0][0] if passes else -1
    return Lane(nid, preferred, passes, isinstance(where, Cycle))


def _target_of(machine: Machine, lane: Lane, order: int) -> _Target | None:
    """The first node with a free block of *order* above its watermark."""
    for nodes, to_min in lane.passes:
        for nid in nodes:
            room = _available(machine, nid, to_min, order)
            if room > 0:
                return _Target(machine.nodes[nid], to_min, room)
    return None


def _targets(machine: Machine, turn: Sequence[Lane], order: int) -> dict[int, _Target]:
    """Each lane's next target by the node that it asks for; empty if one has none."""
    targets: dict[int, _Target] = {}
    for nid, lane in {lane.nid: lane for lane in turn}.items():
        target = _target_of(machine, lane, order)
        if target is None:
            return {}
        targets[nid] = target
    return targets


def _full_rows(turn: Sequence[Lane], targets: Mapping[int, _Target], nr: int) -> int:
    """How often each of *turn* can have a folio before one of them must change its node."""
    wanted: dict[tuple[int, bool], int] = {}
    for lane in turn:
        node, to_min, _ = targets[lane.nid]
        wanted[node.nid, to_min] = wanted.get((node.nid, to_min), 0) + 1
    rows = nr // len(turn)
    for node, to_min, room in targets.values():
        rows = min(rows, room // wanted[node.nid, to_min])
    return rows


def _zone_available(zone: Zone, to_min: bool, order: int, is_movable: bool) -> int:
    mark = zone.watermark_min if to_min else zone.watermark_low
    return nr_available(zone, mark + zone.reserve, order, is_movable)


def _take(
    machine: Machine, task: Task, lane: Lane, target: _Target, nr: int, order: int
) -> list[Extent]:
    """Take *nr* folios, which are known to be there: highest zone first."""
    node, to_min, _ = target
    taken: list[Extent] = []
    left = nr
    is_movable = not machine.scope.memalloc_pin
    for zone in reversed(node.zones):
        part = min(left, _zone_available(zone, to_min, order, is_movable))
        if part:
            taken += take(zone, part, order, is_movable)
            machine.counters.add(f"pgalloc_{zone.name}", part << order)
            left -= part
    assert not left, f"node {node.nid} is short of {left} pages"
    here = machine.local_node(task)
    zone_statistics(machine, node, lane.preferred, here, nr, lane.is_interleaved)
    return taken


def zone_statistics(
    machine: Machine, node: Node, preferred: int, here: int, nr: int, is_interleaved: bool = False
) -> None:
    """Count *nr* folios that a task on node *here* has from *node*, and wanted from *preferred*.

    Mirrors zone_statistics(), mm/page_alloc.c.
    """
    hit = node.nid == preferred
    node.numa.add("numa_hit" if hit else "numa_miss", nr)
    if not hit:
        machine.nodes[preferred].numa.add("numa_foreign", nr)
    elif is_interleaved:
        node.numa.add("numa_interleave", nr)
    node.numa.add("numa_local" if node.nid == here else "numa_other", nr)
