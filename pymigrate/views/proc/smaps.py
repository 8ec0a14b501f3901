"""/proc/PID/smaps and smaps_rollup: how much memory each VMA takes, and with whom it is shared."""

from collections import Counter
from collections.abc import Iterator

from pymigrate.mm.base.memmap import Frame, FrameFlag
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.frames.frames import states_of
from pymigrate.mm.spaces.huge_memory import is_thp_allowed
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.records import NamedTuple
from pymigrate.units import HPAGE_PMD_ORDER, PAGE_SHIFT, PAGE_SIZE, huge_ceil, huge_floor
from pymigrate.views.proc import maps

_PSS_SHIFT = 12
_SHARED_OUT = ("Pss", "Pss_Dirty", "Pss_Anon", "Pss_File", "Pss_Shmem", "SwapPss", "Locked")
_LABELS = """
    Rss Pss Pss_Dirty Pss_Anon Pss_File Pss_Shmem Shared_Clean Shared_Dirty Private_Clean
    Private_Dirty Referenced Anonymous KSM LazyFree AnonHugePages ShmemPmdMapped FilePmdMapped
    Shared_Hugetlb Private_Hugetlb Swap SwapPss Locked
""".split()
_ROLLUP_ALONE = frozenset(("Pss_Anon", "Pss_File", "Pss_Shmem"))
_FLAGS = (
    (Vm.READ, "rd"),
    (Vm.WRITE, "wr"),
    (Vm.EXEC, "ex"),
    (Vm.SHARED, "sh"),
    (0, "mr"),  # any mapping may be made readable, writable and executable
    (0, "mw"),
    (0, "me"),
    (Vm.SHARED, "ms"),
    (Vm.GROWSDOWN, "gd"),
    (Vm.PFNMAP, "pf"),
    (Vm.LOCKED, "lo"),
    (Vm.IO, "io"),
    (Vm.SEQ_READ, "sr"),
    (Vm.RAND_READ, "rr"),
    (Vm.DONTCOPY, "dc"),
    (Vm.DONTEXPAND, "de"),
    (Vm.LOCKONFAULT, "lf"),
    (Vm.ACCOUNT, "ac"),
    (Vm.HUGETLB, "ht"),
    (0, "sd"),  # all are new to whoever watches soft-dirty bits
    (Vm.MIXEDMAP, "mm"),
    (Vm.HUGEPAGE, "hg"),
    (Vm.NOHUGEPAGE, "nh"),
    (Vm.MERGEABLE, "mg"),
)


class SmapsRow(NamedTuple):
    """One VMA. Its counts are bytes; those of Pss and Locked are bytes << 12, to add them up."""

    head: maps.MapsRow
    pagesize_kb: int
    counts: Counter[str]  # by label, and RssFile, RssShmem, BadAnon and BadHugetlb
    is_thp_eligible: bool
    flags: tuple[str, ...]


def rows(machine: Machine, task: Task) -> list[SmapsRow]:
    """A row for each VMA of *task*. Mirrors show_smap(), fs/proc/task_mmu.c."""
    return [
        SmapsRow(
            maps.row_of(machine, task, vma),
            PAGE_SIZE << (HPAGE_PMD_ORDER if vma.flags & Vm.HUGETLB else 0) >> 10,
            _gather(machine, task, vma),
            _is_thp_eligible(machine, vma),
            tuple(name for bit, name in _FLAGS if not bit or vma.flags & bit),
        )
        for vma in task.mm.vmas
    ]


def total(rows: list[SmapsRow]) -> Counter[str]:
    """The counts of all rows, in their units."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(row.counts)
    return counts


def format_rows(rows: list[SmapsRow]) -> str:
    """The text of smaps."""
    return "".join(map(_block, rows))


def format_rollup(rows: list[SmapsRow]) -> str:
    """The text of smaps_rollup: all VMAs as one. Mirrors show_smaps_rollup()."""
    start, end = (rows[0].head.start, rows[-1].head.end) if rows else (0, 0)
    head = maps.line(maps.MapsRow(start, end, "---p", 0, "00:00", 0, "[rollup]"))
    return "\n".join([head, *_lines(total(rows), _LABELS), ""])


def _block(row: SmapsRow) -> str:
    sizes = {
        "Size": (row.head.end - row.head.start) >> 10,
        "KernelPageSize": row.pagesize_kb,
        "MMUPageSize": row.pagesize_kb,
    }
    lines = [
        maps.line(row.head),
        *[f"{label + ':':16}{value:8} kB" for label, value in sizes.items()],
        *_lines(row.counts, [label for label in _LABELS if label not in _ROLLUP_ALONE]),
        f"{'THPeligible:':16}{row.is_thp_eligible:8d}",
        f"{'ProtectionKey:':16}{0:8d}",
        f"VmFlags: {' '.join(row.flags)} ",
    ]
    return "\n".join([*lines, ""])


def _lines(counts: Counter[str], labels: list[str]) -> list[str]:
    return [
        f"{label}: {kb(counts, label):7} kB"
        if label == "Private_Hugetlb"
        else f"{label + ':':16}{kb(counts, label):8} kB"
        for label in labels
    ]


def kb(counts: Counter[str], label: str) -> int:
    """What is printed for *label*."""
    return counts[label] >> (_PSS_SHIFT if label in _SHARED_OUT else 0) >> 10


def _gather(machine: Machine, task: Task, vma: Vma) -> Counter[str]:
    """What the VMA's entries count up to. Mirrors smaps_pte_range(), smaps_hugetlb_range()."""
    counts: Counter[str] = Counter()
    for run in task.mm.page_table.between(vma.start, vma.end):
        if run.flags & Pte.HWPOISON:
            _account_bad(machine, counts, run, vma)
        if not run.lanes:
            continue
        for frame, nr in _frames_of(machine, run):
            if vma.flags & Vm.HUGETLB:
                kind = "Shared_Hugetlb" if frame.mapcount > 1 else "Private_Hugetlb"
                counts[kind] += nr << PAGE_SHIFT
            else:
                _account(counts, run, frame, nr, bool(vma.flags & Vm.LOCKED))
    return counts


