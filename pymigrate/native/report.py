"""What the user is told of a run: each answered call, and at the end what has changed."""

from __future__ import annotations

import sys
from collections.abc import Callable

from pymigrate.errors import ERRNO
from pymigrate.native import abi
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World
from pymigrate.views.told import changes

_NAMES = {number: name for name, number in ERRNO.items()}


def say(text: str) -> None:
    """One line for the user, on stderr."""
    sys.stderr.write(f"pymigrate: {text}\n")
    sys.stderr.flush()


class Report:
    """What is said, as it was asked for."""

    def __init__(self, world: World, first: int, verbose: bool, summary: bool) -> None:
        """*first* is the process with whose end the run ends for the user."""
        self.first, self.verbose = first, verbose
        self.before = changes.snapshot(world.machine) if summary else None
        self.at_end: Callable[[], None] = lambda: None

    def answered(self, thread: Thread, nr: int, args: tuple[int, ...], result: int) -> None:
        """A call was answered."""
        if not self.verbose:
            return
        words = ", ".join(f"{value:#x}" if value > 9 else str(value) for value in args)
        shown = _NAMES.get(-result, "") if result < 0 else ""
        say(f"{thread.tid} {abi.NAMES[nr]}({words}) = {shown or result}")

    def ends(self, world: World, thread: Thread) -> None:
        """A thread is about to end: with the first process the summary is told."""
        if thread.tid != self.first or thread.process.pid != self.first:
            return
        if self.before is not None:
            world.sync_all()
            text = changes.format_diff(changes.diff(self.before, world.machine))
            sys.stderr.write(text)
            sys.stderr.flush()
            self.before = None
