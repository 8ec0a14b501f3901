"""What a real process has mapped and touched becomes so in its simulated task.

Nothing is traced while a program uses its memory. Whenever somebody looks, what is new on the host
is mapped and faulted in on the simulated machine, in the order of addresses, under the policy that
is in force then. Pages are only added: what takes them away are calls, which are followed.
"""

from __future__ import annotations

import os
import signal
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from contextlib import suppress
from itertools import groupby

from pymigrate.errors import KernelError
from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.faults.memory import access
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.spaces.anon_pages import Fault
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.numa import NumaMm
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.native import hostmem
from pymigrate.native.hostmem import FILE, PRESENT, ZERO, Mapping, Pagemap, Region
from pymigrate.native.libc import HiddenError, read_memory
from pymigrate.syscalls import mmap
from pymigrate.uapi import MPOL
from pymigrate.units import PAGE_SHIFT, PAGE_SIZE, huge_ceil, huge_floor

_UNNAMED = ("/dev/zero", "/SYSV", "/memfd:")
_IN_MEMORY = "/dev/shm/"
_FEW = 16  # mappings that are looked at one by one
_LOOKS = 8  # at what goes on mapping memory meanwhile
_GAP = 1 << 20  # bytes that stay free around what is put somewhere
_DELETED = " (deleted)"


def new_mm(machine: Machine) -> Mm:
    """An address space with nothing in it."""
    mm = Mm(machine.new_id(), machine.new_id(), numa=NumaMm(machine.now))
    machine.add_mm(mm)
    return mm


def _nothing() -> None:
    """Nobody has to be told."""


