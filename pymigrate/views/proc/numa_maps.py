"""/proc/PID/numa_maps: how a task's VMAs lie on the nodes."""

from collections import Counter
from collections.abc import Collection

from pymigrate.errors import KernelError
from pymigrate.mm.base.memmap import Frame, FrameFlag, States
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.frames.frames import extents_of, frame_of, uniform_parts
from pymigrate.mm.frames.lru_batches import mlocked_pfns, waiting_pfns
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.records import NamedTuple
from pymigrate.syscalls.checks import check_access
from pymigrate.units import END_OF_MEMORY, HPAGE_PMD_ORDER, PAGE_SHIFT
from pymigrate.views.pages.tables import count_nodes

_ESCAPES = str.maketrans({" ": "\\040", "\t": "\\011", "\n": "\\012", "=": "\\075"})


class NumaMapsRow(NamedTuple):
    """One VMA; counts are base pages, `nodes` are those per node."""

    start: int  # the VMA's first page
    policy: str
    path: str  # of what is mapped, "" for private anonymous memory
    kind: str  # "heap", "stack" or ""
    pages: int
    anon: int
    dirty: int
    mapmax: int
    swapcache: int
    active: int
    writeback: int
    nodes: dict[int, int]
    kernelpagesize_kb: int
    is_huge: bool = False  # of the hugetlb pools: the counts are huge pages

    @property
    def mapped(self) -> int | None:
        """All pages, where the kernel says so: if neither all are anonymous, nor all dirty."""
        return self.pages if self.pages not in (self.anon, self.dirty) else None


def rows(machine: Machine, task: Task, a: int = 0, b: int = END_OF_MEMORY) -> list[NumaMapsRow]:
    """A row for each VMA of *task* that meets pages [a, b). Mirrors show_numa_map()."""
    return [_row(machine, task, vma) for vma in task.mm.vmas_between(a, b)]


def rows_for(machine: Machine, reader: Task, task: Task) -> list[NumaMapsRow]:
    """The rows, if *reader* may open the file of *task*. Mirrors mm_access() in proc_maps_open().

    Raises KernelError EACCES.
    """
    try:
        check_access(reader, task, for_file=True)
    except KernelError as error:
        raise KernelError("EACCES", error.why) from None
    return rows(machine, task)


def policy_text(machine: Machine, task: Task, vma: Vma) -> str:
    """The policy at the VMA's first page: its object's or its own, else the task's."""
    space = machine.spaces[vma.space] if vma.space else None
    policy = space.policy_at(vma.pgoff) if space and space.is_shmem else vma.policy
    return str(policy or task.policy or "default")


def format_rows(rows: list[NumaMapsRow]) -> str:
    """The kernel's text."""
    return "".join(f"{_line(row)}\n" for row in rows)


class _Stats:
    """What gather_stats() sums up."""

    def __init__(self) -> None:
        self.pages = self.anon = self.dirty = self.mapmax = 0
        self.swapcache = self.writeback = self.unevictable = 0
        self.nodes: Counter[int] = Counter()

    def to_huge_pages(self) -> None:
        """Count huge pages instead of base pages."""
        self.pages >>= HPAGE_PMD_ORDER
        self.anon >>= HPAGE_PMD_ORDER
        self.dirty >>= HPAGE_PMD_ORDER
        self.nodes = Counter({nid: nr >> HPAGE_PMD_ORDER for nid, nr in self.nodes.items()})

    def add_part(self, machine: Machine, part: PteRun, states: States) -> None:
        """Count the entries of *part*, whose lanes have these *states*."""
        dirty = bool(part.flags & Pte.DIRTY)
        if states.is_alike and not states.first.flags & FrameFlag.MIXED:
            self.add(states.first, part.nr, dirty)
        elif len(part.lanes) == part.nr:  # base pages, each in a lane of its own
            for frame in states.distinct:
                self.add(frame, states.each.count(frame), dirty)
        else:
            for lane, pfn in enumerate(part.lanes):
                # Of what a huge entry maps, the kernel looks at the first page only.
                first = frame_of(machine, pfn) if part.order else states.each[lane]
                self.add(first, part.count(lane) << part.order, dirty)

    def add(self, frame: Frame, nr: int, pte_dirty: bool) -> None:
        """Count *nr* pages whose frames are alike."""
        flags = frame.flags
        self.pages += nr
        self.anon += nr if flags & FrameFlag.ANON else 0
        self.dirty += nr if pte_dirty or flags & FrameFlag.DIRTY else 0
        self.swapcache += nr if flags & FrameFlag.SWAPCACHE else 0
        self.writeback += nr if flags & FrameFlag.WRITEBACK else 0
        self.unevictable += nr if flags & FrameFlag.MLOCKED else 0
        self.mapmax = max(self.mapmax, frame.mapcount)


