"""What a report says, and the page that says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from pymigrate.comparison.outcome import Outcome
from pymigrate.comparison.table import table
from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.base.why import merged
from pymigrate.mm.state.machine import Machine
from pymigrate.plan import text
from pymigrate.plan.plan import Plan
from pymigrate.records import NamedTuple
from pymigrate.report import figures
from pymigrate.report.figures import Part
from pymigrate.units import PAGE_SIZE, counted
from pymigrate.units import size_of_pages as size
from pymigrate.version import __version__
from pymigrate.views.pictures import change, ps, show
from pymigrate.views.pictures.heatmap import Heatmap
from pymigrate.views.pictures.strips import HEAT_COLOURS, node_colour, short_size
from pymigrate.views.told import accesses, counters, memory_tiering
from pymigrate.views.why.reasons import LETTERS, REASONS

CELLS = 160  # of a strip
MOST, LOOKED_AT = 12, 200  # processes that are drawn, and of how many the largest
_PARTS = {
    "unmap": "isolate pages, find and replace their entries",
    "flush": "flush TLBs",
    "copy": "copy contents",
    "remap": "restore entries, move places in indexes and lists",
    "other": "attempts that fail, splits, hint faults",
}


class Card(NamedTuple):
    """One answer: a name, a value, and what it means; *kind* is `good`, `bad` or nothing."""

    name: str
    value: str
    note: str = ""
    kind: str = ""


class Process(NamedTuple):
    """A process to scale: *share* is its resident memory in percent of the largest process's."""

    pid: int
    name: str
    like: int  # so many more look the same
    size: str
    share: float
    parts: list[Part]
    facts: str
    regions: list[tuple[str, str, str, str]]  # name, size, policy, pages by node


