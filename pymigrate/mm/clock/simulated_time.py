"""Simulated time: a queue of scans, between which tasks run and access their memory.

Time passes only while something runs; it is counted in ms, and a tick is 4 ms (HZ=250). kcompactd
looks at the nodes after each scan, and at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Protocol

from pymigrate.mm.balance.scan import task_numa_work, task_tick_numa
from pymigrate.mm.clock.access_sweep import Accessing
from pymigrate.mm.compact.kcompactd import poll
from pymigrate.mm.state.machine import Machine, as_task
from pymigrate.mm.state.numa import TICK
from pymigrate.mm.state.task import Task
from pymigrate.records import NamedTuple, record


class Program(Protocol):
    """What a task does while it runs."""

    task: Task

    def run(self, machine: Machine, start: int, end: int) -> None:
        """Access memory from time *start* to *end*; the machine's time may stand in between."""


Look = Callable[[Machine], None]  # looks at the machine, and leaves it as it is
Done = tuple[int, int, int]  # hint faults, those of them that were local, pages migrated


class Scan(NamedTuple):
    """One scan: when and whose, what it changed, and the hint faults until the task's next one."""

    time: int  # ms
    pid: int
    pte_updates: int
    huge_pte_updates: int
    hint_faults: int = 0
    hint_faults_local: int = 0
    pages_migrated: int = 0
    period: int = 0  # ms, until the next one at least


@record
class _Running:
    """A task that runs, and its share of the CPU."""

    program: Program
    nr_on_cpu: int
    scan: int = -1  # the number of its last scan
    done: Done = (0, 0, 0)

    @property
    def task(self) -> Task:
        """The task that runs."""
        return self.program.task


class Clock:
    """Lets time pass for *programs*, one for each task; the scans that were made are kept."""

    def __init__(
        self, machine: Machine, programs: Sequence[Program], look: Look | None = None
    ) -> None:
        """*look* is called after each scan and its time, and must change nothing."""
        self.machine, self.look = machine, look
        on_cpu = Counter(program.task.cpu for program in programs)
        ordered = sorted(programs, key=lambda program: program.task.pid)
        self.running = {p.task.pid: _Running(p, on_cpu[p.task.cpu]) for p in ordered}
        self.queue: list[tuple[int, int]] = []  # (time, pid) of ticks at which scans are due
        self.scans: list[Scan] = []

    @property
    def done(self) -> dict[int, Done]:
        """What each task's accesses have met, by pid, also after scans of an earlier time."""
        return {pid: running.done for pid, running in self.running.items()}

    def pass_time(self, ms: int) -> None:
        """Let so many ms pass. What a program raises ends it early."""
        end = self.machine.now + ms
        self.queue.clear()
        for running in self.running.values():
            self._plan(running)
        while self.queue and self.queue[0][0] <= end:
            time, pid = heappop(self.queue)
            self._run_until(time)
            running = self.running[pid]
            if self._is_alive(running):
                self._tick(running)
                self._plan(running)
        self._run_until(end)

    def _is_alive(self, running: _Running) -> bool:
        return self.machine.tasks.get(running.task.pid) is running.task

    def _plan(self, running: _Running) -> None:
        """Note the first tick at which the task's CPU time has grown enough."""
        machine, numa = self.machine, running.task.numa
        if not machine.numa_balancing:
            return
        left = (numa.stamp + numa.period) * 1000 - numa.runtime
        wait = max(left, 0) * running.nr_on_cpu // 1000 + 1
        tick = -(-(machine.now + wait) // TICK) * TICK
        heappush(self.queue, (tick, running.task.pid))

    def _tick(self, running: _Running) -> None:
        """Scan, if it is time to. Mirrors task_tick_numa()."""
        machine, task = self.machine, running.task
        if not task_tick_numa(machine, task):
            return
        huge = machine.counters["numa_huge_pte_updates"]
        with as_task(machine, task):
            changed = task_numa_work(machine, task)
        running.scan = len(self.scans)
        huge = machine.counters["numa_huge_pte_updates"] - huge
        period = task.numa.period
        self.scans.append(Scan(machine.now, task.pid, changed, huge, period=period))

    def _run_until(self, time: int) -> None:
        """Let every task run until *time*."""
        machine, start = self.machine, self.machine.now
        if time <= start:
            return
        for running in self.running.values():
            if not self._is_alive(running):
                continue
            task = running.task
            machine.now = start
            before = self._counted()
            with as_task(machine, task):
                running.program.run(machine, start, time)
            faults, local, migrated = (b - a for a, b in zip(before, self._counted(), strict=True))
            self._note(running, (faults, local, migrated))
            runtime = task.numa.runtime + (time - start) * 1000 // running.nr_on_cpu
            task.numa = task.numa._replace(runtime=runtime)
        machine.now = time
        poll(machine)
        if self.look:
            self.look(machine)

    def _counted(self) -> Done:
        counters = self.machine.counters
        faults, local = counters["numa_hint_faults"], counters["numa_hint_faults_local"]
        return faults, local, counters["numa_pages_migrated"]

    def _note(self, running: _Running, new: Done) -> None:
        """Count what the task has met, and that its last scan has led to it."""
        faults, local, migrated = running.done
        running.done = faults + new[0], local + new[1], migrated + new[2]
        if running.scan < 0:
            return
        scan = self.scans[running.scan]
        self.scans[running.scan] = scan._replace(
            hint_faults=scan.hint_faults + new[0],
            hint_faults_local=scan.hint_faults_local + new[1],
            pages_migrated=scan.pages_migrated + new[2],
            period=running.task.numa.period,
        )


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


def balance(machine: Machine, ms: int, look: Look | None = None) -> Balanced:
    """Let so many ms pass. Tasks that declare no accesses do not run.

    *look* is given the machine whenever it has come to a scan, and at the end.
    """
    tasks = [task for _, task in sorted(machine.tasks.items()) if task.accesses]
    programs = [Accessing(task) for task in tasks]
    clock = Clock(machine, programs, look)
    clock.pass_time(ms)
    ended = [
        Ended(program.task.pid, program.task.name, region, signal)
        for program in programs
        for region, signal in program.signals.items()
    ]
    return Balanced(clock.done, clock.scans, ended)
