"""Why pages stay where they are, in a call that is to move them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pymigrate.records import NamedTuple


class Why(StrEnum):
    """What keeps a folio from moving."""

    SHARED = "shared"  # it is mapped more than once, and not all folios are to move
    UNMOVABLE = "unmovable"  # its mapping is never migrated
    PINNED = "pinned"
    HELD = "held"  # by another reference
    MAPPED = "mapped"  # by an entry that is not found: a parent's, of a page that KSM has merged
    SECRET = "secret"  # memory of memfd_secret
    REQUEST = "request"  # to the server, of NFS
    DIRTY = "dirty"  # and its file system cannot write it out
    IN_USE = "in-use"  # its buffers are
    WORKED_ON = "worked-on"  # locked, or under writeback
    DRIVER = "driver"  # it is a driver's page, and the driver keeps it
    FULL = "full"  # there is no memory where it is to go
    ENDED = "ended"  # the call ended before its turn


class Stay(NamedTuple):
    """*nr* frames from *start* on that stay for one reason."""

    start: int
    nr: int
    why: Why


def merged(stays: Iterable[Stay]) -> list[Stay]:
    """*stays* in the order of their frames, each frame once, as few as possible."""
    out: list[Stay] = []
    for stay in sorted(stays):
        end = out[-1].start + out[-1].nr if out else 0
        start, nr, why = max(stay.start, end), stay.start + stay.nr - max(stay.start, end), stay.why
        if nr <= 0:
            continue
        if out and end == start and out[-1].why == why:
            out[-1] = out[-1]._replace(nr=out[-1].nr + nr)
        else:
            out.append(Stay(start, nr, why))
    return out
