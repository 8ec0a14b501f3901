"""Why pages do not move: in words, where it shows, and what helps."""

from typing import NamedTuple

from pymigrate.mm.base.memmap import Busy, Folio, FrameFlag
from pymigrate.mm.engine.migrate_ops import Method, ops_of
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.vma import Vma, is_migratable

SHARED, KEPT, PINNED, HELD = "shared", "kept", "pinned", "held"
UNMOVABLE, FULL, ENDED = "unmovable", "full", "ended"
SECRET, REQUEST, DIRTY, IN_USE, WORKED_ON = "secret", "request", "dirty", "in-use", "worked-on"
ABSENT, ZERO, THERE = "absent", "zero", "there"

_COUNTED = (
    "pgmigrate_fail; migrate_pages and move_pages return how many, mbind --strict fails with EIO"
)


class Reason(NamedTuple):
    """One reason for which pages stay."""

    short: str  # after "12 pages stayed: 12 "
    text: str  # what kept them, and what would move them
    shows: str  # errno, status or counter
    cure: str


REASONS = {
    SHARED: Reason(
        "mapped more than once",
        "mapped more than once (only a caller with CAP_SYS_NICE moves such pages)",
        "-EACCES of move_pages; nothing in migrate_pages and mbind, which pass them over",
        "call as root; for move_pages and mbind with --move-all",
    ),
    KEPT: Reason(
        "mapped more than once",
        "mapped more than once (--move-all would move them; it needs CAP_SYS_NICE)",
        "-EACCES of move_pages; nothing in mbind, which passes them over",
        "call as root with --move-all",
    ),
    PINNED: Reason("pinned", "pinned", _COUNTED, "let the holder unpin them: pymigrate task unpin"),
    HELD: Reason(
        "held by another reference",
        "held by another reference",
        _COUNTED,
        "let the holder drop it: pymigrate task unpin --kind short",
    ),
    UNMOVABLE: Reason(
        "never migrated",
        "in a mapping that is never migrated",
        "-EFAULT of move_pages; nothing in migrate_pages, EIO of mbind --strict",
        "none: device memory stays where it is",
    ),
    SECRET: Reason(
        "of secret memory",
        "secret memory, whose a_ops refuse with EBUSY",
        _COUNTED,
        "none: memfd_secret's pages stay where they are",
    ),
    REQUEST: Reason(
        "with a request to the server",
        "with a request to the NFS server under way, so that its a_ops refuse with EBUSY",
        _COUNTED,
        "let them be written out (fsync), and call again",
    ),
    DIRTY: Reason(
        "dirty and without a way to be written out",
        "dirty, in a filesystem without migrate_folio and writepage in its a_ops (EINVAL)",
        _COUNTED,
        "none while they are dirty: keep such data in tmpfs instead",
    ),
    IN_USE: Reason(
        "with buffers in use",
        "with buffers in use by somebody",
        _COUNTED,
        "call again when the buffers are not in use",
    ),
    WORKED_ON: Reason(
        "worked on by somebody",
        "locked or under writeback, and for ever: a call would wait for the end of it",
        "nothing: the call does not return",
        "let the work end",
    ),
    FULL: Reason(
        "because the target node was full",
        "the target node is full",
        "ENOMEM of migrate_pages and move_pages, pgmigrate_fail for one page; nothing in mbind",
        "free memory of the target node, or name another",
    ),
    ENDED: Reason(
        "that the call did not come to",
        "the call ended before their turn",
        "what the call returns; move_pages leaves their status as it was",
        "cure what ended the call, and call again",
    ),
    ABSENT: Reason("not present", "not present", "-ENOENT of move_pages", "touch them"),
    ZERO: Reason(
        "the zero page",
        "the zero page, which all processes have in common",
        "-EFAULT of move_pages",
        "store into them",
    ),
    THERE: Reason("there already", "there already", "their status in move_pages", "none needed"),
}


def obstacle(machine: Machine, folio: Folio, vma: Vma, move_all: bool) -> str | None:
    """What keeps *folio*, mapped by *vma*, from moving wherever there is room; a key of REASONS."""
    if not is_migratable(vma):
        return UNMOVABLE
    if folio.likely_shared and not move_all:
        return SHARED
    if folio.pins:
        return PINNED
    if folio.extra_refs:
        return HELD
    return _work(machine, folio) or _refusal(machine, folio)


def _work(machine: Machine, folio: Folio) -> str | None:
    """What is done with the folio for ever."""
    work = machine.busy.get(folio.pfn)
    if work is None or work.left >= 0:
        return None
    return IN_USE if work.kind == Busy.BUFFER_REF else WORKED_ON


def _refusal(machine: Machine, folio: Folio) -> str | None:
    """Why the filesystem does not move the folio. Says what refusal() of migrate_ops.py does."""
    ops = ops_of(machine, folio)
    if ops.method == Method.SECRETMEM:
        return SECRET
    if ops.method == Method.NFS and ops.has_private(folio):
        return REQUEST
    is_dirty = bool(folio.flags & FrameFlag.DIRTY)
    if ops.method == Method.NONE and is_dirty and not ops.has_writepage:
        return DIRTY
    return None
