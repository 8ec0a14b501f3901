"""The plain model's hugetlb: pools of huge pages, reservations, and the faults that take them."""

from collections import Counter
from typing import Any

from pymigrate.nodemask import Nodemask
from tests.plain import memory as m
from tests.plain.memory import TABLE, Folio, Mm, Object, Task, Vma, need


class Pool:
    """The huge pages of each node, those of them that are surplus, and all that are in use."""

    def __init__(self, memory: Any, sizes: dict[int, int]) -> None:
        self.memory, self.total, self.surplus = memory, Counter(sizes), Counter[int]()
        self.folios, self.mms, self.files = list[Folio](), list[Mm](), list[Object]()

    def spare(self) -> int:
        """How many are free and not reserved, when those that nobody uses are back."""
        vmas = [vma for mm in self.mms for vma in mm.vmas if vma.hugetlb]
        alive = {*self.files, *(vma.obj for vma in vmas if vma.shared)}
        for folio in self.folios[:]:
            if not (folio.maps or folio.held or folio.obj in alive):
                self.folios.remove(folio)
                self.left(folio.node)
        reserved = sum(len(obj.reserved) for obj in alive if obj)
        for vma in vmas:
            reserved += sum(vma.start <= at < vma.end for at in vma.reserved or ())
        return self.total.total() - len(self.folios) - reserved

    def left(self, node: int) -> None:
        """A huge page of a node is no longer in use."""
        gone = self.surplus[node] > 0
        self.total[node] -= gone
        self.surplus[node] -= gone

    def free(self) -> Counter[int]:
        return self.total - Counter(folio.node for folio in self.folios)

    def reserve(self, task: Task, obj: Object, wanted: range, shared: bool) -> None:
        """Reserve the huge pages that *wanted* begins, which are indexes of a shared *obj*."""
        new = set(wanted) - (obj.reserved | set(obj.cache) if shared else set())
        allowed = task.mems
        if task.policy and task.policy.mode == m.BIND:
            allowed &= task.policy.nodes
        enough = len(new) <= self.spare()
        free = sum(nr for node, nr in self.free().items() if node in allowed)
        need(enough and len(new) <= free, "ENOMEM")
        obj.reserved |= new if shared else set()

    def take(self, task: Task, vma: Vma, start: int, reserved: set[int], key: int) -> Folio | None:
        """A huge page from the pool, of the reserved ones if *key* is among them."""
        if self.spare() <= 0 and key not in reserved:
            return None
        where, turn = Nodemask.collect(self.free()), vma.turn(start, TABLE)
        policy = vma.policy or task.policy
        node = self.memory.alloc(task, policy, turn, only=where) if where else None
        if node is None and policy and policy.mode == m.MANY:
            near = self.memory.zonelists[self.memory.cpu_node[task.cpus.first]]
            node = next((n for n in near if n in where and n in task.mems), None)
        if node is None:
            return None
        reserved.discard(key)
        folio = Folio(node, vma.obj if vma.shared else None, vma.index(start), TABLE)
        folio.hugetlb = True
        self.folios.append(folio)
        return folio

    def fault(self, task: Task, vma: Vma, obj: Object, at: int, write: bool) -> bool:
        """Let *task* access a page; False: beyond the file's end, or there is no huge page."""
        mm, start = task.mm, at - at % TABLE
        if start not in mm.ptes and not self.map_absent(task, vma, obj, start):
            return False
        if write and not vma.shared and not self.is_own(task, vma, start):
            return False
        if write:
            mm.ptes[start].write = mm.ptes[start].dirty = True
        return True

    def map_absent(self, task: Task, vma: Vma, obj: Object, start: int) -> bool:
        index, writes = vma.index(start), vma.shared and "w" in vma.prot
        folio = obj.cache.get(index)
        if not folio and index < obj.nr and vma.shared:
            folio = self.take(task, vma, start, obj.reserved, index)
            obj.cache |= {index: folio} if folio else {}
        elif not folio and index < obj.nr:
            task.mm.prepare_anon(vma)
            folio = self.take(task, vma, start, vma.reserved or set(), start)
        if folio:
            folio.dirty |= vma.shared
            task.mm.map(start, folio, writes, writes, huge=True)
        return folio is not None

    def is_own(self, task: Task, vma: Vma, start: int) -> bool:
        """Let what is there be the task's alone; False: there is no huge page for a copy."""
        mm, old = task.mm, task.mm.ptes[start].folio
        if old.obj or len(old.maps) > 1:
            mm.prepare_anon(vma)
            if folio := self.take(task, vma, start, (old.obj and vma.reserved) or set(), start):
                mm.map(start, folio, huge=True)
            elif vma.reserved is None or old.obj:
                return False
            for other, at in [*old.maps] if not folio else ():
                if other is not mm:  # the owner of the reservation has it for himself then
                    other.unmap(at)
        mm.ptes[start].folio.exclusive = {*range(TABLE)}
        return True

    def moved(self, folio: Folio, node: int) -> None:
        """Account for a huge page that has moved: where there was none free a new one was made."""
        source = folio.node
        is_fresh = self.spare() <= 0 or not self.free()[node]
        folio.node = node
        if not is_fresh:
            self.left(source)
        elif source != node:
            moves = self.surplus[source] > 0
            self.total.update({source: -1, node: 1})
            self.surplus.update({source: -moves, node: moves})

    def resize(self, node: int, nr: int) -> None:
        """Let a node have so many huge pages; those in use become surplus."""
        spare = self.spare()
        fewer = self.total[node] - self.surplus[node] - nr
        back = max(0, min(-fewer, self.surplus[node]))
        self.surplus[node] -= back
        self.total[node] += max(0, -fewer - back)
        gone = max(0, min(fewer, self.free()[node], spare))
        self.total[node] -= gone
        self.surplus[node] += max(0, fewer - gone)
