"""Executes the steps about the kernel's own memory, and compaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymigrate.mm.base.gfp import Gfp
from pymigrate.mm.base.memmap import nid_of
from pymigrate.scenario import compact_steps
from pymigrate.scenario.record import Record, done, runs
from pymigrate.syscalls import compact, kernel_pages

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymigrate.scenario.runner import Runner
    from pymigrate.scenario.spec.step_base import Step


def _alloc(runner: Runner, step: compact_steps.AllocStep) -> Record:
    machine = runner.machine
    flags = kernel_pages.MODES[step.mode]
    flags |= Gfp.MOVABLE if step.movable else Gfp.NONE
    flags |= Gfp.THISNODE if step.this_node else Gfp.NONE
    got = kernel_pages.alloc(
        machine, runner.caller(step.task), step.name, step.order, step.count, step.node, flags
    )
    return done(got) | {"nodes": runs([nid_of(pfn) for pfn in machine.allocations[step.name].pfns])}


def _free(runner: Runner, step: compact_steps.FreeStep) -> Record:
    return done(kernel_pages.free(runner.machine, step.name))


def _compact(runner: Runner, step: compact_steps.CompactStep) -> Record:
    found = compact.compact(runner.machine, runner.caller(step.task), step.node, step.order)
    zones = [[run.node, run.zone, run.result.name.lower(), run.moved] for run in found]
    return done() | {"zones": zones}


COMPACT: dict[type[Step], Callable[[Runner, Any], Record]] = {  # each takes its own step
    compact_steps.AllocStep: _alloc,
    compact_steps.FreeStep: _free,
    compact_steps.CompactStep: _compact,
}
