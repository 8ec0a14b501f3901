"""The simulated machine with the real processes that run on it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from pymigrate.errors import KernelError
from pymigrate.mm.spaces.exit import free_mm
from pymigrate.mm.state.machine import Machine, as_task
from pymigrate.mm.state.numa import NumaTask
from pymigrate.mm.state.task import CAP_FULL, TASK_COMM_LEN, Cred, Task
from pymigrate.native.hostmem import TOP, read_file
from pymigrate.native.sync import Memory, new_mm
from pymigrate.native.tracee import Process, Thread
from pymigrate.records import replaced
from pymigrate.syscalls import process as syscalls
from pymigrate.tools.system import System, end
from pymigrate.units import PAGE_SHIFT, PAGE_SIZE


class World:
    """A machine, and the traced threads that are tasks of it under their own numbers."""

    def __init__(self, machine: Machine, root: str, say: Callable[[str], None]) -> None:
        """*root* is a directory for the files that programs are given, and *say* tells the user."""
        self.machine, self.root, self.say = machine, root, say
        self.processes: dict[int, Process] = {}
        self.threads: dict[int, Thread] = {}
        self.given: set[str] = set()  # private files that may be open, and must not change
        # Of private files that are filled as they are read, by inode: whether the reader is shown
        # frames, and how many reads are under way.
        self.reading: dict[int, list[int]] = {}
        # Those of huge pages, which are there while they are open; or, of segments, until removed.
        self.objects = {sid for sid, space in machine.spaces.items() if space.is_segment}
        self.stopped: Thread | None = None  # whose stop is looked after; others may go on
        self.listed: list[str] = []  # the names in /proc when it was last listed
        self.listings = 0  # how often they have changed
        self.is_newest_first = True  # how the host lists directories
        self._looked_at = 0, 0  # how many tasks there were, and kills, when victims were sought
        self._first = Cred(0)  # as whom the first program has begun on the host

    def replace_machine(self, machine: Machine) -> None:
        """Go on with *machine*, which another command has changed."""
        machine.watch = self.machine.watch
        self.machine, self._looked_at = machine, (0, 0)

    # who there is

    def task(self, thread: Thread) -> Task:
        """The task of a traced thread. Raises KernelError ESRCH if it was killed."""
        return self.machine.task(thread.tid)

    def find(self, pid: int, thread: Thread) -> Task:
        """The task that *pid* means to a thread: 0 is itself. Raises KernelError ESRCH."""
        return self.machine.task(pid or thread.tid)

    def is_declared(self, pid: int) -> bool:
        """Whether *pid* is a task of the scenario, and no real process or thread."""
        return pid in self.machine.tasks and pid not in self.threads

    # their lives

    def begin(self, pid: int, comm: str) -> Thread:
        """Let the first program, which will be *comm*, be a task."""
        machine = self.machine
        self._first = _cred(_status(pid))
        system = System(machine, machine.shell_of(0), pid=pid)
        system.start(comm)
        process = Process(pid, Memory(self.say), is_begun=False)
        return self._enter(process, process.add(pid))

    def forked(self, maker: Thread, pid: int, shares_memory: bool) -> Thread:
        """Let a child of *maker*'s process be a task.

        The copy of its memory is made when that is looked at, or changes. Most are never made: a
        child executes a program.
        """
        parent = maker.process
        process = Process(pid, Memory(self.say))
        if shares_memory:
            self.part(parent)
        elif parent.borrows or not parent.memory.has_same_pages(self.machine, self.task(maker)):
            self.sync(maker)
        task = self.task(maker)
        _share(self.machine, task, pid, f"{task.comm}-{pid}")
        if shares_memory:
            process.borrows = parent.borrows or parent.pid
        else:
            process.forked_from = parent
            parent.forks.append(process)
            process.is_new, process.is_followed = parent.is_new, parent.is_followed
            parent.memory.is_forked = process.memory.is_forked = True
        process.is_dumpable = parent.is_dumpable
        return self._enter(process, process.add(pid))

    def cloned(self, maker: Thread, tid: int) -> Thread:
        """Let a process have another thread."""
        self.part(maker.process)
        task = self.task(maker)
        syscalls.clone(self.machine, task, f"{task.comm}-{tid}", tid)
        thread = self.threads[tid] = maker.process.add(tid)
        return thread

    def executed(self, thread: Thread, tid: int, comm: str = "") -> None:
        """A process, whose thread *tid* asked for it, runs another program now, called *comm*."""
        process = thread.process
        task = self.task(thread)
        process.threads[process.pid] = thread
        if tid != process.pid and tid in self.machine.tasks:
            _take_over(task, self.machine.tasks[tid])
        for other in list(process.threads):
            if other != process.pid:
                self.gone(other)
        thread.at_end, thread.changed = None, []
        self._part_forks(process)
        _leave_parent(process)
        if self.machine.mm_users(task.mm) == 1:
            free_mm(self.machine, task)
        task.mm = new_mm(self.machine)
        process.memory.executed()
        process.is_begun, process.is_new = True, True
        process.is_looked_at, process.borrows = False, 0
        process.is_dumpable = task.is_dumpable = True
        task.comm = comm or _comm(process.pid)

    def exits(self, thread: Thread) -> None:
        """A thread is about to end; with the last one its task ends."""
        process = thread.process
        if set(process.threads) != {thread.tid}:
            process.threads.pop(thread.tid, None)
            if thread.tid != process.pid:  # a process is there as long as one of its threads is
                end(self.machine, thread.tid)
            return
        self.finish(thread)
        self.kill_victims()
        _leave_parent(process)
        process.has_ended = True
        end(self.machine, process.pid)

    def finish(self, thread: Thread) -> None:
        """A thread's process is about to end: what it has touched until then counts."""
        process = thread.process
        self._part_forks(process)
        task = self.machine.tasks.get(thread.tid)
        if process.is_finished or not process.is_begun or task is None:
            return
        if process.is_looked_at or process.borrows:
            self.sync(thread)
        else:
            copied = task.mm if process.forked_from else None
            with as_task(self.machine, task):
                if not process.memory.finish(self.machine, task, copied):
                    self._copy(process)
                    process.memory.finish(self.machine, task, None)
        process.is_finished = not process.borrows

    def gone(self, tid: int) -> None:
        """A thread has ended."""
        thread = self.threads.pop(tid, None)
        if thread is None:
            return
        process = thread.process
        process.threads.pop(tid, None)
        if not process.threads or tid == process.pid:
            self._part_forks(process)
            _leave_parent(process)
            if self.processes.pop(process.pid, None) and not process.has_ended:
                end(self.machine, process.pid)
            process.memory.executed()
        elif not process.has_ended:
            end(self.machine, tid)

    def kill_victims(self) -> None:
        """Whoever the simulated machine has killed is killed."""
        tasks, kills = self.machine.tasks, self.machine.counters.get("oom_kill", 0)
        if self._looked_at == (len(tasks), kills):
            return  # nobody has gone since
        self._looked_at = len(tasks), kills
        for process in list(self.processes.values()):
            if process.pid not in tasks and not process.has_ended:
                process.has_ended = True
                self.say(f"process {process.pid} is killed: the simulated machine has no memory")
                _kill(process.pid)

    def kill_hidden(self, process: Process) -> None:
        """A process that cannot be read any more must not go on with the host's answers."""
        self.say(
            f"process {process.pid} is killed: it cannot be traced any more, because its user has"
            " changed, and pymigrate lacks CAP_SYS_PTRACE"
        )
        _kill(process.pid)

    # what they have

    def part(self, process: Process) -> None:
        """Let a process have memory of its own, which neither parent nor children share.

        That must be so before it is looked at, or changes. Where it is a parent's, that one's is
        meant.
        """
        process = self.processes.get(process.borrows, process)
        if process.forked_from is not None:
            self._copy(process)
        self._part_forks(process)

    def _part_forks(self, process: Process) -> None:
        for child in list(process.forks):
            self._copy(child)

    def _copy(self, process: Process) -> None:
        """Give a process a copy of its parent's memory, or that itself if nobody else has it."""
        parent = process.forked_from
        _leave_parent(process)
        machine, task = self.machine, self.machine.tasks.get(process.pid)
        if parent is None or task is None or machine.mm_users(task.mm) == 1:
            return
        task.numa = NumaTask(machine.numa_knobs.scan_delay_ms)
        maker = machine.tasks.get(parent.pid) or replaced(task)
        try:
            syscalls.dup_mmap(machine, maker, task)
        except KernelError as error:
            self.say(f"process {process.pid} is killed: {error.why}")
            del machine.tasks[process.pid]
            process.has_ended = True
            _kill(process.pid)

    def sync(self, thread: Thread) -> None:
        """Let the simulated machine know what a thread's process has mapped and touched.

        What is new gets its place as if *thread* had touched it.
        """
        self._sync(thread, 0, TOP)

    def sync_range(self, thread: Thread, addr: int, length: int) -> None:
        """Likewise, of all mappings, and of the pages of some bytes."""
        self._sync(thread, addr >> PAGE_SHIFT, -(-(addr + length) // PAGE_SIZE))

    def sync_all(self, first: Thread | None = None) -> None:
        """Let the simulated machine know what all processes have touched, *first*'s at first."""
        for process in list(self.processes.values()):
            self.part(process)
        if first is not None:
            self.sync(first)
        for process in list(self.processes.values()):
            thread = next(iter(process.threads.values()), None)
            if thread is not None and (first is None or process is not first.process):
                self.sync(thread)
        self.drop_objects()

    def drop_objects(self) -> None:
        """Free the objects of huge pages that nobody maps or has open any more."""
        if self.objects:
            from pymigrate.native.objects import drop_objects  # few programs need it

            drop_objects(self.machine, self.objects, self.processes)

    def _sync(self, thread: Thread, a: int, b: int) -> None:
        """Where memory is shared with a parent, that process's."""
        owner = self.processes.get(thread.process.borrows, thread.process)
        if owner.forked_from is not None:
            self.part(owner)
        task = self.machine.tasks.get(thread.tid)
        if task is not None and not (owner.has_ended or owner.is_finished):
            owner.is_new, owner.is_looked_at = False, True
            owner.memory.is_running = thread is not self.stopped or len(owner.threads) > 1
            with as_task(self.machine, task):
                owner.memory.sync(self.machine, task, a, b, lambda: self._part_forks(owner))

    def note_credentials(self, thread: Thread) -> Task:
        """Let a thread's task have its users, group and capabilities; returns the task.

        Who runs the first program is root of the simulated machine, and may do everything: what
        he was given on the host counts as all there is. Raises KernelError ESRCH.
        """
        task = self.task(thread)
        try:
            known = _status(thread.tid)
        except OSError:
            return task
        task.cred = _simulated(_cred(known), self._first)
        task.is_dumpable = thread.process.is_dumpable
        return task

    def check_dumpable(self, thread: Thread) -> Callable[[int], None]:
        """What is to be done when a call ends that may change a thread's users or groups.

        A process whose effective user or group is another is not dumpable any more. Mirrors
        commit_creds().
        """
        before = _effective_ids(thread.tid)

        def ended(_: int) -> None:
            if _effective_ids(thread.tid) != before:
                thread.process.is_dumpable = False
            self.note_credentials(thread)

        return ended

    def _enter(self, process: Process, thread: Thread) -> Thread:
        self.processes[process.pid] = process
        self.threads[thread.tid] = thread
        return thread


def _share(machine: Machine, task: Task, pid: int, name: str) -> None:
    """Make a process that uses the memory of *task*. Mirrors copy_mm() with CLONE_VM."""
    machine.tasks[pid] = replaced(
        task,
        pid=pid,
        name=name,
        parent=machine.process_of(task).name,
        thread_of=0,
        numa=NumaTask(),
        numa_faults={},
        accesses=[],
    )


def _leave_parent(process: Process) -> None:
    """It needs no copy of its parent's memory, or has it."""
    if process.forked_from is not None:
        process.forked_from.forks.remove(process)
        process.forked_from = None


def _take_over(task: Task, other: Task) -> None:
    """Let the first thread be the one that has executed a program. Mirrors de_thread()."""
    task.policy, task.il_prev, task.il_weight = other.policy, other.il_prev, other.il_weight
    task.cpus, task.user_cpus = other.cpus, other.user_cpus


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _comm(pid: int) -> str:
    try:
        data = read_file(f"/proc/{pid}/comm")
    except OSError:
        return "?"
    return data.decode("utf-8", "surrogateescape").rstrip("\n")[: TASK_COMM_LEN - 1]


def _status(pid: int) -> dict[str, str]:
    text = read_file(f"/proc/{pid}/status").decode("utf-8", "surrogateescape")
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def parent_of(pid: int) -> tuple[int, int]:
    """The process of a thread, and that one's parent; 0 of one that is gone."""
    try:
        known = _status(pid)
    except OSError:
        return 0, 0
    return int(known["Tgid"]), int(known["PPid"])


def _cred(known: dict[str, str]) -> Cred:
    """What /proc/PID/status tells of credentials."""
    uid, euid, suid, _ = map(int, known["Uid"].split())
    caps, permitted = (int(known[name], 16) for name in ("CapEff", "CapPrm"))
    return Cred(uid, euid, suid, int(known["Gid"].split()[0]), caps, permitted)


def _simulated(cred: Cred, first: Cred) -> Cred:
    """*cred* on the simulated machine, whose root has begun as *first* on the host."""
    uid, euid, suid = (0 if id_ == first.euid else id_ for id_ in (cred.uid, cred.euid, cred.suid))
    caps, permitted = cred.caps or 0, cred.permitted or 0
    if euid == 0:
        caps = CAP_FULL & ~((first.caps or 0) & ~caps)
    if 0 in (uid, euid, suid):
        permitted = CAP_FULL & ~((first.permitted or 0) & ~permitted)
    return Cred(uid, euid, suid, 0 if cred.gid == first.gid else cred.gid, caps, permitted)


def _effective_ids(tid: int) -> list[str]:
    """As whom a thread acts on the host, and as whom it opens files."""
    known = _status(tid)
    return [known[name].split()[place] for name in ("Uid", "Gid") for place in (1, 3)]
