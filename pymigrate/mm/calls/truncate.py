"""Files that become shorter, and holes in them. Mirrors mm/truncate.c and shmem_undo_range()."""

from __future__ import annotations

from pymigrate.mm.faults.filemap import dirty_frames
from pymigrate.mm.frames.lru_batches import lru_add_drain
from pymigrate.mm.spaces.hugetlb_pool import unreserve
from pymigrate.mm.spaces.zap import truncate_inode_pages, unmap_mapping_range
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.units import END_OF_MEMORY, PAGE_SHIFT, PAGE_SIZE, pages_of


def truncate_setsize(machine: Machine, task: Task, space: AddressSpace, size: int) -> None:
    """Let a file be *size* bytes long; pages beyond go, wherever they are mapped, copies too.

    Of a page that is cut the rest is cleared: a disk file's is read in for that. Mirrors
    truncate_setsize(), shmem_setattr(), ext4_setattr() and hugetlb_vmtruncate().
    """
    old, space.size = space.size, size
    if size >= old:
        return
    first = pages_of(size)
    lru_add_drain(machine, task.cpu)
    unmap_mapping_range(machine, space, first, END_OF_MEMORY, even_cows=True)
    truncate_inode_pages(machine, space, first)
    unreserve(machine, space.resv, first, END_OF_MEMORY)
    if size % PAGE_SIZE:
        _clear_part(machine, task, space, size >> PAGE_SHIFT)


def punch_hole(machine: Machine, task: Task, space: AddressSpace, a: int, b: int) -> None:
    """Drop the pages of a file that lie in bytes [a, b), wherever they are mapped; copies stay.

    Of pages at its ends the part inside is cleared; those of the pools stay as they are. Mirrors
    shmem_fallocate(), ext4_punch_hole() and hugetlbfs_punch_hole().
    """
    unit = PAGE_SIZE if not space.is_hugetlb else 1 << 21
    first, last = -(-a // unit) * unit >> PAGE_SHIFT, b // unit * unit >> PAGE_SHIFT
    lru_add_drain(machine, task.cpu)
    if first < last:
        unmap_mapping_range(machine, space, first, last, even_cows=False)
        truncate_inode_pages(machine, space, first, last)
    if not space.is_hugetlb:
        for end in sorted({end >> PAGE_SHIFT for end in (a, b) if end % PAGE_SIZE}):
            _clear_part(machine, task, space, end)


def _clear_part(machine: Machine, task: Task, space: AddressSpace, index: int) -> None:
    """Write zeroes into a part of page *index*. Mirrors shmem_get_partial_folio()."""
    run = space.pages.at(index)
    if run is not None:
        dirty_frames(machine, [run.clip(index, index + 1)])
