"""Single folios while they migrate, and what is counted of all."""

from __future__ import annotations

from pymigrate.mm.base.memmap import FrameFlag, looks_movable
from pymigrate.mm.base.why import Why
from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.spaces.rmap import Mapped
from pymigrate.mm.state.events import MigrateMode, Name
from pymigrate.mm.state.machine import Machine
from pymigrate.records import field, names_of, record


@record
class Work:
    """A folio that migrates, and what has become of it so far."""

    page: int  # its first page, as rmap.mappings() counts
    pfn: int
    order: int
    index: int  # folio index of its first page
    dst: int = -1  # first frame of its destination
    entries: list[Mapped] = field(default_factory=list)  # what is unmapped, in the walk's order
    is_hugetlb: bool = False
    is_movable: bool = False  # a driver's page
    is_temporary: bool = False  # a hugetlb page's destination: it is not from the pool
    is_piece: bool = False  # of a folio that was split
    attempt: int = 1  # which one goes on, of both phases: it ends where the engine backs out
    why: Why | None = None  # the last attempt failed
    name: Name | None = None  # what it is told of as, once it was
    waiter: int = 0  # the process that waits for it
    mode: MigrateMode | None = None  # of the attempt that goes on

    @property
    def nr(self) -> int:
        """Its base pages."""
        return 1 << self.order

    def back_out(self, why: Why | None) -> None:
        """The attempt that goes on has failed for *why*; any other is the next."""
        self.why, self.attempt = why, self.attempt + 1


@record
class Stats:
    """What migrate_pages() counts: base pages, THPs, and large folios that were split."""

    succeeded: int = 0
    failed_pages: int = 0
    thp_succeeded: int = 0
    thp_failed: int = 0
    thp_split: int = 0
    split: int = 0

    def add(self, other: Stats, *names: str) -> None:
        """Add the counts *names* of *other*."""
        for name in names or names_of(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def is_hugetlb(part: Slice) -> bool:
    """Whether the folios of *part* are of the hugetlb pools."""
    return bool(part.states.first.flags & FrameFlag.HUGETLB)


def works_of(parts: list[Slice]) -> list[Work]:
    """The folios of a batch."""
    return [
        Work(
            one.run.start,
            one.run.lanes[0],
            one.run.order,
            one.first,
            is_hugetlb=is_hugetlb(part),
            is_movable=looks_movable(part.states.first),
        )
        for part in parts
        for one in part.folios()
    ]


def wait_on(machine: Machine, unmapped: list[Work]) -> Work | None:
    """Let an access to one of the *unmapped* folios come now; it waits: migration_entry_wait().

    Who does not map the page yet looks it up in its index, and waits for the folio's lock. The
    folio that it waits for, if it does.
    """
    other = machine.scope.meanwhile
    if other is None or other.waited:
        return None
    task = machine.tasks.get(other.pid)
    if task is None:
        return None
    page = other.page
    run = task.mm.page_table.at(page)
    looks_up = run is None
    if looks_up and (vma := task.mm.find_vma(page)) and vma.space in machine.spaces:
        page = vma.index(page)
        run = machine.spaces[vma.space].pages.at(page)
    if run is None or not run.lanes:
        return None
    pfn = run.pfn(page)
    for work in unmapped:
        if work.entries and work.pfn <= pfn < work.pfn + work.nr:
            other.waited, other.looks_up = True, looks_up
            return work
    return None


def wake(machine: Machine) -> None:
    """Let an access that waits be made, for every entry is a real one again."""
    other = machine.scope.meanwhile
    if other is not None and other.waited:
        other.make(machine, other)
