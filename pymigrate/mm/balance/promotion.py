"""Promotion from slow memory: how hot a page must be, and how many may come in a second.

In tiering mode the last-cpupid field of a folio in slow memory holds a time: that of the scan, or
of the last access that a scan has seen. Mirrors numa_promotion_*(), pgdat_free_space_enough() and
numa_hint_fault_latency(), kernel/sched/fair.c.
"""

from __future__ import annotations

from pymigrate.mm.base.pte import Pte
from pymigrate.mm.frames.hot_pages import CANDIDATE, TIME_MASK
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Node
from pymigrate.mm.state.task import Task
from pymigrate.records import NamedTuple
from pymigrate.units import PAGE_SHIFT

_STEPS = 16  # of the threshold, up to twice the default
_RATE_WINDOW = 1000  # ms
_MAX_STAT_THRESHOLD = 125
_GIB = 1 << (30 - PAGE_SHIFT)


class Answer(NamedTuple):
    """Whether the first *nr* of several folios may be promoted."""

    may: bool
    nr: int


def may_promote(machine: Machine, nid: int, stamp: int, nr: int, folios: int) -> Answer:
    """Whether *folios* folios of *nr* base pages may come to node *nid*; all remember *stamp*.

    Counts pgpromote_candidate. Mirrors the first part of should_numa_migrate_memory().
    """
    node = machine.nodes[nid]
    room = _free_space_enough(node)
    if room > 0:
        node.promotion = node.promotion._replace(threshold=0)
        return Answer(may=True, nr=min(-(-room // nr), folios))
    limit = _rate_limit(machine)
    _adjust_threshold(machine, node, limit)
    if _latency(machine, stamp) >= _threshold(machine, node):
        return Answer(may=False, nr=folios)
    return _within_rate(machine, node, limit, nr, folios)


def decided_until(machine: Machine, task: Task, a: int, b: int) -> tuple[int, int]:
    """How many of pages [a, b), and until when, get the same answer as the first.

    Gives the page and the time (ms) at which that may be another. It lets a task's accesses, which
    take time, be made in as few pieces as there are answers.
    """
    for run in task.mm.page_table.between(a, b):
        if not run.flags & Pte.HINT or not run.lanes:
            continue
        if run.start > a:
            return run.start, machine.now + _RATE_WINDOW
        pfn = run.pfn(a)
        found = machine.memmap_of(pfn).at(pfn)
        assert found is not None, f"frame {pfn:#x} is mapped but in nobody's use"
        alike = found.start + found.nr - pfn if len(run.lanes) == 1 else 1 << run.order
        return min(a + alike, b), _next_change(machine, task, found.frame.cpupid)
    return b, machine.now + _RATE_WINDOW


def _next_change(machine: Machine, task: Task, stamp: int) -> int:
    """When a page that is accessed later may get another answer."""
    node = machine.nodes[machine.local_node(task)]
    state = node.promotion
    times = [
        machine.now + _threshold(machine, node) - _latency(machine, stamp),
        state.rate_start + _RATE_WINDOW + 1,
        state.threshold_start + machine.numa_knobs.scan_period_max_ms + 1,
    ]
    return min([time for time in times if time > machine.now], default=machine.now + _RATE_WINDOW)


def _free_space_enough(node: Node) -> int:
    """By how many pages a zone has more than enough free. Mirrors pgdat_free_space_enough()."""
    enough = max(_GIB, node.nr_pages >> 4)
    return max(
        (
            # The watermark of promotion lies as far above "high" as that above "low".
            zone.nr_free - (2 * zone.watermark_high - zone.watermark_low) - enough - zone.reserve
            for zone in node.zones
        ),
        default=0,
    )


def _rate_limit(machine: Machine) -> int:
    """How many base pages may be promoted to a node in a second."""
    return machine.numa_knobs.promote_rate_limit_mbps << (20 - PAGE_SHIFT)


def _threshold(machine: Machine, node: Node) -> int:
    return node.promotion.threshold or machine.numa_knobs.hot_threshold_ms


def _latency(machine: Machine, stamp: int) -> int:
    """How long ago the time *stamp* was, in ms. Mirrors numa_hint_fault_latency()."""
    return (machine.now - stamp) & TIME_MASK


def _adjust_threshold(machine: Machine, node: Node, limit: int) -> None:
    """Aim at as many candidates as the limit allows. Mirrors numa_promotion_adjust_threshold()."""
    state, knobs = node.promotion, machine.numa_knobs
    if machine.now - state.threshold_start <= knobs.scan_period_max_ms:
        return
    wanted = limit * knobs.scan_period_max_ms // 1000
    found = node.numa[CANDIDATE] - state.threshold_candidates
    step = knobs.hot_threshold_ms * 2 // _STEPS
    threshold = _threshold(machine, node)
    if found > wanted * 11 // 10:
        threshold = max(threshold - step, step)
    elif found < wanted * 9 // 10:
        threshold = min(threshold + step, knobs.hot_threshold_ms * 2)
    node.promotion = state._replace(
        threshold=threshold, threshold_start=machine.now, threshold_candidates=node.numa[CANDIDATE]
    )


def _within_rate(machine: Machine, node: Node, limit: int, nr: int, folios: int) -> Answer:
    """How many candidates the limit lets pass. Mirrors numa_promotion_rate_limit().

    Candidates count before they are judged: the first one of a window always passes. A CPU tells
    the node of them in steps, the first of which begins with the window; the one that completes
    the step that reaches the limit is refused.
    """
    before = node.numa[CANDIDATE]
    step = -(-(_stat_threshold(machine, node) + 1) // nr) * nr
    if machine.now - node.promotion.rate_start > _RATE_WINDOW:
        told = nr if step == nr else 0
        state = node.promotion._replace(rate_start=machine.now, rate_candidates=before + told)
        node.promotion = state
    left = -(-limit // step) * step - (before - node.promotion.rate_candidates)
    passing = max(-(-left // nr) - 1, 0)
    answer = Answer(passing > 0, min(passing or folios, folios))
    node.numa.add(CANDIDATE, answer.nr * nr)
    return answer


def _stat_threshold(machine: Machine, node: Node) -> int:
    """How many pages a CPU counts on its own before it adds them to the node's counter.

    Mirrors refresh_zone_stat_thresholds() and calculate_normal_threshold().
    """
    size = max((zone.managed for zone in node.zones), default=0) >> (27 - PAGE_SHIFT)
    return min(2 * len(machine.cpus).bit_length() * (1 + size.bit_length()), _MAX_STAT_THRESHOLD)
