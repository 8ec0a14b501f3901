"""The plain model: what kernel 6.12 records of a step on the pages a..b."""

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from typing import Any

from pymigrate.nodemask import Nodemask
from pymigrate.units import PAGE_SIZE, pages_of
from tests.plain import memory as m
from tests.plain.faults import MOVE, MOVE_ALL, Memory, to_move
from tests.plain.memory import NOTHING, TABLE, Folio, Mm, Object, Policy, Refused, Task, Vma, need

Record = dict[str, Any]
DONE: Record = {"ret": 0, "errno": None}
MODES = "default preferred bind interleave local preferred-many weighted-interleave".split()
MODE_FLAGS = {"static": m.STATIC, "relative": m.RELATIVE, "numa_balancing": m.BALANCING}
ALIGNED = "munmap mprotect madvise set_mempolicy_home_node".split()
BASE, END, STRICT = 0x200004000000 // PAGE_SIZE, 1 << 60, 1
ENOENT, EACCES, EFAULT, EBUSY = -2, -13, -14, -16
DONTNEED, FREE, COLD, PAGEOUT, POPULATE_READ, POPULATE_WRITE, COLLAPSE = 4, 8, 20, 21, 22, 23, 25
ADVICE = dict.fromkeys((4, 8, 20, 21, 22, 23, 25), ("", "")) | {  # VMA flags it sets and clears
    0: ("", "random sequential"), 1: ("random", "sequential"), 2: ("sequential", "random"),
    10: ("dontfork", ""), 12: ("mergeable", ""), 13: ("", "mergeable"),
    14: ("hugepage", "nohugepage"), 15: ("nohugepage", "hugepage"),
}  # fmt: skip


def run(scenario: Any) -> list[Record]:  # the records of all steps of a loaded scenario
    model = Model(scenario)
    return [{"op": step.op, **model.do(step)} for step in scenario.steps]


def taken(step: Any, name: str) -> Any:  # what a call takes for an argument, in numbers
    return next(step.taken(each) for each in step.call.arguments if each.name == name)