def render(
    machine: Machine,
    plan: Plan | None = None,
    outcomes: Sequence[Outcome] = (),
    maps: Sequence[Heatmap] = (),
) -> str:
    """The page: self-contained HTML without scripts."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": size, "counted": counted}
    environment.filters |= {
        "strip": figures.strip,
        "marks": figures.marks,
        "heat": figures.heat,
        "short_size": short_size,
    }
    page = environment.get_template("page.html")
    processes, rest = _processes(machine)
    return page.render(
        title=_title(plan, bool(outcomes)),
        version=__version__,
        kernel=machine.release.name,
        colours={nid: node_colour(nid) for nid in machine.nodes},
        plan=_plan(machine, plan) if plan else None,
        comparison=table(outcomes) if outcomes else [],
        wrong=[row for row in outcomes if row.wrong is not None],
        nodes=[_node(machine, row) for row in show.rows(machine, [], show.Draw(CELLS)).nodes],
        tiers=memory_tiering.rows(machine),
        maps=maps,
        most=max((rate for each in maps for rate in each.heat), default=0.0),
        heat_colours=HEAT_COLOURS,
        processes=processes,
        rest=rest,
    )


def _title(plan: Plan | None, has_variants: bool) -> str:
    if plan:
        return plan.goal.title.removeprefix("plan: ").capitalize()
    return "Variants of a scenario" if has_variants else "A machine and its memory"


def headline(plan: Plan) -> str:
    """What a plan comes to, in a sentence or two."""
    if plan.refused:
        return f"Refused: {plan.refused}: {plan.refused.why}."
    moves = f"{size(plan.nr)} move" if plan.nr else "Nothing moves"
    stays = sum(row.nr for row in plan.stays)
    if plan.blocks:
        nr = len(plan.blocks)
        return f"{moves}, {counted(nr, 'memory block')} {'stays' if nr == 1 else 'stay'} online."
    if not stays:
        return f"{moves}, nothing stays that was to move."
    whys = "; ".join(REASONS[why].short for why, _ in text.reasons(plan))
    return f"{moves}, {size(stays)} stay: {whys}."


def _plan(machine: Machine, plan: Plan) -> dict[str, Any]:
    """All that the page says of a plan."""
    stay: Counter[int] = Counter()
    for start, nr, _ in merged(plan.frames):
        stay[nid_of(start)] += nr
    pids = plan.goal.pids
    changed = change.rows(machine, plan.after, pids, dict.fromkeys(pids, plan.frames), CELLS)
    known = counters.counters()
    return {
        "headline": headline(plan),
        "is_whole": plan.is_whole,
        "cards": [*_cards(plan), *_reach(machine, plan)],
        "ways": text.ways(plan),
        "reasons": [
            (REASONS[why], LETTERS.get(why, LETTERS["shared"]), rows, sum(row.nr for row in rows))
            for why, rows in text.reasons(plan)
        ],
        "blocks": plan.blocks,
        "flows": figures.flows({pair: nr // PAGE_SIZE for pair, nr in plan.pairs.items()}, stay),
        "changed": changed[:MOST],
        "changed_rest": len(changed) - len(changed[:MOST]),
        "nodes": [(row, text.verdict(row), *_bars(row)) for row in plan.nodes],
        "elsewhere": plan.elsewhere,
        "times": _times(plan),
        "time": text.time_range(plan.time.total),
        "waits": [line.strip() for line in text.pauses(plan)[1:]] if plan.nr else [],
        "bandwidth": text.bandwidth(plan) if plan.nr else [],
        "counters": [(name, nr, known.get(name)) for name, nr in plan.counters.items()],
        "calls": len(plan.calls),
    }


def _cards(plan: Plan) -> list[Card]:
    stays = sum(row.nr for row in plan.stays)
    full = sum(row.full for row in plan.nodes)
    rooms = [
        f"{size(row.free_after)} free on node {row.node} then"
        for row in plan.nodes
        if row.arrives or row.full
    ]
    moving = [mapping for _, mapping, _ in text.ways(plan)]
    whys = [REASONS[why].short for why, _ in text.reasons(plan)]
    remains = Card("Stays", size(stays), _noted(stays, whys), "bad" if stays else "good")
    if plan.blocks:
        remains = Card("Stays online", counted(len(plan.blocks), "block"), plan.blocks[0], "bad")
    cards = [
        Card("Moves", size(plan.nr), _noted(plan.nr, moving)),
        remains,
        Card("Fits", "no" if full else "yes", ", ".join(rooms), "bad" if full else "good"),
    ]
    if plan.nr:
        note = f"estimated; a page waits {text.time_range(plan.pause.page)}"
        cards.append(Card("Takes", text.between(*plan.duration), note))
    return cards


def _noted(nr: int, what: list[str]) -> str:
    """How many pages, and of what.

    >>> _noted(3, ["heap", "stack"]), _noted(0, [])
    ('3 pages: heap, stack', '0 pages')
    """
    names = list(dict.fromkeys(what))
    names[3:] = ["..."] if names[3:] else []
    return f"{counted(nr, 'page')}: {', '.join(names)}" if names else counted(nr, "page")


def _reach(machine: Machine, plan: Plan) -> list[Card]:
    """How much of the declared accesses is local, before and afterwards."""
    shares = []
    for each in (machine, plan.after):
        rows = [row for row in accesses.rows(each) if row.pid in plan.goal.pids]
        total = sum(row.local + row.remote for row in rows)
        shares.append(sum(row.local for row in rows) / total if total else None)
    before, after = shares
    if before is None or after is None:
        return []
    kind = "good" if after > before else "bad" if after < before else ""
    return [Card("Local accesses", f"{before:.0%} → {after:.0%}", "of those declared", kind)]


def _bars(row: Any) -> tuple[list[Part], list[Part]]:
    """How full a node is, before and afterwards."""
    before, after = (
        figures.stacked([(f"n{row.node}", row.total - free, "")], row.total)
        for free in (row.free, row.free_after)
    )
    return before, after


def _times(plan: Plan) -> list[tuple[str, str, str, float]]:
    """The parts of the time that are not 0: name, range, what it is, and percent."""
    total = plan.time.total
    return [
        (name, text.time_range(us), _PARTS[name], us / total * 100)
        for name, us in plan.time._asdict().items()
        if us
    ]


def _node(machine: Machine, row: show.NodeRow) -> tuple[show.NodeRow, list[Part]]:
    return row, figures.stacked([(f"n{row.nid}", row.total - row.free, "")], row.total)


def _processes(machine: Machine) -> tuple[list[Process], int]:
    """The largest processes, to scale, and how many more there are."""
    sized = sorted(ps.rows(machine), key=lambda row: (-row.rss_kb, row.pid))
    largest = [machine.tasks[row.pid] for row in sized[:LOOKED_AT] if row.rss_kb]
    rows = show.rows(machine, largest, show.Draw(CELLS)).tasks
    most = max((_resident(row.strips) for row in rows), default=0)
    reach = {row.pid: row for row in accesses.rows(machine)}
    found: dict[object, Process] = {}
    for row in rows:
        process = _process(row, most, reach.get(row.pid))
        look = row.comm, process.size, process.facts, *process.parts
        first = found.setdefault(look, process)
        found[look] = first._replace(like=first.like + (first is not process))
    drawn = list(found.values())[:MOST]
    return drawn, len(sized) - sum(1 + process.like for process in drawn)


def _resident(strips: list[show.StripRow]) -> int:
    return sum(strip.resident for strip in strips)


def _process(row: show.TaskRow, most: int, reach: accesses.AccessRow | None) -> Process:
    total = _resident(row.strips)
    parts: list[Part] = []
    x = 0.0
    for strip in row.strips:
        width = strip.resident / total
        cells = [cell for cell in strip.cells if cell >= 0]
        for part in figures.strip(cells) if cells else ():
            left = x + part.x * width
            parts.append(part._replace(x=round(left, 2), width=round(part.width * width, 2)))
        x += width * figures.WIDTH
    facts = f"CPUs {row.cpus}, policy {row.policy}"
    if reach:
        there = reach.local + reach.remote
        facts += f", {reach.local / there:.0%} of accesses local" if there else ""
    name = row.task if row.task == row.comm else f"{row.task} ({row.comm})"
    regions = [(*strip.label, _by_node(strip.pages)) for strip in row.strips]
    return Process(row.pid, name, 0, size(total), total / most * 100, parts, facts, regions)


def _by_node(pages: dict[int, int]) -> str:
    return ", ".join(f"N{node} {size(nr)}" for node, nr in pages.items() if node >= 0) or "absent"
