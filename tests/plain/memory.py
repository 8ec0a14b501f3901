"""The plain model's memory: page by page, each VMA, entry and page an object of its own.

Written from the specification alone, as a second opinion: it shares no code with `pymigrate.mm`.
Small pages only: no huge pages, no swap, no NUMA balancing, and memory never runs out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from pymigrate.nodemask import Cpumask, Nodemask

BIND, INTERLEAVE, PREFERRED, LOCAL, MANY, WEIGHTED = 2, 3, 1, 4, 5, 6
STATIC, RELATIVE, BALANCING = 0x8000, 0x4000, 0x2000
MODE_FLAGS = STATIC | RELATIVE | BALANCING
INTERLEAVED = (INTERLEAVE, WEIGHTED)
RA_PAGES, RA_ASYNC, AROUND, TABLE = 32, 8, 16, 512


class Refused(Exception):  # noqa: N818  (a system call's answer)
    """A system call fails with an errno."""


class Policy(NamedTuple):
    """A memory policy; *user* is the mask that was asked for, or that of the cpuset then."""

    mode: int
    flags: int
    nodes: Nodemask
    user: Nodemask
    home: int | None = None

    def key(self) -> tuple[object, ...]:
        """What makes two policies equal."""
        return self.mode, self.flags, self.nodes, self.home, self.user if self.flags else None


def equal(a: Policy | None, b: Policy | None) -> bool:
    """Whether two policies, or their absence, are the same."""
    return a is b or (a is not None and b is not None and a.key() == b.key())


def rebind(policy: Policy | None, mems: Nodemask) -> Policy | None:
    """What *policy* becomes in a cpuset with *mems*."""
    if policy is None or policy.mode == LOCAL or (not policy.flags and policy.user == mems):
        return policy
    if policy.mode in (PREFERRED, MANY):
        return policy._replace(user=mems)
    if policy.flags & STATIC:
        return policy._replace(nodes=policy.user & mems or mems)
    if policy.flags & RELATIVE:
        return policy._replace(nodes=policy.user.relative_to(mems) or mems)
    return policy._replace(nodes=policy.nodes.remap_all(policy.user, mems) or mems, user=mems)


@dataclass(eq=False)
class Object:
    """A file or a piece of shared anonymous memory, with its page cache and its policies."""

    name: str
    fs: str
    nr: int
    inode: int = 0
    cache: dict[int, "Page"] = field(default_factory=dict)
    policies: dict[int, Policy] = field(default_factory=dict)


@dataclass(eq=False)
class Page:
    """A page of memory: where it lies, what it belongs to and who maps or holds it."""

    node: int
    obj: Object | None = None
    dirty: bool = False
    exclusive: bool = False
    marked: bool = False  # by readahead: whoever comes here reads on
    pins: int = 0
    refs: int = 0
    maps: "set[tuple[Mm, int]]" = field(default_factory=set)


@dataclass(eq=False)
class Pte:
    """What a page table says of a page; without a page: the zero page."""

    page: Page | None
    write: bool = False
    dirty: bool = False


@dataclass(eq=False)
class Ahead:
    """How far an open file was read ahead."""

    start: int = 0
    late: int = 0


@dataclass(eq=False)
class Vma:
    """Pages start..end of an address space that are alike."""

    start: int
    end: int
    prot: str
    shared: bool
    obj: Object | None
    pgoff: int
    ahead: Ahead
    flags: frozenset[str] = frozenset()
    policy: Policy | None = None
    anon: object = None  # its anon_vma
    forked: bool = False  # whether that went through a fork

    def index(self, page: int) -> int:
        """The place in the file of an address's page."""
        return page - self.start + self.pgoff

    def cut(self, start: int, end: int) -> "Vma":
        """A part of it."""
        return replace(self, start=start, end=end, pgoff=self.index(start))

    def continues(self, low: "Vma") -> bool:
        """Whether it is the same as *low*, and follows it, whatever they may be accessed for."""
        return (
            low.end == self.start
            and (low.obj, low.shared, low.flags) == (self.obj, self.shared, self.flags)
            and low.index(low.end) == self.pgoff
            and equal(low.policy, self.policy)
        )

    def is_shmem(self) -> bool:
        """Whether what it maps keeps the policies itself."""
        return self.obj is not None and self.obj.fs == "tmpfs"

    def policy_at(self, page: int) -> Policy | None:
        """The policy of an address's page, if it has one of its own."""
        if self.obj is not None and self.is_shmem():
            return self.obj.policies.get(self.index(page))
        return self.policy

    def phase(self, page: int) -> int:
        """Which place an address's page has in an interleaving."""
        return self.index(page) + (self.obj.inode if self.obj and self.is_shmem() else 0)


