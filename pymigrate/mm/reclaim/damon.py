"""DAMON's schemes that move memory: migrate_hot and migrate_cold. Mirrors mm/damon/paddr.c.

What is monitored is not simulated: the region that a scheme applies to is named, and pages are hot
if an entry of them was used since they were last looked at.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from enum import Enum

from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.frames.page_alloc import available
from pymigrate.mm.frames.placement import ThisNode
from pymigrate.mm.reclaim.lru import (
    Range,
    cached_folios,
    first_frame,
    is_file_lru,
    is_on_lru,
    mapped_folios,
    mark_old,
    take_folios,
    was_used,
)
from pymigrate.mm.reclaim.vmscan import wakeup_kswapd
from pymigrate.mm.state.events import MigrateMode, MigrateReason
from pymigrate.mm.state.machine import Machine, as_thread
from pymigrate.records import NamedTuple
from pymigrate.units import END_OF_MEMORY


class Action(Enum):
    """What a scheme does; under a quota it begins with the hottest, or the coldest."""

    MIGRATE_HOT = "migrate_hot"
    MIGRATE_COLD = "migrate_cold"


class Kind(Enum):
    """What a filter may keep out. Young pages are looked at, and are not young afterwards."""

    ANON = "anon"
    FILE = "file"
    YOUNG = "young"
    OLD = "old"


class Scheme(NamedTuple):
    """A scheme: its action, the node to move to, and what limits it."""

    action: Action
    target: int
    quota: int | None = None  # base pages
    excluded: frozenset[Kind] = frozenset()


def apply_scheme(machine: Machine, scheme: Scheme, region: int | Range) -> int:
    """Move the folios of *region*, a node or a part of an address space; how many base pages.

    Each node's are one list for the engine. They go to the target or stay: its memory is not
    reclaimed for them, but its kswapd is woken when it is full. Mirrors damon_pa_migrate().
    """
    with as_thread(machine, "kdamond.0", MigrateReason.DAMON.text):
        lru_add_drain_all(machine)
        moved, left = 0, scheme.quota
        for nid in [region] if isinstance(region, int) else machine.memory_nodes:
            if nid == scheme.target:
                continue
            batch = list(_chosen(machine, scheme, _folios(machine, nid, region)))
            if left is not None:
                batch = take_folios(iter(batch), [], left)
                left -= min(sum(part.nr for part in batch), left)
            if batch:
                moved += _migrate_folio_list(machine, batch, scheme.target)
    return moved


def _folios(machine: Machine, nid: int, region: int | Range) -> Iterator[Slice]:
    """Those on the LRU lists of node *nid* that lie in *region*."""
    if isinstance(region, int):
        ranges = [(mm, 0, END_OF_MEMORY) for mm in machine.mms.values()]
        yield from cached_folios(machine, nid, is_on_lru)
    else:
        ranges = [region]
    yield from mapped_folios(machine, nid, ranges, is_on_lru)


def _chosen(machine: Machine, scheme: Scheme, parts: Iterator[Slice]) -> Iterator[Slice]:
    """*parts* without what is filtered out, by address, or those first that a quota prefers."""
    first: list[Slice] = []
    then: list[Slice] = []
    for part in sorted(parts, key=first_frame):
        is_young = was_used(machine, part)
        if not _is_filtered_out(machine, scheme.excluded, part, is_young):
            is_preferred = is_young == (scheme.action == Action.MIGRATE_HOT)
            (first if is_preferred or scheme.quota is None else then).append(part)
    yield from first
    yield from then


def _is_filtered_out(
    machine: Machine, excluded: Container[Kind], part: Slice, is_young: bool
) -> bool:
    """Mirrors damos_pa_filter_out()."""
    if Kind.YOUNG in excluded and is_young:
        mark_old(machine, part)
        return True
    if Kind.OLD in excluded and not is_young:
        return True
    return (Kind.FILE if is_file_lru(part) else Kind.ANON) in excluded


def _migrate_folio_list(machine: Machine, batch: list[Slice], target: int) -> int:
    """Mirrors damon_pa_migrate_folio_list(): no other node will do than the target."""
    where = ThisNode(target)
    result = migrate_pages(
        machine, machine.shell_of(0), batch, where, MigrateReason.DAMON, mode=MigrateMode.ASYNC
    )
    if not available(machine.nodes[target], to_min=False):
        wakeup_kswapd(machine, target)
    return result.succeeded
