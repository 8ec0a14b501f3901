"""Tiny builders of machines, tasks and memory; the tests import them by name.

Hypothesis tries the same examples each time, but for the slow tests, which try others each time:
the environment's RUNS times as many as usual.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from pymigrate.errors import KernelError
from pymigrate.mm.base.memmap import Frame, FrameFlag, nid_of
from pymigrate.mm.check import problems
from pymigrate.mm.frames.frames import FrameEdits, update_frames
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.scenario.boot.build import boot, build
from pymigrate.scenario.read.loader import load
from pymigrate.scenario.record import Record
from pymigrate.scenario.spec.models import MachineSpec
from pymigrate.scenario.spec.runner import Runner
from pymigrate.syscalls.mmap import mmap
from pymigrate.syscalls.process import touch
from pymigrate.uapi import MPOL
from pymigrate.units import HPAGE_PMD_NR, PAGE_SHIFT, PAGE_SIZE, parse_size
from pymigrate.views.pages import placement
from pymigrate.views.proc import numa_maps

settings.register_profile(
    "pymigrate", deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
settings.load_profile("pymigrate")
RUNS = int(os.environ.get("RUNS", "1"))

# A task whose heap lies on its own node, and that says how it uses it.
ACCESSED = """\
machine:
  nodes:
    0: {cpus: "0-1", memory: 512MiB}
    1: {cpus: "2-3", memory: 512MiB}
tasks:
  db:
    cpus: "0"
    memory: [{as: heap, kind: heap, size: 4MiB}]
    access: [{region: heap, rate: 1000}]
"""
PAGE, HUGE, MIB = 4096, 2 << 20, 1 << 20
BASE = 0x200004000000  # where the first region of a machine is mapped


def run_scenario(path: Path, kernel: str | None = None) -> list[Record]:
    """The records of all steps of a scenario file."""
    scenario = load(path)
    return list(Runner(build(scenario, kernel)).run(scenario.steps))


def many(examples: int) -> settings:
    """What a slow test tries."""
    return settings(max_examples=examples * RUNS, derandomize=False, database=None)


def nodes_with(
    *memory: str,
    cpus: tuple[str, ...] | None = None,
    distances: tuple[tuple[int, ...], ...] | None = None,
    kernel: str = "6.12",
) -> Machine:
    """A machine with a node for each of *memory* ("0" for none); node i has CPU i, or *cpus*."""
    cpus = cpus or tuple(str(i) for i in range(len(memory)))
    nodes = {
        nid: {"cpus": mine, "memory": size}
        for nid, (mine, size) in enumerate(zip(cpus, memory, strict=True))
    }
    spec = MachineSpec.model_validate({"nodes": nodes, "distances": distances})
    return boot(spec, kernel)


def two_nodes(memory: str = "64MiB", kernel: str = "6.12") -> Machine:
    """A machine with two equal nodes."""
    return nodes_with(memory, memory, kernel=kernel)


def balancing_nodes() -> Machine:
    """Two equal nodes with NUMA balancing on."""
    machine = two_nodes("128MiB")
    machine.numa_balancing = 1
    return machine


def four_nodes(memory: str = "64MiB", kernel: str = "6.12") -> Machine:
    """A machine with four equal nodes, all equally far from each other."""
    return nodes_with(memory, memory, memory, memory, kernel=kernel)


def new_task(machine: Machine, name: str = "a", cpu: int = 0, uid: int = 0) -> Task:
    """A task that runs on *cpu* and has no memory."""
    mm = Mm(machine.new_id(), machine.new_id())
    task = Task(machine.next_pid, name, name, uid, Cpumask.of(cpu), mm, machine.memory_nodes)
    machine.next_pid += 1
    machine.add_mm(mm)
    machine.tasks[task.pid] = task
    return task


def new_file(machine: Machine, size: str, fs: str = "tmpfs", inode: int = 2) -> AddressSpace:
    """A file that is not cached."""
    space = AddressSpace(machine.new_id(), "data", fs, parse_size(size), inode)
    machine.spaces[space.space_id] = space
    return space


def mapped(machine: Machine, task: Task, size: str, prot: str = "rw", **how: Any) -> int:
    """Map *size* at the next free 2 MiB boundary, and give the address; *how* goes to mmap()."""
    start = -(-machine.next_region // HPAGE_PMD_NR) * HPAGE_PMD_NR
    length = parse_size(size)
    machine.next_region = start + (length + PAGE_SIZE - 1 >> PAGE_SHIFT) + 1
    mmap(machine, task, start << PAGE_SHIFT, length, prot, **how)
    return start << PAGE_SHIFT


def touched(machine: Machine, task: Task, size: str, node: int = 0, **how: Any) -> int:
    """Map *size* and write to all of it, with the pages on *node*; give the address."""
    addr = mapped(machine, task, size, **how)
    with placed_on(task, node):
        assert touch(machine, task, addr, parse_size(size)) is None
    return addr


@contextmanager
def placed_on(task: Task, node: int) -> Iterator[None]:
    """Let *task* allocate on *node*, and have its old policy again afterwards."""
    nodes = Nodemask.of(node)
    saved, task.policy = task.policy, Mempolicy(MPOL.PREFERRED, 0, nodes, nodes)
    yield
    task.policy = saved


def hold(machine: Machine, task: Task, addr: int, nr: int = 1, pins: int = 1) -> None:
    """Let somebody hold pages that *task* maps: by a pin each, or else (pins=0) a reference."""
    for page in range(addr >> PAGE_SHIFT, (addr >> PAGE_SHIFT) + nr):
        run = task.mm.page_table.at(page)
        assert run is not None
        pfn = run.pfn(page)
        update_frames(machine, [(pfn, 1)], lambda f: f._replace(pins=pins, extra_refs=1 - pins))


def nodes_of(machine: Machine, task: Task, addr: int, size: str) -> list[list[int]]:
    """Where the pages lie: runs of [count, node], -1 for absent ones."""
    start = addr >> PAGE_SHIFT
    return placement.runs(machine, task, start, start + (parse_size(size) >> PAGE_SHIFT))


def pfn_at(task: Task, addr: int) -> int:
    """The frame that *addr* is mapped to."""
    run = task.mm.page_table.at(addr >> PAGE_SHIFT)
    assert run is not None
    return run.pfn(addr >> PAGE_SHIFT)


def flags_at(task: Task, addr: int) -> int:
    """The flags of the entry that maps *addr*."""
    run = task.mm.page_table.at(addr >> PAGE_SHIFT)
    assert run is not None
    return run.flags


def maps(machine: Machine, task: Task) -> list[str]:
    """The lines of numa_maps, without their addresses."""
    text = numa_maps.format_rows(numa_maps.rows(machine, task))
    return [line.partition(" ")[2] for line in text.splitlines()]


def errno_of(call: Callable[..., object], *args: Any, **kwargs: Any) -> str:
    """The error that *call* fails with."""
    with pytest.raises(KernelError) as failure:
        call(*args, **kwargs)
    return failure.value.name


def check(machine: Machine) -> None:
    """Assert that *machine* is sound, run by run; tests.property.invariants looks at each page."""
    assert list(problems(machine)) == []


def kernel_page(machine: Machine, pfn: int) -> None:
    """Let a free frame be the kernel's, so that its pageblock is not wholly free."""
    zone = machine.nodes[nid_of(pfn)].zone_of(pfn)
    zone.free.put(pfn, pfn + 1)
    zone.nr_free -= 1
    edits = FrameEdits(machine)
    edits.set([(pfn, 1)], Frame(0, FrameFlag.KERNEL))
    edits.commit()
