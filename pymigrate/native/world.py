"""The simulated machine with the real processes that run on it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.numa import NumaMm, NumaTask
from pymigrate.mm.state.task import CAP_FULL, Task
from pymigrate.native.sync import Memory, unmap_all
from pymigrate.native.tracee import OfThread, Process, Thread
from pymigrate.syscalls import process as syscalls
from pymigrate.tools.system import System, end

_COMM_LENGTH = 15


class World:
    """A machine, and the traced processes that are tasks of it under their own pids."""

    def __init__(self, machine: Machine, root: str, say: Callable[[str], None]) -> None:
        """*root* is a directory for the files that programs are given, and *say* tells the user."""
        self.machine, self.root, self.say = machine, root, say
        self.processes: dict[int, Process] = {}
        self.threads: dict[int, Thread] = {}
        self._first_caps = 0  # what the first program could do on the host

    def replace_machine(self, machine: Machine) -> None:
        """Go on with *machine*, which another command has changed."""
        machine.watch = self.machine.watch
        self.machine = machine

    # who there is

    def task(self, process: Process) -> Task:
        """The task of a traced process. Raises KernelError ESRCH if it was killed."""
        return self.machine.task(process.pid)

    def find(self, pid: int, thread: Thread) -> Task:
        """The task that *pid* means to a thread: 0 is its own. Raises KernelError ESRCH."""
        if not pid:
            return self.task(thread.process)
        other = self.threads.get(pid)
        return self.machine.task(other.process.pid if other else pid)

    def is_declared(self, pid: int) -> bool:
        """Whether *pid* is a task of the scenario, and no real process."""
        return pid in self.machine.tasks and pid not in self.processes

    def acting(self, thread: Thread) -> AbstractContextManager[Task]:
        """The task of a thread's process, which stands for that thread while the block runs.

        Raises KernelError ESRCH.
        """
        task = self.task(thread.process)
        if thread.own is None:
            return nullcontext(task)
        return thread.process.acts(task, thread)

    def memory_of(self, process: Process) -> Task:
        """The task whose memory a process uses. Raises KernelError ESRCH."""
        owner = self.processes.get(process.borrows)
        return self.task(owner or process)

    # their lives

    def begin(self, pid: int) -> Thread:
        """Let the first program be a task."""
        machine = self.machine
        self._first_caps = _capabilities(pid)
        system = System(machine, machine.shell_of(os.stat(f"/proc/{pid}").st_uid), pid=pid)
        system.start(_comm(pid))
        process = Process(pid, Memory(pid, self.say))
        return self._enter(process, process.add(pid))

    def forked(self, maker: Thread, pid: int, shares_memory: bool) -> Thread:
        """Let a child of *maker*'s process be a task."""
        machine, parent = self.machine, maker.process
        process = Process(pid, Memory(pid, self.say))
        with self.acting(maker) as task:
            name = f"{task.comm}-{pid}"
            if shares_memory:
                _with_no_memory(machine, task, pid, name)
                process.borrows = parent.borrows or parent.pid
            else:
                self.sync(parent)
                _fork(machine, task, pid, name)
                process.is_new, process.may_write = parent.is_new, parent.may_write
                parent.memory.is_forked = process.memory.is_forked = True
        process.is_dumpable = parent.is_dumpable
        return self._enter(process, process.add(pid))

    def cloned(self, maker: Thread, tid: int) -> Thread:
        """Let a process have another thread."""
        process = maker.process
        thread = process.add(tid)
        thread.own = replace(maker.own or OfThread.of(self.task(process)))
        self.threads[tid] = thread
        return thread

    def executed(self, thread: Thread, tid: int) -> None:
        """A process, whose thread *tid* asked for it, runs another program now."""
        process = thread.process
        caller = self.threads.get(tid)
        task = self.task(process)
        if caller is not None and caller.own is not None:
            caller.own.put(task)
        process.threads[process.pid] = thread
        for other in list(process.threads):
            if other != process.pid:
                self.gone(other)
        thread.own, thread.at_end, thread.changed = None, None, []
        unmap_all(self.machine, task)
        process.memory.executed()
        process.is_new, process.is_looked_at, process.borrows = True, False, 0
        process.is_dumpable = task.is_dumpable = True
        task.comm = _comm(process.pid)

    def exits(self, thread: Thread) -> None:
        """A thread is about to end; with the last one its task ends."""
        process = thread.process
        if set(process.threads) != {thread.tid}:
            process.threads.pop(thread.tid, None)
            return
        task = self.machine.tasks.get(process.pid)
        if task is not None and not (process.is_looked_at or process.borrows):
            process.memory.finish(self.machine, task)
        else:
            self.sync(process)
        process.has_ended = True
        end(self.machine, process.pid)

    def gone(self, tid: int) -> None:
        """A thread has ended."""
        thread = self.threads.pop(tid, None)
        if thread is None:
            return
        process = thread.process
        process.threads.pop(tid, None)
        if not process.threads or tid == process.pid:
            if self.processes.pop(process.pid, None) and not process.has_ended:
                end(self.machine, process.pid)
            process.memory.executed()

    def kill_victims(self) -> None:
        """Whoever the simulated machine has killed is killed."""
        for process in list(self.processes.values()):
            if process.pid not in self.machine.tasks and not process.has_ended:
                process.has_ended = True
                self.say(f"process {process.pid} is killed: the simulated machine has no memory")
                _kill(process.pid)

    def kill_hidden(self, process: Process) -> None:
        """A process that cannot be read any more must not go on with the host's answers."""
        self.say(
            f"process {process.pid} is killed: it cannot be traced any more, for its user has"
            " changed, and pymigrate lacks CAP_SYS_PTRACE"
        )
        _kill(process.pid)

    # what they have

    def sync(self, process: Process) -> None:
        """Let the simulated machine know what a process has mapped and touched."""
        if process.borrows or process.pid not in self.machine.tasks:
            return
        process.is_new, process.is_looked_at = False, True
        process.memory.sync(self.machine, self.task(process))

    def sync_range(self, process: Process, addr: int, length: int) -> None:
        """Likewise, of some bytes and the mappings alone."""
        if process.borrows or process.pid not in self.machine.tasks:
            return
        process.is_new, process.is_looked_at = False, True
        a, b = addr >> 12, addr + length + 4095 >> 12
        process.memory.sync(self.machine, self.task(process), a, b)

    def sync_all(self) -> None:
        """Let the simulated machine know what all processes have touched."""
        for process in list(self.processes.values()):
            self.sync(process)

    def note_credentials(self, process: Process) -> Task:
        """Let a process's task have its user and capabilities; returns the task.

        Root of a container, who has not all capabilities, has all of the simulated machine: what
        it was given counts as all there is. Raises KernelError ESRCH.
        """
        task = self.task(process)
        try:
            uid, caps = _uid(process.pid), _capabilities(process.pid)
        except OSError:
            return task
        task.uid = uid
        lacks = self._first_caps & ~caps
        task.caps = CAP_FULL & ~lacks if uid == 0 else caps
        task.is_dumpable = process.is_dumpable
        return task

    def _enter(self, process: Process, thread: Thread) -> Thread:
        self.processes[process.pid] = process
        self.threads[thread.tid] = thread
        return thread


