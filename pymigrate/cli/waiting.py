"""A bar on stderr's terminal while a command takes longer than a second."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pymigrate.cli import terminal

if TYPE_CHECKING:
    from threading import Thread

DELAY = 1.0  # seconds that pass before the bar appears
_STEP = 0.1  # seconds between two looks at how much is done
# Commands that print when their work is done, and neither run programs nor wait for the user.
LONG = {
    *"accesses balance boot capture check compact damon doctor export explain mbind".split(),
    *"memory_blocks migratepages move_pages offline plan reclaim report task".split(),
}


class Bar:
    """Appears after DELAY, and goes with the first thing that is printed on a terminal."""

    def __init__(self) -> None:
        from threading import Event, Thread

        self.is_over, self.is_shown = Event(), Event()
        self.done = self.total = 0
        self._thread: Thread = Thread(target=self._show, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take the bar away."""
        self.is_over.set()
        self._thread.join()

    def _show(self) -> None:
        if self.is_over.wait(DELAY):
            return
        from pymigrate.cli.render import waiting_bar

        with waiting_bar() as update:
            self.is_shown.set()
            while not self.is_over.wait(_STEP):
                update(self.done, self.total)


_bar: Bar | None = None


@contextmanager
def waiting(is_long: bool = True) -> Iterator[None]:
    """Show a bar while the block takes long, if stderr is a terminal."""
    global _bar
    if not (is_long and sys.stderr and sys.stderr.isatty()):
        yield
        return
    _bar = bar = Bar()
    terminal.before_writing = bar.stop
    try:
        yield
    finally:
        terminal.before_writing, _bar = None, None
        bar.stop()


def tell(done: int, total: int) -> None:
    """Say how much of the work is done: *done* of *total*."""
    if _bar:
        _bar.done, _bar.total = done, total
