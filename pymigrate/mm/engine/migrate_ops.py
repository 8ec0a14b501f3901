"""How the page cache of each filesystem moves: the a_ops that the engine asks, as data.

Mirrors move_to_new_folio() and the methods that it calls, mm/migrate.c.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial

from pymigrate.mm.base.memmap import Busy, Folio, Frame, FrameFlag
from pymigrate.mm.base.why import Why
from pymigrate.mm.frames.busy import wait_for
from pymigrate.mm.frames.frames import update_folio
from pymigrate.mm.spaces.rmap import is_found
from pymigrate.mm.state.events import MigrateMode
from pymigrate.mm.state.machine import Machine
from pymigrate.records import NamedTuple


class Method(Enum):
    """What an address space has as migrate_folio."""

    SIMPLE = "migrate_folio"
    FILEMAP = "filemap_migrate_folio"
    BUFFERS = "buffer_migrate_folio"
    BUFFERS_NOREFS = "buffer_migrate_folio_norefs"
    BTRFS = "btrfs_migrate_folio"
    NFS = "nfs_migrate_folio"
    HUGETLBFS = "hugetlbfs_migrate_folio"
    SECRETMEM = "secretmem_migrate_folio"
    NONE = "fallback_migrate_folio"


class MigrateOps(NamedTuple):
    """The migration of one filesystem's folios."""

    method: Method
    private: str = "never"  # which folios have private data: never, dirty, always
    has_writepage: bool = True
    always_moves: bool = True  # whatever the state of a folio that nobody holds and works on

    def has_private(self, folio: Folio) -> bool:
        """Whether *folio* has buffers, or other data of the filesystem, attached."""
        if folio.flags & FrameFlag.PRIVATE:
            return True
        return self.private == "always" or (
            self.private == "dirty" and bool(folio.flags & FrameFlag.DIRTY)
        )


OPS = {
    "tmpfs": MigrateOps(Method.SIMPLE),
    "shm": MigrateOps(Method.SIMPLE),
    "ext4": MigrateOps(Method.BUFFERS, "dirty"),
    "xfs": MigrateOps(Method.FILEMAP),
    "btrfs": MigrateOps(Method.BTRFS, "always"),
    "nfs": MigrateOps(Method.NFS, "dirty", always_moves=False),
    "blockdev": MigrateOps(Method.BUFFERS_NOREFS, "always"),
    "ramfs": MigrateOps(Method.NONE, has_writepage=False, always_moves=False),
    "other": MigrateOps(Method.NONE, "dirty", always_moves=False),
    "hugetlbfs": MigrateOps(Method.HUGETLBFS),
    "hugetlb": MigrateOps(Method.HUGETLBFS),
    "secretmem": MigrateOps(Method.SECRETMEM, always_moves=False),
}
_WAITS = {
    MigrateMode.ASYNC: (),
    MigrateMode.SYNC_LIGHT: (Busy.LOCKED, Busy.BUFFER),
    MigrateMode.SYNC: (Busy.LOCKED, Busy.BUFFER, Busy.READING, Busy.WRITEBACK),
}
_WHY = {Busy.BUFFER_REF: Why.IN_USE, Busy.LOOKUP: Why.HELD}
ANON = MigrateOps(Method.SIMPLE)  # without an address space, or with that of the swap cache


def may_wait(mode: MigrateMode, kind: Busy) -> bool:
    """Whether a migration in *mode* waits until work of *kind* on a folio is done.

    Mirrors migrate_folio_unmap() and buffer_migrate_lock_buffers().
    """
    return kind in _WAITS[mode]


def ops_of(machine: Machine, folio: Folio) -> MigrateOps:
    """The row that *folio* moves by."""
    if folio.is_anon or folio.frame.owner not in machine.spaces:
        return ANON
    return OPS[machine.spaces[folio.frame.owner].fs]


def is_indexed(folio: Folio) -> bool:
    """Whether it is found in an index: that of a file, or of the swap cache."""
    return not folio.is_anon or bool(folio.flags & FrameFlag.SWAPCACHE)


def surely_moves(machine: Machine, frame: Frame) -> bool:
    """Whether nothing can go wrong with a base page: the first attempt moves it in any mode.

    Nobody waits for its lock, finds a reference too many, or is refused by the filesystem, so
    passes, batches and modes do not show. Where this is so, pages are moved many at once.
    """
    return frame.is_plain and (frame.is_anon or OPS[machine.spaces[frame.owner].fs].always_moves)


def expected_refs(machine: Machine, folio: Folio) -> int:
    """The references of an isolated, unmapped folio that nobody else holds.

    One for the isolation; those of the page cache or the swap cache; one for private data. Mirrors
    folio_expected_refs().
    """
    if folio.is_anon:
        return 1 + (folio.nr if folio.flags & FrameFlag.SWAPCACHE else 0)
    return 1 + folio.nr + ops_of(machine, folio).has_private(folio)


def refcount(machine: Machine, folio: Folio) -> int:
    """The references of an isolated, unmapped folio; a pin of a base page counts for 1024."""
    weight = 1 if folio.order else 1024
    return expected_refs(machine, folio) + folio.extra_refs + folio.pins * weight


class Verdict(NamedTuple):
    """What an attempt to move a folio comes to."""

    errno: str = ""  # with which it fails; "" if it goes on
    why: Why | None = None  # what it fails for
    lasts: bool = False  # later attempts fail for it too, until somebody does something about it
    then: Callable[[], object] = lambda: None  # what the attempt itself changes


GOES_ON = Verdict()