class Mm:
    """An address space: VMAs in order, and a dict of pages."""

    def __init__(self) -> None:
        self.vmas: list[Vma] = []
        self.ptes: dict[int, Pte] = {}

    def vma(self, page: int) -> Vma | None:
        """The one that a page lies in."""
        return next((vma for vma in self.vmas if vma.start <= page < vma.end), None)

    def within(self, start: int, end: int) -> list[Vma]:
        """Those that meet a range."""
        return [vma for vma in self.vmas if vma.start < end and start < vma.end]

    def pages(self, start: int, end: int) -> list[int]:
        """The pages of a range that have an entry."""
        if end - start > len(self.ptes):
            return sorted(page for page in self.ptes if start <= page < end)
        return [page for page in range(start, end) if page in self.ptes]

    def map(self, at: int, page: Page | None, write: bool = False, dirty: bool = False) -> None:
        """Set the entry of a page."""
        self.unmap(at)
        self.ptes[at] = Pte(page, write, dirty)
        if page:
            page.maps.add((self, at))

    def unmap(self, at: int) -> None:
        """Clear the entry of a page."""
        pte = self.ptes.pop(at, None)
        if pte and pte.page:
            pte.page.maps.remove((self, at))
            pte.page.dirty |= pte.dirty and pte.page.obj is not None

    def put(self, old: Iterable[Vma], new: Iterable[Vma]) -> None:
        """Replace some VMAs."""
        gone = {id(vma) for vma in old}
        kept = [vma for vma in self.vmas if id(vma) not in gone]
        self.vmas = sorted(
            [*kept, *(vma for vma in new if vma.start < vma.end)], key=lambda vma: vma.start
        )

    def modify(self, vma: Vma, start: int, end: int, **changes: object) -> Vma:
        """Change the part of *vma* within start..end; it merges with neighbours that are alike."""
        start, end = max(start, vma.start), min(end, vma.end)
        part = replace(vma.cut(start, end), **changes)  # type: ignore[arg-type]
        rest = [vma.cut(vma.start, start), vma.cut(end, vma.end)]
        prev = next((low for low in self.vmas if low.end == part.start), None)
        behind = next((high for high in self.vmas if high.start == part.end), None)
        left = prev is not None and _joins(part, prev, prev, part)
        right = behind is not None and _joins(part, behind, part, behind)
        if left and right and prev.anon and behind.anon:  # type: ignore[union-attr]
            right = prev.anon is behind.anon  # type: ignore[union-attr]
        merged = [vma]
        for side in ([prev] if left else []) + ([behind] if right else []):
            assert side is not None
            merged.append(side)
            low = min(part, side, key=lambda v: v.start)
            donor = side if side.anon else part
            part = replace(
                part, start=low.start, pgoff=low.pgoff, end=max(part.end, side.end),
                anon=donor.anon, forked=donor.forked,
            )  # fmt: skip
        self.put(merged, [part, *rest])
        return part

    def prepare_anon(self, vma: Vma) -> None:
        """Give *vma* an anon_vma: a neighbour's, if that is alike, or one of its own."""
        if vma.anon:
            return
        near = [high for high in self.vmas if high.continues(vma)]
        near += [low for low in self.vmas if vma.continues(low)]
        lent = [other.anon for other in near if other.anon and not other.forked]
        vma.anon = lent[0] if lent else object()


def _joins(part: Vma, other: Vma, low: Vma, high: Vma) -> bool:
    """Whether a changed *part* merges with its neighbour *other*."""
    if low.prot != high.prot or not high.continues(low):
        return False
    if not part.anon and other.anon:
        return not other.forked
    return part.anon is other.anon


@dataclass(eq=False)
class Task:
    """A task: one thread with an address space."""

    uid: int
    cpus: Cpumask
    user_cpus: Cpumask
    cpuset: str
    mems: Nodemask
    mm: Mm = field(default_factory=Mm)
    policy: Policy | None = None
    cursor: int = -1


