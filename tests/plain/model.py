"""The plain model: a scenario's steps on the plain memory, each answered as FORMAT.md says.

`run(scenario)` gives the records. Kernel 6.12 only; without THP, hugetlb, exec and declared memory.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby, zip_longest
from typing import Any

from pymigrate.nodemask import Cpumask, Nodemask
from tests.plain import memory as m
from tests.plain.memory import Memory, Mm, Object, Page, Policy, Task, Vma

Record = dict[str, Any]
DONE: Record = {"ret": 0, "errno": None}
MODES = "default preferred bind interleave local preferred-many weighted-interleave".split()
TEXTS = ["", "prefer", "bind", "interleave", "local", "prefer (many)", "weighted interleave"]
FLAGS = {"static": m.STATIC, "relative": m.RELATIVE, "numa_balancing": m.BALANCING}
FLAG_BITS = m.STATIC | m.RELATIVE | m.BALANCING
STRICT, MOVE, MOVE_ALL = 1, 2, 4
PAGE, BASE, END = 4096, 0x200004000000 >> 12, 1 << 60
ENOENT, EACCES, EFAULT, EBUSY = -2, -13, -14, -16
DONTNEED, FREE, COLD, PAGEOUT, POPULATE_READ, POPULATE_WRITE = 4, 8, 20, 21, 22, 23
NO_FLAGS = DONTNEED, FREE, COLD, PAGEOUT, POPULATE_READ, POPULATE_WRITE
ADVICE = dict.fromkeys(NO_FLAGS, ("", "")) | {  # flags of a VMA that it sets, and clears
    0: ("", "random sequential"), 1: ("random", "sequential"), 2: ("sequential", "random"),
    10: ("dontfork", ""), 12: ("mergeable", ""), 13: ("", "mergeable"),
    14: ("hugepage", "nohugepage"), 15: ("nohugepage", "hugepage"),
}  # fmt: skip


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
        self.memory, self.cpus = Memory(distances, spec.memory_nodes), spec.cpus
        self.memory.cpu_node = {cpu: nid for nid, node in spec.nodes.items() for cpu in node.cpus}
        self.memory.weights = spec.weights
        nodes = spec.memory_nodes
        self.cpusets = {"": {"cpus": spec.cpus, "mems": nodes, "old": nodes}}
        self.tasks = {
            name: Task(task.uid, task.cpus, task.cpus, "", nodes)
            for name, task in scenario.tasks.items()
        }
        self.files = {n: Object(n, f.fs, pages_of(f.size)) for n, f in scenario.files.items()}
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
        """One step's answer; each gets its task, and the address and length of its part."""
        start, nr = self.regions.get(getattr(step, "at", None), (0, 0))
        offset, length = getattr(step, "offset", 0), getattr(step, "length", None)
        length = max(nr * PAGE - offset, 0) if length is None else length
        task = self.tasks.get(step.task)
        try:
            answer = getattr(self, f"do_{step.op}")(step, task, start * PAGE + offset, length)
        except Refused as refused:
            answer = {"ret": -1, "errno": str(refused)}
            if step.op == "move_pages":
                answer["status"] = []
        return {"ret": 0, "errno": None} if answer is None else answer

    # Memory calls

    def do_mmap(self, step: Any, task: Task, offset: int, length: int) -> None:
        align = step.align // PAGE
        start = -(-self.next_region // align) * align
        nr = pages_of(length)
        self.regions[step.as_] = start, nr
        self.next_region = start + nr + 1
        if not nr or offset % PAGE:
            raise Refused("EINVAL")
        obj = self.files[step.file] if step.file else None
        pgoff = offset // PAGE if obj else 0 if step.shared else start
        if not obj and step.shared:
            obj = Object("/dev/zero (deleted)", "tmpfs", nr)
        flags = frozenset({"account"} if "w" in step.prot and not step.shared else ())
        task.mm.put([], [Vma(start, start + nr, step.prot, step.shared, obj, pgoff, flags)])
        if step.populate:
            self.populate(task, start, start + nr)

    def do_munmap(self, step: Any, task: Task, addr: int, length: int) -> None:
        a, b = checked(addr, length)
        if not length:
            raise Refused("EINVAL")
        self.zap(task.mm, a, b)
        for vma, start, end in task.mm.parts(a, b):
            task.mm.put([vma], [vma.cut(vma.start, start), vma.cut(end, vma.end)])

    def do_mprotect(self, step: Any, task: Task, addr: int, length: int) -> None:
        for vma, a, b in self.parts(task, *checked(addr, length)):
            if vma.prot != step.prot:
                self.protect(task, vma, a, b, step.prot)

    def parts(self, task: Task, a: int, b: int) -> Iterator[tuple[Vma, int, int]]:
        """The parts of a range, up to the first hole; what is done to one may change the next."""
        while a < b:
            vma = task.mm.vma(a) or refuse("ENOMEM")
            end = min(b, vma.end)
            yield vma, a, end
            a = end

    def protect(self, task: Task, vma: Vma, a: int, b: int, prot: str) -> None:
        """Change a part of *vma* to *prot*; memory that it may come to need stays accounted."""
        flags, needs = vma.flags, not vma.shared and "w" in prot and "w" not in vma.prot
        if "w" not in prot and not vma.obj and not vma.anon:
            flags -= {"account"}
        flags |= {"account"} if needs else set()
        task.mm.modify(vma, a, b, prot=prot, flags=flags)
        for _, pte, page in task.mm.mapped(a, b):
            may_write = (vma.shmem or pte.dirty) if vma.shared else page.exclusive
            pte.write = "w" in prot and bool(may_write)
        if needs and "locked" in flags:
            self.populate(task, a, b)

    def do_madvise(self, step: Any, task: Task, addr: int, length: int) -> None:
        advice = step.advice_number
        if advice not in ADVICE:
            raise Refused("EINVAL")
        a, b = checked(addr, length)
        if advice in (POPULATE_READ, POPULATE_WRITE):
            for vma, start, end in self.parts(task, a, b):
                if ("w" if advice == POPULATE_WRITE else "r") not in vma.prot:
                    raise Refused("EINVAL")
                for at in range(start, end):
                    self.get_page(task, at, advice == POPULATE_WRITE, dirties=True)
            return
        at = a
        while parts := task.mm.parts(at, b):
            a += parts[0][2] - parts[0][1]
            at = parts[0][2]
            self.advise(task, *parts[0], advice)
        if a < b:
            raise Refused("ENOMEM")

    def advise(self, task: Task, vma: Vma, a: int, b: int, advice: int) -> None:
        """Give *advice* about a part of *vma*."""
        more, less = (set(words.split()) for words in ADVICE[advice])
        if more or less:
            if not ("mergeable" in more and vma.shared):
                self.flag(task, vma, a, b, more, less)
        elif "locked" in vma.flags or (advice == FREE and vma.obj):
            raise Refused("EINVAL")
        elif advice == DONTNEED:
            self.zap(task.mm, a, b)
        elif advice == FREE:
            for _, pte, page in task.mm.mapped(a, b):
                if not (page.dirty and len(page.maps) > 1):
                    pte.dirty = page.dirty = False

    def flag(self, task: Task, vma: Vma, a: int, b: int, more: set[str], less: set[str]) -> None:
        """Set and clear flags of a part of *vma*."""
        flags = (vma.flags | more) - less
        if flags != vma.flags:
            task.mm.modify(vma, a, b, flags=flags)

    def do_mlock(self, step: Any, task: Task, addr: int, length: int) -> None:
        a, b = addr // PAGE, pages_of(addr + length)
        for vma, start, end in self.parts(task, a, b):
            self.flag(task, vma, start, end, {"locked"}, set())
        if not self.populate(task, a, b, stop=True):
            raise Refused("ENOMEM")

    def do_munlock(self, step: Any, task: Task, addr: int, length: int) -> None:
        for vma, a, b in self.parts(task, addr // PAGE, pages_of(addr + length)):
            self.flag(task, vma, a, b, set(), {"locked"})

    def zap(self, mm: Mm, a: int, b: int) -> None:
        """Unmap pages."""
        for at in [at for at in mm.ptes if a <= at < b]:
            mm.unmap(at)

    def do_touch(self, step: Any, task: Task, addr: int, length: int) -> Record:
        for at in range(addr, addr + length, step.stride):
            vma = task.mm.vma(at // PAGE)
            if not vma or vma.prot == "none" or (step.write and "w" not in vma.prot):
                return {"signal": "SIGSEGV"}
            if not self.memory.fault(task, vma, at // PAGE, step.write):
                return {"signal": "SIGBUS"}
        return {}

    def get_page(
        self, task: Task, at: int, write: bool, force: bool = False, dirties: bool = False
    ) -> Page | None:
        """The page at *at* as the kernel gets it for itself, faulted in; None: the zero page."""
        vma = task.mm.vma(at) or refuse("EFAULT")
        if ("w" if write else "r") not in vma.prot and not force:
            raise Refused("EFAULT")
        pte = task.mm.ptes.get(at)
        if (not pte or (write and not pte.write)) and not self.memory.fault(task, vma, at, write):
            raise Refused("EFAULT")
        pte = task.mm.ptes[at]
        if pte.page:
            pte.page.dirty |= dirties and write and not pte.dirty
        return pte.page

    def populate(self, task: Task, a: int, b: int, stop: bool = False) -> bool:
        """Fault everything in; False once something cannot be, and with *stop* the rest is left."""
        for vma, start, end in task.mm.parts(a, b):
            write, force = "w" in vma.prot and not vma.shared, vma.prot != "none"
            try:
                for at in range(start, end):
                    self.get_page(task, at, write, force, dirties=True)
            except Refused:
                if stop:
                    return False
        return True

    # Tasks

    def do_fork(self, step: Any, task: Task, *_: int) -> None:
        child = self.tasks[step.as_] = replace(task, mm=Mm())
        for vma in task.mm.vmas:
            if "dontfork" not in vma.flags:
                self.copy_vma(task, vma, child.mm)

    def copy_vma(self, parent: Task, vma: Vma, mm: Mm) -> None:
        """Give a child's address space its copy of *vma*, with pages if any may be its own."""
        forked = vma.anon is not None
        copy = replace(vma, flags=vma.flags - {"locked"}, anon=object() if forked else None)
        copy.forked = forked
        mm.put([], [copy])
        for at, pte in list(parent.mm.ptes.items()):
            if not forked or not vma.start <= at < vma.end:
                continue
            if pte.page and pte.page.exclusive and pte.page.pins:
                self.memory.new_anon(parent, vma, at, mm)
                continue
            pte.write = False
            if pte.page:
                pte.page.exclusive = False
            mm.map(at, pte.page, False, pte.dirty)

    def do_exit(self, step: Any, task: Task, *_: int) -> None:
        self.zap(task.mm, 0, END)
        for pin in [pin for pin in self.pins if pin[0][0] == step.task]:
            self.drop(pin)
        del self.tasks[step.task]

    def do_sched_setaffinity(self, step: Any, task: Task, *_: int) -> None:
        task.cpus = step.cpus & self.cpusets[task.cpuset]["cpus"] or refuse("EINVAL")
        task.user_cpus = step.cpus

    def do_pin(self, step: Any, task: Task, addr: int, length: int) -> None:
        is_long, pages = step.kind == "long", []
        for at in range(addr // PAGE, pages_of(addr + length)):
            vma = task.mm.vma(at)
            is_tracked = vma and vma.obj and vma.shared and not vma.shmem
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

    def do_unpin(self, step: Any, task: Task, addr: int, length: int) -> None:
        key = (step.task, addr, length, step.kind)
        self.drop(next((pin for pin in self.pins if pin[0] == key), None) or refuse("EINVAL"))

    def drop(self, pin: tuple[tuple[Any, ...], list[Page]]) -> None:
        """Give up what a pin holds."""
        self.pins.remove(pin)
        self.hold(pin[1], pin[0][-1], -1)

    def hold(self, pages: Sequence[Page], kind: str, nr: int) -> None:
        """Take or drop pins or references."""
        for page in pages:
            page.pins += nr * (kind == "long")
            page.refs += nr * (kind == "short")

    # Policies

    def build(self, task: Task, number: int, user: Nodemask) -> Policy | None:
        """The policy that a call asks for."""
        mode, flags = number & ~FLAG_BITS, number & FLAG_BITS
        may_be_empty = mode in (0, m.LOCAL) or (mode == m.PREFERRED and not flags)
        if (mode in (0, m.LOCAL) and (user or (flags and mode))) or not (user or may_be_empty):
            raise Refused("EINVAL")
        if mode == 0 or not user:
            return Policy(m.LOCAL, 0, user, None, user) if mode else None
        mems = task.mems & self.memory.memory
        nodes = user.relative_to(mems) if flags & m.RELATIVE else user & mems
        if not nodes:
            raise Refused("EINVAL")
        if mode == m.PREFERRED:
            nodes = Nodemask.of(nodes.first)
        return Policy(mode, flags, nodes, user if flags else None, task.mems)

    def check_mode(self, number: int) -> None:
        """What is wrong with a mode and its flags whatever the nodes."""
        mode, flags = number & ~FLAG_BITS, number & FLAG_BITS
        both = m.STATIC | m.RELATIVE
        balancing = flags & m.BALANCING and mode not in (m.BIND, m.MANY)
        if not 0 <= mode < len(MODES) or flags & both == both or balancing:
            raise Refused("EINVAL")

    def do_set_mempolicy(self, step: Any, task: Task, *_: int) -> None:
        self.check_mode(step.mode_number)
        task.policy = self.build(task, step.mode_number, step.nodes)

    def do_get_mempolicy(self, step: Any, task: Task, address: int, _: int) -> Record:
        flags, at = step.flag_bits, address // PAGE
        node, addr, allowed = (bool(flags & bit) for bit in (1, 2, 4))
        vma = task.mm.vma(at) if addr else None
        if flags & ~7 or (allowed and (node or addr)):
            raise Refused("EINVAL")
        if allowed:
            return DONE | {"nodes": str(task.mems)}
        if addr and not vma:
            raise Refused("EFAULT")
        policy = vma.policy_at(at) if vma else task.policy
        is_interleaved = policy is not None and policy.mode in m.INTERLEAVED
        if not addr and (address or (node and not is_interleaved)):
            raise Refused("EINVAL")
        if node and addr:
            page = self.get_page(task, at, False)
            return DONE | ({"node": page.node} if page else {})
        if node and policy:
            return DONE | {"node": policy.nodes.first}  # as programs ask only where it begins
        if not policy:
            return DONE | {"mode": "default", "mode_flags": [], "nodes": ""}
        names = [name for name, bit in FLAGS.items() if policy.flags & bit]
        nodes = str(policy.nodes if policy.user is None else policy.user)
        return DONE | {"mode": MODES[policy.mode], "mode_flags": names, "nodes": nodes}

    def set_policy(self, mm: Mm, vma: Vma, a: int, b: int, policy: Policy | None) -> None:
        """Store *policy* for a part of *vma*, and in what it maps if that keeps policies."""
        if vma.policy == policy:
            return
        new = mm.modify(vma, a, b, policy=policy)
        for index in range(new.pgoff, new.index(new.end) if new.shmem else 0):
            new.shmem.policies[index] = policy
            if not policy:
                del new.shmem.policies[index]

    def do_mbind(self, step: Any, task: Task, addr: int, length: int) -> None:
        number, flags = step.mode_number, step.flag_bits
        self.check_mode(number)
        if flags & ~7:
            raise Refused("EINVAL")
        if flags & MOVE_ALL and task.uid:
            raise Refused("EPERM")
        is_default = not number & ~FLAG_BITS
        flags &= ~STRICT if is_default else ~0
        a, b = checked(addr, length)
        if a == b:
            return
        policy = self.build(task, number, step.nodes)
        queue, failed = self.mbind_walk(task, a, b, step.nodes, flags, is_default)
        for _, start, end in task.mm.parts(a, b):
            self.set_policy(task.mm, task.mm.vma(start), start, end, policy)
        bias = next(iter(queue.values()))[1] if queue else 0
        targets = [self.memory.alloc(task, policy, at + bias) for at, _ in queue.values()]
        failed += self.engine(list(queue), targets)
        if failed and flags & STRICT:
            raise Refused("EIO")

    def mbind_walk(
        self, task: Task, a: int, b: int, user: Nodemask, flags: int, is_default: bool
    ) -> tuple[dict[Page, tuple[int, int]], int]:
        """The pages to move, with their places and biases, and how many cannot be moved."""
        parts = task.mm.parts(a, b) or refuse("EFAULT")
        queue: dict[Page, tuple[int, int]] = {}
        failed = 0
        for part, behind in zip_longest(parts, parts[1:]):
            vma, start, end = part
            after = behind[1] if behind else b
            if not is_default and (parts[0][1] > a or end < after):
                raise Refused("EFAULT")
            for at, _, page in task.mm.mapped(start, end if flags else start):
                if page.node in user:
                    continue
                if flags == STRICT:
                    raise Refused("EIO")
                if flags & MOVE_ALL or len(page.maps) == 1:
                    failed += page in queue
                    bias = vma.phase(at) - vma.index(at)
                    queue.setdefault(page, (vma.index(at), bias))
        return queue, failed

    def do_set_mempolicy_home_node(self, step: Any, task: Task, addr: int, length: int) -> None:
        if addr % PAGE or step.node not in self.memory.nodes:
            raise Refused("EINVAL")
        a, b = checked(addr, length)
        done = a == b
        for _, start, end in task.mm.parts(a, b):
            vma = task.mm.vma(start)
            if vma and vma.policy:
                if vma.policy.mode not in (m.BIND, m.MANY):
                    raise Refused("EOPNOTSUPP")
                home = replace(vma.policy, home=step.node)
                self.set_policy(task.mm, vma, start, end, home)
                done = True
        if not done:
            raise Refused("ENOENT")

    # Migration

    def engine(self, pages: Sequence[Page], targets: Sequence[int]) -> int:
        """Move *pages*; how many stay."""
        stay = [page for page in pages if page.pins or page.refs]
        for page, node in zip(pages, targets, strict=True):
            page.dirty |= any(mm.ptes[at].dirty for mm, at in page.maps)
            page.node = page.node if page in stay else node
        self.events["pgmigrate_success"] += len(pages) - len(stay)
        self.events["pgmigrate_fail"] += len(stay)
        return len(stay)

    def target(self, step: Any, caller: Task) -> Task:
        """The task that a migration is for, which its caller must have access to."""
        target = self.tasks.get(step.target_name) or refuse("ESRCH")
        if caller.uid and caller.uid != target.uid:
            raise Refused("EPERM")
        return target

    def do_migrate_pages(self, step: Any, caller: Task, *_: int) -> Record:
        target = self.target(step, caller)
        if caller.uid and not step.to.is_subset(self.cpusets[target.cpuset]["mems"]):
            raise Refused("EPERM")
        to = step.to & self.cpusets[caller.cpuset]["mems"] or refuse("EINVAL")
        return DONE | {"ret": self.migrate(target.mm, step.from_, to, not caller.uid)}

    def migrate(self, mm: Mm, old: Nodemask, new: Nodemask, move_all: bool) -> int:
        """Move the pages of *mm* from nodes to nodes, pair by pair; how many failed."""
        left, failed, kept = old, 0, new if len(old) != len(new) else Nodemask()
        while True:
            pairs = [(node, old.remap(node, new)) for node in left - kept]
            pairs = [(source, dest) for source, dest in pairs if source != dest]
            free = [pair for pair in pairs if pair[1] not in left]
            if not pairs:
                return failed
            source, dest = (free or pairs[-1:])[0]
            left -= Nodemask.of(source)
            found = [page for _, _, page in mm.mapped(0, END) if page.node == source]
            queue = [page for page in found if move_all or len(page.maps) == 1]
            pages = list(dict.fromkeys(queue))
            failed += len(queue) - len(pages) + self.engine(pages, [dest] * len(pages))

    def do_move_pages(self, step: Any, caller: Task, addr: int, length: int) -> Record:
        flags = step.flag_bits
        pages = [at // PAGE for at in range(addr, addr + length, step.stride)]
        if step.pages is not None:
            pages = [self.regions[step.at][0] + page for page in step.pages]
        if flags & ~(MOVE | MOVE_ALL):
            raise Refused("EINVAL")
        if flags & MOVE_ALL and caller.uid:
            raise Refused("EPERM")
        target = self.target(step, caller)
        if step.nodes is None:
            return DONE | {"status": runs([self.query(target, at) for at in pages])}
        nodes = [step.nodes] * len(pages) if isinstance(step.nodes, int) else step.nodes
        status: list[int | None] = [None] * len(pages)
        try:
            ret = self.move(caller, target, list(zip(pages, nodes, strict=True)), status, flags)
        except Refused as refused:
            written = [value for value in status if value is not None]
            return {"ret": -1, "errno": str(refused), "status": runs(written)}
        return {"ret": ret, "errno": None, "status": runs(status)}

    def move(
        self, caller: Task, target: Task, wanted: list[tuple[int, int]],
        status: list[int | None], flags: int,
    ) -> int:  # fmt: skip
        """The loop of move_pages: pages with one target go together until one does not move."""
        queue: list[Page] = []
        start, now, error, at = 0, None, "", 0

        def submit() -> int:
            if not queue:
                return 0
            if now not in caller.mems:
                self.events["pgmigrate_fail"] += 1
                raise Refused("ENOMEM")
            failed = self.engine(queue, [now] * len(queue))
            if not failed:
                status[start:at] = [now] * (at - start)
            queue.clear()
            return failed and failed + len(wanted) - at

        for at, (page, node) in enumerate(wanted):
            error = "" if node in self.cpusets[target.cpuset]["mems"] else "EACCES"
            error = error if node in self.memory.memory else "ENODEV"
            if error:
                break
            if now != node:
                if left := submit():
                    return left
                start, now = at, node
            status[at] = self.look_up(target, page, node, flags, queue)
            if status[at] is not None:
                if left := submit():
                    return left - 1
                now = None
        else:
            at = len(wanted)
        left = submit()
        return refuse(error) if error else left

    def look_up(self, task: Task, at: int, node: int, flags: int, queue: list[Page]) -> int | None:
        """The status of a page, or None once it is queued."""
        found = self.query(task, at)
        if found in (node, EFAULT, ENOENT):
            return found
        page = task.mm.ptes[at].page
        if len(page.maps) > 1 and not flags & MOVE_ALL:
            return EACCES
        if page in queue:
            return EBUSY
        queue.append(page)
        return None

    def query(self, task: Task, at: int) -> int:
        """Where a page lies, or why there is no saying."""
        pte = task.mm.ptes.get(at)
        if not task.mm.vma(at) or (pte and not pte.page):
            return EFAULT
        return pte.page.node if pte else ENOENT

    # Cpusets

    def do_cpuset_create(self, step: Any, *_: Any) -> None:
        self.cpusets[step.cpuset] = dict(self.cpusets[""], old=Nodemask())
        self.change(step.cpuset, step.cpus, step.mems)

    def do_cpuset_set(self, step: Any, *_: Any) -> None:
        self.change(step.cpuset, step.cpus, step.mems)

    def change(self, name: str, cpus: Cpumask | None, mems: Nodemask | None) -> None:
        """Write a cpuset's files; what its tasks have follows."""
        cpuset, tasks = self.cpusets[name], [t for t in self.tasks.values() if t.cpuset == name]
        if cpus is not None and not cpus.is_subset(self.cpus):
            raise Refused("EINVAL")
        cpuset["cpus"] = cpus or cpuset["cpus"]
        for task in tasks:
            task.cpus = task.user_cpus & cpuset["cpus"] or cpuset["cpus"]
        if mems is not None and not mems.is_subset(self.memory.nodes):
            raise Refused("EINVAL")
        mems = (mems or Nodemask()) & self.memory.memory or cpuset["mems"]
        for task in tasks if mems != cpuset["mems"] else []:
            self.follow(task, mems, cpuset["old"])
        cpuset["mems"] = cpuset["old"] = mems

    def follow(self, task: Task, mems: Nodemask, old: Nodemask) -> None:
        """Let a task and its memory follow its cpuset to *mems*."""
        task.policy, task.mems = task.policy and task.policy.rebound(mems), mems
        for vma in task.mm.vmas:
            vma.policy = vma.policy and vma.policy.rebound(mems)
        if old != mems:
            self.migrate(task.mm, old, mems, True)

    def do_cpuset_attach(self, step: Any, task: Task, *_: int) -> None:
        old, new = self.cpusets[task.cpuset], self.cpusets[step.cpuset]
        if old is new:
            return
        task.cpuset = step.cpuset
        if (old["cpus"], old["mems"]) != (new["cpus"], new["mems"]):
            task.cpus = task.user_cpus & new["cpus"] or new["cpus"]
            self.follow(task, new["mems"], old["old"])
        new["old"] = new["mems"]

    # Views

    def do_sysctl(self, step: Any, *_: Any) -> None:
        for file in self.files.values() if int(step.value) & 1 else ():
            for index, page in list(file.cache.items()):
                is_kept = page.dirty or page.maps or page.refs or page.pins
                if file.fs != "tmpfs" and not is_kept:
                    del file.cache[index]

    def do_placement(self, step: Any, task: Task, addr: int, length: int) -> Record:
        pages = range(addr // PAGE, pages_of(addr + length))
        return {"nodes": runs([max(self.query(task, at), -1) for at in pages])}

    def do_numa_maps(self, step: Any, task: Task, *_: int) -> Record:
        start, nr = self.regions[step.at]
        parts = task.mm.parts(start, start + nr)
        return {"lines": [self.line(task, vma, start) for vma, _, _ in parts]}

    def line(self, task: Task, vma: Vma, start: int) -> Record:
        """A line of numa_maps."""
        policy = policy_text(vma.policy_at(vma.start) or task.policy)
        line: Record = {"policy": policy, "start": vma.start - start}
        if vma.obj:
            line["file"] = vma.obj.name
        if not (found := task.mm.mapped(vma.start, vma.end)):
            return line
        line["anon"] = sum(page.obj is None for _, _, page in found)
        line["dirty"] = sum(pte.dirty or page.dirty for _, pte, page in found)
        line["mapped"] = len(found) * (len(found) not in (line["anon"], line["dirty"]))
        mapmax = max(len(page.maps) for _, _, page in found)
        line["mapmax"] = mapmax * (mapmax > 1)
        nodes = dict(Counter(str(page.node) for _, _, page in found))
        return line | {"nodes": nodes, "kernelpagesize_kB": 4}

    def do_vmstat(self, step: Any, *_: Any) -> Record:
        delta, self.events = self.events, Counter()
        return {"delta": dict(delta)}


class Refused(Exception):  # noqa: N818  (a system call's answer)
    """A system call fails with an errno."""


def refuse(errno: str) -> Any:
    """Fail with *errno*, where an expression is needed."""
    raise Refused(errno)


def pages_of(size: int) -> int:
    """Bytes as pages, rounded up."""
    return -(-size // PAGE)


def checked(addr: int, length: int) -> tuple[int, int]:
    """The pages of a range, which must begin with one."""
    return addr // PAGE if addr % PAGE == 0 else refuse("EINVAL"), pages_of(addr + length)


def runs(values: Sequence[Any]) -> list[list[Any]]:
    """Equal neighbours counted."""
    return [[len(list(group)), value] for value, group in groupby(values)]


def policy_text(policy: Policy | None) -> str:
    """A policy as numa_maps has it."""
    if not policy:
        return "default"
    names = [("static", m.STATIC), ("relative", m.RELATIVE), ("balancing", m.BALANCING)]
    flags = "|".join(name for name, bit in names if policy.flags & bit)
    nodes = f":{policy.nodes}" if policy.nodes else ""
    return TEXTS[policy.mode] + (f"={flags}" if flags else "") + nodes
