"""Let simulated time pass while all tasks use their memory as they have declared."""

from __future__ import annotations

from typing import NamedTuple

from pymigrate.mm.clock.access_sweep import Accessing
from pymigrate.mm.clock.simulated_time import Clock, Done, Scan
from pymigrate.mm.state.machine import Machine


class Ended(NamedTuple):
    """A declared access pattern that a signal has ended."""

    pid: int
    task: str
    region: str
    signal: str


class Balanced(NamedTuple):
    """What happened while time passed: what each task's accesses met, the scans, what ended."""

    tasks: dict[int, Done]  # of those that ran, by pid
    scans: list[Scan]
    ended: list[Ended]


def balance(machine: Machine, ms: int) -> Balanced:
    """Let so many ms pass. Tasks that declare no accesses do not run."""
    tasks = [task for _, task in sorted(machine.tasks.items()) if task.accesses]
    programs = [Accessing(task) for task in tasks]
    clock = Clock(machine, programs)
    clock.pass_time(ms)
    ended = [
        Ended(program.task.pid, program.task.name, region, signal)
        for program in programs
        for region, signal in program.signals.items()
    ]
    return Balanced(clock.done, clock.scans, ended)
