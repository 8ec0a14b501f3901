"""Tasks, and what they hold."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntFlag

from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.base.why import Stay
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.numa import FaultTable, NumaTask
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.records import NamedTuple, field, record
from pymigrate.units import PAGE_SHIFT

TASK_COMM_LEN = 16  # bytes of a command's name, with a zero at the end


class Cap(IntFlag):
    """Capabilities as bits, numbered as in linux/capability.h."""

    SETUID = 1 << 7  # become any user
    SYS_PTRACE = 1 << 19  # inspect any process
    SYS_ADMIN = 1 << 21  # take pages out of use
    SYS_NICE = 1 << 23  # move shared pages, and pages to nodes outside the target's cpuset


CAP_NONE = 0
CAP_FULL = (1 << 41) - 1  # what root has
CAPABILITIES = {"sys_ptrace": Cap.SYS_PTRACE, "sys_nice": Cap.SYS_NICE}


class Cred(NamedTuple):
    """As whom a task acts, and what it may do. struct cred.

    Ids that are -1, and capabilities that are None, follow from the others: the effective and the
    saved user, and the group, are the real user's; the effective capabilities are all of user 0's,
    and none of others'; and the permitted ones are the effective ones.
    """

    uid: int
    euid: int = -1
    suid: int = -1
    gid: int = -1
    caps: int | None = None
    permitted: int | None = None


class AccessPattern(NamedTuple):
    """Accesses of a task to a region of its memory, evenly over its pages but for the hot ones."""

    region: str  # what the task calls it
    rate: float  # accesses a second
    writes: float = 0.0  # the share of them that are stores
    hot: float = 0.0  # the share of the region's pages that is hot
    hot_rate: float = 0.0  # the share of the accesses that goes to the hot pages
    hot_at: int = 0  # bytes: where in the region they begin


class Accessed(NamedTuple):
    """Pages [start, end), which get *rate* accesses a second in all."""

    start: int
    end: int
    rate: float


def accessed(pattern: AccessPattern, start: int, nr: int) -> list[Accessed]:
    """The parts of a region of *nr* pages from *start*, as *pattern* accesses them."""
    nr_hot = min(max(round(pattern.hot * nr), 1), nr) if pattern.hot else 0
    if not nr_hot or nr_hot == nr:
        return [Accessed(start, start + nr, pattern.rate)]
    first = start + min(pattern.hot_at >> PAGE_SHIFT, nr - nr_hot)
    cold = pattern.rate * (1 - pattern.hot_rate) / (nr - nr_hot)
    parts = [
        Accessed(start, first, cold * (first - start)),
        Accessed(first, first + nr_hot, pattern.rate * pattern.hot_rate),
        Accessed(first + nr_hot, start + nr, cold * (start + nr - first - nr_hot)),
    ]
    return [part for part in parts if part.end > part.start]


class Region(NamedTuple):
    """A name for an address range: what a scenario calls memory that a task maps."""

    task: str
    name: str
    start: int  # base pages
    nr: int


@record
class Cpuset:
    """A group of tasks that share nodes and CPUs.

    Tasks begin in the one called "", which has all there is. Another's name is a path: `a/b` lies
    below `a`, and `a` below "".
    """

    name: str
    cpus: Cpumask
    mems: Nodemask
    memory_migrate: bool
    old_mems: Nodemask  # those that its tasks' memory was last moved to
    subtree_control: str = ""  # the controllers of those below it, in the kernel's order


class Pin(NamedTuple):
    """The frames that a process holds: for long (FOLL_PIN), or by plain references in a pipe."""

    pid: int
    start: int  # the first page of the range that was named
    nr: int
    is_long: bool
    runs: tuple[PteRun, ...]  # as they were mapped; a frame may be in several of them

    @property
    def nr_held(self) -> int:
        """How many base pages could be had."""
        return sum(run.nr for run in self.runs)

    def extents(self) -> list[Extent]:
        """The frames, one that is held twice in two of them."""
        return [extent for run in self.runs for extent in run.extents()]

    def meets(self, a: int, b: int) -> bool:
        """Whether a frame of [a, b) is held."""
        return any(start < b and a < start + nr for start, nr in self.extents())


class Left(NamedTuple):
    """*nr* pages of a mapping, on one node, that a call left behind; *why* is a word for it."""

    pid: int
    mapping: str
    node: int
    nr: int
    why: str


FindLeft = Callable[[list[Stay]], list[Left]]


@record
class Task:
    """A thread, and its credentials. A process is its first thread, which ends with it."""

    pid: int
    name: str
    comm: str
    uid: int
    cpus: Cpumask
    mm: Mm
    mems_allowed: Nodemask
    policy: Mempolicy | None = None
    il_prev: int = -1  # where a cursor-driven interleave stands
    il_weight: int = 0
    parent: str = ""
    cpuset: str = ""
    user_cpus: Cpumask = field(default_factory=Cpumask)  # what sched_setaffinity() asked for
    caps: int | None = None  # Cap bits; see Cred
    is_dumpable: bool = True  # others of its uid may inspect it
    numa: NumaTask = field(default_factory=NumaTask)
    accesses: list[AccessPattern] = field(default_factory=list)  # that it goes on making
    numa_faults: FaultTable = field(default_factory=dict)
    thread_of: int = 0  # the pid of the process; 0: it is the process
    euid: int = -1
    suid: int = -1
    gid: int = -1
    permitted: int | None = None

    @property
    def tgid(self) -> int:
        """The pid of the process that it belongs to."""
        return self.thread_of or self.pid

    @property
    def cpu(self) -> int:
        """The CPU it runs on: the lowest of its affinity."""
        return self.cpus.first

    @property
    def cred(self) -> Cred:
        """As whom it acts."""
        return Cred(self.uid, self.euid, self.suid, self.gid, self.caps, self.permitted)

    @cred.setter
    def cred(self, cred: Cred) -> None:
        self.uid, self.euid, self.suid, self.gid, self.caps, self.permitted = cred

    @property
    def uids(self) -> tuple[int, int, int]:
        """Its real, effective and saved user."""
        euid, suid = (self.uid if id_ < 0 else id_ for id_ in (self.euid, self.suid))
        return self.uid, euid, suid

    @property
    def fsuid(self) -> int:
        """As which user it opens files."""
        return self.uids[1]

    @property
    def group(self) -> int:
        """Its real group."""
        return self.uid if self.gid < 0 else self.gid

    @property
    def capabilities(self) -> int:
        """The bits of the capabilities that it has: the effective ones."""
        if self.caps is not None:
            return self.caps
        return CAP_FULL if self.fsuid == 0 else CAP_NONE

    @property
    def permitted_caps(self) -> int:
        """Those that it may make effective."""
        return self.capabilities if self.permitted is None else self.permitted

    def has(self, cap: Cap) -> bool:
        """Whether it has the capability *cap*. Mirrors capable()."""
        return bool(self.capabilities & cap)


@record
class Meanwhile:
    """An access that a task makes in the middle of a migration."""

    pid: int
    page: int
    write: bool
    make: Callable[..., None]  # makes it, given the machine and itself
    is_made: bool = False
    waited: bool = False  # for the page was unmapped
    looks_up: bool = False  # it waits for what it has found in a file's index, not at an entry
    signal: str | None = None  # that it got