def _fork(machine: Machine, task: Task, pid: int, name: str) -> Task:
    """A child with the pid that the host has given it."""
    before, machine.next_pid = machine.next_pid, pid
    try:
        return syscalls.fork(machine, task, name)
    finally:
        machine.next_pid = before
        _skip_taken(machine)


def _skip_taken(machine: Machine) -> None:
    while machine.next_pid in machine.tasks:
        machine.next_pid += 1


def _with_no_memory(machine: Machine, task: Task, pid: int, name: str) -> Task:
    """A child that uses its parent's memory until it executes another program."""
    mm = Mm(machine.new_id(), machine.new_id(), numa=NumaMm(machine.now))
    child = replace(
        task,
        pid=pid,
        name=name,
        mm=mm,
        parent=task.name,
        numa=NumaTask(),
        numa_faults={},
        accesses=[],
    )
    machine.add_mm(mm)
    machine.tasks[pid] = child
    _skip_taken(machine)
    return child


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _comm(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="surrogateescape") as file:
            return file.read().rstrip("\n")[:_COMM_LENGTH]
    except OSError:
        return "?"


def _status(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="surrogateescape") as file:
        pairs = (line.partition(":") for line in file)
        return {name: value.strip() for name, _, value in pairs}


def _uid(pid: int) -> int:
    return int(_status(pid)["Uid"].split()[1])


def _capabilities(pid: int) -> int:
    return int(_status(pid)["CapEff"], 16)
