"""Executes a scenario's steps; each gives the record that FORMAT describes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pymigrate.errors import KernelError, UnsupportedError
from pymigrate.mm.faults.meanwhile import finish
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import telling
from pymigrate.mm.state.task import Meanwhile, Region, Task
from pymigrate.scenario import call_steps
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load
from pymigrate.scenario.record import Record
from pymigrate.scenario.run_calls import CALLS
from pymigrate.scenario.run_compact import COMPACT
from pymigrate.scenario.run_machine import MACHINE
from pymigrate.scenario.run_memory import MEMORY
from pymigrate.scenario.spec.models import Scenario
from pymigrate.scenario.spec.names import RegionNames
from pymigrate.scenario.spec.step_base import Step
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.told import trace

_STEPS = CALLS | MACHINE | MEMORY | COMPACT


def run_scenario(path: Path, kernel: str | None = None) -> list[Record]:
    """The records of all steps of a scenario file."""
    scenario = load(path)
    return list(Runner(build(scenario, kernel), scenario).run())


class Runner:
    """A machine, and how far its scenario's steps have come; without one, what its tasks name."""

    def __init__(self, machine: Machine, scenario: Scenario | None = None) -> None:
        self.machine, self.steps = machine, scenario.steps if scenario else ()
        parents = {task.name: task.parent for task in machine.tasks.values() if task.parent}
        self.names = RegionNames.of(machine.regions, parents)
        self.pids = {task.name: task.pid for task in machine.tasks.values()}
        self.counted: dict[str, int] = {}

    def run(self) -> Iterator[Record]:
        """Execute the steps one by one."""
        for step in self.steps:
            yield self.step(step)

    def step(self, step: Step) -> Record:
        """Execute one step; where the machine is watched, its record holds the trace."""
        events = self.machine.watch.events
        if events is None:
            return self._answer(step)
        events.clear()
        record = self._answer(step)
        if events:
            record["trace"] = trace.lines(self.machine, events)
        return record

    def _answer(self, step: Step) -> Record:
        do = _STEPS.get(type(step))
        if do is None:
            raise UnsupportedError(f"step {step.op} cannot be simulated yet")
        other = None
        try:
            other = self._meanwhile(getattr(step, "meanwhile", None))
            with telling(self.machine, self.machine.scope._replace(meanwhile=other)):
                answer = do(self, step)
        except KernelError as error:
            answer = {"ret": -1, "errno": error.errno}
            if isinstance(step, call_steps.MovePagesStep):
                answer["status"] = []
        if other:
            finish(self.machine, other)
            answer["meanwhile"] = {"waited": other.waited, "signal": other.signal}
        return {"op": step.op, **answer}

    def _meanwhile(self, spec: call_steps.Meanwhile | None) -> Meanwhile | None:
        """The access that another task makes in the middle of a step."""
        if spec is None:
            return None
        page = self.region(spec.task, spec.at).start + (spec.offset >> PAGE_SHIFT)
        return Meanwhile(self.task(spec.task).pid, page, spec.write, finish)

    def task(self, name: str) -> Task:
        """The task that a step names.

        Raises KernelError ESRCH once it has exited, or if it was never made, for its fork failed.
        """
        if name not in self.pids:
            raise KernelError("ESRCH", f"there is no process called {name}")
        return self.machine.task(self.pids[name])

    def caller(self, name: str | None) -> Task:
        """The task that makes a call: the shell, where a step names none."""
        return self.task(name) if name else self.machine.shell_of(0)

    def range(self, step: Any) -> tuple[int, int]:  # any step with at, offset and length
        """Address and length in bytes of what a step works on."""
        region = self.region(step.task, step.at)
        size = region.nr << PAGE_SHIFT
        length = step.length if step.length is not None else max(size - step.offset, 0)
        return (region.start << PAGE_SHIFT) + step.offset, length

    def region(self, task: str, at: str) -> Region:
        """The memory that a step names."""
        key = self.names.find(task, at)
        assert key is not None, "the loader has seen to it"
        return self.machine.regions[key.task, key.name]