class Memory:
    """A process's memory, on the host and on the simulated machine."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.is_forked = False  # pages may be copied without that the host tells of new ones
        self.is_running = False  # it may go on while it is looked at
        self._pagemap: Pagemap | None = None
        self._file = -1  # its memory as a file, once it was read so
        self._text = ""  # of maps, as it was last looked at
        self._lines: dict[str, Mapping | None] = {}  # likewise, and what each line tells
        self._mappings: list[Mapping] = []
        self._starts: list[int] = []  # theirs
        self._taken: list[tuple[int, int]] = []  # pages that were unmapped since
        self._regions: frozenset[Region] = frozenset()  # that are known to be there
        self._spaces: dict[tuple[str, int, str], int] = {}
        self.refused: set[int] = set()  # pages that it could not have, which it was told

    def executed(self) -> None:
        """Another program has begun: nothing of what was known holds."""
        if self._pagemap is not None:
            self._pagemap.close()
        if self._file >= 0:
            os.close(self._file)
        self.is_forked, self._file = False, -1
        self._pagemap, self._text, self._lines, self._mappings = None, "", {}, []
        self._starts = []
        self._taken.clear()
        self._regions = frozenset()
        self.refused.clear()

    def peek(self, tid: int, addr: int, length: int) -> bytes:
        """So much as there is from *addr*, even what the program itself may not read.

        That is had in a third of the time of libc.read_memory(). Raises HiddenError.
        """
        try:
            if self._file < 0:
                self._file = os.open(f"/proc/{tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._file, length, addr)
        except (OSError, OverflowError):
            return read_memory(tid, addr, length)

    def changed(self) -> None:
        """Pages were taken away, and may come again."""
        self._regions = frozenset()

    def unmapped(self, a: int, b: int) -> None:
        """Pages [a, b) were unmapped; a mapping that looks the same may take their place."""
        self._taken.append((a, b))

    def finish(self, machine: Machine, task: Task, copied: Mm | None) -> bool:
        """The process ends, and nobody has looked at its memory: what is its own counts.

        Files that it has mapped are left out, which are cached for others all the same. If it was
        to have a copy of *copied*, what it has touched since is its own. False if it must have
        that copy, for the places of its pages depend on where they lie.
        """
        with hostmem.unless_gone():
            text = hostmem.maps_text(task.pid)
            spans = hostmem.anonymous(text) if copied is None else _own_spans(text, copied)
            in_place = _takes_turns(task) or any(_may_be_huge(a, b) for a, b in spans)
            if in_place and copied is not None:
                return False
            pagemap = Pagemap(task.pid)
            try:
                regions = pagemap.regions(spans, with_files=copied is not None)
                if in_place:
                    self._touch_in_place(machine, task, text, regions, pagemap)
                    return True
                pages = _own_pages(spans, regions, None if copied is None else pagemap)
            finally:
                pagemap.close()
            task.mm = task.mm if copied is None else new_mm(machine)
            self._touch_side_by_side(machine, task, pages)
        return True

    def _touch_in_place(
        self, machine: Machine, task: Task, text: str, regions: list[Region], pagemap: Pagemap
    ) -> None:
        self._mappings = [m for m in hostmem.mappings(text) if _is_of_no_file(m)]
        self._starts = [m.start for m in self._mappings]
        for mapping in self._mappings:
            self._cover(machine, task, mapping)
        self._touch_all(machine, task, regions, pagemap)
        if self.is_forked:
            self._copy_all(machine, task, pagemap)

    def _touch_side_by_side(
        self, machine: Machine, task: Task, pages: list[tuple[int, bool]]
    ) -> None:
        """Fault in so many pages, written or not, of a process that has none yet."""
        length = sum(nr for nr, _ in pages) << PAGE_SHIFT
        if not length:
            return
        vma = mmap.mmap(machine, task, self.find_room(length, PAGE_SIZE), length, "rw")
        vma.flags |= Vm.NOHUGEPAGE
        at = vma.start
        for is_written, group in groupby(pages, lambda part: part[1]):
            end = at + sum(nr for nr, _ in group)
            self._touch(machine, task, at, end, is_written)
            at = end

    def sync(
        self,
        machine: Machine,
        task: Task,
        a: int = 0,
        b: int = hostmem.TOP,
        before: Callable[[], None] = _nothing,
    ) -> None:
        """Map all that is mapped, and fault in what of pages [a, b) is there.

        *before* is called before anything changes. Of a few mappings alone nothing else is looked
        at, if the kernel tells of them.
        """
        if (a, b) != (0, hostmem.TOP) and self._sync_part(machine, task, a, b, before):
            return
        try:
            if self._pagemap is None:
                self._pagemap = Pagemap(task.pid)
            regions = self._look(machine, task, a, b, before)
        except PermissionError:
            raise HiddenError(task.pid) from None
        except OSError:
            return  # it is gone
        if regions is None:
            return
        known = self._regions
        if new := [region for region in regions if region not in known]:
            before()
            self._touch_all(machine, task, new, self._pagemap)
        if self.is_forked and _has_family(machine, task.mm):
            self._copy_all(machine, task, self._pagemap, a, b)
        if (a, b) == (0, hostmem.TOP):
            self._regions = frozenset(regions)

    def _look(
        self, machine: Machine, task: Task, a: int, b: int, before: Callable[[], None]
    ) -> list[Region] | None:
        """Map what is mapped, and tell what of pages [a, b) is there; None if nothing can be told.

        While it goes on, pages are those of the mappings only if these are the same afterwards.
        Raises OSError.
        """
        assert self._pagemap is not None
        look = self._pagemap.everything if (a, b) == (0, hostmem.TOP) else self._pagemap.regions
        text = hostmem.maps_text(task.pid)
        for _ in range(_LOOKS):
            if not text:
                return None  # it is gone
            if text != self._text or self._taken:
                before()
                self._map_all(machine, task, text)
            regions = look([(max(m.start, a), min(m.end, b)) for m in self._met(a, b)])
            text = hostmem.maps_text(task.pid) if self.is_running else text
            if text == self._text:
                return regions
        return None  # there will be another look

    def has_same_pages(self, machine: Machine, task: Task) -> bool:
        """Whether the host has just those pages of it that were there when sync() saw all.

        What was mapped since, and not touched, does not matter. False if in doubt.
        """
        if self._pagemap is None or self._taken or not self._regions:
            return False
        if self.is_forked and _has_family(machine, task.mm):
            return False
        try:
            return self._pagemap.is_as_seen()
        except OSError:
            return False

    def _sync_part(
        self, machine: Machine, task: Task, a: int, b: int, before: Callable[[], None]
    ) -> bool:
        """Look at pages [a, b) alone; False if that is not to be had for less than all."""
        found = hostmem.mappings_between(task.pid, a, b, _FEW)
        if found is None or self._pagemap is None:
            return False
        before()
        at = a
        for mapping in found:
            _unmap_gap(machine, task, at, mapping.start)
            self._cover(machine, task, mapping)
            at = mapping.end
        _unmap_gap(machine, task, at, b)
        with hostmem.unless_gone():
            spans = [(max(mapping.start, a), min(mapping.end, b)) for mapping in found]
            regions = [region for span in spans for region in self._pagemap.regions([span])]
            if self.is_running and hostmem.mappings_between(task.pid, a, b, _FEW) != found:
                return False
            for region in regions:
                self._touch_region(machine, task, region, self._pagemap)
        if self.is_forked and _has_family(machine, task.mm):
            self._copy_all(machine, task, self._pagemap, a, b)
        return True

    def find_room(self, length: int, align: int) -> int:
        """An address at which the host has mapped nothing, as it was last looked at.

        Raises KernelError ENOMEM.
        """
        end = hostmem.TOP << PAGE_SHIFT
        for mapping in self._mappings[::-1]:
            at = (end - _GAP - length) // align * align
            if at >= (mapping.end << PAGE_SHIFT) + _GAP and mapping.path != "[stack]":
                return at
            end = mapping.start << PAGE_SHIFT
        at = (end - _GAP - length) // align * align
        if at < _GAP:
            raise KernelError("ENOMEM", "the address space has no room for it")
        return at

    # mappings

    def _first(self, page: int, *, above: bool = False) -> int:
        """The place of the first mapping that ends above *page*, or that begins at or above it."""
        place = bisect_left(self._starts, page)
        if not above and place and self._mappings[place - 1].end > page:
            return place - 1
        return place

    def _met(self, a: int, b: int) -> list[Mapping]:
        """The mappings that have some of pages [a, b)."""
        return self._mappings[self._first(a) : self._first(b, above=True)]

    def _map_all(self, machine: Machine, task: Task, text: str) -> None:
        """Let the task have the mappings that *text* tells of, and no others."""
        before, taken = self._lines, _joined_ranges(self._taken)
        self._regions = frozenset(r for r in self._regions if not _meets(r, taken))
        lines = text.splitlines()
        self._lines = {
            line: before[line] if line in before else hostmem.mapping_of(line) for line in lines
        }
        self._mappings = [mapping for mapping in self._lines.values() if mapping is not None]
        self._starts = [mapping.start for mapping in self._mappings]
        for line in before.keys() - self._lines.keys():
            if gone := before[line]:
                self._unmap_gaps(machine, task, gone)
        self._text, self._taken = text, []
        for line, mapping in self._lines.items():
            if mapping is not None and (line not in before or _meets(mapping, taken)):
                self._cover(machine, task, mapping)

    def _unmap_gaps(self, machine: Machine, task: Task, gone: Mapping) -> None:
        """Unmap what of a mapping that is no more lies in no other."""
        at = gone.start
        for mapping in self._met(at, gone.end):
            if mapping.start > at:
                _unmap_if_mapped(machine, task, at, mapping.start)
            at = mapping.end
        if at < gone.end:
            _unmap_if_mapped(machine, task, at, gone.end)

    def _cover(self, machine: Machine, task: Task, mapping: Mapping) -> None:
        """Let the task's VMAs of a mapping be of its kind, whatever their policies."""
        if mapping.path == "[heap]":
            task.mm.brk = (mapping.start, mapping.end)
        elif mapping.path == "[stack]":
            task.mm.start_stack = mapping.end - 1
        space = self._space(machine, mapping)
        at = mapping.start
        for vma, start, end in list(task.mm.parts(mapping.start, mapping.end)):
            if at < start:
                self._map(machine, task, mapping, space, at, start)
            if not vma.flags & Vm.HUGETLB and not _is_alike(vma, start, mapping, space):
                self._map(machine, task, mapping, space, start, end)
            elif vma.flags & Vm.ACCESS != mmap.prot_flags(mapping.prot):
                addr, length = start << PAGE_SHIFT, end - start << PAGE_SHIFT
                mmap.mprotect(machine, task, addr, length, mapping.prot)
            at = end
        if at < mapping.end:
            self._map(machine, task, mapping, space, at, mapping.end)

    def _map(
        self,
        machine: Machine,
        task: Task,
        mapping: Mapping,
        space: AddressSpace | None,
        a: int,
        b: int,
    ) -> None:
        addr, length = a << PAGE_SHIFT, b - a << PAGE_SHIFT
        offset = mapping.offset + (a - mapping.start << PAGE_SHIFT)
        if space is not None and space.is_hugetlb:
            self.say(f"process {task.pid} maps huge pages in a way that is not simulated yet")
            return
        shared = mapping.is_shared
        mmap.mmap(
            machine, task, addr, length, mapping.prot, is_shared=shared, space=space, offset=offset
        )

    def _space(self, machine: Machine, mapping: Mapping) -> AddressSpace | None:
        """The object that a mapping is of, None for anonymous memory."""
        path = mapping.path
        if not mapping.inode and not path.startswith("/"):
            return None
        key = (mapping.device, mapping.inode, "" if mapping.inode else path)
        space = machine.spaces.get(self._spaces.get(key, 0))
        if space is None or space.inode != mapping.inode:
            space = _find_space(machine, mapping) or _new_space(machine, mapping)
            self._spaces[key] = space.space_id
        end = mapping.offset + (mapping.end - mapping.start << PAGE_SHIFT)
        size = end if space.fs == "shm" else _file_size(path)
        space.size = max(space.size, size)
        return space

    # pages

    def _touch_all(
        self, machine: Machine, task: Task, regions: list[Region], pagemap: Pagemap
    ) -> None:
        for region in regions:
            for mapping in self._met(region.start, region.end):
                low, high = max(region.start, mapping.start), min(region.end, mapping.end)
                self._touch_region(machine, task, Region(low, high, region.flags), pagemap)

    def _copy_all(
        self, machine: Machine, task: Task, pagemap: Pagemap, a: int = 0, b: int = hostmem.TOP
    ) -> None:
        """Store into pages of [a, b) that were shared since a fork, and are its own now."""
        for vma in task.mm.vmas_between(a, b):
            if not vma.anon_vma or vma.is_shared:
                continue
            for run in task.mm.page_table.between(max(vma.start, a), min(vma.end, b)):
                if _may_be_copied(run):
                    self._copy(machine, task, run, run.start, run.end, pagemap)

    def _copy(
        self, machine: Machine, task: Task, run: PteRun, a: int, b: int, pagemap: Pagemap
    ) -> None:
        """Store into pages [a, b) of *run* that others still share here, but not on the host.

        Who of them has stored is not known: it counts as who is looked at first.
        """
        for low, high in pagemap.exclusive(a, b):
            shared = [p for p in range(low, high) if frame_of(machine, run.pfn(p)).mapcount > 1]
            for start, end in _joined(shared):
                self._touch(machine, task, start, end, write=True)

    def _touch_region(self, machine: Machine, task: Task, region: Region, pagemap: Pagemap) -> None:
        """Fault in pages of one mapping, as far as they are not there yet."""
        for a, b, run in list(task.mm.page_table.spans(region.start, region.end)):
            vma = task.mm.find_vma(a)
            if vma is None:
                continue  # what cannot be simulated was not mapped
            if vma.is_shared:
                if run is None:
                    self._touch(machine, task, a, b, write=bool(vma.flags & Vm.WRITE))
                continue
            is_anon = not region.flags & FILE
            if run is None:
                self._touch(machine, task, a, b, write=is_anon and not region.flags & ZERO)
            elif is_anon and not run.lanes:
                if not region.flags & ZERO:
                    self._touch(machine, task, a, b, write=True)
            elif is_anon and _may_be_copied(run) and region.flags & PRESENT:
                if not _is_anonymous(machine, run, a):
                    self._touch(machine, task, a, b, write=True)
                else:
                    self._copy(machine, task, run, a, b, pagemap)

    def _touch(self, machine: Machine, task: Task, a: int, b: int, write: bool) -> None:
        """Access pages [a, b), whose protection may have changed since the program did."""
        vmas = task.mm.vmas_between(a, b)
        before = [vma.flags for vma in vmas]
        for vma in vmas:
            vma.flags |= Vm.READ | (Vm.WRITE if write else 0)
        try:
            access(machine, task, a, b, write)
        except Fault as fault:
            if fault.signal != "SIGKILL":  # that it is killed is told
                self._refuse(task, fault)
        finally:
            for vma, flags in zip(vmas, before, strict=True):
                vma.flags = flags

    def _refuse(self, task: Task, fault: Fault) -> None:
        """Send the signal of an access that the simulated machine cannot serve, once a page."""
        if fault.page in self.refused:
            return
        self.refused.add(fault.page)
        addr = fault.page << PAGE_SHIFT
        self.say(f"process {task.pid} cannot have the page at {addr:#x}: {fault.signal}")
        with suppress(ProcessLookupError):
            if fault.signal == "SIGBUS":
                os.kill(task.pid, signal.SIGBUS)


