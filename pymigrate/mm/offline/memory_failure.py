"""Pages that go out of use, because they went bad or may do so. Mirrors mm/memory-failure.c."""

from __future__ import annotations

from pymigrate.errors import KernelError, UnsupportedError
from pymigrate.mm.base.memmap import (
    POISON_FRAME,
    Busy,
    Folio,
    FrameFlag,
    FrameRun,
    is_pooled,
    looks_movable,
    nid_of,
)
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.engine.migrate_ops import ops_of
from pymigrate.mm.frames.busy import end, wait_for
from pymigrate.mm.frames.frames import folio_of, frame_of, update_frames
from pymigrate.mm.frames.lru_batches import in_batches, lru_add_drain_all
from pymigrate.mm.frames.placement import Prefer
from pymigrate.mm.offline.page_isolation import is_kernel, isolate_range, isolated_range
from pymigrate.mm.reclaim.room import migrate_for_the_kernel
from pymigrate.mm.spaces.huge_memory import free_unmapped, split_folio
from pymigrate.mm.spaces.hugetlb_pool import dissolve_free_huge_pages
from pymigrate.mm.spaces.rmap import Mapping, mappings, remove_rmap
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.events import MigrateReason
from pymigrate.mm.state.machine import Machine
from pymigrate.records import NamedTuple
from pymigrate.units import PAGE_SHIFT

ZERO_PAGE = -1  # among Machine.bad_zero_pages


class _Result(NamedTuple):
    """What became of a bad page (a field of MemoryFailures), and what the caller is told."""

    kind: str
    why: str = ""
    errno: str = "EBUSY"


_RECOVERED = _Result("recovered")
_HELD = _Result("failed", "somebody holds the page")


def num_poisoned_kb(machine: Machine) -> int:
    """How much is out of use (HardwareCorrupted of /proc/meminfo), in kB."""
    return machine.num_poisoned_pages << PAGE_SHIFT - 10


def memory_failure(machine: Machine, pfn: int) -> None:
    """Frame *pfn* of a node went bad: it is taken out of use, and what it holds is lost.

    Clean pages of disk files are read again when they are used; who uses another page through the
    entries that it had is killed. What cannot be taken out of use is known to be bad all the same.

    Raises KernelError ENXIO for memory that is offline; EHWPOISON for a page that was bad before,
    or is of a huge page that cannot be split; EBUSY for one that somebody keeps. Mirrors
    memory_failure() with MF_SW_SIMULATED.
    """
    node = machine.nodes[nid_of(pfn)]
    if node.zone_of(pfn).offline.at(pfn):
        raise KernelError("ENXIO", "its memory block is offline")
    run = node.memmap.at(pfn)
    if run is None or is_pooled(run.frame):
        handle = _free_page_failed
    elif is_kernel(run.frame) or looks_movable(run.frame):
        handle = _kernel_page_failed
    else:
        handle = _hugetlb_failed if run.frame.flags & FrameFlag.HUGETLB else _lru_page_failed
    if run is not None and run.frame.flags & FrameFlag.HWPOISON:
        raise KernelError("EHWPOISON", "the page was taken for bad before")
    if handle in (_lru_page_failed, _hugetlb_failed):
        _get_hold_of(machine, pfn)
    machine.num_poisoned_pages += 1
    _action_result(machine, node.nid, handle(machine, pfn))


def zero_page_failure(machine: Machine, number: int) -> None:
    """Page *number* of the huge zero page, or ZERO_PAGE, went bad, and stays in use.

    Raises KernelError EHWPOISON for the huge one, and for what was bad before; else EBUSY.
    """
    if number in machine.bad_zero_pages:
        raise KernelError("EHWPOISON", "the zero page was taken for bad before")
    machine.bad_zero_pages = (*machine.bad_zero_pages, number)
    machine.num_poisoned_pages += 1
    result = _Result("ignored", "the zero page is the kernel's own")
    if number != ZERO_PAGE:
        result = _Result("failed", "the huge zero page is not split", "EHWPOISON")
    _action_result(machine, machine.memory_nodes.first, result)  # it is of the kernel's image


def _action_result(machine: Machine, nid: int, result: _Result) -> None:
    """Count what became of a bad page of node *nid*. Mirrors action_result()."""
    node = machine.nodes[nid]
    old = node.failures
    counts = {"total": old.total + 1, result.kind: getattr(old, result.kind) + 1}
    node.failures = old._replace(**counts)
    if result != _RECOVERED:
        raise KernelError(result.errno, result.why)


def _mark(machine: Machine, pfn: int, nr: int = 1) -> None:
    update_frames(machine, [(pfn, nr)], lambda frame: frame.with_flags(FrameFlag.HWPOISON))


def _free_page_failed(machine: Machine, pfn: int) -> _Result:
    """A free page, or one of a free huge page of the pools, which is not used again then."""
    try:
        _take_free_page(machine, pfn)
    except KernelError as error:
        folio = folio_of(machine, pfn)
        _mark(machine, folio.pfn, folio.nr)
        return _Result("failed", error.why)
    return _RECOVERED