def refusal(machine: Machine, folio: Folio, mode: MigrateMode) -> Verdict:
    """Let its address space move *folio*, which nobody holds, in *mode*, as far as it does."""
    verdict = _judge(machine, folio, mode)
    verdict.then()
    return verdict


def try_to_have(machine: Machine, pfn: int, kind: Busy, mode: MigrateMode) -> Verdict:
    """Try, in *mode*, to get hold of a folio that work of *kind* may be done on.

    Raises UnsupportedError for a wait that would never end.
    """
    verdict = _judge_work(machine, pfn, kind, mode)
    verdict.then()
    return verdict


def try_to_freeze(machine: Machine, folio: Folio, mode: MigrateMode) -> Verdict:
    """Try to freeze the references of *folio* in its index, if it is in one.

    A lookup may have taken one since they were counted. Mirrors __folio_migrate_mapping().
    """
    return try_to_have(machine, folio.pfn, Busy.LOOKUP, mode) if is_indexed(folio) else GOES_ON


def holder(folio: Folio) -> Why | None:
    """What holds *folio* besides its entries, and its cache."""
    if folio.pins:
        return Why.PINNED
    return Why.HELD if folio.extra_refs else None


def obstacle(machine: Machine, folio: Folio, mode: MigrateMode = MigrateMode.SYNC) -> Why | None:
    """What would keep *folio* from moving wherever there is room. Changes nothing."""
    for kind in (Busy.LOCKED, Busy.READING, Busy.WRITEBACK):
        verdict = _judge_work(machine, folio.pfn, kind, mode)
        if verdict.lasts:
            return verdict.why
    verdict = _judge(machine, folio, mode)
    why = holder(folio) or (verdict.why if verdict.lasts else None)
    if why is None and is_indexed(folio):
        verdict = _judge_work(machine, folio.pfn, Busy.LOOKUP, mode)
        why = verdict.why if verdict.lasts else None
    return why or (None if is_found(machine, folio, folio.frame.owner) else Why.MAPPED)


def _judge(machine: Machine, folio: Folio, mode: MigrateMode) -> Verdict:
    """What refusal() comes to, before it changes anything."""
    ops = ops_of(machine, folio)
    return _METHODS[ops.method](machine, folio, mode, ops)


def _judge_work(machine: Machine, pfn: int, kind: Busy, mode: MigrateMode) -> Verdict:
    work = machine.busy.get(pfn)
    if work is None or work.kind != kind:
        return GOES_ON
    waits, is_endless = may_wait(mode, kind), work.left < 0
    then = partial(wait_for, machine, pfn, kind, waits)
    if waits and not is_endless:
        return Verdict(then=then)
    why = _WHY.get(kind, Why.WORKED_ON)
    return Verdict("EAGAIN", why, is_endless, then)


def _simple(machine: Machine, folio: Folio, mode: MigrateMode, ops: MigrateOps) -> Verdict:
    return GOES_ON


def _buffers(machine: Machine, folio: Folio, mode: MigrateMode, ops: MigrateOps) -> Verdict:
    """Every buffer is locked first. Mirrors buffer_migrate_lock_buffers()."""
    if not ops.has_private(folio):
        return GOES_ON
    return _judge_work(machine, folio.pfn, Busy.BUFFER, mode)


def _buffers_norefs(machine: Machine, folio: Folio, mode: MigrateMode, ops: MigrateOps) -> Verdict:
    """Every buffer is locked first, and none may be in use."""
    verdict = _buffers(machine, folio, mode, ops)
    if verdict is not GOES_ON:
        return verdict
    return _judge_work(machine, folio.pfn, Busy.BUFFER_REF, mode)


def _nfs(machine: Machine, folio: Folio, mode: MigrateMode, ops: MigrateOps) -> Verdict:
    """A folio with a request to the server stays. Mirrors nfs_migrate_folio()."""
    return Verdict("EBUSY", Why.REQUEST, lasts=True) if ops.has_private(folio) else GOES_ON


def _secretmem(machine: Machine, folio: Folio, mode: MigrateMode, ops: MigrateOps) -> Verdict:
    return Verdict("EBUSY", Why.SECRET, lasts=True)


def _fallback(machine: Machine, folio: Folio, mode: MigrateMode, ops: MigrateOps) -> Verdict:
    """Dirty folios are written out first. Mirrors fallback_migrate_folio() and writeout()."""
    if folio.flags & FrameFlag.DIRTY:
        if mode != MigrateMode.SYNC:
            return Verdict("EBUSY", Why.DIRTY, lasts=True)
        if not ops.has_writepage:
            return Verdict("EINVAL", Why.DIRTY, lasts=True)
        # The write has unmapped it in vain.
        return Verdict("EAGAIN", Why.DIRTY, then=_without(machine, folio, FrameFlag.DIRTY))
    if not folio.flags & FrameFlag.PRIVATE:
        return GOES_ON
    verdict = _judge_work(machine, folio.pfn, Busy.BUFFER_REF, mode)
    if not verdict.errno:
        return Verdict(then=_without(machine, folio, FrameFlag.PRIVATE))
    return verdict if mode == MigrateMode.SYNC else verdict._replace(errno="EBUSY")


def _without(machine: Machine, folio: Folio, flag: int) -> Callable[[], None]:
    return lambda: update_folio(machine, folio.pfn, lambda frame: frame.without_flags(flag))


_METHODS = {
    Method.SIMPLE: _simple,
    Method.FILEMAP: _simple,
    Method.BUFFERS: _buffers,
    Method.BUFFERS_NOREFS: _buffers_norefs,
    Method.BTRFS: _simple,
    Method.NFS: _nfs,
    Method.HUGETLBFS: _simple,
    Method.SECRETMEM: _secretmem,
    Method.NONE: _fallback,
}