def _has_family(machine: Machine, mm: Mm) -> bool:
    """Whether another address space may share pages since a fork."""
    return any(other is not mm for other in machine.mms_of(mm.family))


def _is_of_no_file(mapping: Mapping) -> bool:
    return not mapping.inode and not mapping.path.startswith("/")


def _own_spans(text: str, copied: Mm) -> list[tuple[int, int]]:
    """The pages of mappings that may have pages of their process's own, by a copy of *copied*."""
    found = []
    for mapping in hostmem.mappings(text):
        vma = None if mapping.is_shared else copied.find_vma(mapping.start)
        if _is_of_no_file(mapping) or (vma is not None and vma.anon_vma):
            found.append((mapping.start, mapping.end))
    return found


def _own_pages(
    spans: list[tuple[int, int]], regions: list[Region], shared: Pagemap | None
) -> list[tuple[int, bool]]:
    """How many pages of *regions* are some of *spans*, and whether written; both are in order.

    Those count that *shared* tells to be the process's alone; None: all.
    """
    found, i = [], 0
    for start, end, flags in regions:
        is_written = not flags & (FILE | ZERO)
        while i < len(spans) and spans[i][1] <= start:
            i += 1
        for a, b in spans[i:]:
            if a >= end:
                break
            low, high = max(a, start), min(b, end)
            if shared is None:
                found.append((high - low, is_written))
            elif is_written:
                found += [(y - x, True) for x, y in shared.exclusive(low, high)]
    return found


