"""The plain model: a scenario's steps on the plain memory, each answered as FORMAT.md says.

`run(scenario)` gives the records. Kernel 6.12 only; without THP, hugetlb, exec and declared memory.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby, zip_longest
from typing import Any

from pymigrate.nodemask import Cpumask, Nodemask
from tests.plain import memory as mem
from tests.plain.memory import Ahead, Memory, Mm, Object, Page, Policy, Pte, Refused, Task, Vma

Record = dict[str, Any]
MODES = "default preferred bind interleave local preferred-many weighted-interleave".split()
TEXTS = "default prefer bind interleave local prefer_(many) weighted_interleave".split()
MODE_FLAGS = {"static": mem.STATIC, "relative": mem.RELATIVE, "numa_balancing": mem.BALANCING}
STRICT, MOVE, MOVE_ALL = 1, 2, 4
PAGE, BASE = 4096, 0x200004000000 >> 12
ENOENT, EACCES, EFAULT, EBUSY = -2, -13, -14, -16
FLAG_ADVICE = {  # number: flags that it sets, flags that it clears
    0: ("", "random sequential"), 1: ("random", "sequential"), 2: ("sequential", "random"),
    10: ("dontfork", ""), 12: ("mergeable", ""), 13: ("", "mergeable"),
    14: ("hugepage", "nohugepage"), 15: ("nohugepage", "hugepage"),
}  # fmt: skip
DONTNEED, FREE, COLD, PAGEOUT, POPULATE_READ, POPULATE_WRITE = 4, 8, 20, 21, 22, 23


def run(scenario: Any, kernel: str = "6.12") -> list[Record]:
    """The records of all steps of a loaded scenario."""
    assert kernel == "6.12"
    return Model(scenario).run()


class Model:
    """A machine, its tasks, and the names that the steps have given."""

    def __init__(self, scenario: Any) -> None:
        spec, self.steps = scenario.machine, scenario.steps
        rows = zip(spec.node_ids, spec.matrix, strict=True)
        distances = {nid: dict(zip(spec.node_ids, row, strict=True)) for nid, row in rows}
        self.memory = Memory(distances, spec.memory_nodes)
        self.memory.cpu_node = {cpu: nid for nid, node in spec.nodes.items() for cpu in node.cpus}
        nodes, self.cpus = spec.memory_nodes, spec.cpus
        self.cpusets = {"": {"cpus": spec.cpus, "mems": nodes, "old": nodes}}
        self.tasks = {
            name: Task(task.uid, task.cpus, task.cpus, "", nodes)
            for name, task in scenario.tasks.items()
        }
        self.files = {name: Object(name, file.fs, pages_of(file.size))
                      for name, file in scenario.files.items()}  # fmt: skip
        for inode, file in enumerate((f for f in self.files.values() if f.fs == "tmpfs"), 2):
            file.inode = inode
        self.regions: dict[str, tuple[int, int]] = {}
        self.next_region = BASE
        self.pins: list[tuple[tuple[object, ...], list[Page]]] = []
        self.events: Counter[str] = Counter()

    def run(self) -> list[Record]:
        """Do all steps."""
        return [{"op": step.op, **self.do(step)} for step in self.steps]

    def do(self, step: Any) -> Record:
        """One step's answer."""
        call: Callable[[Any], Record | None] = getattr(self, f"do_{step.op}")
        try:
            answer = call(step)
        except Refused as refused:
            answer = {"ret": -1, "errno": str(refused)}
            if step.op == "move_pages":
                answer["status"] = []
        return {"ret": 0, "errno": None} if answer is None else answer

    def task(self, name: str) -> Task:
        """The task of a step."""
        return self.tasks.get(name) or refuse("ESRCH")

    def range(self, step: Any) -> tuple[int, int, int]:
        """A step's region and the part of it in bytes: address, length; and the region's page."""
        start, nr = self.regions[step.at]
        length = max(nr * PAGE - step.offset, 0) if step.length is None else step.length
        return start * PAGE + step.offset, length, start

    # Memory calls

    def do_mmap(self, step: Any) -> Record | None:
        align = step.align // PAGE
        start = -(-self.next_region // align) * align
        nr = pages_of(step.length)
        self.regions[step.as_] = start, nr
        self.next_region = start + nr + 1
        if not nr or step.offset % PAGE:
            raise Refused("EINVAL")
        obj = self.files[step.file] if step.file else None
        pgoff = step.offset // PAGE if obj else 0 if step.shared else start
        if not obj and step.shared:
            obj = Object("/dev/zero (deleted)", "tmpfs", nr)
        is_charged = "w" in step.prot and not step.shared
        flags = frozenset({"account"} if is_charged else ())
        vma = Vma(start, start + nr, step.prot, step.shared, obj, pgoff, Ahead(), flags)
        task = self.task(step.task)
        task.mm.put([], [vma])
        if step.populate:
            self.populate(task, start, start + nr)
        return None

    def do_munmap(self, step: Any) -> None:
        addr, length, _ = self.range(step)
        a, b = checked(addr, length, empty="EINVAL")
        mm = self.task(step.task).mm
        self.zap(mm, a, b)
        hit = mm.within(a, b)
        mm.put(hit, [vma.cut(vma.start, a) for vma in hit if vma.start < a])
        mm.put([], [vma.cut(b, vma.end) for vma in hit if b < vma.end])

    def do_mprotect(self, step: Any) -> None:
        addr, length, _ = self.range(step)
        a, b = checked(addr, length)
        task, at = self.task(step.task), a
        while at < b:
            vma = task.mm.vma(at) or refuse("ENOMEM")
            part = min(b, vma.end)
            if vma.prot != step.prot:
                self.protect(task, vma, at, part, step.prot)
            at = part

    def protect(self, task: Task, vma: Vma, a: int, b: int, prot: str) -> None:
        """Change a part of *vma* to *prot*; the memory that it may come to need stays counted."""
        flags = vma.flags
        is_charged = "w" not in vma.prot and "w" in prot and not vma.shared
        if is_charged:
            flags |= {"account"}
        elif "w" not in prot and vma.obj is None and not vma.anon:
            flags -= {"account"}
        new = task.mm.modify(vma, a, b, prot=prot, flags=flags)
        for _, pte, page in mem.mapped(task.mm, a, b):
            is_own = page.obj is None and page.exclusive
            is_shmem = vma.shared and (new.is_shmem() or pte.dirty)
            pte.write = "w" in prot and (is_own or is_shmem)
        if is_charged and "locked" in flags:
            self.populate(task, a, b)

    def do_madvise(self, step: Any) -> None:
        addr, length, _ = self.range(step)
        advice = step.advice_number
        known = DONTNEED, FREE, COLD, PAGEOUT, POPULATE_READ, POPULATE_WRITE
        if advice not in FLAG_ADVICE and advice not in known:
            raise Refused("EINVAL")
        a, b = checked(addr, length)
        task, at, hole = self.task(step.task), a, False
        if advice in (POPULATE_READ, POPULATE_WRITE):
            self.populate_range(task, a, b, advice == POPULATE_WRITE)
            return
        while at < b:
            vma = task.mm.vma(at)
            if vma:
                part = min(b, vma.end)
                self.advise(task, vma, at, part, advice)
            else:
                hole, part = True, min([v.start for v in task.mm.within(at, b)] or [b])
            at = part
        if hole:
            raise Refused("ENOMEM")

    def advise(self, task: Task, vma: Vma, a: int, b: int, advice: int) -> None:
        """Give *advice* about a part of *vma*."""
        if advice in FLAG_ADVICE:
            more, less = (set(words.split()) for words in FLAG_ADVICE[advice])
            flags = (vma.flags - less) | more
            if flags != vma.flags and not ("mergeable" in more and vma.shared):
                task.mm.modify(vma, a, b, flags=flags)
        elif "locked" in vma.flags or (advice == FREE and vma.obj):
            raise Refused("EINVAL")
        elif advice == DONTNEED:
            self.zap(task.mm, a, b)
        elif advice == FREE:
            for _, pte, page in mem.mapped(task.mm, a, b):
                if not (page.dirty and len(page.maps) > 1):
                    pte.dirty = page.dirty = False

    def do_mlock(self, step: Any) -> None:
        addr, length, _ = self.range(step)
        task = self.task(step.task)
        a, b = addr // PAGE, pages_of(addr + length) if length or addr % PAGE else addr // PAGE
        self.lock(task, a, b, {"locked"}, set())
        if not self.populate(task, a, b, stop=True):
            raise Refused("ENOMEM")

    def do_munlock(self, step: Any) -> None:
        addr, length, _ = self.range(step)
        a, b = addr // PAGE, pages_of(addr + length) if length or addr % PAGE else addr // PAGE
        self.lock(self.task(step.task), a, b, set(), {"locked"})

    def lock(self, task: Task, a: int, b: int, more: set[str], less: set[str]) -> None:
        """Set or clear flags up to the first hole."""
        while a < b:
            vma = task.mm.vma(a) or refuse("ENOMEM")
            end = min(b, vma.end)
            if vma.flags != (vma.flags | more) - less:
                task.mm.modify(vma, a, b, flags=(vma.flags | more) - less)
            a = end

    def zap(self, mm: Mm, a: int, b: int) -> None:
        """Unmap pages."""
        for at in mm.pages(a, b):
            mm.unmap(at)

    def do_touch(self, step: Any) -> Record:
        addr, length, _ = self.range(step)
        task = self.task(step.task)
        for at in range(addr, addr + length, step.stride):
            vma = task.mm.vma(at // PAGE)
            if not vma or vma.prot == "none" or (step.write and "w" not in vma.prot):
                return {"signal": "SIGSEGV"}
            if not self.memory.fault(task, vma, at // PAGE, step.write):
                return {"signal": "SIGBUS"}
        return {}

    def get_page(self, task: Task, at: int, write: bool, force: bool = False) -> Page | None:
        """The page at *at* as the kernel gets it for itself, faulted in; None: the zero page."""
        vma = task.mm.vma(at) or refuse("EFAULT")
        if ("w" if write else "r") not in vma.prot and (write or not force):
            raise Refused("EFAULT")
        pte = task.mm.ptes.get(at)
        if (not pte or (write and not pte.write)) and not self.memory.fault(task, vma, at, write):
            raise Refused("EFAULT")
        return task.mm.ptes[at].page

    def populate(self, task: Task, a: int, b: int, stop: bool = False) -> bool:
        """Fault everything in; False if that is not possible, after *stop* nothing more then."""
        for vma in task.mm.within(a, b):
            write = "w" in vma.prot and not vma.shared
            try:
                for at in range(max(a, vma.start), min(b, vma.end)):
                    self.mark(task, at, write, self.get_page(task, at, write, vma.prot != "none"))
            except Refused:
                if stop:
                    return False
        return True

    def populate_range(self, task: Task, a: int, b: int, write: bool) -> None:
        """MADV_POPULATE_READ and _WRITE."""
        for at in range(a, b):
            vma = task.mm.vma(at) or refuse("ENOMEM")
            if ("w" if write else "r") not in vma.prot:
                raise Refused("EINVAL")
            self.mark(task, at, write, self.get_page(task, at, write))

    def mark(self, task: Task, at: int, write: bool, page: Page | None) -> None:
        """A page that was got for writing is dirty, one way or the other."""
        if page and write and not task.mm.ptes[at].dirty:
            page.dirty = True

    # Tasks

    def do_fork(self, step: Any) -> None:
        parent = self.task(step.task)
        mm = Mm()
        for vma in parent.mm.vmas:
            if "dontfork" not in vma.flags:
                mm.put([], [self.copy_vma(parent, vma, mm)])
        self.tasks[step.as_] = Task(
            parent.uid, parent.cpus, parent.user_cpus, parent.cpuset, parent.mems, mm,
            parent.policy, parent.cursor,
        )  # fmt: skip

    def copy_vma(self, parent: Task, vma: Vma, mm: Mm) -> Vma:
        """Give a child's address space its copy of *vma*, with pages if any may be its own."""
        child = vma.cut(vma.start, vma.end)
        child.flags -= {"locked"}
        if not vma.anon:
            return child
        child.anon, child.forked = object(), True
        for at in parent.mm.pages(vma.start, vma.end):
            pte = parent.mm.ptes[at]
            if pte.page and pte.page.exclusive and pte.page.pins:
                self.memory.new_anon(parent, vma, at, mm)
                continue
            pte.write = False
            if pte.page:
                pte.page.exclusive = False
            mm.map(at, pte.page, False, pte.dirty)
        return child

    def do_exit(self, step: Any) -> None:
        task = self.task(step.task)
        self.zap(task.mm, 0, 1 << 60)
        for key, pages in self.pins:
            if key[0] == step.task:
                self.hold(pages, str(key[-1]), -1)
        self.pins = [pin for pin in self.pins if pin[0][0] != step.task]
        del self.tasks[step.task]

    def do_sched_setaffinity(self, step: Any) -> None:
        task = self.task(step.task)
        task.cpus = step.cpus & self.cpusets[task.cpuset]["cpus"] or refuse("EINVAL")
        task.user_cpus = step.cpus

    def do_pin(self, step: Any) -> None:
        addr, length, _ = self.range(step)
        task, is_long = self.task(step.task), step.kind == "long"
        pages: list[Page | None] = []
        for at in range(addr // PAGE, pages_of(addr + length)):
            vma = task.mm.vma(at)
            is_tracked = vma and vma.obj and vma.shared and not vma.is_shmem()
            try:
                if is_long and is_tracked:
                    raise Refused("EFAULT")
                pages.append(self.get_page(task, at, is_long))
            except Refused:
                if is_long or not pages:
                    raise
                break
        held = [page for page in pages if page]
        self.hold(held, step.kind, 1)
        self.pins.append(((step.task, addr, length, step.kind), held))

    def do_unpin(self, step: Any) -> None:
        key = (step.task, *self.range(step)[:2], step.kind)
        for at, (of, pages) in enumerate(self.pins):
            if of == key:
                self.hold(pages, step.kind, -1)
                del self.pins[at]
                return
        raise Refused("EINVAL")

    def hold(self, pages: Sequence[Page], kind: str, nr: int) -> None:
        """Take or drop pins or references."""
        for page in pages:
            if kind == "long":
                page.pins += nr
            else:
                page.refs += nr

    # Policies

    def build(self, task: Task, number: int, user: Nodemask) -> Policy | None:
        """The policy that a call asks for."""
        mode, flags = number & ~mem.MODE_FLAGS, number & mem.MODE_FLAGS
        kind = flags & (mem.STATIC | mem.RELATIVE)
        may_be_empty = mode in (0, mem.LOCAL) or (mode == mem.PREFERRED and not kind)
        if mode in (0, mem.LOCAL) and (user or (flags and mode)) or not (user or may_be_empty):
            raise Refused("EINVAL")
        if mode == 0:
            return None
        if not user:
            return Policy(mem.LOCAL, 0, user, user)
        mems = task.mems & self.memory.memory
        nodes = user.relative_to(mems) if flags & mem.RELATIVE else user & mems
        if not nodes:
            raise Refused("EINVAL")
        if mode == mem.PREFERRED:
            nodes = Nodemask.of(nodes.first)
        return Policy(mode, flags, nodes, user if flags else task.mems)

    def check_mode(self, number: int) -> None:
        """What is wrong with a mode and its flags whatever the nodes."""
        mode, flags = number & ~mem.MODE_FLAGS, number & mem.MODE_FLAGS
        both = mem.STATIC | mem.RELATIVE
        balancing = flags & mem.BALANCING and mode not in (mem.BIND, mem.MANY)
        if not 0 <= mode < len(MODES) or flags & both == both or balancing:
            raise Refused("EINVAL")

    def do_set_mempolicy(self, step: Any) -> None:
        task = self.task(step.task)
        self.check_mode(step.mode_number)
        task.policy = self.build(task, step.mode_number, step.nodes)
        if task.policy and task.policy.mode in mem.INTERLEAVED:
            task.cursor = -1

    def do_get_mempolicy(self, step: Any) -> Record:
        task, flags = self.task(step.task), step.flag_bits
        node, addr, allowed = (bool(flags & bit) for bit in (1, 2, 4))
        at = self.regions[step.at][0] + step.offset // PAGE if step.at else 0
        vma = task.mm.vma(at)
        if flags & ~7 or (allowed and (node or addr)):
            raise Refused("EINVAL")
        done = {"ret": 0, "errno": None}
        if allowed:
            return {**done, "nodes": str(task.mems)}
        if addr and not vma:
            raise Refused("EFAULT")
        policy = vma.policy_at(at) if addr and vma else task.policy
        is_interleaved = policy is not None and policy.mode in mem.INTERLEAVED
        if not addr and (at or (node and not is_interleaved)):
            raise Refused("EINVAL")
        if node and addr:
            page = self.get_page(task, at, False)
            return {**done, "node": page.node} if page else done
        if node and policy:
            return {**done, "node": policy.nodes.next_in(task.cursor)}
        mode, bits, nodes = (policy.mode, policy.flags, policy.nodes) if policy else (0, 0, "")
        names = [name for name, bit in MODE_FLAGS.items() if bits & bit]
        shown = policy.user if policy and bits else nodes
        return {**done, "mode": MODES[mode], "mode_flags": names, "nodes": str(shown)}

    def set_policy(self, mm: Mm, vma: Vma, a: int, b: int, policy: Policy | None) -> None:
        """Store *policy* for a part of *vma*, and in what it maps if that keeps policies."""
        if mem.equal(vma.policy, policy):
            return
        new = mm.modify(vma, a, b, policy=policy)
        if new.obj and new.is_shmem():
            for at in range(new.pgoff, new.index(new.end)):
                if policy:
                    new.obj.policies[at] = policy
                else:
                    new.obj.policies.pop(at, None)

    def do_mbind(self, step: Any) -> None:
        addr, length, _ = self.range(step)
        task, number, flags = self.task(step.task), step.mode_number, step.flag_bits
        self.check_mode(number)
        if flags & ~7:
            raise Refused("EINVAL")
        if flags & MOVE_ALL and task.uid:
            raise Refused("EPERM")
        is_default = not number & ~mem.MODE_FLAGS
        if is_default:
            flags &= ~STRICT
        a, b = checked(addr, length)
        if a == b:
            return
        policy = self.build(task, number, step.nodes)
        queue, failed = self.mbind_walk(task, a, b, step.nodes, flags, is_default)
        for start, end in [(vma.start, vma.end) for vma in task.mm.within(a, b)]:
            vma = task.mm.vma(max(a, start))
            assert vma
            self.set_policy(task.mm, vma, max(a, start), min(b, end), policy)
        policy = policy or task.policy
        bias = queue[0][2] if queue else 0
        moved = self.engine([q[0] for q in queue], [
            self.memory.alloc(task, policy, index + bias) for _, index, _ in queue
        ])  # fmt: skip
        if (failed or moved) and flags & STRICT:
            raise Refused("EIO")

    def mbind_walk(
        self, task: Task, a: int, b: int, user: Nodemask, flags: int, is_default: bool
    ) -> tuple[list[tuple[Page, int, int]], int]:
        """The pages to move, with their places and biases, and how many cannot be moved."""
        vmas = task.mm.within(a, b)
        if not vmas:
            raise Refused("EFAULT")
        queue: list[tuple[Page, int, int]] = []
        failed, end = 0, a
        for vma, behind in zip_longest(vmas, vmas[1:]):
            if not is_default and (vma.start > end and vma is vmas[0] or
                                   vma.end < (behind.start if behind else b)):
                raise Refused("EFAULT")
            bias = vma.obj.inode if vma.obj and vma.is_shmem() else 0
            for at, _, page in mem.mapped(task.mm, max(a, vma.start), min(b, vma.end)):
                if not flags or page.node in user:
                    continue
                if flags == STRICT:
                    raise Refused("EIO")
                if flags & MOVE_ALL or len(page.maps) == 1:
                    if any(page is other for other, _, _ in queue):
                        failed += 1
                    else:
                        queue.append((page, vma.index(at), bias))
        return queue, failed

    def do_set_mempolicy_home_node(self, step: Any) -> None:
        addr, length, _ = self.range(step)
        task = self.task(step.task)
        if addr % PAGE or step.node not in self.memory.nodes:
            raise Refused("EINVAL")
        a, b = checked(addr, length)
        done = a == b
        for vma in task.mm.within(a, b):
            now = task.mm.vma(max(a, vma.start))
            assert now
            if now.policy and now.policy.mode not in (mem.BIND, mem.MANY):
                raise Refused("EOPNOTSUPP")
            if now.policy:
                home = now.policy._replace(home=step.node)
                self.set_policy(task.mm, now, max(a, vma.start), min(b, vma.end), home)
                done = True
        if not done:
            raise Refused("ENOENT")

    # Migration

    def engine(self, pages: Sequence[Page], targets: Sequence[int]) -> int:
        """Move *pages*; how many stay."""
        failed = 0
        for page, node in zip(pages, targets, strict=True):
            page.dirty |= any(mm.ptes[at].dirty for mm, at in page.maps)
            if page.pins or page.refs:
                failed += 1
            else:
                page.node = node
        self.events["pgmigrate_success"] += len(pages) - failed
        self.events["pgmigrate_fail"] += failed
        return failed

    def target(self, step: Any) -> Task:
        """The task that a migration is for, which its caller must have access to."""
        caller, target = self.task(step.task), self.task(step.target_name)
        if caller.uid and caller.uid != target.uid:
            raise Refused("EPERM")
        return target

    def allowed(self, task: Task) -> Nodemask:
        return self.cpusets[task.cpuset]["mems"]

    def do_migrate_pages(self, step: Any) -> Record:
        caller, target = self.task(step.task), self.target(step)
        if caller.uid and not step.to.is_subset(self.allowed(target)):
            raise Refused("EPERM")
        to = step.to & self.allowed(caller) or refuse("EINVAL")
        failed = self.migrate(target.mm, step.from_, to, not caller.uid)
        return {"ret": failed, "errno": None}

    def migrate(self, mm: Mm, old: Nodemask, new: Nodemask, move_all: bool) -> int:
        """Move the pages of *mm* from nodes to nodes, pair by pair."""
        left, failed = old, 0
        while True:
            pair = None
            for source in left:
                dest = old.remap(source, new)
                if (len(old) != len(new) and source in new) or source == dest:
                    continue
                pair = source, dest
                if dest not in left:
                    break
            if not pair:
                return failed
            left -= Nodemask.of(pair[0])
            queue: dict[Page, int] = {}
            for _, _, page in mem.mapped(mm, 0, 1 << 60):
                if page.node == pair[0] and (move_all or len(page.maps) == 1):
                    failed += page in queue
                    queue[page] = pair[1]
            failed += self.engine(list(queue), list(queue.values()))

    def do_move_pages(self, step: Any) -> Record:
        addr, length, start = self.range(step)
        caller, flags = self.task(step.task), step.flag_bits
        pages = [at // PAGE for at in range(addr, addr + length, step.stride)]
        if step.pages is not None:
            pages = [start + page for page in step.pages]
        if flags & ~(MOVE | MOVE_ALL):
            raise Refused("EINVAL")
        if flags & MOVE_ALL and caller.uid:
            raise Refused("EPERM")
        target = self.target(step)
        if step.nodes is None:
            return {"ret": 0, "errno": None, "status": runs([self.query(target, p) for p in pages])}
        nodes = [step.nodes] * len(pages) if isinstance(step.nodes, int) else list(step.nodes)
        mover = Mover(self, caller, target, bool(flags & MOVE_ALL), len(pages))
        try:
            ret, errno = mover.loop(pages, nodes), None
        except Refused as refused:
            ret, errno = -1, str(refused)
        status = mover.status
        if errno:
            status = [value for value in status if value is not None]
        return {"ret": ret, "errno": errno, "status": runs(status)}

    def query(self, task: Task, at: int) -> int:
        """Where a page lies, or why there is no saying."""
        pte = task.mm.ptes.get(at)
        if not task.mm.vma(at) or (pte and not pte.page):
            return EFAULT
        return pte.page.node if pte and pte.page else ENOENT

    # Cpusets

    def do_cpuset_create(self, step: Any) -> None:
        self.cpusets[step.cpuset] = dict(self.cpusets[""], old=Nodemask())
        self.change(step.cpuset, step.cpus, step.mems)

    def do_cpuset_set(self, step: Any) -> None:
        self.change(step.cpuset, step.cpus, step.mems)

    def change(self, name: str, cpus: Cpumask | None, mems: Nodemask | None) -> None:
        """Write a cpuset's files; what its tasks have follows."""
        cpuset = self.cpusets[name]
        if cpus is not None and not cpus.is_subset(self.cpus):
            raise Refused("EINVAL")
        cpuset["cpus"] = cpus or cpuset["cpus"]
        tasks = [task for task in self.tasks.values() if task.cpuset == name]
        for task in tasks:
            task.cpus = task.user_cpus & cpuset["cpus"] or cpuset["cpus"]
        if mems is not None and not mems.is_subset(self.memory.nodes):
            raise Refused("EINVAL")
        mems = (mems or Nodemask()) & self.memory.memory
        if not mems or mems == cpuset["mems"] and cpuset["old"]:
            return
        for task in tasks:
            self.follow(task, mems, cpuset["old"])
        cpuset["mems"] = cpuset["old"] = mems

    def follow(self, task: Task, mems: Nodemask, old: Nodemask) -> None:
        """Let a task and its memory follow its cpuset to *mems*."""
        task.policy, task.mems = mem.rebind(task.policy, mems), mems
        for vma in task.mm.vmas:
            vma.policy = mem.rebind(vma.policy, mems)
        if old != mems:
            self.migrate(task.mm, old, mems, True)

    def do_cpuset_attach(self, step: Any) -> None:
        task = self.task(step.task)
        old, new = self.cpusets[task.cpuset], self.cpusets[step.cpuset]
        if old is new:
            return
        task.cpuset = step.cpuset
        if (old["cpus"], old["mems"]) != (new["cpus"], new["mems"]):
            task.cpus = task.user_cpus & new["cpus"] or new["cpus"]
            self.follow(task, new["mems"], old["old"])
        new["old"] = new["mems"]

    # Views

    def do_sysctl(self, step: Any) -> None:
        assert step.name == "drop_caches"
        for file in self.files.values():
            for index, page in list(file.cache.items()):
                is_kept = page.dirty or page.maps or page.refs or page.pins
                if file.fs != "tmpfs" and int(step.value) & 1 and not is_kept:
                    del file.cache[index]

    def do_placement(self, step: Any) -> Record:
        addr, length, _ = self.range(step)
        task = self.task(step.task)
        found = [self.query(task, at) for at in range(addr // PAGE, pages_of(addr + length))]
        return {"nodes": runs([max(node, -1) for node in found])}

    def do_numa_maps(self, step: Any) -> Record:
        start, nr = self.regions[step.at]
        task = self.task(step.task)
        vmas = task.mm.within(start, start + nr)
        return {"lines": [self.line(task, vma, start) for vma in vmas]}

    def line(self, task: Task, vma: Vma, start: int) -> Record:
        """A line of numa_maps."""
        policy = vma.policy_at(vma.start) or task.policy
        found = list(mem.mapped(task.mm, vma.start, vma.end))
        line: Record = {"policy": policy_text(policy), "start": vma.start - start}
        if vma.obj:
            line["file"] = vma.obj.name
        if not found:
            return line
        line["anon"] = sum(page.obj is None for _, _, page in found)
        line["dirty"] = sum(pte.dirty or page.dirty for _, pte, page in found)
        if len(found) not in (line["anon"], line["dirty"]):
            line["mapped"] = len(found)
        mapmax = max(len(page.maps) for _, _, page in found)
        line["mapmax"] = mapmax if mapmax > 1 else 0
        nodes = Counter(str(page.node) for _, _, page in found)
        return line | {"nodes": dict(nodes), "kernelpagesize_kB": 4}

    def do_vmstat(self, step: Any) -> Record:
        delta, self.events = self.events, Counter()
        return {"delta": {name: nr for name, nr in delta.items() if nr}}


class Mover:
    """The loop of one move_pages call."""

    def __init__(self, model: Model, caller: Task, target: Task, move_all: bool, nr: int) -> None:
        self.model, self.caller, self.target, self.move_all = model, caller, target, move_all
        self.status: list[int | None] = [None] * nr
        self.queue: list[Page] = []
        self.start, self.node = 0, -1

    def loop(self, pages: Sequence[int], nodes: Sequence[int]) -> int:
        """Move page by page; the call's value, or Refused."""
        error, at = None, 0
        for at, (page, node) in enumerate(zip(pages, nodes, strict=True)):
            if node not in self.model.memory.memory:
                error = "ENODEV"
            elif node not in self.model.allowed(self.target):
                error = "EACCES"
            if error:
                break
            if self.node != node:
                left = self.submit(at) if self.node >= 0 else 0
                if left:
                    return left
                self.start, self.node = at, node
            found = self.look_up(page, node)
            if found is None:
                continue
            self.status[at] = found
            left = self.submit(at)
            if left:
                return left - 1
            self.node = -1
        else:
            at = len(pages)
        left = self.submit(at)
        return refuse(error) if error else left

    def look_up(self, at: int, node: int) -> int | None:
        """The status of a page, or None once it is queued."""
        found = self.model.query(self.target, at)
        if found in (node, EFAULT, ENOENT):
            return found
        page = self.target.mm.ptes[at].page
        assert page
        if len(page.maps) > 1 and not self.move_all:
            return EACCES
        if page in self.queue:
            return EBUSY
        self.queue.append(page)
        return None

    def submit(self, at: int) -> int:
        """Move what is queued; how many stayed or were not reached."""
        queue, self.queue = self.queue, []
        if not queue:
            return 0
        if self.node not in self.caller.mems:
            self.model.events["pgmigrate_fail"] += 1
            raise Refused("ENOMEM")
        failed = self.model.engine(queue, [self.node] * len(queue))
        if failed:
            return failed + len(self.status) - at
        self.status[self.start : at] = [self.node] * (at - self.start)
        return 0


def refuse(errno: str) -> Any:
    """Fail with *errno*, where an expression is needed."""
    raise Refused(errno)


def pages_of(size: int) -> int:
    """Bytes as pages, rounded up."""
    return -(-size // PAGE)


def checked(addr: int, length: int, empty: str = "") -> tuple[int, int]:
    """The pages of a range, which must begin with one."""
    if addr % PAGE or (empty and not length):
        raise Refused("EINVAL")
    return addr // PAGE, pages_of(addr + length)


def runs(values: Sequence[Any]) -> list[list[Any]]:
    """Equal neighbours counted."""
    return [[len(list(group)), value] for value, group in groupby(values)]


def policy_text(policy: Policy | None) -> str:
    """A policy as numa_maps has it."""
    if policy is None:
        return "default"
    names = [("static", mem.STATIC), ("relative", mem.RELATIVE), ("balancing", mem.BALANCING)]
    flags = "|".join(name for name, bit in names if policy.flags & bit)
    text = TEXTS[policy.mode].replace("_", " ") + (f"={flags}" if flags else "")
    return text + (f":{policy.nodes}" if policy.nodes else "")
