"""Executes the steps that take memory away, or ask for a certain part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymigrate.mm.offline.memory_hotplug import physical
from pymigrate.nodemask import Bitmap
from pymigrate.scenario import memory_steps
from pymigrate.scenario.record import Record, done
from pymigrate.syscalls import cma, memory_blocks
from pymigrate.units import PAGE_SHIFT

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymigrate.scenario.runner import Runner
    from pymigrate.scenario.spec.step_base import Step


def _memory_offline(runner: Runner, step: memory_steps.MemoryOfflineStep) -> Record:
    caller = runner.caller(step.task)
    return _blocks(memory_blocks.offline(runner.machine, caller, step.node, step.blocks))


def _memory_online(runner: Runner, step: memory_steps.MemoryOnlineStep) -> Record:
    caller = runner.caller(step.task)
    return _blocks(memory_blocks.online(runner.machine, caller, step.node, step.blocks))


def _cma_alloc(runner: Runner, step: memory_steps.CmaAllocStep) -> Record:
    machine = runner.machine
    found = cma.alloc(machine, runner.caller(step.task), step.name, step.size, step.node)
    return done() | {"address": f"{physical(machine, found.start) << PAGE_SHIFT:#x}"}


def _cma_release(runner: Runner, step: memory_steps.CmaReleaseStep) -> Record:
    cma.release(runner.machine, runner.caller(step.task), step.name)
    return done()


def _blocks(outcomes: list[memory_blocks.Outcome]) -> Record:
    """The answer of the first block that failed; which were done, and why others were not."""
    failed = {str(number): error.errno for number, error in outcomes if error}
    answer = {"ret": -1, "errno": next(iter(failed.values()))} if failed else done()
    answer["blocks"] = str(Bitmap.collect(n for n, error in outcomes if not error))
    return answer | ({"left": failed} if failed else {})


MEMORY: dict[type[Step], Callable[[Runner, Any], Record]] = {  # each takes its own step
    memory_steps.CmaAllocStep: _cma_alloc,
    memory_steps.CmaReleaseStep: _cma_release,
    memory_steps.MemoryOfflineStep: _memory_offline,
    memory_steps.MemoryOnlineStep: _memory_online,
}