def _may_be_huge(a: int, b: int) -> bool:
    return huge_ceil(a) < huge_floor(b)


def _takes_turns(task: Task) -> bool:
    """Whether the nodes of a task's pages depend on their addresses. Mirrors get_vma_policy()."""
    mode = task.policy.mode if task.policy else MPOL.DEFAULT
    return mode in (MPOL.INTERLEAVE, MPOL.WEIGHTED_INTERLEAVE)


def _joined_ranges(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in order that do not meet.

    >>> _joined_ranges([(5, 7), (1, 3), (2, 4)])
    [(1, 4), (5, 7)]
    """
    found: list[tuple[int, int]] = []
    for a, b in sorted(ranges):
        if found and a <= found[-1][1]:
            found[-1] = found[-1][0], max(b, found[-1][1])
        else:
            found.append((a, b))
    return found


def _meets(pages: Mapping | Region, ranges: list[tuple[int, int]]) -> bool:
    """Whether *pages* are some of *ranges*, which are in order."""
    place = bisect_right(ranges, pages.start, key=lambda range_: range_[1])
    return place < len(ranges) and ranges[place][0] < pages.end


def _is_alike(vma: Vma, page: int, mapping: Mapping, space: AddressSpace | None) -> bool:
    """Whether *vma* maps at *page* what *mapping* does."""
    if vma.space != (space.space_id if space else 0) or vma.is_shared != mapping.is_shared:
        return False
    index = (mapping.offset >> PAGE_SHIFT) + page - mapping.start
    return space is None or vma.index(page) == index


def _unmap_if_mapped(machine: Machine, task: Task, a: int, b: int) -> None:
    if task.mm.vmas_between(a, b):
        unmap(machine, task, a, b)


def _unmap_gap(machine: Machine, task: Task, a: int, b: int) -> None:
    """Unmap pages [a, b), which the host has not mapped, but what it is about to map."""
    for vma in task.mm.vmas_between(a, b) if a < b else []:
        if not vma.flags & Vm.HUGETLB:
            unmap(machine, task, max(a, vma.start), min(b, vma.end))


def unmap(machine: Machine, task: Task, a: int, b: int) -> None:
    """Unmap pages [a, b)."""
    mmap.munmap(machine, task, a << PAGE_SHIFT, b - a << PAGE_SHIFT)


def _may_be_copied(run: PteRun) -> bool:
    """Whether the next store may copy its pages, so that each must be looked at."""
    return bool(run.lanes) and not run.flags & (Pte.EXCLUSIVE | Pte.KSM | Pte.WRITE)


def _is_anonymous(machine: Machine, run: PteRun, page: int) -> bool:
    """Whether *run* maps anonymous memory at *page*, and no file's."""
    return bool(frame_of(machine, run.pfn(page)).flags & FrameFlag.ANON)


def _joined(pages: list[int]) -> list[tuple[int, int]]:
    """Pages in order as ranges.

    >>> _joined([1, 2, 5])
    [(1, 3), (5, 6)]
    """
    found: list[tuple[int, int]] = []
    for page in pages:
        if found and found[-1][1] == page:
            found[-1] = (found[-1][0], page + 1)
        else:
            found.append((page, page + 1))
    return found


def _find_space(machine: Machine, mapping: Mapping) -> AddressSpace | None:
    """The object that another process maps, or one has mapped before."""
    return next(
        (
            space
            for space in machine.spaces.values()
            if space.inode == mapping.inode and space.name == mapping.path
        ),
        None,
    )


def _new_space(machine: Machine, mapping: Mapping) -> AddressSpace:
    """An object for what nobody has mapped yet; what has no name goes with its last mapping."""
    path = mapping.path
    kind = "tmpfs" if path.startswith(_IN_MEMORY) else "ext4"
    if path.startswith(_UNNAMED) or path.endswith(_DELETED):
        kind = "shm"
    space = AddressSpace(machine.new_id(), path, kind, 0, mapping.inode)
    machine.spaces[space.space_id] = space
    return space


def _file_size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