def _kernel_page_failed(machine: Machine, pfn: int) -> _Result:
    """A page that is on no LRU list. Mirrors get_any_page()."""
    _mark(machine, pfn)
    return _Result("ignored", "the page is the kernel's own, or a driver's")


def _get_hold_of(machine: Machine, pfn: int) -> None:
    """Wait for work on the folio of *pfn* to end, as folio_lock() and folio_wait_writeback() do.

    But for hugetlb pages what waits for its LRU list is put there first: shake_folio().
    """
    folio = folio_of(machine, pfn)
    if not folio.flags & FrameFlag.HUGETLB:
        lru_add_drain_all(machine)
    if folio.flags & FrameFlag.SWAPCACHE:
        raise UnsupportedError("bad pages of the swap cache cannot be simulated")
    for kind in (Busy.LOCKED, Busy.READING, Busy.WRITEBACK):
        wait_for(machine, folio.pfn, kind, may_wait=True)


def _lru_page_failed(machine: Machine, pfn: int) -> _Result:
    """A page of anonymous memory, or of a file; of a large folio, which is split."""
    folio = folio_of(machine, pfn)
    page = _first_page(machine, folio) if _has_owner(machine, folio) else 0
    _mark(machine, pfn)
    if folio.order:
        if not split_folio(machine, folio, page):
            return _Result("failed", "the huge page that it is of cannot be split", "EHWPOISON")
        free_unmapped(machine, folio)
        return _RECOVERED
    if folio.is_anon:
        _unmap_poisoned_folio(machine, folio, page)
        return _RECOVERED
    space = machine.spaces.get(folio.frame.owner)
    if space is None:
        return _Result("ignored", "the page belongs to no file any more")
    _unmap_poisoned_folio(machine, folio, page, space)
    if space.is_shmem:
        return _HELD if folio.is_held else _RECOVERED
    return _truncate(machine, space, folio, page)


def _truncate(machine: Machine, space: AddressSpace, folio: Folio, index: int) -> _Result:
    """Drop a bad page of a file, whatever it holds. Mirrors truncate_error_folio()."""
    space.pages.put(index, index + 1)
    is_released = _may_release(machine, folio)
    end(machine, folio.pfn)
    gone = FrameFlag.DIRTY | FrameFlag.MLOCKED
    update_frames(
        machine,
        [(folio.pfn, 1)],
        lambda f: f.without_flags(gone)._replace(owner=0) if f.is_held else None,
    )
    if not is_released:
        return _Result("failed", "its file system keeps its buffers")
    return _HELD if folio.is_held else _RECOVERED


def _hugetlb_failed(machine: Machine, pfn: int) -> _Result:
    """A huge page of the pools that is in use.

    A file keeps it; else it is freed, and all of it but *pfn* goes to the page allocator. Mirrors
    try_memory_failure_hugetlb() and me_huge_page().
    """
    folio = folio_of(machine, pfn)
    space = machine.spaces.get(folio.frame.owner) if not folio.is_anon else None
    if _has_owner(machine, folio):
        _unmap_poisoned_folio(machine, folio, _first_page(machine, folio), space)
    if space is None and not folio.is_held:
        return _free_page_failed(machine, pfn)
    _mark(machine, folio.pfn, folio.nr)
    if space is not None:  # memory_failure()'s own reference stays
        update_frames(machine, [(pfn, 1)], lambda f: f._replace(extra_refs=f.extra_refs + 1))
    return _HELD if folio.is_held else _RECOVERED


def _has_owner(machine: Machine, folio: Folio) -> bool:
    """Whether a table can name it still."""
    return folio.is_anon or folio.frame.owner in machine.spaces


def _unmap_poisoned_folio(
    machine: Machine, folio: Folio, page: int, space: AddressSpace | None = None
) -> None:
    """Take the entries of *folio*, whose first page is number *page* of *space* or of its family.

    What is left instead says that the page is bad, but where a disk has the same as the page.
    """
    found = [
        (mapping, run.clip(max(run.start, at), max(run.start, at) + folio.nr))
        for mapping in mappings(machine, folio.frame, page, page + folio.nr)
        if mapping.mm is not None
        for at in [page + mapping.shift]
        for run in mapping.entries()
        if run.lanes and run.pfn(max(run.start, at)) == folio.pfn
    ]
    dirty = Pte.DIRTY if folio.flags & FrameFlag.DIRTY or any(map(_is_dirty, found)) else 0
    flags = Pte.HWPOISON | (dirty if space is None or not space.is_disk else 0)
    flags |= Pte.ANON if folio.is_anon else 0
    is_kept = folio.is_anon or not (space and space.is_disk) or dirty
    is_locked = bool(folio.flags & FrameFlag.MLOCKED)
    for (table, _, _, _, mm), run in found:
        bad = PteRun(run.start, run.nr, (), run.order, flags)
        table.put(run.start, run.end, *((bad,) if is_kept else ()))
        if mm is not None and not run.order:
            mm.note_tables([(run.start, run.end)])
        remove_rmap(machine, [run], unlock=is_locked)


