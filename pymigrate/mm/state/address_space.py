"""Files and shared memory objects: struct address_space with what shmem keeps beside it."""

from __future__ import annotations

from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.runs import Extent, RunMap, joined_in_turn
from pymigrate.mm.state.policy import Mempolicy, mpol_equal
from pymigrate.records import NamedTuple, field, record
from pymigrate.units import PAGE_SIZE

SHMEM = ("tmpfs", "shm")
HUGETLB = ("hugetlbfs", "hugetlb")
DISK = ("ext4", "xfs", "btrfs", "nfs", "other")
UNNAMED = ("shm", "hugetlb", "secretmem")  # that go with their last mapping


class PolicyRun(NamedTuple):
    """*nr* pages of a shared memory object from index *start*, with one policy."""

    start: int
    nr: int
    policy: Mempolicy

    def cuts(self, at: int) -> tuple[int, int]:
        """It can be cut anywhere."""
        return at, at

    def split(self, at: int) -> tuple[PolicyRun, PolicyRun]:
        """Cut before page *at*."""
        start, nr, policy = self
        return PolicyRun(start, at - start, policy), PolicyRun(at, start + nr - at, policy)

    @staticmethod
    def chain(runs: list[PolicyRun]) -> list[PolicyRun]:
        """Neighbours, as few as they can be."""
        return joined_in_turn(runs)

    def join(self, tail: PolicyRun) -> PolicyRun | None:
        """Both as one, if their policies are equal."""
        if mpol_equal(self.policy, tail.policy):
            return PolicyRun(self.start, self.nr + tail.nr, self.policy)
        return None


@record
class AddressSpace:
    """A file or a shared memory object: its cached pages by index, and its policies."""

    space_id: int
    name: str
    fs: str  # that of a scenario's file; shm, hugetlb or secretmem: of what has no name
    size: int  # bytes
    inode: int = 0
    pages: RunMap[PteRun] = field(default_factory=RunMap)
    policies: RunMap[PolicyRun] = field(default_factory=RunMap)
    readahead: tuple[int, int, int] = (0, 0, 0)  # start, size, async_size of the last window
    resv: RunMap[Extent] = field(default_factory=RunMap)  # of hugetlb: pages reserved, not cached
    is_deleted: bool = False  # its name is gone: unlink()

    @property
    def nr_pages(self) -> int:
        """Its length in pages."""
        return (self.size + PAGE_SIZE - 1) // PAGE_SIZE

    @property
    def is_transient(self) -> bool:
        """Whether it goes with its last mapping."""
        return self.is_deleted or self.fs in UNNAMED

    @property
    def is_shmem(self) -> bool:
        """Whether it lives in memory alone, and may have policies of its own."""
        return self.fs in SHMEM

    @property
    def is_hugetlb(self) -> bool:
        """Whether its pages come from the hugetlb pools."""
        return self.fs in HUGETLB

    @property
    def is_segment(self) -> bool:
        """Whether it is a segment of huge pages of System V's shared memory (SHM_HUGETLB)."""
        return self.is_hugetlb and self.name.startswith("/SYSV")

    @property
    def is_disk(self) -> bool:
        """Whether stores must be noticed, for pages are written back; reads are ahead."""
        return self.fs in DISK

    @property
    def path(self) -> str:
        """The name that /proc shows."""
        if self.fs == "hugetlb":
            return "/anon_hugepage (deleted)"
        if self.fs == "secretmem":
            return "/secretmem (deleted)"
        if self.fs == "shm":
            return "/dev/zero (deleted)"
        path = self.name if self.name.startswith("/") else f"/{self.name}"
        return f"{path} (deleted)" if self.is_deleted else path

    def policy_at(self, index: int) -> Mempolicy | None:
        """The policy of page *index*. Mirrors mpol_shared_policy_lookup()."""
        run = self.policies.at(index)
        return run.policy if run else None

    def set_policy(self, start: int, nr: int, policy: Mempolicy | None) -> None:
        """Store the policy of a range. Mirrors mpol_set_shared_policy()."""
        runs = [PolicyRun(start, nr, policy)] if policy else []
        self.policies.put(start, start + nr, *runs)
