"""The plain model: a scenario's steps on the plain memory, each answered as FORMAT.md says.

`run(scenario)` gives the records. Kernel 6.12 only; without THP, hugetlb, exec and declared memory.
A step's method gets the step, its task, and the address and length of the part that it names.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, zip_longest
from typing import Any

from pymigrate.nodemask import Nodemask
from pymigrate.units import PAGE_SIZE, pages_of
from tests.plain import memory as m
from tests.plain.memory import Memory, Mm, Object, Page, Policy, Refused, Task, Vma

Record = dict[str, Any]
DONE: Record = {"ret": 0, "errno": None}
MODES = "default preferred bind interleave local preferred-many weighted-interleave".split()
TEXTS = ["", "prefer", "bind", "interleave", "local", "prefer (many)", "weighted interleave"]
FLAGS = {"static": m.STATIC, "relative": m.RELATIVE, "numa_balancing": m.BALANCING}
STRICT, MOVE, MOVE_ALL = 1, 2, 4
BASE, END = 0x200004000000 // PAGE_SIZE, 1 << 60
ENOENT, ENOMEM, EACCES, EFAULT, EBUSY, ENODEV = -2, -12, -13, -14, -16, -19
ERRNOS = {ENOMEM: "ENOMEM", EACCES: "EACCES", ENODEV: "ENODEV"}
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
    model = Model(scenario)
    return [{"op": step.op, **model.do(step)} for step in scenario.steps]


class Model:
    """A machine, its tasks, and the names that the steps have given."""

    def __init__(self, scenario: Any) -> None:
        spec, nodes = scenario.machine, scenario.machine.memory_nodes
        rows = zip(spec.node_ids, spec.matrix, strict=True)
        distances = {nid: dict(zip(spec.node_ids, row, strict=True)) for nid, row in rows}
        self.memory, self.cpus = Memory(distances, nodes), spec.cpus
        self.memory.cpu_node = {cpu: nid for nid, node in spec.nodes.items() for cpu in node.cpus}
        self.memory.weights = spec.weights
        self.cpusets = {"": {"cpus": spec.cpus, "mems": nodes, "old": nodes}}
        tasks = scenario.tasks.items()
        self.tasks = {name: Task(t.uid, t.cpus, t.cpus, "", nodes) for name, t in tasks}
        self.files = {n: Object(n, f.fs, pages_of(f.size)) for n, f in scenario.files.items()}
        for inode, file in enumerate((f for f in self.files.values() if f.fs == "tmpfs"), 2):
            file.inode = inode
        self.regions: dict[str, tuple[int, int]] = {}
        self.next_region = BASE
        self.pins: list[tuple[tuple[Any, ...], list[Page]]] = []
        self.events: Counter[str] = Counter()

    def do(self, step: Any) -> Record:
        """One step's answer."""
        start, nr = self.regions.get(getattr(step, "at", None), (0, 0))
        offset, length = getattr(step, "offset", 0), getattr(step, "length", None)
        length = max(nr * PAGE_SIZE - offset, 0) if length is None else length
        args = self.tasks.get(step.task), start * PAGE_SIZE + offset, length
        try:
            return getattr(self, f"do_{step.op}")(step, *args) or DONE
        except Refused as refused:
            status = {"status": []} if step.op == "move_pages" else {}
            return {"ret": -1, "errno": str(refused), **status}

    # Memory calls

    def do_mmap(self, step: Any, task: Task, offset: int, length: int) -> None:
        align, nr = step.align // PAGE_SIZE, pages_of(length)
        start = -(-self.next_region // align) * align
        self.regions[step.as_] = start, nr
        self.next_region = start + nr + 1
        if not nr or offset % PAGE_SIZE:
            raise Refused("EINVAL")
        obj = self.files[step.file] if step.file else None
        pgoff = offset // PAGE_SIZE if obj else 0 if step.shared else start
        if not obj and step.shared:
            obj = Object("/dev/zero (deleted)", "tmpfs", nr)
        flags = frozenset({"account"} if "w" in step.prot and not step.shared else ())
        task.mm.put([], [Vma(start, start + nr, step.prot, step.shared, obj, pgoff, flags)])
        if step.populate:
            self.populate(task, start, start + nr)

    def do_munmap(self, step: Any, task: Task, addr: int, length: int) -> None:
        a, b = checked(addr, length or refuse("EINVAL"))
        task.mm.zap(a, b)
        for vma, start, end in list(task.mm.walk(a, b)):
            task.mm.put([vma], [vma.cut(vma.start, start), vma.cut(end, vma.end)])

    def do_mprotect(self, step: Any, task: Task, addr: int, length: int) -> None:
        prot = step.prot
        for vma, a, b in task.mm.walk(*checked(addr, length), hole="ENOMEM"):
            if vma.prot == prot:
                continue
            flags, needs = vma.flags, not vma.shared and "w" in prot and "w" not in vma.prot
            if "w" not in prot and not vma.obj and not vma.anon:
                flags -= {"account"}  # the memory that it may come to need
            flags |= {"account"} if needs else set()
            task.mm.modify(vma, a, b, prot=prot, flags=flags)
            for _, pte, page in task.mm.mapped(a, b):
                may_write = (vma.shmem or pte.dirty) if vma.shared else page.exclusive
                pte.write = "w" in prot and bool(may_write)
            if needs and "locked" in flags:
                self.populate(task, a, b)

    def do_madvise(self, step: Any, task: Task, addr: int, length: int) -> None:
        advice, covered = step.advice_number, 0
        more, less = (set(words.split()) for words in ADVICE.get(advice) or refuse("EINVAL"))
        a, b = checked(addr, length)
        populates = advice in (POPULATE_READ, POPULATE_WRITE)
        for vma, start, end in task.mm.walk(a, b, hole="ENOMEM" if populates else ""):
            covered += end - start
            if populates:
                self.fault_in(task, vma, start, end, advice == POPULATE_WRITE, "EINVAL")
            elif more or less:
                if not ("mergeable" in more and vma.shared):
                    self.flag(task, vma, start, end, more, less)
            elif "locked" in vma.flags or (advice == FREE and vma.obj):
                raise Refused("EINVAL")
            elif advice == DONTNEED:
                task.mm.zap(start, end)
            for _, pte, page in task.mm.mapped(start, end) if advice == FREE else ():
                if not (page.dirty and len(page.maps) > 1):
                    pte.dirty = page.dirty = False
        if covered < b - a:
            raise Refused("ENOMEM")

    def flag(self, task: Task, vma: Vma, a: int, b: int, more: set[str], less: set[str]) -> None:
        """Set and clear flags of a part of *vma*."""
        flags = (vma.flags | more) - less
        if flags != vma.flags:
            task.mm.modify(vma, a, b, flags=flags)

    def do_mlock(self, step: Any, task: Task, addr: int, length: int) -> None:
        a, b = addr // PAGE_SIZE, pages_of(addr + length)
        for vma, start, end in task.mm.walk(a, b, hole="ENOMEM"):
            self.flag(task, vma, start, end, {"locked"}, set())
        if self.populate(task, a, b):
            raise Refused("ENOMEM")

    def do_munlock(self, step: Any, task: Task, addr: int, length: int) -> None:
        a, b = addr // PAGE_SIZE, pages_of(addr + length)
        for vma, start, end in task.mm.walk(a, b, hole="ENOMEM"):
            self.flag(task, vma, start, end, set(), {"locked"})

    def do_touch(self, step: Any, task: Task, addr: int, length: int) -> Record:
        for at in range(addr, addr + length, step.stride):
            vma = task.mm.vma(at // PAGE_SIZE)
            if not vma or vma.prot == "none" or (step.write and "w" not in vma.prot):
                return {"signal": "SIGSEGV"}
            if not self.memory.fault(task, vma, at // PAGE_SIZE, step.write):
                return {"signal": "SIGBUS"}
        return {"signal": None}

    def get_page(self, task: Task, vma: Vma | None, at: int, write: bool) -> Page | None:
        """The page at *at* as the kernel gets it for itself, faulted in; None: the zero page."""
        pte = task.mm.ptes.get(at)
        if not vma or (not pte or (write and not pte.write)) and not self.memory.fault(
            task, vma, at, write
        ):
            raise Refused("EFAULT")
        return task.mm.ptes[at].page

    def fault_in(self, task: Task, vma: Vma, a: int, b: int, write: bool, errno: str = "") -> None:
        """Have all pages there, dirty if *write*; *errno* says what it is if that is forbidden."""
        if errno and ("w" if write else "r") not in vma.prot:
            raise Refused(errno)
        for at in range(a, b):
            page = self.get_page(task, vma, at, write)
            if page and write and not task.mm.ptes[at].dirty:
                page.dirty = True

    def populate(self, task: Task, a: int, b: int) -> bool:
        """Fault in what can be; whether something cannot."""
        failed = False
        for vma, start, end in task.mm.walk(a, b):
            try:
                errno = "EFAULT" if vma.prot == "none" else ""
                self.fault_in(task, vma, start, end, "w" in vma.prot and not vma.shared, errno)
            except Refused:
                failed = True
        return failed
