"""A machine under any system calls: its invariants hold, and migration only moves.

The rules call what a scenario's steps call. Beside the invariants, each compares what it did with
a model that looks at one page at a time.
"""

from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pymigrate.errors import KernelError
from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import FrameFlag, nid_of
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.calls import ksm
from pymigrate.mm.calls.cpuset import cpuset_mems_allowed
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.frames.page_alloc import available
from pymigrate.mm.state.machine import FIRST_REGION, Machine, add_device
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls import (
    cpuset,
    drivers,
    gup,
    madvise,
    mempolicy,
    migrate,
    mmap,
    process,
    sysctl,
)
from pymigrate.uapi import (
    BALANCING,
    MPOL,
    MPOL_MF_MOVE,
    MPOL_MF_MOVE_ALL,
    MPOL_MF_STRICT,
    RELATIVE,
    STATIC,
)
from pymigrate.units import MAX_NUMNODES, PAGE_SHIFT
from tests.conftest import new_file, new_task, nodes_with, two_nodes
from tests.property.invariants import check, check_pins, events, mapped_pages, sharing, used_frames
from tests.property.models import MovePagesModel, migrate_pages_model

MACHINES: dict[str, Callable[[str], Machine]] = {
    "small": lambda kernel: two_nodes("4MiB", kernel),
    "ample": lambda kernel: two_nodes("64MiB", kernel),
    "one node has little": lambda kernel: nodes_with(
        "4MiB", "1MiB", "2MiB", cpus=("0", "", "1"), kernel=kernel
    ),
    "one node has no memory": lambda kernel: nodes_with(
        "3MiB", "0", "3MiB", "20MiB", cpus=("0-1", "2", "", "3"), kernel=kernel
    ),
}
TASKS = st.integers(0, 3)  # which of the tasks there are, by remainder
NODES = st.sampled_from([1, 2, 1, 2, 3, 3, 4, 6, 7, 12, 0]).map(Nodemask)
PAGES = st.sampled_from([0, 0, 1, 2, 7, 16, 100, 511])
COUNTS = st.sampled_from([1, 2, 3, 16, 17, 33, 100, 513, 700])
PARTS = st.tuples(st.integers(0, 5), PAGES, COUNTS)  # VMA by remainder, first page, pages
MODES = st.tuples(
    st.sampled_from([*MPOL, MPOL.INTERLEAVE, MPOL.BIND]),
    st.sampled_from([0, 0, 0, STATIC, RELATIVE, BALANCING]),
).map(sum)
PROTS = st.sampled_from(["rw", "rw", "r", "none", "rwx"])
MOVES = st.sampled_from([0, 1, 2, 2, 3, 4, 4, 5])
ADVICE = sorted({*madvise.SIMULATED.values()} - {Madv.COLLAPSE})
MAX_TASKS = 5