class Model:  # a machine, its tasks, and the names that the steps have given
    def __init__(self, scenario: Any) -> None:
        spec, nodes = scenario.machine, scenario.machine.memory_nodes
        self.memory, self.cpus = Memory(spec), spec.cpus
        self.tasks, self.files, self.cpusets = {}, {}, {"": (spec.cpus, nodes)}
        for name, t in scenario.tasks.items():
            cpus = {"cpus": t.cpus, "user_cpus": t.cpus, "mm": Mm(self.memory)}
            self.tasks[name] = Task(uid=t.uid, cpuset="", mems=nodes, policy=None, **cpus)
        tmpfs = [name for name, file in scenario.files.items() if file.fs == "tmpfs"]
        for name, file in scenario.files.items():
            inode = tmpfs.index(name) + 2 if name in tmpfs else 0
            self.files[name] = Object(name, file.fs, pages_of(file.size), inode)
        self.memory.files = self.files.values()
        self.regions, self.next_region = dict[str, tuple[int, int]](), BASE
        self.pins = dict[object, list[list[Folio | None]]]()

    def do(self, step: Any) -> Record:
        start, nr = self.regions.get(getattr(step, "at", None), (0, 0))
        offset, length = getattr(step, "offset", 0), getattr(step, "length", None)
        length = max(nr * PAGE_SIZE - offset, 0) if length is None else length
        addr = start * PAGE_SIZE + offset
        self.accesses = range(addr, addr + length, getattr(step, "stride", PAGE_SIZE))
        args = (
            self.tasks.get(getattr(step, "task", None)),
            addr // PAGE_SIZE,
            pages_of(addr + length),
        )
        try:
            need(addr % PAGE_SIZE == 0 or step.op not in ALIGNED, "EINVAL")
            answer = getattr(self, f"do_{step.op}")(step, *args)
        except Refused as refused:
            answer = {"ret": -1, "errno": str(refused)}
            return answer | ({"status": []} if step.op == "move_pages" else {})
        return DONE if answer is None else answer

    def do_mmap(self, step: Any, task: Task, *_: int) -> None:
        align, nr = step.align // PAGE_SIZE, pages_of(step.length)
        start = -(-self.next_region // align) * align
        self.regions[step.as_], self.next_region = (start, nr), start + nr + 1
        need(nr and step.offset % PAGE_SIZE == 0, "EINVAL")
        zero = Object("/dev/zero (deleted)", "tmpfs", nr, 0) if step.shared else None
        zero = Object("/anon_hugepage (deleted)", "hugetlbfs", nr, 0) if step.hugetlb else zero
        obj = self.files[step.file] if step.file else zero
        pgoff = step.offset // PAGE_SIZE if step.file else 0 if obj else start
        flags = frozenset({"account"} if "w" in step.prot and not step.shared else ())
        vma = Vma(start, start + nr, step.prot, step.shared, obj, pgoff, flags)
        if obj and vma.hugetlb:
            need(nr % TABLE == start % TABLE == pgoff % TABLE == 0, "EINVAL")
            taken = obj.reserved | set(obj.cache) if step.shared else set()
            new = set(range(pgoff, pgoff + nr, TABLE)) - taken
            is_bound, spare = task.policy and task.policy.mode == m.BIND, self.memory.spare()
            allowed = task.mems & task.policy.nodes if is_bound else task.mems
            free = sum(left for node, left in self.memory.free().items() if node in allowed)
            need(len(new) <= min(spare, free), "ENOMEM")
            obj.reserved |= new if step.shared else set()
            vma.reserved = None if step.shared else {*range(start, start + nr, TABLE)}
            obj.nr = max(obj.nr, pgoff + nr) if "w" in step.prot else obj.nr
        task.mm.put([], [vma])
        if step.populate:
            self.populate(task, start, start + nr)

    def do_munmap(self, step: Any, task: Task, a: int, b: int) -> None:
        need(a < b, "EINVAL")
        task.mm.split_at(a, b)
        task.mm.zap(a, b)
        task.mm.put([vma for vma, _, _ in task.mm.walk(a, b)], [])

    def do_mprotect(self, step: Any, task: Task, a: int, b: int) -> None:
        prot, parts = step.prot, task.mm.walk(a, b, hole="ENOMEM")
        for vma, start, end in (part for part in parts if part[0].prot != prot):
            flags, needs = vma.flags, not vma.shared and "w" in prot and "w" not in vma.prot
            if "w" not in prot and not vma.obj and not vma.anon:
                flags -= {"account"}  # the memory that it may come to need
            flags |= {"account"} if needs else set()
            task.mm.modify(vma, start, end, prot=prot, flags=flags)
            for at, pte, folio in task.mm.mapped(start, end):
                mine = vma.shmem or pte.dirty if vma.shared else at % folio.nr in folio.exclusive
                pte.dirty &= not (pte.huge and pte.write) or folio.hugetlb
                pte.write = "w" in prot and bool(mine)
            if needs and "locked" in flags:
                self.populate(task, start, end)

    def do_madvise(self, step: Any, task: Task, a: int, b: int) -> None:
        advice, covered = taken(step, "advice"), 0
        more, less = (set(words.split()) for words in need(ADVICE.get(advice), "EINVAL"))
        populates = advice in (POPULATE_READ, POPULATE_WRITE)
        for vma, start, end in task.mm.walk(a, b, hole="ENOMEM" if populates else ""):
            covered += end - start
            if populates:
                for at in range(start, end):
                    self.get_page(task, at, advice == POPULATE_WRITE, "EINVAL", dirties=True)
            elif more or less:
                if not (advice in (12, 13) and (vma.shared or vma.hugetlb)):
                    task.mm.modify(vma, start, end, flags=(vma.flags | more) - less)
            elif advice == COLLAPSE:
                self.memory.collapse(task, vma, start, end)
            else:
                self.discard(task.mm, vma, start, end, advice)
        need(covered >= b - a, "ENOMEM")

    def discard(self, mm: Mm, vma: Vma, start: int, end: int, advice: int) -> None:
        need("locked" not in vma.flags and not (advice == FREE and vma.obj), "EINVAL")
        need(not vma.hugetlb or (advice == DONTNEED and start % TABLE == 0), "EINVAL")
        if advice != DONTNEED:
            self.memory.lazily(mm, start, end, advice == FREE, advice == PAGEOUT)
            return
        end -= end % TABLE if vma.hugetlb else 0
        if vma.reserved is not None and not self.memory.surplus.total():
            for at, _, folio in mm.mapped(start, end):
                alone = not folio.obj and len(folio.maps) == 1 and not folio.held
                vma.reserved |= {at} if alone else set()
        mm.zap(start, end)

    def do_mlock(self, step: Any, task: Task, a: int, b: int) -> None:
        more, less = ({"locked"}, set()) if step.op == "mlock" else (set(), {"locked"})
        for vma, start, end in task.mm.walk(a, b, hole="ENOMEM"):
            if not vma.hugetlb:
                task.mm.modify(vma, start, end, flags=(vma.flags | more) - less)
        need(not more or self.populate(task, a, b), "ENOMEM")

    do_munlock = do_mlock

    def do_touch(self, step: Any, task: Task, a: int, b: int) -> Record:
        for at in self.accesses:
            vma = task.mm.vma(at // PAGE_SIZE)
            if not vma or vma.prot == "none" or (step.write and "w" not in vma.prot):
                return {"signal": "SIGSEGV"}
            if not self.memory.fault(task, vma, page := at // PAGE_SIZE, step.write):
                return {"signal": "SIGBUS"}
            if step.write and (folio := task.mm.ptes[page].folio):
                folio.stored.add(page % folio.nr)
        return {}

    def get_page(self, task: Task, at: int, write: bool, errno: str = "EFAULT", dirties=False):
        vma, pte = need(task.mm.vma(at), "EFAULT"), task.mm.ptes.get(at)
        need(not errno or ("w" if write else "r") in vma.prot, errno)
        need((pte and pte.write >= write) or self.memory.fault(task, vma, at, write), "EFAULT")
        pte = task.mm.ptes[at]
        if pte.folio and dirties and write:
            pte.folio.dirty |= not pte.dirty and not pte.huge
            pte.dirty |= pte.huge
        return pte.folio

    def populate(self, task: Task, a: int, b: int) -> bool:
        try:
            for vma, start, end in task.mm.walk(a, b):
                write = "w" in vma.prot and not vma.shared
                for at in range(start, end):
                    self.get_page(task, at, write, "EFAULT" * (vma.prot == "none"), dirties=True)
        except Refused:
            return False
        return True

    def do_fork(self, step: Any, task: Task, *_: int) -> None:
        child = self.tasks[step.as_] = Task(**vars(task) | {"mm": Mm(self.memory)})
        for vma in [vma for vma in task.mm.vmas if "dontfork" not in vma.flags]:
            new = replace(vma, flags=vma.flags - {"locked"}, forked=bool(vma.anon), reserved=None)
            new.anon = vma.anon and object()
            child.mm.put([], [new])
            if not new.anon:
                continue
            blocks = {*range(vma.start // TABLE, (vma.end - 1) // TABLE + 1)}
            child.mm.tables |= task.mm.tables & blocks
            for at, pte, folio in task.mm.mapped(vma.start, vma.end):
                if pte.huge and "long" in folio.held and folio.exclusive:
                    task.mm.split_entry(at)
            for at, pte in task.mm.entries(vma.start, vma.end):
                pages, folio = range(at, at + (TABLE if pte.huge else 1)), pte.folio
                mine = folio and folio.exclusive & {page % folio.nr for page in pages}
                if mine and "long" in folio.held:  # what is pinned stays the parent's
                    self.memory.new_anon(task, vma, at, child.mm)
                    continue
                pte.write = False
                child.mm.map(at, folio, False, pte.dirty, pte.huge)
                if mine:
                    folio.exclusive -= mine

    def do_exit(self, step: Any, task: Task, *_: int) -> None:
        self.do_munmap(step, task, 0, END)
        del self.tasks[step.task]

    def do_sched_setaffinity(self, step: Any, task: Task, *_: int) -> None:
        task.cpus = need(step.cpus & self.cpusets[task.cpuset][0], "EINVAL")
        task.user_cpus = step.cpus

    def do_pin(self, step: Any, task: Task, a: int, b: int) -> None:
        is_long, pages = step.kind == "long", []
        for at in range(a, b):
            vma = task.mm.vma(at)
            try:  # a disk's file must know what is written to it
                need(not is_long or not vma or not vma.shared or vma.obj.fs != "ext4", "EFAULT")
                pages.append(self.get_page(task, at, is_long))
            except Refused:
                need(pages and not is_long, "EFAULT")
                break
        self.pins.setdefault((step.task, self.accesses, step.kind), []).append(pages)
        for page in filter(None, pages):
            page.held.append(step.kind)

    def do_unpin(self, step: Any, task: Task, a: int, b: int) -> None:
        pins = need(self.pins.get((step.task, self.accesses, step.kind)), "EINVAL")
        for page in filter(None, pins.pop(0)):
            page.held.remove(step.kind)

    def split_mode(self, number: int) -> tuple[int, int]:
        flags = number & sum(MODE_FLAGS.values())
        mode, kind = number - flags, flags & ~m.BALANCING
        balancing = flags & m.BALANCING and mode not in (m.BIND, m.MANY)
        need(0 <= mode < len(MODES) and kind != m.STATIC | m.RELATIVE and not balancing, "EINVAL")
        return mode, flags

    def build(self, task: Task, mode: int, flags: int, user: Nodemask) -> Policy | None:
        if not user:
            need(mode == 0 or (mode in (m.PREFERRED, m.LOCAL) and not flags), "EINVAL")
            return Policy(m.LOCAL, 0, user, None, user) if mode else None
        need(mode not in (0, m.LOCAL), "EINVAL")
        mems = task.mems & self.memory.memory
        nodes = need(user.relative_to(mems) if flags & m.RELATIVE else user & mems, "EINVAL")
        nodes = Nodemask.of(nodes.first) if mode == m.PREFERRED else nodes
        return Policy(mode, flags, nodes, user if flags else None, task.mems)

    def do_set_mempolicy(self, step: Any, task: Task, *_: int) -> None:
        task.policy = self.build(task, *self.split_mode(taken(step, "policy").mode), step.nodes)

    def do_get_mempolicy(self, step: Any, task: Task, at: int, _: int) -> Record:
        node, addr, allowed = (bool(taken(step, "flags") & bit) for bit in (1, 2, 4))
        need(not (taken(step, "flags") & ~7 or (allowed and (node or addr))), "EINVAL")
        need(not at or addr or allowed, "EINVAL")
        if allowed:
            return DONE | {"nodes": str(task.mems)}
        policy = need(task.mm.vma(at), "EFAULT").policy_at(at) if addr else task.policy
        if node and addr:
            page = self.get_page(task, at, False)
            return DONE | ({"node": page.node} if page else {})
        if node:
            need(policy and policy.mode in (m.INTERLEAVE, m.WEIGHTED), "EINVAL")
            return DONE | {"node": policy.nodes.first}  # as programs ask only where it begins
        policy = policy or Policy(0, 0, Nodemask(), None, Nodemask())
        names = [name for name, bit in MODE_FLAGS.items() if policy.flags & bit]
        nodes = str(policy.nodes if policy.user is None else policy.user)
        return DONE | {"mode": MODES[policy.mode], "mode_flags": names, "nodes": nodes}

    def set_policy(self, mm: Mm, vma: Vma, a: int, b: int, policy: Policy | None) -> None:
        if vma.policy != policy:
            new = mm.modify(vma, a, b, policy=policy)
            if new.shmem:
                new.shmem.policies |= dict.fromkeys(range(new.pgoff, new.index(new.end)), policy)

    def do_mbind(self, step: Any, task: Task, a: int, b: int) -> None:
        (mode, mode_flags), flags = (
            self.split_mode(taken(step, "policy").mode),
            taken(step, "flags"),
        )
        need(not flags & ~7, "EINVAL")
        need(not (flags & MOVE_ALL and task.uid), "EPERM")
        need(step.offset % PAGE_SIZE == 0, "EINVAL")
        if a == b:
            return
        flags &= ~0 if mode else ~STRICT
        policy = self.build(task, mode, mode_flags, step.nodes)
        found = self.mbind_walk(task, a, b, mode != 0, flags)
        queue, failed = to_move((one for one in found if one[2].node not in step.nodes), flags)
        for vma, start, end in task.mm.walk(a, b):
            self.set_policy(task.mm, vma, start, end, policy)
        shift = 0  # to the place in an interleaving that a fault would give the first folio
        for first in [*queue][:1]:
            heads = {at - at % first.nr for mm, at in first.maps if mm is task.mm}
            vmas, own = [vma for vma, _, _ in task.mm.walk(a, b)], first.index // first.nr
            turns = [v.turn(at, first.nr) for v in vmas for at in heads if v.start <= at < v.end]
            shift = [*turns, own][0] - own

        def place(folio: Folio) -> int | None:
            turn, pool = shift + folio.index // folio.nr, self.memory
            free = folio.hugetlb and pool.spare() > 0 and Nodemask.collect(pool.free())
            node = self.memory.alloc(task, policy, turn, only=free) if free else None
            return self.memory.alloc(task, policy, turn) if node is None else node

        failed += self.memory.engine(queue, place)
        need(not (failed and flags & STRICT), "EIO")

    def mbind_walk(self, task: Task, a: int, b: int, whole: bool, flags: int) -> Any:
        parts = need([*task.mm.walk(a, b)], "EFAULT")
        for (_, start, end), (_, behind, _) in zip(parts, [*parts[1:], (None, b, b)], strict=True):
            need(not whole or (parts[0][1] <= a and end >= behind), "EFAULT")
            yield from task.mm.mapped(start, end) if flags else ()

    def do_set_mempolicy_home_node(self, step: Any, task: Task, a: int, b: int) -> None:
        need(step.node in self.memory.nodes, "EINVAL")
        done = a == b
        for vma, start, end in task.mm.walk(a, b):
            if vma.policy:
                need(vma.policy.mode in (m.BIND, m.MANY), "EOPNOTSUPP")
                home, done = replace(vma.policy, home=step.node), True
                self.set_policy(task.mm, vma, start, end, home)
        need(done, "ENOENT")

    def target(self, step: Any, caller: Task) -> Task:
        target = need(self.tasks.get(taken(step, "target")), "ESRCH")
        need(caller.uid in (0, target.uid), "EPERM")
        return target

    def do_migrate_pages(self, step: Any, caller: Task, *_: int) -> Record:
        target = self.target(step, caller)
        need(not (caller.uid and step.to - target.mems), "EPERM")
        to = need(step.to & caller.mems, "EINVAL")
        return DONE | {"ret": self.migrate(target.mm, step.from_, to, not caller.uid)}

    def migrate(self, mm: Mm, old: Nodemask, new: Nodemask, move_all: bool) -> int:
        left, failed, kept = old, 0, new if len(old) != len(new) else Nodemask()
        while pairs := [(s, d) for s in left - kept if (d := old.remap(s, new)) != s]:
            source, dest = next((pair for pair in pairs if pair[1] not in left), pairs[-1])
            left -= Nodemask.of(source)
            found = [one for one in mm.mapped(0, END) if one[2].node == source]
            queue, stay = to_move(found, MOVE_ALL if move_all else MOVE)
            failed += stay + self.memory.engine(queue, lambda _, d=dest: d)
        return failed

    def do_move_pages(self, step: Any, caller: Task, *_: int) -> Record:
        pages = [at // PAGE_SIZE for at in self.accesses]
        if step.pages is not None:
            pages = [self.regions[step.at][0] + page for page in step.pages]
        need(not taken(step, "flags") & ~(MOVE | MOVE_ALL), "EINVAL")
        need(not (taken(step, "flags") & MOVE_ALL and caller.uid), "EPERM")
        target = self.target(step, caller)
        if step.nodes is None:
            return DONE | {"status": runs([self.query(target, at) for at in pages])}
        nodes = [step.nodes] * len(pages) if isinstance(step.nodes, int) else step.nodes
        wanted, status = list(zip(pages, nodes, strict=True)), [None] * len(pages)
        try:
            self.move(caller, target, wanted, status, bool(taken(step, "flags") & MOVE_ALL))
        except Refused as refused:
            if not isinstance(refused.args[0], int):  # else so many stayed
                written = runs([value for value in status if value is not None])
                return {"ret": -1, "errno": str(refused), "status": written}
            return DONE | {"ret": refused.args[0], "status": runs(status)}
        return DONE | {"status": runs(status)}

    def move(self, caller: Task, target: Task, wanted: Any, status: Any, move_all: bool) -> None:
        queue, start, now = list[Folio](), 0, -1

        def submit(at: int, counted: int = 0) -> None:
            node = now if now in caller.mems else None
            if failed := self.memory.engine(queue, lambda _: node):
                raise Refused(failed + len(wanted) - at - counted)
            status[start:at] = [now] * (at - start) if queue else status[start:at]
            queue.clear()

        for at, (page, node) in enumerate(wanted):
            if node not in target.mems:
                with suppress(Refused):
                    submit(at)
                raise Refused("EACCES" if node in self.memory.memory else "ENODEV")
            if now != node:
                submit(at)
                start, now = at, node
            found = self.query(target, page)
            if found not in (node, EFAULT, ENOENT):
                moved = target.mm.ptes[page].folio
                shared = moved.shared and not move_all
                found = EACCES if shared else EBUSY if moved in queue else queue.append(moved)
            status[at] = found
            if found is not None:
                submit(at, counted=1)
                now = -1
        submit(len(wanted))

    def query(self, task: Task, at: int) -> int:
        folio = task.mm.ptes.get(at, NOTHING).folio
        absent = ENOENT if task.mm.vma(at) and at not in task.mm.ptes else EFAULT
        return folio.node if folio else absent

    def do_cpuset_set(self, step: Any, *_: Any) -> None:
        cpus, mems = self.cpusets.setdefault(step.cpuset, self.cpusets[""])
        need(not ((step.cpus or 0) & ~self.cpus or (step.mems or 0) & ~self.memory.nodes), "EINVAL")
        cpus, mems = step.cpus or cpus, (step.mems or Nodemask()) & self.memory.memory or mems
        self.cpusets[step.cpuset] = cpus, mems
        for task in [task for task in self.tasks.values() if task.cpuset == step.cpuset]:
            self.follow(task, cpus, mems, rebinds=mems != task.mems)

    do_cpuset_create = do_cpuset_set

    def follow(self, task: Task, cpus: Nodemask, mems: Nodemask, rebinds: bool) -> None:
        task.cpus = task.user_cpus & cpus or cpus
        for owner in (task, *task.mm.vmas) if rebinds else ():
            owner.policy = owner.policy and owner.policy.rebound(mems)
        self.migrate(task.mm, task.mems, mems, True)
        task.mems = mems

    def do_cpuset_attach(self, step: Any, task: Task, *_: int) -> None:
        old, new = self.cpusets[task.cpuset], self.cpusets[step.cpuset]
        task.cpuset = step.cpuset
        if old != new:
            self.follow(task, *new, rebinds=True)

    def do_sysctl(self, step: Any, *_: Any) -> None:
        if step.name == "thp":
            self.memory.thp = str(step.value)
        if step.name == "nr_hugepages":
            self.memory.resize(step.node, int(step.value))
        for file in self.files.values():
            if step.name == "drop_caches" and int(step.value) & 1 and file.fs == "ext4":
                file.cache = {at: p for at, p in file.cache.items() if p.dirty or p.maps or p.held}

    def do_placement(self, step: Any, task: Task, a: int, b: int) -> Record:
        return {"nodes": runs([max(self.query(task, at), -1) for at in range(a, b)])}

    def do_numa_maps(self, step: Any, task: Task, a: int, b: int) -> Record:
        lines: list[Record] = []
        for vma, _, _ in task.mm.walk(a, b):
            policy = str(vma.policy_at(vma.start) or task.policy or "default")
            lines.append({"policy": policy, "start": vma.start - a, "huge": vma.hugetlb})
            anon, dirty, mapmax, nodes = 0, 0, 0, Counter[str]()
            for at, pte, folio in task.mm.mapped(vma.start, vma.end):
                nr = TABLE if pte.huge and not vma.hugetlb else 1
                nodes[str(folio.node)] += nr
                anon += nr * (folio.obj is None)
                dirty += nr * (pte.dirty or folio.dirty)
                mapmax = max(mapmax, folio.mapcount(0 if pte.huge else at % folio.nr))
            mapped = nodes.total() * (nodes.total() not in (anon, dirty))
            lines[-1] |= {"anon": anon, "dirty": dirty, "mapped": mapped, "nodes": dict(nodes)}
            lines[-1] |= {"mapmax": mapmax * (mapmax > 1), "file": vma.obj and vma.obj.name}
            lines[-1]["kernelpagesize_kB"] = bool(nodes) * (2048 if vma.hugetlb else 4)
        return {"lines": lines}

    def do_vmstat(self, step: Any, *_: Any) -> Record:
        delta = dict(self.memory.events)
        self.memory.events.clear()
        return {"delta": delta}


def runs(values: list[Any]) -> list[list[Any]]:
    return [[len(list(group)), value] for value, group in groupby(values)]
