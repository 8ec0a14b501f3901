"""Single folios while they migrate, and what is counted of all."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from pymigrate.mm.base.memmap import FrameFlag, looks_movable
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.why import Why
from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.state.events import Step
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.trace import step_event


@dataclass(slots=True, eq=False, repr=False)
class Work:
    """A folio that migrates, and what has become of it so far."""

    page: int  # its first page, as rmap.mappings() counts
    pfn: int
    order: int
    index: int  # folio index of its first page
    dst: int = -1  # first frame of its destination
    entries: list[PteRun] = field(default_factory=list)  # what is unmapped, in the walk's order
    is_hugetlb: bool = False
    is_movable: bool = False  # a driver's page
    is_temporary: bool = False  # a hugetlb page's destination: it is not from the pool
    is_piece: bool = False  # of a folio that was split
    attempt: int = 0  # of the unmap phase
    tries: int = 0  # of the move phase
    is_unmapped: bool = False
    why: Why | None = None  # the last attempt failed

    @property
    def nr(self) -> int:
        """Its base pages."""
        return 1 << self.order

    @property
    def attempts(self) -> int:
        """The number of the attempt in the phase that goes on."""
        return self.tries if self.is_unmapped else self.attempt


@dataclass(slots=True)
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
        for name in names or [each.name for each in fields(self)]:
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


def wait_on(machine: Machine, unmapped: list[Work]) -> None:
    """Let an access to one of the *unmapped* folios come now; it waits: migration_entry_wait()."""
    other = machine.scope.meanwhile
    if other is None or other.waited:
        return
    task = machine.tasks.get(other.pid)
    run = task.mm.page_table.at(other.page) if task else None
    if run is None or not run.lanes:
        return
    pfn = run.pfn(other.page)
    for work in unmapped:
        if work.entries and work.pfn <= pfn < work.pfn + work.nr:
            other.waited = True
            _tell(machine, work, "fault on a migration entry", f"process {other.pid} waits")


def wake(machine: Machine) -> None:
    """Let an access that waits be made, for every entry is a real one again."""
    other = machine.scope.meanwhile
    if other is not None and other.waited:
        other.make(machine, other)


def _tell(machine: Machine, work: Work, name: str, found: str) -> None:
    page = machine.stable_tree.told_page(frame_of(machine, work.pfn), work.page)
    step = Step("4", name, found, "", page, work.pfn, work.nr, work.attempt)
    step_event(machine, step)