class SystemCalls(RuleBasedStateMachine):
    """Calls on one machine."""

    @initialize(
        kind=st.sampled_from(sorted(MACHINES)),
        kernel=st.sampled_from(["6.12", "6.12", "6.1", "7.2"]),
    )
    def boot(self, kind: str, kernel: str) -> None:
        self.machine = MACHINES[kind](kernel)
        add_device(self.machine, "gpu", 40)
        add_device(self.machine, "npu", 600)
        self.files = [
            new_file(self.machine, "600KiB", "tmpfs", inode=2),
            new_file(self.machine, "400KiB", "ext4"),
        ]
        self.pinned: list[tuple[Task, int, int, bool]] = []
        self.counted = events(self.machine)
        self.names = 0
        self.new_task(0)
        self.mmap_and_write(0, 300)

    def new_task(self, uid: int) -> None:
        self.names += 1
        new_task(self.machine, f"task{self.names}", self.machine.cpus.first, uid)

    def task(self, number: int) -> Task:
        tasks = list(self.machine.tasks.values())
        return tasks[number % len(tasks)]

    def range(self, task: Task, part: tuple[int, int, int]) -> tuple[int, int]:
        """Address and length of a part of *task*'s memory, which may have holes."""
        if not task.mm.vmas:
            return FIRST_REGION << PAGE_SHIFT, part[2] << PAGE_SHIFT
        which, first, nr = part
        vma = task.mm.vmas[which % len(task.mm.vmas)]
        return vma.start + min(first, vma.nr - 1) << PAGE_SHIFT, nr << PAGE_SHIFT

    def task_range(self, task: int, part: tuple[int, int, int]) -> tuple[Task, int, int]:
        who = self.task(task)
        return who, *self.range(who, part)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return function(self.machine, *args, **kwargs)
        except KernelError as error:
            return error.errno

    # Rules

    @precondition(lambda self: len(self.machine.tasks) < 2)
    @rule(uid=st.sampled_from([0, 1000]))
    def start(self, uid: int) -> None:
        self.new_task(uid)

    @rule(
        task=TASKS,
        pages=st.sampled_from([1, 20, 100, 513, 600]),
        gap=st.sampled_from([0, 0, 1]),
        prot=PROTS,
        kind=st.sampled_from(["anonymous", "anonymous", "shared", "tmpfs", "ext4"]),
        is_shared=st.booleans(),
        offset=st.sampled_from([0, 0, 3, 90]),
        populate=st.booleans(),
    )
    def mmap(
        self,
        task: int,
        pages: int,
        gap: int,
        prot: str,
        kind: str,
        is_shared: bool,
        offset: int,
        populate: bool,
    ) -> None:
        start = self.machine.next_region + gap
        self.machine.next_region = start + pages
        file = {"tmpfs": self.files[0], "ext4": self.files[1]}.get(kind)
        self.call(
            mmap.mmap,
            self.task(task),
            start << PAGE_SHIFT,
            pages << PAGE_SHIFT,
            prot,
            is_shared=kind == "shared" or (file is not None and is_shared),
            space=file,
            offset=offset << PAGE_SHIFT if file else 0,
            populate=populate,
        )

    @rule(task=TASKS, pages=st.sampled_from([20, 100, 300, 700]))
    def mmap_and_write(self, task: int, pages: int) -> None:
        start = self.machine.next_region
        self.mmap(task, pages, 0, "rw", "anonymous", False, 0, False)
        process.touch(self.machine, self.task(task), start << PAGE_SHIFT, pages << PAGE_SHIFT)

    @rule(task=TASKS, part=PARTS)
    def munmap(self, task: int, part: tuple[int, int, int]) -> None:
        who = self.task(task)
        addr, length = self.range(who, part)
        self.call(mmap.munmap, who, addr, length)
        a, b = addr >> PAGE_SHIFT, addr + length >> PAGE_SHIFT
        assert not list(who.mm.parts(a, b))

    @rule(task=TASKS, part=PARTS, prot=PROTS)
    def mprotect(self, task: int, part: tuple[int, int, int], prot: str) -> None:
        self.call(mmap.mprotect, *self.task_range(task, part), prot)

    @rule(task=TASKS, part=PARTS, lock=st.booleans())
    def mlock(self, task: int, part: tuple[int, int, int], lock: bool) -> None:
        self.call(mmap.mlock if lock else mmap.munlock, *self.task_range(task, part))

    @rule(task=TASKS, part=PARTS, advice=st.sampled_from(ADVICE))
    def madvise(self, task: int, part: tuple[int, int, int], advice: Madv) -> None:
        self.call(madvise.madvise, *self.task_range(task, part), advice)

    @rule(task=TASKS, part=PARTS, write=st.booleans(), stride=st.sampled_from([1, 1, 2, 3]))
    def touch(self, task: int, part: tuple[int, int, int], write: bool, stride: int) -> None:
        who = self.task(task)
        addr, length = self.range(who, part)
        signal = process.touch(self.machine, who, addr, length, write, stride=stride << PAGE_SHIFT)
        assert signal in (None, "SIGSEGV", "SIGBUS", "SIGKILL")
        assert (signal == "SIGKILL") == (who.pid not in self.machine.tasks)
        if signal:
            return
        wanted = Pte.YOUNG | (Pte.WRITE | Pte.DIRTY if write else 0)
        for page in range(addr >> PAGE_SHIFT, addr + length >> PAGE_SHIFT, stride):
            run = who.mm.page_table.at(page)
            assert run is not None, f"page {page:#x} was touched and is absent"
            assert run.flags & wanted == wanted, f"page {page:#x} was touched: {run}"

    @precondition(lambda self: len(self.machine.tasks) < MAX_TASKS)
    @rule(task=TASKS)
    def fork(self, task: int) -> None:
        self.names += 1
        parent = self.task(task)
        before = {page: pfn for page, pfn, _ in mapped_pages(parent.mm)}
        pinned = {
            p for p, pfn, f in mapped_pages(parent.mm) if self.is_pinned(pfn) and f & Pte.EXCLUSIVE
        }
        child = self.call(process.fork, parent, f"task{self.names}")
        if parent.pid not in self.machine.tasks:
            return  # there was no memory for copies of pinned pages
        assert before == {page: pfn for page, pfn, _ in mapped_pages(parent.mm)}
        copied = {page: pfn for page, pfn, _ in mapped_pages(child.mm)}
        expected = {
            page
            for vma in parent.mm.vmas
            if vma.anon_vma and not vma.flags & Vm.DONTCOPY
            for page in before
            if vma.start <= page < vma.end
        }
        assert copied.keys() == expected
        for page, pfn in copied.items():
            assert (pfn == before[page]) == (page not in pinned)

    @precondition(lambda self: len(self.machine.tasks) > 2)
    @rule(task=TASKS)
    def exit(self, task: int) -> None:
        self.call(process.exit_task, self.task(task))

    @rule(task=TASKS, cpus=st.integers(0, 15).map(Cpumask))
    def sched_setaffinity(self, task: int, cpus: Cpumask) -> None:
        self.call(process.sched_setaffinity, self.task(task), cpus)

    @rule(task=TASKS, mode=MODES, nodes=NODES)
    def set_mempolicy(self, task: int, mode: int, nodes: Nodemask) -> None:
        self.call(mempolicy.set_mempolicy, self.task(task), mode, nodes)

    @rule(task=TASKS, part=PARTS, to=st.sampled_from(["gpu", "npu", "npu", "ram"]))
    def migrate_vma(self, task: int, part: tuple[int, int, int], to: str) -> None:
        who = self.task(task)
        addr, length = self.range(who, part)
        before, counted = sharing(self.machine), self.migrated()
        moved = self.call(drivers.migrate_vma, who, addr, length, to)
        after = sharing(self.machine)
        assert {key: name for key, (name, _) in before.items()}.keys() <= after.keys()
        kept = Pte.EXCLUSIVE
        assert all(after[key][1] & kept == flags & kept for key, (_, flags) in before.items())
        assert self.migrated() == counted
        if moved == "EINVAL":
            assert after == before
            return
        assert 0 <= moved.migrated <= moved.collected
        there = {page for page, pfn, _ in mapped_pages(who.mm) if nid_of(pfn) >= MAX_NUMNODES}
        wanted = range(addr >> PAGE_SHIFT, addr + length >> PAGE_SHIFT)
        if to == "ram" and self.is_ample(len(wanted)):
            assert not there & set(wanted)

    def is_ample(self, nr: int) -> bool:
        """Whether each node has more than *nr* free pages."""
        nodes = [node for node in self.machine.nodes.values() if node.zones]
        return all(available(node, to_min=True) > nr for node in nodes)

    @rule(weights=st.dictionaries(st.integers(0, 3), st.integers(1, 4)))
    def set_weights(self, weights: dict[int, int]) -> None:
        self.machine.weights = weights

    @rule(task=TASKS, part=PARTS, flags=st.integers(0, 7))
    def get_mempolicy(self, task: int, part: tuple[int, int, int], flags: int) -> None:
        who = self.task(task)
        addr, _ = self.range(who, part)
        self.call(mempolicy.get_mempolicy, who, addr if flags & 2 else 0, flags)

    @rule(task=TASKS, part=PARTS, node=st.integers(0, 4))
    def set_mempolicy_home_node(self, task: int, part: tuple[int, int, int], node: int) -> None:
        self.call(mempolicy.set_mempolicy_home_node, *self.task_range(task, part), node)

    @rule(task=TASKS, part=PARTS, mode=MODES, nodes=NODES, flags=MOVES)
    def mbind(
        self, task: int, part: tuple[int, int, int], mode: int, nodes: Nodemask, flags: int
    ) -> None:
        who = self.task(task)
        addr, length = self.range(who, part)
        may_move = self.movable(who, addr, length, nodes, flags)
        before, frames = sharing(self.machine), self.frames_by_entry()
        failed, succeeded = self.migrated()
        answer = self.call(mempolicy.mbind, who, addr, length, mode, nodes, flags)
        assert sharing(self.machine) == before
        moved = self.moved_since(frames)
        new_failed, new_succeeded = self.migrated()
        assert len(moved) == new_succeeded - succeeded
        assert moved <= may_move
        if answer in ("EINVAL", "EPERM", "EFAULT"):
            assert not moved
            assert new_failed == failed
        elif answer is None and flags & MPOL_MF_STRICT and flags & 6 and mode & 7:
            assert self.nodes_of(may_move) <= set(nodes) or moved == may_move

    @rule(caller=TASKS, subject=TASKS, old=NODES, new=NODES)
    def migrate_pages(self, caller: int, subject: int, old: Nodemask, new: Nodemask) -> None:
        who, whose = self.task(caller), self.task(subject)
        before, frames = sharing(self.machine), self.frames_by_entry()
        failed, succeeded = self.migrated()
        allowed = cpuset_mems_allowed(self.machine, who)
        model = migrate_pages_model(self.machine, who, whose, old, new & allowed)
        answer = self.call(migrate.migrate_pages, who, whose, old, new)
        assert sharing(self.machine) == before
        new_failed, new_succeeded = self.migrated()
        assert len(self.moved_since(frames)) == new_succeeded - succeeded
        if answer in ("EINVAL", "EPERM"):
            assert new_succeeded == succeeded
        elif answer == "ENOMEM":
            assert model is None or not model[2], "memory ran out where there was enough"
            assert new_failed > failed
        else:
            assert model is not None, "there was memory where there is none"
            nodes, stayed, _ = model
            assert answer == stayed
            now = self.frames_by_entry()
            assert {key: nid_of(pfn) for key, pfn in now.items()} == {
                key: nodes[pfn] for key, pfn in frames.items()
            }

    @rule(
        caller=TASKS,
        subject=TASKS,
        part=PARTS,
        picks=st.lists(st.tuples(st.integers(-2, 40), st.integers(-1, 5)), max_size=30),
        flags=st.sampled_from([0, 2, 4, 6]),
    )
    def move_pages(
        self,
        caller: int,
        subject: int,
        part: tuple[int, int, int],
        picks: list[tuple[int, int]],
        flags: int,
    ) -> None:
        who, whose = self.task(caller), self.task(subject)
        start = self.range(whose, part)[0] >> PAGE_SHIFT
        pages = [start + page for page, _ in picks]
        nodes = [node for _, node in picks]
        before = sharing(self.machine)
        ample = who.mems_allowed == self.machine.memory_nodes and all(
            available(node, to_min=True) > 2 * len(picks)
            for node in self.machine.nodes.values()
            if node.zones
        )
        model = MovePagesModel(self.machine, whose, bool(flags & MPOL_MF_MOVE_ALL))
        expected = model.answer(pages, nodes)
        addrs = [page << PAGE_SHIFT for page in pages]
        answer = self.call(migrate.move_pages, who, whose, addrs, nodes, flags)
        assert sharing(self.machine) == before
        if not isinstance(answer, str) and ample:
            assert (answer.ret, answer.errno, answer.status) == expected

    @rule(task=TASKS, part=PARTS)
    def query_pages(self, task: int, part: tuple[int, int, int]) -> None:
        who = self.task(task)
        addr, length = self.range(who, part)
        addrs = list(range(addr, addr + length, 1 << PAGE_SHIFT))
        status = migrate.move_pages(self.machine, who, who, addrs, None, 0).status
        frames = self.frames_by_entry()
        for at, value in zip(addrs, status, strict=True):
            pfn = frames.get((who.mm.mm_id, at >> PAGE_SHIFT))
            assert value in ((-14, -2) if pfn is None else (nid_of(pfn), -2))

    @rule(
        caller=TASKS,
        subject=TASKS,
        part=PARTS,
        stride=st.sampled_from([1, 1, 2]),
        count=st.sampled_from([63, 64, 65, 200]),
        nodes=st.lists(st.integers(0, 3), min_size=1, max_size=3),
        again=st.sampled_from([0, 0, 1, 20]),
        flags=st.sampled_from([2, 4]),
    )
    def move_many_pages(
        self,
        caller: int,
        subject: int,
        part: tuple[int, int, int],
        stride: int,
        count: int,
        nodes: list[int],
        again: int,
        flags: int,
    ) -> None:
        """Long lists go another way than short ones, and some name pages twice."""
        picks = [(i * stride, nodes[i % len(nodes)]) for i in range(count)]
        self.move_pages(caller, subject, part, [*picks, *picks[:again]], flags)

    @rule(task=TASKS, part=PARTS, is_long=st.booleans())
    def pin(self, task: int, part: tuple[int, int, int], is_long: bool) -> None:
        who = self.task(task)
        addr, length = self.range(who, part)
        if not self.call(gup.pin, who, addr, min(length, 17 << PAGE_SHIFT), is_long):
            self.pinned.append((who, addr, min(length, 17 << PAGE_SHIFT), is_long))

    @precondition(lambda self: self.pinned)
    @rule(which=st.integers(0, 5))
    def unpin(self, which: int) -> None:
        self.call(gup.unpin, *self.pinned.pop(which % len(self.pinned)))

    @rule(
        task=TASKS,
        name=st.sampled_from(["x", "y"]),
        mems=st.sampled_from([1, 2, 3, 8, 11]).map(Nodemask),
        cpus=st.sampled_from([1, 2, 3, 7]).map(Cpumask),
        follows=st.booleans(),
    )
    def cpuset(self, task: int, name: str, mems: Nodemask, cpus: Cpumask, follows: bool) -> None:
        """Make or change a cpuset, and move a task into it."""
        before = sharing(self.machine)
        caller = self.machine.shell_of(0)
        if name in self.machine.cpusets:
            self.call(cpuset.change, caller, name, cpus, mems, follows)
        else:
            self.call(cpuset.create, caller, name, cpus, mems, follows)
        self.call(cpuset.attach_task, caller, self.task(task), name)
        assert sharing(self.machine) == before

    @rule(task=TASKS, part=PARTS)
    def ksm(self, task: int, part: tuple[int, int, int]) -> None:
        """Pages are merged: no task sees another node, or has more pages than before."""
        self.call(madvise.madvise, *self.task_range(task, part), Madv.MERGEABLE)
        before = {key: frame_of(self.machine, pfn) for key, pfn in self.frames_by_entry().items()}
        used = len(used_frames(self.machine))
        ksm.scan(self.machine)
        after = self.frames_by_entry()
        assert after.keys() == before.keys()
        for key, pfn in after.items():
            content = frame_of(self.machine, pfn).flags & FrameFlag.ZEROED
            assert content == before[key].flags & FrameFlag.ZEROED
        assert len(used_frames(self.machine)) <= used

    @rule(value=st.integers(1, 3))
    def drop_caches(self, value: int) -> None:
        self.call(sysctl.write, self.machine.shell_of(0), "drop_caches", str(value))

    # What is compared

    def migrated(self) -> tuple[int, int]:
        counters = self.machine.counters
        return counters["pgmigrate_fail"], counters["pgmigrate_success"]

    def is_pinned(self, pfn: int) -> bool:
        return frame_of(self.machine, pfn).pins > 0

    def frames_by_entry(self) -> dict[tuple[int, int], int]:
        return {
            (mm.mm_id, page): pfn
            for mm in self.machine.mms.values()
            for page, pfn, _ in mapped_pages(mm)
        }

    def moved_since(self, frames: dict[tuple[int, int], int]) -> set[int]:
        """The old frames of pages that now have another one."""
        now = self.frames_by_entry()
        return {pfn for key, pfn in frames.items() if now[key] != pfn}

    def nodes_of(self, pfns: Iterable[int]) -> set[int]:
        return {nid_of(pfn) for pfn in pfns}

    def movable(self, task: Task, addr: int, length: int, nodes: Nodemask, flags: int) -> set[int]:
        """The frames that mbind() may move."""
        if not flags & (MPOL_MF_MOVE | MPOL_MF_MOVE_ALL):
            return set()
        a, b = addr >> PAGE_SHIFT, addr + length >> PAGE_SHIFT
        found = {
            pfn
            for page, pfn, flags in mapped_pages(task.mm)
            if a <= page < b and flags & Pte.PRESENT
        }
        return {
            pfn
            for pfn in found
            for frame in [frame_of(self.machine, pfn)]
            if nid_of(pfn) not in nodes
            and not frame.is_held
            and (frame.mapcount == 1 or flags & MPOL_MF_MOVE_ALL)
        }

    # Invariants

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "machine"):
            return
        if not self.machine.tasks:
            self.new_task(0)
        frames = used_frames(self.machine)
        on_nodes = [pfn for pfn in frames if nid_of(pfn) < MAX_NUMNODES]
        check(self.machine)
        check_pins(self.machine, frames)
        now = events(self.machine)
        for name, value in now.items():
            assert value >= self.counted[name], f"{name} fell"
        self.counted = now
        taken = sum(value for name, value in now.items() if name.startswith("pgalloc_"))
        assert taken - now["pgfree"] == len(on_nodes)
        assert taken == now["numa_hit"] + now["numa_miss"]
        assert now["numa_miss"] == now["numa_foreign"]
