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
