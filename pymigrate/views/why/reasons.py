"""Why pages do not move: in words, where it shows, and what helps."""

from pymigrate.mm.base.why import Why
from pymigrate.records import NamedTuple

KEPT = "kept"  # mapped more than once, where --move-all would move it
# What explain() says of pages besides.
ABSENT, ZERO, BAD, THERE = "absent", "zero", "bad", "there"

_COUNTED = (
    "pgmigrate_fail; migrate_pages and move_pages return how many, mbind --strict fails with EIO"
)


class Reason(NamedTuple):
    """One reason for which pages stay."""

    short: str  # after "12 pages stayed: 12 "
    text: str  # what kept them, and what would move them
    shows: str  # errno, status or counter
    cure: str


REASONS: dict[str, Reason] = {
    Why.SHARED: Reason(
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
    Why.PINNED: Reason(
        "pinned", "pinned", _COUNTED, "let the holder unpin them: pymigrate task unpin"
    ),
    Why.HELD: Reason(
        "held by another reference",
        "held by another reference",
        _COUNTED,
        "let the holder drop it: pymigrate task unpin --kind short",
    ),
    Why.MAPPED: Reason(
        "merged and mapped by a parent too",
        "merged by KSM, and mapped by an ancestor of the process that let it be",
        _COUNTED,
        "unmerge it: madvise unmergeable; or let the parent store into it",
    ),
    Why.UNMOVABLE: Reason(
        "never migrated",
        "in a mapping that is never migrated",
        "-EFAULT of move_pages; nothing in migrate_pages, EIO of mbind --strict",
        "none: device memory stays where it is",
    ),
    Why.SECRET: Reason(
        "of secret memory",
        "secret memory, whose a_ops refuse with EBUSY",
        _COUNTED,
        "none: memfd_secret's pages stay where they are",
    ),
    Why.REQUEST: Reason(
        "with a request to the server",
        "with a request to the NFS server under way, so that its a_ops refuse with EBUSY",
        _COUNTED,
        "let them be written out (fsync), and call again",
    ),
    Why.DIRTY: Reason(
        "dirty and without a way to be written out",
        "dirty, in a filesystem without migrate_folio and writepage in its a_ops (EINVAL)",
        _COUNTED,
        "none while they are dirty: keep such data in tmpfs instead",
    ),
    Why.IN_USE: Reason(
        "with buffers in use",
        "with buffers in use by somebody",
        _COUNTED,
        "call again when the buffers are not in use",
    ),
    Why.WORKED_ON: Reason(
        "worked on by somebody",
        "locked or under writeback, and for ever: a call would wait for the end of it",
        "nothing: the call does not return",
        "let the work end",
    ),
    Why.FULL: Reason(
        "because the target node was full",
        "the target node is full",
        "ENOMEM of migrate_pages and move_pages, pgmigrate_fail for one page; nothing in mbind",
        "free memory of the target node, or name another",
    ),
    Why.ENDED: Reason(
        "that the call did not come to",
        "the call ended before their turn",
        "what the call returns; move_pages leaves their status as it was",
        "cure what ended the call, and call again",
    ),
    ABSENT: Reason("not present", "not present", "-ENOENT of move_pages", "touch them"),
    BAD: Reason("bad", "out of use because they went bad", "-ENOENT of move_pages", "drop them"),
    ZERO: Reason(
        "the zero page",
        "the zero page, which all processes have in common",
        "-EFAULT of move_pages",
        "store into them",
    ),
    THERE: Reason("there already", "there already", "their status in move_pages", "none needed"),
}
# How pictures mark pages that a call leaves.
LETTERS: dict[str, str] = {
    Why.SHARED: "s",
    Why.PINNED: "p",
    Why.HELD: "h",
    Why.MAPPED: "m",
    Why.UNMOVABLE: "u",
    Why.SECRET: "x",
    Why.REQUEST: "r",
    Why.DIRTY: "d",
    Why.IN_USE: "b",
    Why.WORKED_ON: "w",
    Why.FULL: "f",
    Why.ENDED: "e",
}
