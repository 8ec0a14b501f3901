"""What the steps of a scenario have in common, and what they find when they are executed."""

from abc import abstractmethod
from typing import Protocol

from pymigrate.errors import KernelError
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Region, Task
from pymigrate.scenario.record import Record
from pymigrate.scenario.spec.names import RegionNames
from pymigrate.scenario.text.fields import Model


class Player(Protocol):
    """Where a step is executed: a machine, and what the steps before it have named."""

    machine: Machine
    names: RegionNames
    pids: dict[str, int]  # of the tasks that there are, or were, by name
    counted: dict[str, int]  # what the last step `vmstat` saw

    def task(self, name: str) -> Task:
        """The task that a step names. Raises KernelError ESRCH if it is not there any more."""

    def caller(self, name: str | None) -> Task:
        """The task that makes a call: the shell, where a step names none."""

    def region(self, task: str, at: str) -> Region:
        """The memory that a step names."""

    def range(self, task: str, at: str, offset: int, length: int | None) -> tuple[int, int]:
        """Address and length in bytes of a part of a region; None: to the region's end."""


class Step(Model):
    """One step of a scenario; `op` says which."""

    op: str

    @abstractmethod
    def run(self, player: Player) -> Record:
        """Execute it; its record, but for `op`. Raises KernelError for what the kernel refuses."""

    def refused(self, error: KernelError) -> Record:
        """The record where it was refused."""
        return {"ret": -1, "errno": error.errno}
