"""What is done at once comes to what is done folio by folio, as it is while somebody watches.

Random memory, and random calls on two machines: one notes each event, and so takes the long way.
"""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from pymigrate.errors import KernelError
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.runs import RunMap
from pymigrate.mm.compact.compaction import compact_memory
from pymigrate.mm.state.cost import Tally
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls.cpuset import attach_task, create
from pymigrate.syscalls.gup import pin
from pymigrate.syscalls.madvise import Madv, madvise
from pymigrate.syscalls.mempolicy import mbind, set_mempolicy
from pymigrate.syscalls.migrate import migrate_pages, move_pages
from pymigrate.syscalls.mmap import mlock, mprotect, munmap
from pymigrate.syscalls.process import fork, sched_setaffinity, touch
from pymigrate.uapi import MPOL, MPOL_MF_MOVE, MPOL_MF_MOVE_ALL, MPOL_MF_STRICT
from tests.conftest import PAGE, mapped, new_file, new_task, nodes_with
from tests.property.invariants import check
from tests.unit.store.conftest import plain

KERNELS = ("6.12", "6.12", "6.1", "7.2")
MOVES = (0, MPOL_MF_MOVE, MPOL_MF_MOVE, MPOL_MF_MOVE_ALL, MPOL_MF_STRICT | MPOL_MF_MOVE)


class Program:
    """A machine, and what its tasks do to it at random: the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        sizes = rng.choice([("64MiB", "64MiB", "64MiB"), ("16MiB", "8MiB", "16MiB")])
        self.machine = nodes_with(*sizes, kernel=rng.choice(KERNELS))
        self.machine.thp = rng.choice(["never", "never", "always"])
        self.tasks = [new_task(self.machine)]
        self.regions: list[tuple[int, int]] = []
        for _ in range(rng.randint(1, 3)):
            self.map()
        for _ in range(rng.randint(4, 12)):
            self.tried(rng.choice([self.touch, self.touch, self.touch, self.change, self.share]))

    def tried(self, call: Callable[..., Any], *args: Any) -> Any:
        """What a call answers, or the error that it fails with."""
        try:
            return call(*args)
        except KernelError as error:
            return error.name

    def map(self) -> None:
        nr = self.rng.choice([3, 40, 513, 1024, 1300])
        file = None
        if self.rng.random() < 0.4:
            fs = self.rng.choice(["tmpfs", "ext4", "xfs"])
            file = new_file(self.machine, f"{nr * PAGE}B", fs)
        how = {"is_shared": bool(file) and self.rng.random() < 0.6, "space": file}
        self.regions.append((mapped(self.machine, self.tasks[0], f"{nr * PAGE}B", **how), nr))

    def part(self) -> tuple[Task, int, int]:
        """A task, and some pages that it may have: their address, and how many bytes."""
        addr, nr = self.rng.choice(self.regions)
        first = self.rng.choice([0, 0, self.rng.randrange(nr)])
        size = self.rng.choice([1, 7, nr, nr]) * PAGE
        return self.rng.choice(self.tasks), addr + first * PAGE, min(size, nr * PAGE - first * PAGE)

    def touch(self) -> None:
        task, addr, size = self.part()
        mode = self.rng.choice([MPOL.INTERLEAVE, MPOL.PREFERRED, MPOL.BIND])
        set_mempolicy(self.machine, task, mode, self.some_nodes())
        stride = self.rng.choice([1, 1, 2, 3]) * PAGE
        touch(self.machine, task, addr, size, self.rng.random() < 0.8, stride=stride)

    def change(self) -> None:
        task, addr, size = self.part()
        machine, kind = self.machine, self.rng.randrange(7)
        if kind == 0:
            munmap(machine, task, addr, PAGE)
        elif kind == 1:
            mprotect(machine, task, addr, size, self.rng.choice(["r", "rw", "none"]))
        elif kind == 2:
            mlock(machine, task, addr, size)
        elif kind == 3:
            pin(machine, task, addr, PAGE, self.rng.random() < 0.5)
        else:
            advice = [Madv.DONTNEED, Madv.FREE, Madv.COLD][kind - 4]
            madvise(machine, task, addr, size, advice)

    def share(self) -> None:
        task = self.rng.choice(self.tasks)
        if len(self.tasks) < 3:
            self.tasks.append(fork(self.machine, task, f"t{len(self.tasks)}"))
        sched_setaffinity(self.machine, task, Cpumask.of(self.rng.randrange(3)))

    def some_nodes(self) -> Nodemask:
        return Nodemask(self.rng.randint(1, 7))

    def move(self) -> Any:
        """One of the calls that migrate pages."""
        rng, machine = self.rng, self.machine
        task, addr, size = self.part()
        kind = rng.randrange(5)
        if kind == 0:
            old, new = self.some_nodes(), self.some_nodes()
            return self.tried(migrate_pages, machine, task, task, old, new)
        if kind == 1:
            mode = rng.choice([MPOL.BIND, MPOL.INTERLEAVE, MPOL.PREFERRED])
            flags = rng.choice(MOVES)
            return self.tried(mbind, machine, task, addr, size, mode, self.some_nodes(), flags)
        if kind == 2:
            pages = [addr + i * PAGE for i in range(size // PAGE)]
            pages = rng.sample(pages, rng.randint(1, len(pages)))
            pages = sorted(pages) if rng.random() < 0.7 else pages
            goes = [rng.randrange(3) for _ in range(3)]
            nodes = [goes[i // rng.choice([1, 50]) % 3] for i in range(len(pages))]
            return self.tried(move_pages, machine, task, task, pages, nodes, rng.choice([2, 4]))
        if kind == 3:
            shell = machine.shell_of(0)
            name = f"c{len(machine.cpusets)}"
            create(machine, shell, name, Cpumask.parse("0-2"), self.some_nodes(), True)
            return self.tried(attach_task, machine, shell, task, name)
        return compact_memory(machine)


def pages(table: RunMap[PteRun]) -> list[tuple[int, int, int]]:
    """What a table says of each page, however its runs are cut: page, frame, flags."""
    return [
        (page, run.pfn(page) if run.lanes else -1, run.flags | run.order << 40)
        for run in table.runs
        for page in range(run.start, run.end)
    ]


def state(machine: Machine) -> Any:
    """All that calls can have changed."""
    tables = [mm.page_table for mm in machine.mms.values()]
    tables += [space.pages for space in machine.spaces.values()]
    vmas = [mm.vmas for mm in machine.mms.values()]
    zones = [zone for node in machine.nodes.values() for zone in node.zones]
    return (
        [pages(table) for table in tables],
        [node.memmap.runs for node in machine.nodes.values()],
        [node.numa for node in machine.nodes.values()],
        [(zone.free.runs, zone.pageblocks.runs) for zone in zones],
        plain([vmas, [zone.compact for zone in zones], machine.lru_batches, machine.pins]),
        machine.counters,
        machine.watch.tally,
        machine.watch.left,
    )


@pytest.mark.parametrize("seed", range(60))
def test_it_is_the_same_whether_somebody_watches_or_not(seed: int) -> None:
    alone, watched = Program(seed), Program(seed)
    for _ in range(3):
        alone.machine.watch = Watch(tally=Tally(), left=[])
        watched.machine.watch = Watch(events=[], tally=Tally(), left=[])
        assert alone.move() == watched.move()
        assert state(alone.machine) == state(watched.machine)
    check(alone.machine)
