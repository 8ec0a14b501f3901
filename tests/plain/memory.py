"""The plain model's memory: every VMA, page and page table entry is an object of its own.

Written from the specification alone; small pages only, no swap, and memory never runs out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from pymigrate.nodemask import Nodemask

PREFERRED, BIND, INTERLEAVE, LOCAL, MANY, WEIGHTED = 1, 2, 3, 4, 5, 6
STATIC, RELATIVE, BALANCING = 0x8000, 0x4000, 0x2000
FLAGS = {STATIC: "static", RELATIVE: "relative", BALANCING: "balancing"}
TEXTS = ["", "prefer", "bind", "interleave", "local", "prefer (many)", "weighted interleave"]
Pte = SimpleNamespace  # page (None: the zero page), write, dirty
Task = SimpleNamespace  # uid, cpus, user_cpus, cpuset, mems, policy, mm
RA_PAGES, RA_ASYNC, AROUND, TABLE = 32, 8, 16, 512


class Refused(Exception):  # noqa: N818  (a system call's answer)
    """A system call fails with an errno."""


def need(value: Any, errno: str) -> Any:
    if not value:
        raise Refused(errno)
    return value


@dataclass(frozen=True)
class Policy:
    """A memory policy: with flags it knows the mask that was asked for, else the cpuset's then."""

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
        if self.mode == LOCAL or (not self.flags and self.cpuset == mems):
            return self
        user = self.cpuset if self.user is None else self.user
        if self.mode not in (PREFERRED, MANY):
            shown = user.relative_to(mems) if self.flags & RELATIVE else user & mems
            if self.flags & (STATIC | RELATIVE):
                return replace(self, nodes=shown or mems)
            self = replace(self, nodes=self.nodes.remap_all(user, mems) or mems)
        return replace(self, user=self.user and mems, cpuset=mems)


class Object:
    """A file or a piece of shared anonymous memory, with its page cache and its policies."""

    def __init__(self, name: str, fs: str, nr: int, inode: int) -> None:
        self.name, self.fs, self.nr, self.inode = name, fs, nr, inode
        self.cache, self.policies = dict[int, Page](), dict[int, Policy]()


class Page:
    """A page of memory: where it is, what of, who maps or holds it; marked: by readahead."""

    def __init__(self, node: int, obj: Object | None, exclusive: bool, marked: bool) -> None:
        self.node, self.obj, self.exclusive, self.marked = node, obj, exclusive, marked
        self.dirty, self.held, self.maps = False, list[str](), set[tuple[Mm, int]]()


@dataclass(eq=False)
class Vma:
    """Pages start..end of an address space that are alike."""

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

    @property
    def shmem(self) -> Object | None:
        return self.obj if self.obj and self.obj.fs == "tmpfs" else None

    def index(self, at: int) -> int:
        return at - self.start + self.pgoff

    def policy_at(self, at: int) -> Policy | None:
        return self.shmem.policies.get(self.index(at)) if self.shmem else self.policy

    def cut(self, start: int, end: int) -> "Vma":
        return replace(self, start=start, end=end, pgoff=self.index(start))

    def continues(self, low: "Vma") -> bool:
        """Whether it follows *low* and is alike, whatever they may be accessed for."""
        ours = self.start, self.pgoff, self.obj, self.shared, self.flags, self.policy
        return ours == (low.end, low.index(low.end), low.obj, low.shared, low.flags, low.policy)

    def joins(self, other: "Vma") -> bool:
        """Whether it, just changed, merges with its neighbour *other*."""
        alike = self.prot == other.prot and (self.continues(other) or other.continues(self))
        lends = not self.anon and other.anon and not other.forked
        return alike and bool(lends or self.anon is other.anon)


class Mm:
    """An address space: VMAs in order, and a dict of pages."""

    def __init__(self) -> None:
        self.vmas, self.ptes = list[Vma](), dict[int, Pte]()

    def walk(self, a: int, b: int, hole: str = "") -> Iterator[tuple[Vma, int, int]]:
        """The parts of a range with their VMAs when it is their turn, up to a *hole* if given."""
        while a < b:
            vma = next((vma for vma in self.vmas if vma.end > a), None)
            need(not hole or (vma and vma.start <= a), hole)
            if not vma or vma.start >= b:
                return
            start, a = max(a, vma.start), min(b, vma.end)
            yield vma, start, a

    def vma(self, at: int) -> Vma | None:
        return next((vma for vma, _, _ in self.walk(at, at + 1)), None)

    def mapped(self, a: int, b: int) -> list[tuple[int, Pte, Page]]:
        found = sorted(at for at in self.ptes if a <= at < b)
        return [(at, pte, pte.page) for at in found if (pte := self.ptes[at]).page]

    def map(self, at: int, page: Page | None, write: bool = False, dirty: bool = False) -> None:
        self.unmap(at)
        self.ptes[at] = Pte(page=page, write=write, dirty=dirty)
        if page:
            page.maps.add((self, at))

    def unmap(self, at: int) -> None:
        pte = self.ptes.pop(at, None)
        if pte and pte.page:
            pte.page.maps.remove((self, at))
            pte.page.dirty |= pte.dirty and pte.page.obj is not None

    def zap(self, a: int, b: int) -> None:
        for at in [at for at in self.ptes if a <= at < b]:
            self.unmap(at)

    def put(self, old: list[Vma], new: list[Vma]) -> None:
        gone = {id(vma) for vma in old}
        kept = [vma for vma in [*self.vmas, *new] if id(vma) not in gone and vma.start < vma.end]
        self.vmas = sorted(kept, key=lambda vma: vma.start)

    def modify(self, vma: Vma, a: int, b: int, **changes: object) -> Vma:
        """Change a part of *vma*, which then merges with neighbours that it joins."""
        if all(getattr(vma, key) == value for key, value in changes.items()):
            return vma
        part = replace(vma.cut(a, b), **changes)
        merged = [other for other in self.vmas if other.end == a and part.joins(other)]
        for high in [other for other in self.vmas if other.start == b and part.joins(other)]:
            if all(not low.anon or not high.anon or low.anon is high.anon for low in merged):
                merged.append(high)
        for side in merged:
            low, lent = min(part, side, key=lambda v: v.start), side if side.anon else part
            end = max(part.end, side.end)
            part = replace(low, end=end, policy=part.policy, anon=lent.anon, forked=lent.forked)
        self.put([vma, *merged], [part, vma.cut(vma.start, a), vma.cut(b, vma.end)])
        return part

    def prepare_anon(self, vma: Vma) -> None:
        lenders = [other for other in self.vmas if other.anon and not other.forked]
        lent = [v.anon for v in lenders if v.continues(vma) or vma.continues(v)]
        vma.anon = vma.anon or (lent[-1] if lent else object())


