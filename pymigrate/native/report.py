"""What the user is told of a run: each answered call, what was traced, and what has changed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

from pymigrate.errors import ERRNO
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import UNWATCHED, Watch
from pymigrate.mm.state.task import Left
from pymigrate.native import abi
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World
from pymigrate.records import NamedTuple
from pymigrate.units import counted

if TYPE_CHECKING:
    from pymigrate.views.told.changes import Snapshot
    from pymigrate.views.told.trace import Actor, Part

# What few runs tell is imported when they do, so that programs start fast.

_MAX_ERRNO = 4095  # and what else is a small negative number
_LOWEST_ADDR = 1 << 22  # that programs are loaded at
_NAMES = {number: name for name, number in ERRNO.items()}


def say(text: str) -> None:
    """One line for the user, on stderr."""
    if sys.stderr:  # it is not closed
        sys.stderr.write(f"pymigrate: {text}\n")
        sys.stderr.flush()


def keep_nothing(_machine: Machine, _parts: Sequence[Part]) -> None:
    """What becomes of a trace that nobody wants."""


class Options(NamedTuple):
    """What is to be told of a run."""

    verbose: bool = False
    summary: bool = False
    calls: TextIO | None = None  # where answered calls are written to as JSON
    watch: Watch = UNWATCHED  # what is traced
    write_trace: Callable[[Machine, Sequence[Part]], None] = keep_nothing


class Report:
    """What is told of a run, as it was asked for."""

    def __init__(self, world: World, first: int, options: Options) -> None:
        """*first* is the process with whose end the run ends for the user, and is no task yet."""
        self.first, self.options = first, options
        self.is_noting = options.summary or options.watch.events is not None
        self._before = _snapshot(world.machine) if options.summary else None
        self._parts: list[Part] = []
        self._actor: Actor | None = None  # whose stop it is
        self._success, self._left = 0, world.machine.left  # before it
        self._moved: dict[str, tuple[int, int]] = {}  # by the calls' name: calls, base pages
        self._stayed: dict[int, list[Left]] = {}  # of each process, after the last such call
        world.machine.watch = options.watch

    def note(self, world: World, thread: Thread) -> None:
        """A thread has stopped: what follows is its doing."""
        from pymigrate.views.told.trace import Actor

        self._flush()
        machine = world.machine
        task = machine.tasks.get(thread.process.pid)
        self._actor = Actor(task.comm, thread.tid, task.cpu) if task else Actor("?", thread.tid, 0)
        self._success, self._left = machine.counters["pgmigrate_success"], machine.left

    def answered(
        self, world: World, thread: Thread, nr: int, args: tuple[int, ...], result: int
    ) -> None:
        """A call was answered."""
        name = abi.NAMES.get(nr, f"syscall_{nr}")
        args = args[: abi.NR_ARGUMENTS.get(name, 3)]
        if self._before is not None:
            self._note_moves(world.machine, name)
        if self.options.verbose:
            shown = _NAMES.get(-result, "") if result < 0 else ""
            say(f"{thread.tid} {name}({', '.join(map(_word, args))}) = {shown or result}")
        if self.options.calls is not None:
            import json

            call = {"pid": thread.process.pid, "tid": thread.tid, "call": name}
            self.options.calls.write(json.dumps(call | {"args": args, "result": result}) + "\n")

    def ended(self, world: World, thread: Thread) -> None:
        """A thread has ended: with the first process the rest is told."""
        if thread.tid != self.first:
            return
        if self._before is not None:
            world.sync_all()
            sys.stderr.write(self._summary(world))
            sys.stderr.flush()
            self._before = None
        self._flush()
        self.options.write_trace(world.machine, self._parts)

    def _flush(self) -> None:
        events = self.options.watch.events
        if events and self._actor:
            from pymigrate.views.told.trace import Part

            self._parts.append(Part(self._actor, list(events)))
            events.clear()

    def _note_moves(self, machine: Machine, name: str) -> None:
        moved = machine.counters["pgmigrate_success"] - self._success
        left = machine.left if machine.left is not self._left else []
        if moved or left:
            calls, pages = self._moved.get(name, (0, 0))
            self._moved[name] = (calls + 1, pages + moved)
        self._stayed |= {row.pid: [] for row in left}
        for row in left:
            self._stayed[row.pid].append(row)

    def _summary(self, world: World) -> str:
        """What has moved, what stayed and why, and what else is not as before.

        Real processes come and go; what they leave behind is told.
        """
        from pymigrate.views.told import changes
        from pymigrate.views.why import stayed

        assert self._before is not None
        lines = [
            f"{counted(pages, 'page')} moved by {counted(calls, 'call')} of {name}\n"
            for name, (calls, pages) in self._moved.items()
        ]
        rows = [row for rows in self._stayed.values() for row in rows]
        lines += [f"{line}\n" for line in stayed.format_rows(rows)]
        found = changes.diff(self._before, world.machine, world.threads)
        return "".join(lines) + changes.format_diff(found)


def _snapshot(machine: Machine) -> Snapshot:
    from pymigrate.views.told import changes

    return changes.snapshot(machine)


def _word(value: int) -> str:
    """A register as it is told: numbers, and addresses in hexadecimal.

    >>> _word(4321), _word(0xFFFFFF9C), _word(0x7FFC0000)
    ('4321', '-100', '0x7ffc0000')
    """
    for bits in (32, 64):
        if value < 1 << bits <= value + _MAX_ERRNO:
            return str(value - (1 << bits))
    return str(value) if value < _LOWEST_ADDR else f"{value:#x}"
