"""The loop over the stops of traced threads: calls, signals, and who is born and dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from pymigrate.errors import ERRNO, KernelError, UnsupportedError
from pymigrate.native import abi, auxv, libc, remake, vdso
from pymigrate.native.calls.table import HANDLERS, Handler
from pymigrate.native.hostmem import read_file
from pymigrate.native.report import Report
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World

_STOPPED = 0x7F  # in the low byte of a wait status
_AT_CALL = signal.SIGTRAP | libc.SYSCALL_STOP
_STOPPING = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
_BIRTHS = frozenset({libc.EVENT_FORK, libc.EVENT_VFORK, libc.EVENT_CLONE})
# What must wait until the machine is back, even of who has borrowed it.
_LATER = _BIRTHS | {libc.EVENT_EXEC}


class Tracer:
    """Answers the calls of all traced threads, one after the other."""

    def __init__(self, world: World, report: Report, between: Callable[[], None]) -> None:
        """*between* is called between two stops."""
        self.world, self.report, self.between = world, report, between
        self._deferred: list[tuple[int, int]] = []  # while the machine was lent
        # Threads that stopped, or have ended, before it was told whose they are.
        self._early: dict[int, int] = {}
        self._ended: set[int] = set()
        self._unborn: set[int] = set()  # that were killed before they were anybody
        self._undone: dict[int, Thread] = {}  # that end before they run, and who made them

    def run(self) -> None:
        """Go on until no traced thread is left."""
        while True:
            try:
                found = libc.poll() if self._early else libc.wait()
                if found is None and self._early:
                    self._kill_orphans()  # lest nobody else ever tells of one
                    found = libc.wait()
            except ChildProcessError:
                return
            if found is not None:
                self.handle(*found)
            self.between()

    def handle(self, tid: int, status: int) -> None:
        """What has happened to a thread, by its wait status."""
        thread = self.world.threads.get(tid)
        if status & 0xFF != _STOPPED:
            self._ends(tid)
            return
        if thread is None:
            self._stranger_stops(tid, status)
            return
        self.world.stopped = thread
        if self.report.is_noting:
            self.report.note(self.world, thread)
        try:
            if status >> 16 == libc.EVENT_SECCOMP:
                self._answer(thread)
            else:
                self._handle_stop(thread, status)
        except ProcessLookupError:
            return  # it was killed meanwhile, which is told next
        except KernelError:
            self._let_die(thread)
        except libc.HiddenError:
            self.world.kill_hidden(thread.process)
            self._let_die(thread)

    def _stranger_stops(self, tid: int, status: int) -> None:
        """One has stopped that is nobody yet, or never will be."""
        if tid in self._undone:
            self._undone_stops(tid, status)
        elif tid in self._unborn:
            with suppress(ProcessLookupError):
                libc.go_on(tid)
        else:
            self._early[tid] = status  # it stays stopped until its parent tells of it

    def _ends(self, tid: int) -> None:
        """A thread has ended, maybe before it was told of."""
        self._early.pop(tid, None)
        if tid in self.world.threads:
            self.world.gone(tid)
        elif tid in self._unborn:
            self._unborn.discard(tid)
        elif tid in self._undone:
            self._let_die(self._undone.pop(tid))
        else:
            self._ended.add(tid)
        self._kill_orphans()

    def _kill_orphans(self) -> None:
        """Kill who will not be told of, for its parent was killed as it made it."""
        for tid, status in self._early.items():
            with suppress(ProcessLookupError):
                if _parent(tid) not in self.world.processes and not (
                    _clone_flags(tid) & (abi.CLONE_PARENT | abi.CLONE_THREAD)
                ):
                    os.kill(tid, signal.SIGKILL)
                    if status >> 16 == libc.EVENT_EXIT:
                        libc.go_on(tid)

    def _let_die(self, thread: Thread) -> None:
        """Let one go on that may have been killed, which is told next."""
        try:
            self._resume(thread)
        except ProcessLookupError:
            return

    def defer_or_pass(self, tid: int, status: int, borrower: int) -> None:
        """While the machine is lent: the borrower goes on, without an answer; others wait."""
        thread = self.world.threads.get(tid)
        event = status >> 16
        is_ended = os.WIFEXITED(status) or os.WIFSIGNALED(status)
        if thread is None or is_ended or thread.process.pid != borrower or event in _LATER:
            self._deferred.append((tid, status))
            return
        number = status >> 8 & 0xFF
        is_signal = not event and number != _AT_CALL
        try:
            self._resume(thread, number if is_signal else 0)
        except ProcessLookupError:
            return

    def handle_deferred(self) -> None:
        """What has happened while the machine was lent."""
        deferred, self._deferred = self._deferred, []
        for found in deferred:
            self.handle(*found)

    def _handle_stop(self, thread: Thread, status: int) -> None:
        number, event = status >> 8 & 0xFF, status >> 16
        if number == _AT_CALL:
            self._at_call(thread)
        elif event in _BIRTHS:
            self._born(thread, event)
        elif event == libc.EVENT_EXEC:
            former = libc.event_message(thread.tid, event)
            begun = auxv.begun(thread.tid)
            self.world.executed(thread, former, begun.comm)
            vdso.patch(thread.tid, begun.vdso)
            if thread.process.is_followed:
                from pymigrate.native.calls import writes  # few programs need it

                thread.process.is_followed = writes.has_open(self.world, thread)
            self._resume(thread)
        elif event == libc.EVENT_EXIT:
            self.world.exits(thread)
            self.report.ended(self.world, thread)
            self._resume(thread)
        elif event == libc.EVENT_STOP and number in _STOPPING:
            thread.is_stopped = True
            libc.listen(thread.tid)
        elif event:
            self._resume(thread)
        elif thread.held is not None:
            thread.held.append(number)
            self._resume(thread)
        else:
            self._resume(thread, number)

    def _born(self, maker: Thread, event: int) -> None:
        """A process or a thread was made; it may have stopped already."""
        tid, flags = libc.event_message(maker.tid, event), _clone_flags(maker.tid)
        if tid in self._ended:
            self._ended.discard(tid)
            if not _is_traced(tid):
                self._resume(maker)
                return
        if self.world.is_declared(tid):
            remake.make_again(maker, tid, not flags & abi.CLONE_THREAD)
            self._undone[tid] = maker  # which stays stopped until that has ended
            if status := self._early.pop(tid, 0):
                self._undone_stops(tid, status)
            return
        try:
            if flags & abi.CLONE_THREAD:
                thread = self.world.cloned(maker, tid)
            else:
                thread = self.world.forked(maker, tid, bool(flags & abi.CLONE_VM))
        except KernelError as error:
            self.world.say(f"process {tid} is killed: {error.why}")
            self._kill_unborn(tid)
        else:
            if self._early.pop(tid, 0):
                self._resume(thread)
        self._resume(maker)

    def _kill_unborn(self, tid: int) -> None:
        """Kill who is not to be; it is let go when it stops at its end."""
        self._unborn.add(tid)
        os.kill(tid, signal.SIGKILL)
        if self._early.pop(tid, 0) >> 16 == libc.EVENT_EXIT:
            libc.go_on(tid)

    def _undone_stops(self, tid: int, status: int) -> None:
        """Let one go on that may not have its number, to its end."""
        with suppress(ProcessLookupError):
            if status >> 16 == libc.EVENT_STOP:
                remake.end_at_once(tid)
            libc.go_on(tid)

    def _at_call(self, thread: Thread) -> None:
        """A call begins or ends, of a thread that is followed call by call."""
        op, sp, nr, args = libc.syscall_info(thread.tid)
        if op == libc.ENTRY:
            from pymigrate.native.calls import writes

            thread.sp = sp
            self._answer_by(partial(writes.at_entry, nr=nr), thread, nr, args)
        elif op == libc.EXIT:
            thread.ended(abi.signed(nr, 64))
        self._resume(thread)

    def _answer(self, thread: Thread) -> None:
        """Answer a call of the filter, or let the host do it."""
        _, thread.sp, nr, args = libc.syscall_info(thread.tid)
        self._answer_by(HANDLERS[nr], thread, nr, args)
        self._resume(thread)

    def _answer_by(self, handler: Handler, thread: Thread, nr: int, args: tuple[int, ...]) -> None:
        try:
            result = handler(self.world, thread, args)
        except KernelError as error:
            result = -error.errno
        except UnsupportedError as error:
            self.world.say(str(error))
            result = -ERRNO["ENOSYS"]
        if result is not None:
            thread.answer(result)
            self.report.answered(self.world, thread, nr, args, result)

    def _resume(self, thread: Thread, number: int = 0) -> None:
        """Let a thread go on, with a signal delivered, up to the next stop that matters."""
        self.world.kill_victims()  # nobody goes on after its simulated end
        self.world.stopped, thread.is_stopped = None, False
        is_followed = thread.at_end is not None or thread.changed or thread.process.is_followed
        libc.go_on(thread.tid, libc.SYSCALL if is_followed else libc.CONT, number)


def _clone_flags(tid: int) -> int:
    """What *tid*, which has just made a process or a thread, or is one, shares with the other."""
    nr, first = (libc.register(tid, at) for at in (abi.CALL, abi.ARGUMENTS[0]))
    if nr == abi.CLONE:
        return first
    if nr == abi.CLONE3:
        return int.from_bytes(libc.read_memory(tid, first, 8), "little")
    return abi.CLONE_VM if nr == abi.VFORK else 0


def _parent(tid: int) -> int:
    """The parent of a process, on the host. Raises ProcessLookupError."""
    try:
        return int(read_file(f"/proc/{tid}/stat").rpartition(b") ")[2].split()[1])
    except OSError:
        raise ProcessLookupError(tid) from None


def _is_traced(tid: int) -> bool:
    """Whether a thread is there, and no other has its number now."""
    try:
        with open(f"/proc/{tid}/status", encoding="utf-8", errors="replace") as file:
            return f"\nTracerPid:\t{os.getpid()}\n" in file.read()
    except OSError:
        return False
