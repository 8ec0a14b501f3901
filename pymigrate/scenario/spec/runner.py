"""What the steps of a scenario have in common, and what executes them and gives their records."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator

from pydantic import Field

from pymigrate.claims.judge import judge
from pymigrate.errors import KernelError, ScenarioError
from pymigrate.mm.state.machine import Machine, parents_of
from pymigrate.mm.state.task import Region, Task
from pymigrate.scenario.record import Record
from pymigrate.scenario.spec.names import RegionNames
from pymigrate.scenario.text.fields import Claims, Model
from pymigrate.units import PAGE_SHIFT, parse_size


class Step(Model):
    """One step of a scenario; `op` says which."""

    op: str
    expect: Claims = Field(default=(), description="claims that are true once it is done")

    @abstractmethod
    def run(self, runner: "Runner") -> Record:
        """Execute it; its record, but for `op`. Raises KernelError for what the kernel refuses."""

    def refused(self, error: KernelError) -> Record:
        """The record where it was refused, but for why."""
        return {"ret": -1, "errno": error.name}

    def failed(self, error: KernelError) -> Record:
        """The same, with the rule that refused it."""
        return self.refused(error) | ({"why": error.why} if error.why else {})


class Runner:
    """A machine, and what the steps that were executed on it have named; at first its own names."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        threads = [task for task in machine.tasks.values() if task.thread_of]
        processes = {thread.name: machine.process_of(thread).name for thread in threads}
        self.names = RegionNames.of(machine.regions, parents_of(machine), processes)
        self.pids = {task.name: task.pid for task in machine.tasks.values()}  # also of the exited
        self.noted: Record = {}  # what the step has moved and left, where somebody expects anything
        self.counted: dict[str, int] = {}  # what the last step `vmstat` saw

    def run(self, steps: Iterable[Step]) -> Iterator[Record]:
        """Execute the steps one by one."""
        for step in steps:
            yield self.step(step)

    def step(self, step: Step) -> Record:
        """Execute one step; where the machine is watched, its record holds the trace."""
        events = self.machine.watch.events
        if events is None:
            return self._record(step)
        events.clear()
        record = self._record(step)
        if events:
            from pymigrate.views.told import trace

            record["trace"] = trace.recorded_lines(self.machine, events)
        return record

    def _record(self, step: Step) -> Record:
        self.noted = {}
        try:
            answer = step.run(self)
        except KernelError as error:
            answer = step.failed(error)
        self.machine.ledger.close(step.op)
        record = {"op": step.op, **answer}
        if step.expect:
            record["failed"] = [*self._failed(step, self.noted | record)]
        return record

    def _failed(self, step: Step, known: Record) -> Iterator[str]:
        """The claims that are not true after *step*, each with what is so instead."""
        for claim in step.expect:
            try:
                verdict = judge(self.machine, claim, known)
            except ValueError as error:
                raise ScenarioError(f"step {step.op}: {error}") from None
            if not verdict.holds:
                yield str(verdict)

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

    def region(self, task: str, at: str) -> Region:
        """The memory that a step names. Raises KernelError ESRCH if the task is gone."""
        key = self.names.find(task, at)
        if key is None:
            self.task(task)
        assert key is not None, "the loader has seen to it"
        return self.machine.regions[key]

    def place(self, task: str, text: str) -> int:
        """The address that `REGION[+OFFSET]` names. Raises KernelError ESRCH likewise."""
        at, _, offset = text.partition("+")
        return self.range(task, at, parse_size(offset or 0), 0)[0]

    def range(self, task: str, at: str, offset: int, length: int | None) -> tuple[int, int]:
        """Address and length in bytes of a part of a region; None: to the region's end."""
        region = self.region(task, at)
        size = region.nr << PAGE_SHIFT
        length = length if length is not None else max(size - offset, 0)
        return (region.start << PAGE_SHIFT) + offset, length