def _row(machine: Machine, task: Task, vma: Vma) -> NumaMapsRow:
    stats = _Stats()
    waiting, unlisted = waiting_pfns(machine), mlocked_pfns(machine)
    active = 0
    for run in task.mm.page_table.between(vma.start, vma.end):
        if not run.lanes or not run.flags & Pte.PRESENT:
            continue
        count_nodes(stats.nodes, run, run.start, run.end)
        for part, states in uniform_parts(machine, run):
            stats.add_part(machine, part, states)
        if waiting or unlisted:
            listed = [pfn for pfn in waiting if not _is_mlocked(machine, pfn)]
            active += _count(run, listed) - _count(run, unlisted)
    if not machine.release.lru_gen:
        active = 0
    space = machine.spaces[vma.space] if vma.space else None
    if vma.flags & Vm.HUGETLB:
        stats.to_huge_pages()
    return NumaMapsRow(
        vma.start,
        policy_text(machine, task, vma),
        space.path if space else "",
        "" if space else kind_of(task, vma),
        stats.pages,
        stats.anon,
        stats.dirty,
        stats.mapmax,
        stats.swapcache,
        active + stats.unevictable,
        stats.writeback,
        dict(sorted(stats.nodes.items())),
        2048 if vma.flags & Vm.HUGETLB else 4,
        bool(vma.flags & Vm.HUGETLB),
    )


def kind_of(task: Task, vma: Vma) -> str:
    """Which of the task's own areas it lies in: "heap", "stack" or ""."""
    start_brk, brk = task.mm.brk
    if vma.start < brk and vma.end > start_brk:
        return "heap"
    return "stack" if vma.start <= task.mm.start_stack < vma.end else ""


def _is_mlocked(machine: Machine, pfn: int) -> bool:
    return bool(frame_of(machine, pfn).flags & FrameFlag.MLOCKED)


def _count(run: PteRun, pfns: Collection[int]) -> int:
    extents = extents_of(run)
    return sum(any(start <= pfn < start + nr for start, nr in extents) for pfn in pfns)


def _line(row: NumaMapsRow) -> str:
    fields = [f"{row.start << PAGE_SHIFT:08x}", row.policy]
    if row.path:
        fields.append(f"file={row.path.translate(_ESCAPES)}")
    elif row.kind:
        fields.append(row.kind)
    if row.is_huge:
        fields.append("huge")
    if row.pages:
        fields += [f"{name}={nr}" for name, nr in counts(row).items()]
        fields += [f"N{nid}={nr}" for nid, nr in row.nodes.items()]
        fields.append(f"kernelpagesize_kB={row.kernelpagesize_kb}")
    return " ".join(fields)


def counts(row: NumaMapsRow) -> dict[str, int]:
    """The counts that the kernel prints for *row*, in its order."""
    shown = {"anon": row.anon, "dirty": row.dirty, "mapped": row.mapped or 0}
    shown["mapmax"] = row.mapmax if row.mapmax > 1 else 0
    shown["swapcache"] = row.swapcache
    found = {name: nr for name, nr in shown.items() if nr}
    if row.active < row.pages and not row.is_huge:
        found["active"] = row.active
    if row.writeback:
        found["writeback"] = row.writeback
    return found


def as_json(row: NumaMapsRow) -> dict[str, object]:
    """The row for machines: what the text holds, with the address as a string in hex."""
    shown: dict[str, object] = {
        "start": f"{row.start << PAGE_SHIFT:#x}",
        "policy": row.policy,
        "file": row.path or None,
        "kind": "huge" if row.is_huge else row.kind or None,
        "pages": row.pages,
    }
    shown |= counts(row)
    shown["nodes"] = {str(nid): nr for nid, nr in row.nodes.items()}
    shown["kernelpagesize_kB"] = row.kernelpagesize_kb
    return shown
