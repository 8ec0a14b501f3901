"""What the current call tells all that it calls, and who watches it.

Both are set for a while only, by telling() and watching() of machine.py, and leave nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.state.node import Called, Isolated
from pymigrate.mm.state.task import Meanwhile
from pymigrate.records import NamedTuple

if TYPE_CHECKING:
    from pymigrate.mm.base.why import Stay
    from pymigrate.mm.state.cost import Tally
    from pymigrate.mm.state.events import Event, Step


class Scope(NamedTuple):
    """What holds for all that is called now: the flags of `current`, and what it has in hand."""

    memalloc: bool = False  # nothing may be reclaimed: PF_MEMALLOC
    memalloc_pin: bool = False  # what is allocated will be pinned for long: PF_MEMALLOC_PIN
    off_lru: RunMap[Extent] = RunMap()  # frames that were isolated, to be moved
    isolated: Isolated | None = None  # pageblocks of type MIGRATE_ISOLATE
    meanwhile: Meanwhile | None = None  # an access that somebody makes before it ends


class Watch(NamedTuple):
    """What is noted while somebody watches; None: nobody asks for it."""

    events: list[Event | Step] | None = None  # the tracepoints
    steps: bool = False  # the steps of each folio's migration stand among them
    tally: Tally | None = None  # of what takes time
    driver_calls: list[Called] | None = None  # what drivers were asked
    left: list[Stay] | None = None  # frames that a system call has left, and why
    dropped: dict[int, int] | None = None  # node -> base pages of page cache that gave way
    stack: Callable[[], str] | None = None  # the functions that have called, the innermost first


OUTERMOST, UNWATCHED = Scope(), Watch()