def _is_dirty(found: tuple[Mapping, PteRun]) -> bool:
    """Whether something was stored through the entry, or could be. Mirrors folio_mkclean()."""
    return bool(found[1].flags & (Pte.DIRTY | Pte.WRITE))


def soft_offline_page(machine: Machine, pfn: int) -> None:
    """Take frame *pfn* of a node out of use, with what it holds moved elsewhere.

    One that is out of use already is passed over. Raises KernelError EIO for memory that is
    offline or the kernel's own; EBUSY, ENOMEM for a page that stays. Mirrors soft_offline_page().
    """
    node = machine.nodes[nid_of(pfn)]
    if node.zone_of(pfn).offline.at(pfn):
        raise KernelError("EIO", "its memory block is offline")
    if not machine.can_soft_offline:
        raise KernelError("EOPNOTSUPP", "enable_soft_offline is 0")
    run = node.memmap.at(pfn)
    if run is not None and run.frame.flags & FrameFlag.HWPOISON:
        return
    if run is None or is_pooled(run.frame):
        _take_free_page(machine, pfn)
    elif is_kernel(run.frame):
        raise KernelError("EIO", "the page is the kernel's own")
    else:
        _soft_offline_in_use_page(machine, pfn)
    machine.num_poisoned_pages += 1


def _soft_offline_in_use_page(machine: Machine, pfn: int) -> None:
    """Drop what can be read again; split a THP; migrate, and keep the page."""
    if pfn in in_batches(machine):  # it is on no list: get_any_page() shakes it
        lru_add_drain_all(machine)
    folio = folio_of(machine, pfn)
    is_hugetlb = bool(folio.flags & FrameFlag.HUGETLB)
    if folio.order and not is_hugetlb:
        page = _first_page(machine, folio)
        if not split_folio(machine, folio, page):
            raise KernelError("EBUSY", "the huge page that it is of cannot be split")
        try:
            _migrate(machine, pfn)
        finally:
            free_unmapped(machine, folio)
        return
    for kind in () if is_hugetlb else (Busy.LOCKED, Busy.READING, Busy.WRITEBACK):
        wait_for(machine, folio.pfn, kind, may_wait=True)
    if _evict(machine, folio_of(machine, pfn)):
        return
    _migrate(machine, pfn)
    if is_hugetlb:
        _take_free_page(machine, pfn)


def _evict(machine: Machine, folio: Folio) -> bool:
    """Drop clean page cache that nobody maps or holds. Mirrors mapping_evict_folio()."""
    keep = FrameFlag.DIRTY | FrameFlag.WRITEBACK | FrameFlag.HUGETLB
    if folio.is_anon or folio.mapcount or folio.is_held or folio.flags & keep:
        return False
    space = machine.spaces.get(folio.frame.owner)
    if space is None or folio.flags & FrameFlag.PRIVATE or not _may_release(machine, folio):
        return False
    index = _first_page(machine, folio)
    space.pages.put(index, index + 1)
    update_frames(machine, [(folio.pfn, 1)], lambda _: POISON_FRAME)
    return True


def _first_page(machine: Machine, folio: Folio) -> int:
    """The number of its first page, as rmap.mappings() counts; no driver's page."""
    return isolate_range(machine, folio.pfn, folio.pfn + folio.nr).queue[0].run.start


def _may_release(machine: Machine, folio: Folio) -> bool:
    """Whether what its file system attached to it can go, or there is nothing."""
    return not ops_of(machine, folio).has_private(folio) or folio.pfn not in machine.busy


def _migrate(machine: Machine, pfn: int) -> None:
    """Move what lies at *pfn*, within its node if it can be. Raises KernelError EBUSY, ENOMEM."""
    folio = folio_of(machine, pfn)
    with isolated_range(machine, folio.pfn, folio.pfn + folio.nr) as taken:
        if not taken.queue:
            raise KernelError("EBUSY", "the page cannot be isolated")
        where, reason = Prefer(nid_of(pfn)), MigrateReason.MEMORY_FAILURE
        result = migrate_for_the_kernel(machine, taken.queue, where, reason)
    if result.is_enomem:
        raise KernelError("ENOMEM", "there is no memory for what it holds")
    if result.stayed:
        raise KernelError("EBUSY", f"what it holds did not move: {_held(machine, pfn)}")


def _held(machine: Machine, pfn: int) -> str:
    frame = frame_of(machine, pfn)
    if frame.pins:
        return "it is pinned"
    return "somebody holds it" if frame.extra_refs else "who owns it refuses"


def _take_free_page(machine: Machine, pfn: int) -> None:
    """Take a free page, which may be of a free huge page of the pool, out of use.

    Raises KernelError EBUSY. Mirrors __page_handle_poison().
    """
    node = machine.nodes[nid_of(pfn)]
    if node.memmap.at(pfn) is not None:
        dissolve_free_huge_pages(machine, pfn, pfn + 1)
    zone = node.zone_of(pfn)
    zone.free.put(pfn, pfn + 1)
    zone.nr_free -= 1
    node.memmap.put(pfn, pfn + 1, FrameRun(pfn, 1, POISON_FRAME))