class Memory:
    """The nodes of a machine: where pages are placed, and the faults that place them."""

    def __init__(self, distances: dict[int, dict[int, int]], memory: Nodemask) -> None:
        self.nodes = Nodemask.collect(distances)
        self.memory = memory
        self.cpu_node: dict[int, int] = {}
        self.zonelists: dict[int, list[int]] = {}
        load = dict.fromkeys(distances, 0)
        for local in sorted(distances):
            order, last = [n for n in memory if n == local], local
            while left := [n for n in memory if n not in order]:
                cost = {n: (distances[local][n] + (n < local)) * 1024 + load[n] for n in left}
                best = min(left, key=lambda n: (cost[n], n))
                load[best] += distances[local][best] != distances[local][last]
                last = best
                order.append(best)
            self.zonelists[local] = order

    def local(self, task: Task) -> int:
        """The node of the CPU that *task* runs on."""
        return self.cpu_node[task.cpus.first]

    def alloc(self, task: Task, policy: Policy | None, phase: int | None) -> int:
        """The node of a new page; no phase: the task's own cursor says whose turn it is."""
        policy = policy or task.policy
        near, mask = self.local(task), task.mems
        if policy and policy.mode == PREFERRED:
            near = policy.nodes.first
        elif policy and policy.mode in (BIND, MANY):
            near = near if policy.home is None else policy.home
            mask = policy.nodes & mask or mask
        elif policy and policy.mode in INTERLEAVED:
            if phase is None:
                near = task.cursor = policy.nodes.next_in(task.cursor)
            else:
                near = policy.nodes.nth(phase % len(policy.nodes))
        return next(node for node in self.zonelists[near] if node in mask)

    def new_anon(self, task: Task, vma: Vma, at: int, mm: Mm | None = None) -> None:
        """Map a new anonymous page that is written at once."""
        node = self.alloc(task, vma.policy_at(at) or _own(vma), vma.phase(at))
        (mm or task.mm).map(at, Page(node, exclusive=True), write="w" in vma.prot, dirty=True)

    def fault(self, task: Task, vma: Vma, at: int, write: bool) -> bool:
        """Let *task* access a page of *vma*, which allows it; False: it is beyond the file's end."""
        pte = task.mm.ptes.get(at)
        if pte and (pte.write or not write):
            pte.dirty |= write
            return True
        if pte:
            self._write_protected(task, vma, at, pte)
            return True
        if write and not vma.shared:
            task.mm.prepare_anon(vma)
        if vma.obj is None:
            if write:
                self.new_anon(task, vma, at)
            else:
                task.mm.map(at, None)
            return True
        return self._file_fault(task, vma, vma.obj, at, write)

    def _write_protected(self, task: Task, vma: Vma, at: int, pte: Pte) -> None:
        page = pte.page
        if page and vma.shared:
            pte.write = pte.dirty = page.dirty = True
            return
        if page and page.obj is None and not page.exclusive:
            page.exclusive = len(page.maps) + page.refs + page.pins == 1
        if page and page.exclusive:
            pte.write = pte.dirty = True
            return
        task.mm.prepare_anon(vma)
        self.new_anon(task, vma, at)

    def _file_fault(self, task: Task, vma: Vma, obj: Object, at: int, write: bool) -> bool:
        if vma.index(at) >= obj.nr:
            return False
        if not write:
            self._map_around(task.mm, vma, obj, at)
            if at in task.mm.ptes:
                return True
        page = self._cached(task, vma, obj, vma.index(at))
        if write and not vma.shared:
            self.new_anon(task, vma, at)
        else:
            page.dirty |= write
            task.mm.map(at, page, write or _reads_writable(vma), dirty=write)
        return True

    def _map_around(self, mm: Mm, vma: Vma, obj: Object, at: int) -> None:
        """Map the cached pages around *at* that are not mapped yet."""
        first = max(at - at % AROUND, vma.start, at - at % TABLE)
        last = min(first + AROUND, at - at % TABLE + TABLE, vma.end)
        for near in range(first, last):
            page = obj.cache.get(vma.index(near))
            if page and near not in mm.ptes and not page.marked and vma.index(near) < obj.nr:
                mm.map(near, page, _reads_writable(vma))

    def _cached(self, task: Task, vma: Vma, obj: Object, index: int) -> Page:
        """The page of a file, read in if it must be."""
        page = obj.cache.get(index)
        ahead = vma.ahead
        if vma.is_shmem():
            if not page:
                node = self.alloc(task, obj.policies.get(index), obj.inode + index)
                page = obj.cache[index] = Page(node, obj)
        elif "random" in vma.flags:
            self._read(task, obj, index, 1, 0)
        elif not page:
            ahead.start, ahead.late = max(0, index - RA_PAGES // 2), RA_ASYNC
            self._read(task, obj, ahead.start, RA_PAGES, RA_ASYNC)
        elif page.marked:
            page.marked = False
            self._read_on(task, obj, ahead, index)
        return obj.cache[index]

    def _read_on(self, task: Task, obj: Object, ahead: Ahead, index: int) -> None:
        """Whoever comes to a marked page reads further ahead."""
        if index == ahead.start + RA_PAGES - ahead.late:
            ahead.start += RA_PAGES
        else:
            ahead.start = index + 1
            while ahead.start in obj.cache:
                ahead.start += 1
        ahead.late = RA_PAGES
        self._read(task, obj, ahead.start, RA_PAGES, RA_PAGES)

    def _read(self, task: Task, obj: Object, start: int, nr: int, late: int) -> None:
        end = min(start + nr, obj.nr)
        for index in range(start, end):
            if index not in obj.cache:
                page = obj.cache[index] = Page(self.alloc(task, None, None), obj)
                page.marked = late > 0 and index == end - late


def _own(vma: Vma) -> Policy | None:
    return None if vma.is_shmem() and vma.shared else vma.policy


def _reads_writable(vma: Vma) -> bool:
    """Whether a page that is only read is mapped writable, and clean."""
    return vma.shared and vma.is_shmem() and "w" in vma.prot


def mapped(mm: Mm, start: int, end: int) -> Iterator[tuple[int, Pte, Page]]:
    """The entries of a range that have a page: its number, the entry, the page."""
    for at in mm.pages(start, end):
        pte = mm.ptes[at]
        if pte.page:
            yield at, pte, pte.page