class Memory:
    """The nodes of a machine: where pages are placed, and the faults that place them."""

    def __init__(self, spec: Any) -> None:
        self.nodes, self.memory = Nodemask.collect(spec.nodes), spec.memory_nodes
        self.cpu_node = {cpu: nid for nid, node in spec.nodes.items() for cpu in node.cpus}
        self.weights, self.zonelists = spec.weights, dict[int, list[int]]()
        load = dict.fromkeys(self.nodes, 0)
        for local, row in zip(spec.node_ids, spec.matrix, strict=True):
            far = dict(zip(spec.node_ids, row, strict=True))
            order = self.zonelists[local] = [local]
            while left := [n for n in self.memory if n not in order]:
                best = min(left, key=lambda n: ((far[n] + (n < local)) * 1024 + load[n], n))
                load[best] += far[best] != far[order[-1]]
                order.append(best)

    def alloc(self, task: Task, policy: Policy | None, phase: int) -> int:
        policy = policy or task.policy
        near, mask = self.cpu_node[task.cpus.first], task.mems
        if policy and policy.mode == PREFERRED:
            near = policy.nodes.first
        elif policy and policy.mode in (BIND, MANY):
            near = near if policy.home is None else policy.home
            mask = policy.nodes & mask or mask
        elif policy and policy.mode in (INTERLEAVE, WEIGHTED):
            weights = self.weights if policy.mode == WEIGHTED else {}
            turns = [node for node in policy.nodes for _ in range(weights.get(node, 1))]
            near = turns[phase % len(turns)]
        return next(node for node in self.zonelists[near] if node in mask)

    def new_anon(self, task: Task, vma: Vma, at: int, mm: Mm | None = None) -> None:
        policy, bias = vma.policy_at(at), vma.shmem.inode if vma.shmem else 0
        page = Page(self.alloc(task, policy, bias + vma.index(at)), None, True, False)
        (mm or task.mm).map(at, page, write="w" in vma.prot, dirty=True)

    def fault(self, task: Task, vma: Vma, at: int, write: bool) -> bool:
        """Let *task* access a page of *vma*, which allows it; False: beyond the file's end."""
        pte = task.mm.ptes.get(at)
        page = pte.page if pte else None
        if write and not vma.shared and not (pte and pte.write):
            if page and not page.obj and len(page.maps) + len(page.held) == 1:
                page.exclusive = True
            if not page or not page.exclusive:
                task.mm.prepare_anon(vma)
        if not pte and vma.obj:
            return self.file_fault(task, vma, vma.obj, at, write)
        if not write:
            task.mm.ptes.setdefault(at, Pte(page=None, write=False, dirty=False))
        elif pte and (pte.write or (page and (vma.shared or page.exclusive))):
            page.dirty |= vma.shared and not pte.write
            pte.write = pte.dirty = True
        else:
            self.new_anon(task, vma, at)
        return True

    def file_fault(self, task: Task, vma: Vma, obj: Object, at: int, write: bool) -> bool:
        if vma.index(at) >= obj.nr:
            return False
        may_write = vma.shared and vma.shmem is not None and "w" in vma.prot
        first, table = max(at - at % AROUND, vma.start), at - at % TABLE
        for near in range(first, 0 if write else min(first + AROUND, table + TABLE, vma.end)):
            page = obj.cache.get(vma.index(near))
            if page and near not in task.mm.ptes and not page.marked:
                task.mm.map(near, page, may_write)
        if at not in task.mm.ptes:
            page = self.cached(task, vma, obj, vma.index(at))
            page.dirty |= write and vma.shared
            task.mm.map(at, page, write or may_write, dirty=write and vma.shared)
        if write and not vma.shared:
            self.new_anon(task, vma, at)
        return True

    def cached(self, task: Task, vma: Vma, obj: Object, index: int) -> Page:
        is_single = vma.shmem is not None or "random" in vma.flags
        start = index if is_single else max(0, index - RA_PAGES // 2)
        end = index + 1 if is_single else min(start + RA_PAGES, obj.nr)
        if index in obj.cache:
            obj.cache[index].marked &= is_single
        for new in set(range(start, 0 if index in obj.cache else end)) - set(obj.cache):
            node = self.alloc(task, obj.policies.get(new), obj.inode + new)
            obj.cache[new] = Page(node, obj, False, not is_single and new == end - RA_ASYNC)
        return obj.cache[index]
