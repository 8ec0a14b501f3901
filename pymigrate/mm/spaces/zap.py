"""Pages that are unmapped, and objects that nobody maps any more. Mirrors zap_page_range()."""

from __future__ import annotations

from pymigrate.mm.base.memmap import Frame, FrameFlag
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.frames.frames import alike_parts, extents_of, folio_of, update_frames
from pymigrate.mm.spaces.huge_memory import split_huge_pmd_at
from pymigrate.mm.spaces.hugetlb_pool import unreserve
from pymigrate.mm.spaces.rmap import remove_rmap
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.units import END_OF_MEMORY, HPAGE_PMD_NR


def zap(
    machine: Machine,
    mm: Mm,
    vma: Vma,
    a: int,
    b: int,
    keep_tables: bool = False,
    *,
    even_cows: bool = True,
) -> None:
    """Unmap pages [a, b) of *vma*; anonymous folios that nobody else holds are freed.

    *keep_tables*: the range stays mapped, so that its page tables remain. Without *even_cows* a
    private file's copies stay, and what is known of bad pages. Mirrors zap_page_range_single(),
    zap_pte_range(), zap_huge_pmd() and should_zap_folio(); the last arguments, by name, are
    struct zap_details.
    """
    for end in (a, b):
        split_huge_pmd_at(machine, mm, end)
    table = mm.page_table
    runs = table.between(a, b)
    if not even_cows:
        runs = [part for run in runs for part in _of_file(machine, run)]
    if not runs:
        return
    table.edit([(run.start, run.end, ()) for run in runs])
    if keep_tables:
        mm.note_tables((run.start, run.end) for run in runs if not run.order)
    remove_rmap(machine, runs, unlock=bool(vma.flags & Vm.LOCKED))


def _of_file(machine: Machine, run: PteRun) -> list[PteRun]:
    """What of *run* maps pages of the file itself."""
    if not run.lanes or not run.flags & Pte.PRESENT:
        return []
    return [part for part, frame in alike_parts(machine, run) if not frame.is_anon]


def unmap_mapping_range(
    machine: Machine, space: AddressSpace, a: int, b: int, *, even_cows: bool
) -> None:
    """Unmap pages [a, b) of an object wherever they are mapped.

    Of huge pages of the pools private copies always go. Mirrors unmap_mapping_range() and
    hugetlb_vmdelete_list().
    """
    for mm in list(machine.mms.values()):
        for vma in mm.vmas:
            if vma.space != space.space_id:
                continue
            low, high = max(a, vma.pgoff), min(b, vma.pgoff + vma.nr)
            if low < high:
                shift = vma.start - vma.pgoff
                every = even_cows or space.is_hugetlb
                zap(machine, mm, vma, low + shift, high + shift, True, even_cows=every)


def truncate_inode_pages(
    machine: Machine, space: AddressSpace, a: int = 0, b: int = END_OF_MEMORY
) -> None:
    """Drop pages [a, b) of an object, which nobody maps any more, whatever they hold.

    Those that somebody holds belong to no object then. Mirrors truncate_inode_pages_range() and
    remove_inode_hugepages().
    """
    runs = space.pages.between(a, b)
    if not runs:
        return
    space.pages.put(runs[0].start, runs[-1].end)
    extents = [extent for run in runs for extent in extents_of(run)]
    if space.is_hugetlb:
        update_frames(machine, extents, lambda frame: frame.without_flags(FrameFlag.DIRTY))
        pages = [p for start, nr in extents for p in range(start, start + nr, HPAGE_PMD_NR)]
        extents = [Extent(p, HPAGE_PMD_NR) for p in pages if not folio_of(machine, p).is_held]
    update_frames(machine, extents, _truncated)


def _truncated(frame: Frame) -> Frame | None:
    """Mirrors truncate_cleanup_folio()."""
    if not frame.is_held:
        return None
    return frame.without_flags(FrameFlag.DIRTY | FrameFlag.MLOCKED)._replace(owner=0)


def drop_unmapped_shm(machine: Machine, space_ids: set[int]) -> None:
    """Free the objects of anonymous memory, and of deleted files, that nobody maps any more.

    Mirrors iput_final(), shmem_evict_inode() and hugetlbfs_evict_inode().
    """
    gone = {sid for sid in space_ids if sid and machine.spaces[sid].is_transient}
    if not gone:
        return
    for mm in machine.mms.values():
        gone -= {vma.space for vma in mm.vmas}
    for sid in gone:
        space = machine.spaces[sid]
        truncate_inode_pages(machine, space)
        unreserve(machine, space.resv, 0, END_OF_MEMORY)
        del machine.spaces[sid]
