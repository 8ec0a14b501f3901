"""How the page cache of each filesystem moves: the a_ops that the engine asks, as data.

Mirrors move_to_new_folio() and the methods that it calls, mm/migrate.c.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from pymigrate.mm.base.memmap import Busy, FrameFlag
from pymigrate.mm.frames.busy import wait_for
from pymigrate.mm.frames.frames import update_folio
from pymigrate.mm.state.events import MigrateMode

if TYPE_CHECKING:
    from pymigrate.mm.base.memmap import Folio, Frame
    from pymigrate.mm.state.machine import Machine


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


def refusal(machine: Machine, folio: Folio, mode: MigrateMode) -> str:
    """The errno with which *folio*, which nobody holds, does not move in *mode*; "" if it does."""
    ops = ops_of(machine, folio)
    return _METHODS[ops.method](machine, folio, mode, ops)


def _simple(machine: Machine, folio: Folio, mode: MigrateMode, ops: MigrateOps) -> str:
    return ""


def _buffers(machine: Machine, folio: Folio, mode: MigrateMode, ops: MigrateOps) -> str:
    """Every buffer is locked first. Mirrors buffer_migrate_lock_buffers()."""
    if not ops.has_private(folio):
        return ""
    if wait_for(machine, folio.pfn, Busy.BUFFER, may_wait(mode, Busy.BUFFER)):
        return ""
    return "EAGAIN"


def _buffers_norefs(machine: Machine, folio: Folio, mode: MigrateMode, ops: MigrateOps) -> str:
    """Every buffer is locked first, and none may be in use."""
    errno = _buffers(machine, folio, mode, ops)
    if not errno and not wait_for(machine, folio.pfn, Busy.BUFFER_REF, may_wait=False):
        errno = "EAGAIN"
    return errno


def _nfs(machine: Machine, folio: Folio, mode: MigrateMode, ops: MigrateOps) -> str:
    """A folio with a request to the server stays. Mirrors nfs_migrate_folio()."""
    return "EBUSY" if ops.has_private(folio) else ""


def _secretmem(machine: Machine, folio: Folio, mode: MigrateMode, ops: MigrateOps) -> str:
    return "EBUSY"


def _fallback(machine: Machine, folio: Folio, mode: MigrateMode, ops: MigrateOps) -> str:
    """Dirty folios are written out first. Mirrors fallback_migrate_folio() and writeout()."""
    if folio.flags & FrameFlag.DIRTY:
        if mode != MigrateMode.SYNC:
            return "EBUSY"
        if not ops.has_writepage:
            return "EINVAL"
        update_folio(machine, folio.pfn, lambda frame: frame.without_flags(FrameFlag.DIRTY))
        return "EAGAIN"  # the write has unmapped it in vain
    if folio.flags & FrameFlag.PRIVATE:
        if not wait_for(machine, folio.pfn, Busy.BUFFER_REF, may_wait=False):
            return "EAGAIN" if mode == MigrateMode.SYNC else "EBUSY"
        update_folio(machine, folio.pfn, lambda frame: frame.without_flags(FrameFlag.PRIVATE))
    return ""


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
