"""The plain model's address spaces: objects, written without a look at mm/; without swap."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from pymigrate.nodemask import Nodemask

PREFERRED, BIND, INTERLEAVE, LOCAL, MANY, WEIGHTED = 1, 2, 3, 4, 5, 6
STATIC, RELATIVE, BALANCING = 0x8000, 0x4000, 0x2000
FLAGS = {STATIC: "static", RELATIVE: "relative", BALANCING: "balancing"}
TEXTS = ["", "prefer", "bind", "interleave", "local", "prefer (many)", "weighted interleave"]
Task = SimpleNamespace  # uid, cpus, user_cpus, cpuset, mems, policy, mm
TABLE = 512  # pages of a page table, and of a huge page


class Refused(Exception): ...  # noqa: N818  (a system call fails with an errno)


def need(value: Any, errno: str) -> Any:
    if not value:
        raise Refused(errno)
    return value


@dataclass(frozen=True)
class Policy:  # with flags it knows the mask that was asked for, else the cpuset's then
    mode: int
    flags: int
    nodes: Nodemask
    user: Nodemask | None
    cpuset: Nodemask = field(compare=False)
    home: int | None = None

    def __str__(self) -> str:
        flags = "|".join(name for bit, name in FLAGS.items() if self.flags & bit)
        text = TEXTS[self.mode] + (f"={flags}" if flags else "")
        return text + (f":{self.nodes}" if self.nodes else "")

    def rebound(self, mems: Nodemask) -> "Policy":
        nodes, user = self.nodes, self.cpuset if self.user is None else self.user
        if self.mode not in (PREFERRED, LOCAL, MANY):
            if self.flags & (STATIC | RELATIVE):
                shown = user.relative_to(mems) if self.flags & RELATIVE else user & mems
                return replace(self, nodes=shown or mems)
            nodes = nodes.remap_all(user, mems) or mems
        return replace(self, nodes=nodes, user=self.user and mems, cpuset=mems)


class Object:  # a file or a piece of shared anonymous memory, with its page cache and its policies
    def __init__(self, name: str, fs: str, nr: int, inode: int) -> None:
        self.name, self.fs, self.nr, self.inode = name, fs, nr, inode
        self.cache, self.policies = dict[int, Folio](), dict[int, Policy]()
        self.reserved = set[int]()  # of a hugetlb file: indexes


@dataclass(eq=False)
class Entry:  # of a page table, for a page or for a whole block; without a folio: the zero page
    folio: "Folio | None"
    write: bool = False
    dirty: bool = False
    huge: bool = False


NOTHING = Entry(None)  # where nothing is mapped


class Folio:  # a page of memory, or 512: where it is, what of, who maps or holds it
    def __init__(self, node: int, obj: Object | None, index: int, nr: int = 1) -> None:
        self.node, self.obj, self.index, self.nr = node, obj, index, nr
        self.marked = self.dirty = self.hugetlb = False  # marked: by readahead
        self.partial = False  # a part of it was unmapped, but not the rest
        self.exclusive = set(() if obj else range(nr))  # its pages of one process alone
        self.stored = set[int]()  # and those that hold what was stored
        self.held, self.maps = list[str](), dict[tuple[Mm, int], Entry]()

    @property
    def in_order(self) -> list[tuple[tuple["Mm", int], Entry]]:  # a parent's before its child's
        return sorted(self.maps.items(), key=lambda one: (one[0][0].number, one[0][1]))

    def mapcount(self, number: int) -> int:
        return sum(e.huge or at % self.nr == number for (_, at), e in self.maps.items())

    def covered(self, maps: list[tuple[tuple["Mm", int], Entry]]) -> bool:  # all of it or nothing
        pages = {at % self.nr for (_, at), _ in maps}
        return len(pages) in (0, self.nr) or any(entry.huge for _, entry in maps)

    @property
    def shared(self) -> bool:
        parts = not self.hugetlb and not any(entry.huge for entry in self.maps.values())
        return len(self.maps) > (self.nr if parts else 1) or self.mapcount(0) > 1

    def unmap_to_move(self) -> bool:  # whether it all can be unmapped
        maps = self.in_order
        for done, ((_, at), entry) in enumerate(maps, start=1):
            pinned = "long" in self.held and at % self.nr in self.exclusive
            self.dirty |= entry.dirty and not (pinned and entry.huge and not self.hugetlb)
            if pinned:
                return False
            self.partial = self.partial or not self.covered(maps[done:])
        return True


@dataclass(eq=False)
class Vma:  # pages start..end of an address space that are alike
    start: int
    end: int
    prot: str
    shared: bool
    obj: Object | None
    pgoff: int
    flags: frozenset[str] = frozenset()
    policy: Policy | None = None
    anon: object = None  # its anon_vma
    forked: bool = False  # whether that went through a fork
    reserved: set[int] | None = None  # pages of private hugetlb memory that nobody else may take

    @property
    def hugetlb(self) -> bool:
        return bool(self.obj and self.obj.fs == "hugetlbfs")

    @property
    def shmem(self) -> Object | None:
        return self.obj if self.obj and self.obj.fs == "tmpfs" else None

    def index(self, at: int) -> int:
        return at - self.start + self.pgoff

    def turn(self, at: int, nr: int) -> int:
        bias = self.obj.inode if self.obj else 0
        return bias + self.pgoff // nr + (at - self.start) // nr

    def policy_at(self, at: int) -> Policy | None:
        return self.shmem.policies.get(self.index(at)) if self.shmem else self.policy

    def continues(self, low: "Vma") -> bool:  # and is alike but in prot
        ours = self.start, self.pgoff, self.obj, self.shared, self.flags, self.policy
        return ours == (low.end, low.index(low.end), low.obj, low.shared, low.flags, low.policy)

    def joins(self, other: "Vma") -> bool:
        alike = self.prot == other.prot and not self.hugetlb
        lends = not self.anon and other.anon and not other.forked
        follows = self.continues(other) or other.continues(self)
        return alike and follows and bool(lends or self.anon is other.anon)


class Mm:  # an address space: VMAs in order, a dict of pages, and the blocks that have a page table
    def __init__(self, memory: Any) -> None:
        self.number, self.events = len(memory.mms), memory.events
        memory.mms.append(self)
        self.vmas, self.ptes, self.tables = list[Vma](), dict[int, Entry](), set[int]()

    def walk(self, a: int, b: int, hole: str = "") -> Any:  # when it is their turn
        while a < b:
            vma = next((vma for vma in self.vmas if vma.end > a), None)
            need(not hole or (vma and vma.start <= a), hole)
            if not vma or vma.start >= b:
                return
            start, a = max(a, vma.start), min(b, vma.end)
            yield vma, start, a

    def vma(self, at: int) -> Vma | None:
        return next((vma for vma in self.vmas if vma.start <= at < vma.end), None)

    def entries(self, a: int, b: int) -> list[tuple[int, Entry]]:  # each once
        found = dict[int, tuple[int, Entry]]()
        for at in sorted(at for at in self.ptes if a <= at < b):
            found.setdefault(id(self.ptes[at]), (at, self.ptes[at]))
        return [*found.values()]

    def mapped(self, a: int, b: int) -> list[tuple[int, Entry, Folio]]:
        return [(at, entry, entry.folio) for at, entry in self.entries(a, b) if entry.folio]

    def map(self, at: int, folio: Folio | None, write=False, dirty=False, huge=False) -> None:
        self.unmap(at)
        entry = Entry(folio, write, dirty, huge)
        (self.tables.discard if huge else self.tables.add)(at // TABLE)
        self.ptes |= dict.fromkeys(range(at, at + (TABLE if huge else 1)), entry)
        if folio:
            folio.maps[self, at] = entry

    def unmap(self, at: int) -> None:
        entry = self.ptes.get(at)
        for page in range(at, at + (TABLE if entry.huge else 1)) if entry else ():
            del self.ptes[page]
        if entry and (folio := entry.folio):
            del folio.maps[self, at]
            folio.dirty |= entry.dirty and folio.obj is not None
            folio.partial = folio.partial or not folio.covered([*folio.maps.items()])

    def cut(self, *edges: int) -> None:
        for at in edges:
            if at % TABLE and self.ptes.get(at, NOTHING).huge:
                self.split_entry(at)

    def split_entry(self, at: int) -> None:
        entry, start = self.ptes[at], at - at % TABLE
        self.events["thp_split_pmd"] += 1
        self.tables.add(start // TABLE)
        pages = {start + n: replace(entry, huge=False) for n in range(TABLE)}
        self.ptes |= pages
        if entry.folio:
            del entry.folio.maps[self, start]
            entry.folio.maps |= {(self, at): page for at, page in pages.items()}
            entry.folio.dirty |= entry.dirty

    def zap(self, a: int, b: int) -> None:
        self.cut(a, b)
        for at, _ in self.entries(a, b):
            self.unmap(at)

    def put(self, old: list[Vma], new: list[Vma]) -> None:
        kept = [vma for vma in self.vmas if vma not in old]
        self.vmas = sorted(kept + new, key=lambda vma: vma.start)
        for vma in new:
            self.cut(vma.start, vma.end)

    def split_at(self, *edges: int) -> None:
        for at in edges:
            if (vma := self.vma(at)) and vma.start < at:
                need(not vma.hugetlb or at % TABLE == 0, "EINVAL")
                high = replace(vma, start=at, pgoff=vma.index(at))
                self.put([vma], [replace(vma, end=at), high])

    def modify(self, vma: Vma, a: int, b: int, **changes: object) -> Vma:
        if all(getattr(vma, key) == value for key, value in changes.items()):
            return vma
        self.split_at(a, b)
        vma = self.vma(a)
        part = replace(vma, **changes)
        merged = [other for other in self.vmas if other.end == a and part.joins(other)]
        for high in [other for other in self.vmas if other.start == b and part.joins(other)]:
            if all(not low.anon or not high.anon or low.anon is high.anon for low in merged):
                merged.append(high)
        for side in merged:
            low, lent = min(part, side, key=lambda v: v.start), side if side.anon else part
            end = max(part.end, side.end)
            part = replace(low, end=end, policy=part.policy, anon=lent.anon, forked=lent.forked)
        self.put([vma, *merged], [part])
        return part

    def prepare_anon(self, vma: Vma) -> None:
        near = [v for v in self.vmas if v.continues(vma) or vma.continues(v)]
        lent = [v.anon for v in near if v.anon and not v.forked]
        vma.anon = vma.anon or [object(), *lent][-1]
