"""VMAs: what a range of addresses maps, and which of them are one."""

from pymigrate.mm.base.release import Release
from pymigrate.mm.state.numa import NumaVma
from pymigrate.mm.state.policy import Mempolicy, mpol_equal
from pymigrate.records import record, replaced


class Vm:
    """Flags of a VMA, with the kernel's values (``Vma.flags``)."""

    READ = 0x1
    WRITE = 0x2
    EXEC = 0x4
    SHARED = 0x8
    GROWSDOWN = 0x100
    PFNMAP = 0x400
    LOCKED = 0x2000
    IO = 0x4000
    SEQ_READ = 0x8000
    RAND_READ = 0x10000
    DONTCOPY = 0x20000
    DONTEXPAND = 0x40000
    LOCKONFAULT = 0x80000
    ACCOUNT = 0x100000
    HUGETLB = 0x400000
    MIXEDMAP = 0x10000000
    HUGEPAGE = 0x20000000
    NOHUGEPAGE = 0x40000000
    MERGEABLE = 0x80000000
    ACCESS = READ | WRITE | EXEC
    LOCKED_MASK = LOCKED | LOCKONFAULT
    SPECIAL = IO | DONTEXPAND | PFNMAP | MIXEDMAP


@record
class Vma:
    """Pages [start, end) of an address space; page *start* is page *pgoff* of what is mapped.

    For private anonymous memory *pgoff* is the page number itself, *space* is 0.
    """

    start: int
    end: int
    flags: int
    pgoff: int
    space: int = 0
    policy: Mempolicy | None = None
    anon_vma: int = 0
    anon_chained: bool = False  # its anon_vma came by fork: it hangs on its parents' ones too
    is_resv_owner: bool = False  # of private hugetlb memory: what was reserved is for its faults
    numab: NumaVma | None = None
    inserted: int = 0  # when it was put into its anon_vma's interval tree, by Inserted
    has_lost_page: bool = False  # of private hugetlb memory, to its owner: HPAGE_RESV_UNMAPPED
    moved: int = 0  # how far mremap() has moved its anonymous pages, in pages

    @property
    def nr(self) -> int:
        """Its base pages."""
        return self.end - self.start

    @property
    def is_shared(self) -> bool:
        """Whether stores go to the object (MAP_SHARED)."""
        return bool(self.flags & Vm.SHARED)

    @property
    def is_anonymous(self) -> bool:
        """Whether no file or shared memory object is mapped. Mirrors vma_is_anonymous()."""
        return not self.space

    def index(self, page: int) -> int:
        """The page's number in the object. Mirrors linear_page_index()."""
        return self.pgoff + page - self.start

    def name(self, page: int) -> int:
        """The number of an anonymous page: where it was before mremap() moved it.

        It is the same in all processes of the fork family.
        """
        return page - self.moved

    def turn(self, page: int, order: int) -> int:
        """The place of the folio at *page* where folios take turns. Mirrors get_vma_policy()."""
        return (self.pgoff >> order) + ((page - self.start) >> order)

    def part(self, a: int, b: int) -> "Vma":
        """A copy that covers just [a, b); no scan has met it yet."""
        return replaced(self, start=a, end=b, pgoff=self.index(a), numab=None)


def is_migratable(vma: Vma) -> bool:
    """Whether a policy may move its pages. Mirrors vma_migratable()."""
    return not vma.flags & (Vm.IO | Vm.PFNMAP)


def can_join(release: Release, lower: Vma, upper: Vma, changed: Vma, neighbour: Vma) -> bool:
    """Whether the two can be one; *changed* is the one of them that *neighbour* would take over.

    Mirrors is_mergeable_vma() and is_mergeable_anon_vma(), mm/vma.c.
    """
    return (
        lower.end == upper.start
        and lower.flags == upper.flags
        and not lower.flags & Vm.SPECIAL
        and lower.space == upper.space
        and lower.index(lower.end) == upper.pgoff
        and mpol_equal(lower.policy, upper.policy)
        and (
            changed.anon_vma == neighbour.anon_vma
            # A neighbour cloned from a parent must not spread its chain of anon_vmas.
            or (not changed.anon_vma and not neighbour.anon_chained)
            or (
                release.merges_unfaulted_neighbour
                and not neighbour.anon_vma
                and not changed.anon_chained
            )
        )
    )


def joined_anon_vma(keeper: Vma, gone: Vma) -> None:
    """Let *keeper* have the anon_vma of the VMA that it takes over. Mirrors dup_anon_vma()."""
    if not keeper.anon_vma and gone.anon_vma:
        keeper.anon_vma, keeper.anon_chained = gone.anon_vma, gone.anon_chained
        keeper.moved = gone.moved


def prepare_anon_vma(vma: Vma, neighbours: list[Vma], new_id: int) -> bool:
    """Give *vma* an anon_vma: a neighbour's that it could merge with, else *new_id*.

    *neighbours* are the adjacent VMAs, the next one first. Returns whether *new_id* was used.
    Mirrors find_mergeable_anon_vma() and anon_vma_compatible(), mm/vma.c.
    """
    for other in neighbours:
        lower, upper = (vma, other) if vma.end == other.start else (other, vma)
        if (
            lower.end == upper.start
            and mpol_equal(lower.policy, upper.policy)
            and lower.space == upper.space
            and not (lower.flags ^ upper.flags) & ~Vm.ACCESS
            and lower.index(lower.end) == upper.pgoff
            and other.anon_vma
            and not other.anon_chained
        ):
            vma.anon_vma, vma.moved = other.anon_vma, other.moved
            return False
    vma.anon_vma = new_id
    return True
