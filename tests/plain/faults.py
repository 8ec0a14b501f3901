"""The plain model's machine: nodes, the faults that place folios, the engine that moves them."""

from collections import Counter
from typing import Any

from pymigrate.nodemask import Nodemask
from tests.plain import memory as m
from tests.plain.memory import NOTHING, TABLE, Folio, Mm, Object, Policy, Task, Vma, need

RA_PAGES, RA_ASYNC, AROUND, MOVE, MOVE_ALL = 32, 8, 16, 2, 4


class Memory:  # the nodes of a machine: where pages are placed, and the faults that place them
    def __init__(self, spec: Any) -> None:
        self.nodes, self.memory = Nodemask.collect(spec.nodes), spec.memory_nodes
        self.mms, self.files, self.folios = list[Mm](), list[Object](), list[Folio]()
        self.total, self.surplus = Counter(spec.hugetlb), Counter[int]()  # huge pages of the pools
        self.thp, self.events = str(spec.thp), Counter[str]()
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

    def alloc(self, task: Task, policy: Policy | None, phase: int, local=False, only=None) -> Any:
        policy = policy or task.policy
        near, mask = self.cpu_node[task.cpus.first], task.mems
        if policy and policy.mode == m.PREFERRED:
            near = policy.nodes.first
        elif policy and policy.mode in (m.BIND, m.MANY):
            near, bound = near if policy.home is None else policy.home, policy.nodes & mask
            local &= policy.mode == m.BIND and (near in policy.nodes or not bound)
            mask = bound or mask
        elif policy and policy.mode in (m.INTERLEAVE, m.WEIGHTED):
            weights = self.weights if policy.mode == m.WEIGHTED else {}
            turns = [node for node in policy.nodes for _ in range(weights.get(node, 1))]
            near, local = turns[phase % len(turns)] if turns else near, False
        order = [near] if local else self.zonelists[near]  # local: there or nowhere
        return next((n for n in order if n in mask & (only or self.memory)), None)

    def new_anon(self, task: Task, vma: Vma, at: int, mm: Mm | None = None) -> None:
        new = Folio(self.alloc(task, vma.policy_at(at), vma.turn(at, 1)), None, vma.index(at))
        old = task.mm.ptes.get(at, NOTHING).folio
        new.stored = {0} if old and at % old.nr in old.stored else set()
        (mm or task.mm).map(at, new, "w" in vma.prot, dirty=True)

    def fault(self, task: Task, vma: Vma, at: int, write: bool) -> bool:  # False: SIGBUS
        if vma.hugetlb:
            return self.pool_fault(task, vma, vma.obj, at, write)
        if at not in task.mm.ptes and self.huge_fault(task, vma, at, write):
            return True
        mine = write and not vma.shared and self.is_exclusive(task.mm, vma, at)
        entry = task.mm.ptes.get(at)
        if not entry and vma.obj:
            return self.file_fault(task, vma, vma.obj, at, write)
        if not write and not entry:
            task.mm.map(at, None)
        elif write and entry and (entry.write or (entry.folio and (vma.shared or mine))):
            if entry.folio:
                entry.folio.dirty |= vma.shared and not entry.write
            entry.write = entry.dirty = True
        elif write:
            self.new_anon(task, vma, at)
        return True

    def is_exclusive(self, mm: Mm, vma: Vma, at: int) -> bool:
        entry = mm.ptes.get(at, NOTHING)
        folio = entry.folio
        if folio and not folio.obj and len(folio.maps) + len(folio.held) == 1:
            folio.exclusive |= {*range(folio.nr)} if entry.huge or folio.nr == 1 else set()
        if entry.write or (folio and at % folio.nr in folio.exclusive):
            return True
        if entry.huge:
            mm.split_entry(at)
        mm.prepare_anon(vma)
        return False

    def huge_fault(self, task: Task, vma: Vma, at: int, write: bool) -> bool:
        start, enabled = at - at % TABLE, self.thp == "always" or "hugepage" in vma.flags
        fits = vma.start <= start <= vma.end - TABLE and start // TABLE not in task.mm.tables
        if vma.obj or not (enabled and fits) or self.thp == "never" or "nohugepage" in vma.flags:
            return False
        task.mm.prepare_anon(vma)
        turn, local = vma.turn(start, TABLE), "hugepage" not in vma.flags
        node = self.alloc(task, vma.policy, turn, local) if write else None
        if node is not None:
            self.events["thp_fault_alloc"] += 1
            folio = Folio(node, None, vma.index(start), TABLE)
            task.mm.map(start, folio, "w" in vma.prot, dirty=True, huge=True)
        elif not write:
            task.mm.map(start, None, huge=True)
        return start in task.mm.ptes

    def file_fault(self, task: Task, vma: Vma, obj: Object, at: int, write: bool) -> bool:
        if (index := vma.index(at)) >= obj.nr:
            return False
        may_write = vma.shared and vma.shmem is not None and "w" in vma.prot
        first, table = max(at - at % AROUND, vma.start), at - at % TABLE
        for near in range(first, 0 if write else min(first + AROUND, table + TABLE, vma.end)):
            folio = obj.cache.get(vma.index(near))
            if folio and near not in task.mm.ptes and not folio.marked:
                task.mm.map(near, folio, may_write)
        if at not in task.mm.ptes:
            is_single = vma.shmem is not None or "random" in vma.flags
            start = index if is_single else max(0, index - RA_PAGES // 2)
            end = index + 1 if is_single else min(start + RA_PAGES, obj.nr)
            if index in obj.cache:
                obj.cache[index].marked &= is_single
            for new in set(range(start, 0 if index in obj.cache else end)) - set(obj.cache):
                node = self.alloc(task, obj.policies.get(new), obj.inode + new)
                obj.cache[new] = Folio(node, obj, new)
                obj.cache[new].marked = not is_single and new == end - RA_ASYNC
            obj.cache[index].dirty |= write and vma.shared
            task.mm.map(at, obj.cache[index], write or may_write, dirty=write and vma.shared)
        if write and not vma.shared:
            self.new_anon(task, vma, at)
        return True

    def split(self, folio: Folio) -> list[Folio]:
        if folio.held:
            return []
        for (mm, at), entry in folio.in_order:
            if entry.huge:
                mm.split_entry(at)
            folio.dirty |= entry.dirty
        self.events["thp_split_page"] += 1
        pieces = [Folio(folio.node, None, folio.index + number) for number in range(folio.nr)]
        for (mm, at), entry in folio.in_order:
            number, vma = at % folio.nr, mm.vma(at)
            piece = pieces[number]
            piece.dirty, piece.stored = folio.dirty, {0} if number in folio.stored else set()
            piece.exclusive = {0} if number in folio.exclusive else set()
            if number in folio.stored or piece.maps or (vma and "locked" in vma.flags):
                entry.folio = piece
                piece.maps[mm, at] = entry
            else:
                entry.folio, entry.write, entry.dirty = None, False, False
        return pieces

    def collapse(self, task: Task, vma: Vma, a: int, b: int) -> None:
        first, last, errno = -(-a // TABLE), b // TABLE, ""
        fits = -(-vma.start // TABLE) < vma.end // TABLE and first <= last
        need(fits and vma.anon and not vma.obj and "nohugepage" not in vma.flags, "EINVAL")
        blocks = range(first * TABLE, last * TABLE, TABLE)
        for start in [at for at in blocks if not task.mm.ptes.get(at, NOTHING).huge]:
            found = task.mm.mapped(start, start + TABLE)
            is_held = any(folio.held for _, _, folio in found)
            if is_held or not any(entry.write for _, entry, _ in found):
                errno = "EAGAIN" if is_held else "EINVAL"
                continue
            weight = Counter(folio.node for _, _, folio in found)
            most = [node for node in sorted(weight) if weight[node] == max(weight.values())]
            node = next((n for n in self.zonelists[most[0]] if n in most and n in task.mems), None)
            new = Folio(need(node is not None, "ENOMEM") and node, None, vma.index(start), TABLE)
            new.stored = {at % TABLE for at, _, folio in found if at % folio.nr in folio.stored}
            task.mm.zap(start, start + TABLE)
            task.mm.map(start, new, "w" in vma.prot, dirty=True, huge=True)
        need(not errno, errno)

    def lazily(self, mm: Mm, a: int, b: int, free: bool, pageout: bool) -> None:
        end = a
        while (at := end) < b:
            entry, end = mm.ptes.get(at, NOTHING), at + 1
            if folio := entry.folio:
                while end < b and mm.ptes.get(end, NOTHING).folio is folio:
                    end += 1
                huge, mappings = folio.nr > 1, len(folio.maps)
                alone = mappings <= (1 if entry.huge else folio.nr)
                if huge and (end - at < TABLE or (pageout and alone)) and not folio.shared:
                    if self.split(folio):
                        end = at
                elif free and end - at == folio.nr and (alone or not (entry.huge or folio.dirty)):
                    for each in (folio, *(pte for _, pte in mm.entries(at, end))):
                        each.dirty = False

    def engine(self, folios: Any, place: Any) -> int:  # how many stayed
        failed, split, left, events = 0, 0, False, self.events
        for folio in sorted(folios, key=lambda folio: not folio.hugetlb):
            node, huge = place(folio), folio.nr > 1 and not folio.hugetlb
            if huge and (folio.partial or node is None) and (pieces := self.split(folio)):
                split += 1
                events.update(thp_migration_fail=1, thp_migration_split=1)
                for piece in reversed(pieces):
                    node = place(piece) if piece.maps else piece.node
                    events["pgmigrate_fail" if node is None else "pgmigrate_success"] += 1
                    left |= node is None
                    piece.node = piece.node if node is None else node
            elif node is not None and folio.unmap_to_move() and not folio.held:
                if folio.hugetlb:
                    self.moved(folio, node)
                folio.node = node
                events.update(pgmigrate_success=folio.nr, thp_migration_success=huge)
            else:
                failed += 1
                events.update(pgmigrate_fail=folio.nr, thp_migration_fail=huge)
                need(node is not None, "ENOMEM")
        return failed + split if failed or left else 0

    def spare(self) -> int:  # not reserved, when those that nobody uses are back
        vmas = [vma for mm in self.mms for vma in mm.vmas if vma.hugetlb]
        alive = {*self.files, *(vma.obj for vma in vmas if vma.shared)}
        for folio in [f for f in self.folios if not (f.maps or f.held or f.obj in alive)]:
            self.folios.remove(folio)
            self.left(folio.node)
        reserved = [at for obj in alive for at in obj.reserved]
        reserved += [at for vma in vmas for at in vma.reserved or () if vma.start <= at < vma.end]
        return self.total.total() - len(self.folios) - len(reserved)

    def left(self, node: int) -> None:
        gone = self.surplus[node] > 0
        self.total[node] -= gone
        self.surplus[node] -= gone

    def free(self) -> Counter[int]:
        return self.total - Counter(folio.node for folio in self.folios)

    def take(self, task: Task, vma: Vma, start: int, reserved: set[int], key: int) -> Folio | None:
        is_left, policy = self.spare() > 0 or key in reserved, vma.policy or task.policy
        where = Nodemask.collect(self.free()) if is_left else Nodemask()
        node = self.alloc(task, policy, vma.turn(start, TABLE), only=where) if where else None
        if node is None and policy and policy.mode == m.MANY:
            near = self.zonelists[self.cpu_node[task.cpus.first]]
            node = next((n for n in near if n in where and n in task.mems), None)
        if node is None:
            return None
        reserved.discard(key)
        folio = Folio(node, vma.obj if vma.shared else None, vma.index(start), TABLE)
        folio.hugetlb = True
        self.folios.append(folio)
        return folio

    def pool_fault(self, task: Task, vma: Vma, obj: Object, at: int, write: bool) -> bool:
        ptes, start, writes = task.mm.ptes, at - at % TABLE, vma.shared and "w" in vma.prot
        folio = obj.cache.get(index := vma.index(start))
        is_absent = start not in ptes and index < obj.nr and not folio
        if is_absent and not vma.shared:
            task.mm.prepare_anon(vma)
            folio = self.take(task, vma, start, vma.reserved or set(), start)
        elif is_absent:
            folio = self.take(task, vma, start, obj.reserved, index)
            obj.cache |= {index: folio} if folio else {}
        if start not in ptes and folio:
            folio.dirty |= vma.shared
            task.mm.map(start, folio, writes, writes, huge=True)
        is_there = start in ptes and bool(not write or vma.shared or self.is_own(task, vma, start))
        if is_there and write:
            ptes[start].write = ptes[start].dirty = True
        return is_there

    def is_own(self, task: Task, vma: Vma, start: int) -> bool:  # False: no huge page for a copy
        mm, old = task.mm, task.mm.ptes[start].folio
        if old.obj or len(old.maps) > 1:
            mm.prepare_anon(vma)
            if folio := self.take(task, vma, start, (old.obj and vma.reserved) or set(), start):
                mm.map(start, folio, huge=True)
            elif vma.reserved is None or old.obj:
                return False
            for other, at in [one for one in old.maps if one[0] is not mm and not folio]:
                other.unmap(at)  # the owner of the reservation has it for himself then
        mm.ptes[start].folio.exclusive = {*range(TABLE)}
        return True

    def moved(self, folio: Folio, node: int) -> None:
        is_fresh = self.spare() <= 0 or not self.free()[node]
        source, folio.node = folio.node, node
        if not is_fresh:
            self.left(source)
        elif source != node:
            moves = self.surplus[source] > 0
            self.total.update({source: -1, node: 1})
            self.surplus.update({source: -moves, node: moves})

    def resize(self, node: int, nr: int) -> None:
        spare = self.spare()
        fewer = self.total[node] - self.surplus[node] - nr
        back = max(0, min(-fewer, self.surplus[node]))
        gone = max(0, min(fewer, self.free()[node], spare))
        self.total[node] += max(0, -fewer - back) - gone
        self.surplus[node] += max(0, fewer - gone) - back


def to_move(found: Any, flags: int) -> tuple[dict[Folio, None], int]:  # and how many stay
    folios, failed, last = dict[Folio, None](), 0, None
    for _, entry, folio in found:
        if folio is not last or entry.huge:
            last = folio if folio.nr > 1 and not entry.huge else last
            need(flags & (MOVE | MOVE_ALL), "EIO")
            if flags & MOVE_ALL or not folio.shared:
                failed += folio in folios
                folios[folio] = None
    return folios, failed
