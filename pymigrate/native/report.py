"""What the user is told of a run: each answered call, what was traced, and what has changed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, TextIO

from pymigrate.errors import ERRNO
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import UNWATCHED, Watch
from pymigrate.native import abi
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World
from pymigrate.views.told import changes
from pymigrate.views.told.trace import Actor, Part

_NAMES = {number: name for name, number in ERRNO.items()}


def say(text: str) -> None:
    """One line for the user, on stderr."""
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
        """*first* is the process with whose end the run ends for the user."""
        self.first, self.options = first, options
        self._before = changes.snapshot(world.machine) if options.summary else None
        self._parts: list[Part] = []
        world.machine.watch = options.watch

    def answered(
        self, world: World, thread: Thread, nr: int, args: tuple[int, ...], result: int
    ) -> None:
        """A call was answered."""
        events = self.options.watch.events
        if events:
            task = world.machine.tasks.get(thread.process.pid)
            comm, cpu = (task.comm, task.cpu) if task else ("?", 0)
            self._parts.append(Part(Actor(comm, thread.tid, cpu), list(events)))
            events.clear()
        name = abi.NAMES.get(nr, f"syscall_{nr}")
        args = args[: abi.NR_ARGUMENTS.get(name, 3)]
        if self.options.verbose:
            words = ", ".join(f"{value:#x}" if value > 9 else str(value) for value in args)
            shown = _NAMES.get(-result, "") if result < 0 else ""
            say(f"{thread.tid} {name}({words}) = {shown or result}")
        if self.options.calls is not None:
            call = {"pid": thread.process.pid, "tid": thread.tid, "call": name}
            self.options.calls.write(json.dumps(call | {"args": args, "result": result}) + "\n")

    def ends(self, world: World, thread: Thread) -> None:
        """A thread is about to end: with the first process the rest is told."""
        if thread.tid != self.first:
            return
        if self._before is not None:
            world.sync_all()
            sys.stderr.write(changes.format_diff(changes.diff(self._before, world.machine)))
            sys.stderr.flush()
            self._before = None
        self.options.write_trace(world.machine, self._parts)