def _frames_of(machine: Machine, run: PteRun) -> Iterator[tuple[Frame, int]]:
    """The frames behind *run*, with how many pages of it are so: each page by its own."""
    if len(run.lanes) == run.nr > 1:
        yield from Counter(states_of(machine, run.lanes).each).items()
        return
    for start, nr in run.extents():
        for found in machine.memmap_of(start).between(start, start + nr):
            yield found.frame, found.nr


def _account(counts: Counter[str], run: PteRun, frame: Frame, nr: int, is_locked: bool) -> None:
    """Count *nr* pages of *run*. Mirrors smaps_account() and smaps_page_accumulate()."""
    size, mapcount = nr << PAGE_SHIFT, max(frame.mapcount, 1)
    pss = nr * ((PAGE_SIZE << _PSS_SHIFT) // mapcount)
    is_dirty = bool(run.flags & Pte.DIRTY or frame.flags & FrameFlag.DIRTY)
    counts["Rss"] += size
    counts["Pss"] += pss
    if frame.is_anon:
        kind, huge = "Anon", "AnonHugePages"
        counts["Anonymous"] += size
        if not frame.flags & FrameFlag.SWAPBACKED and not is_dirty:
            counts["LazyFree"] += size
    else:
        is_shmem = bool(frame.flags & FrameFlag.SWAPBACKED)
        kind, huge = ("Shmem", "ShmemPmdMapped") if is_shmem else ("File", "FilePmdMapped")
        counts[f"Rss{kind}"] += size
    counts[f"Pss_{kind}"] += pss
    counts[huge] += size if run.order else 0
    counts["KSM"] += size if frame.flags & FrameFlag.KSM else 0
    counts["Referenced"] += size if run.flags & Pte.YOUNG else 0
    counts["Locked"] += pss if is_locked else 0
    counts["Pss_Dirty"] += pss if is_dirty else 0
    shared = "Private" if mapcount < 2 else "Shared"
    counts[f"{shared}_{'Dirty' if is_dirty else 'Clean'}"] += size


def _account_bad(machine: Machine, counts: Counter[str], run: PteRun, vma: Vma) -> None:
    """Count *run* of bad pages, which their entries still name: as shared, and not as resident.

    Mirrors smaps_pte_entry() for is_pfn_swap_entry(). Their owners have them not in VmRSS.
    """
    size, is_dirty = run.nr << PAGE_SHIFT, bool(run.flags & Pte.DIRTY)
    pss = size << _PSS_SHIFT
    if vma.flags & Vm.HUGETLB:
        counts["Shared_Hugetlb"] += size
        counts["BadHugetlb"] += size
        return
    is_anon = bool(run.flags & Pte.ANON)
    kind = "Anon" if is_anon else "Shmem" if machine.spaces[vma.space].is_shmem else "File"
    counts["Rss"] += size
    counts["Pss"] += pss
    counts[f"Pss_{kind}"] += pss
    counts["Anonymous"] += size if is_anon else 0
    counts["BadAnon"] += size if is_anon else 0
    counts["LazyFree"] += size if is_anon and not is_dirty else 0
    counts["Locked"] += pss if vma.flags & Vm.LOCKED else 0
    counts["Pss_Dirty"] += pss if is_dirty else 0
    counts[f"Shared_{'Dirty' if is_dirty else 'Clean'}"] += size


def _is_thp_eligible(machine: Machine, vma: Vma) -> bool:
    """Whether a huge page may be in *vma*, and one fits. Mirrors thp_vma_allowable_orders()."""
    return is_thp_allowed(machine, vma) and huge_ceil(vma.start) < huge_floor(vma.end)
