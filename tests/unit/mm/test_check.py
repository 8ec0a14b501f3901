"""What can be wrong with a machine is found, and nothing that is right."""

from collections.abc import Callable

import pytest

from pymigrate.mm.base.memmap import Frame, FrameFlag, FrameRun
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.check import problems
from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine, add_device
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.node import HugePool, LruBatch
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.task import Pin, Task
from pymigrate.mm.state.vma import Vma
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.uapi import MPOL
from pymigrate.units import PAGE_SHIFT
from tests.conftest import BASE, new_file, touched, two_nodes
from tests.unit.mm.conftest import with_task

PAGE = BASE >> PAGE_SHIFT
ANON = Frame(2, FrameFlag.ANON)
GONE = Mempolicy(MPOL.BIND, 0, Nodemask.of(7), Nodemask.of(7))
LAST = PteRun(0, 1, (4095,))


@pytest.fixture
def machine() -> Machine:
    machine, task = with_task(two_nodes())
    touched(machine, task, "16KiB")
    touched(machine, task, "16KiB", node=1, is_shared=True)
    touched(machine, task, "16KiB", is_shared=True, space=new_file(machine, "16KiB"))
    return machine


@pytest.fixture(autouse=True)
def _is_sound_afterwards() -> None:
    """It is not."""


def task_of(machine: Machine) -> Task:
    return next(iter(machine.tasks.values()))


def test_a_sound_machine_has_no_problem(machine: Machine) -> None:
    assert list(problems(machine)) == []


def vma_of(machine: Machine) -> Vma:
    return task_of(machine).mm.vmas[0]


def file_of(machine: Machine) -> AddressSpace:
    return next(space for space in machine.spaces.values() if space.name)


def pool_of(machine: Machine) -> HugePool:
    set_nr_hugepages(machine, 2, 1)
    return machine.nodes[1].hugetlb


def change(of: Callable[[Machine], object], **fields: object) -> Callable[[Machine], None]:
    """Let something of a machine be another way."""

    def spoil(machine: Machine) -> None:
        for name, value in fields.items():
            setattr(of(machine), name, value)

    return spoil


def used(machine: Machine) -> int:
    """A frame in use."""
    return machine.nodes[0].memmap.runs[0].start


def unmap(machine: Machine) -> None:
    task_of(machine).mm.page_table.edit([(PAGE, PAGE + 1, ())])


def map_more(machine: Machine, pfn: int) -> None:
    mm = task_of(machine).mm
    mm.vmas[-1].end += 1
    at = mm.vmas[-1].end - 1
    mm.page_table.put(at, at + 1, PteRun(at, 1, (pfn,), 0, Pte.PRESENT))


def entry(flags: int) -> Callable[[Machine], None]:
    """Let the first page of a task have an entry without a frame, with *flags*."""

    def spoil(machine: Machine) -> None:
        page = vma_of(machine).start
        task_of(machine).mm.page_table.put(page, page + 1, PteRun(page, 1, (), 0, flags))

    return spoil


def lose_free(machine: Machine) -> None:
    zone = machine.nodes[1].zones[-1]
    zone.free.put(zone.end - 2, zone.end)


def own_twice(machine: Machine) -> None:
    start = used(machine)
    machine.nodes[0].zone_of(start).free.put(start, start + 1, Extent(start, 1))


def list_free(*more: Extent) -> Callable[[Machine], None]:
    """Let the first zone have other free memory, too, behind its end."""

    def spoil(machine: Machine) -> None:
        zone = machine.nodes[0].zones[0]
        zone.free = RunMap([*zone.free.runs, *more])

    return spoil


def reserve(machine: Machine) -> None:
    task_of(machine).mm.resv.put(512, 1024, Extent(512, 512))
    machine.resv_huge_pages = 1


def lose_device(machine: Machine) -> None:
    add_device(machine, "gpu", 8)
    device = machine.devices["gpu"]
    device.free.put(device.start + 6, device.start + 8)


def on_device(frame: Frame) -> Callable[[Machine], None]:
    def spoil(machine: Machine) -> None:
        add_device(machine, "gpu", 8)
        device = machine.devices["gpu"]
        device.free.put(device.start, device.start + 1)
        device.memmap.put(device.start, device.start + 1, FrameRun(device.start, 1, frame))

    return spoil


def lose_node(machine: Machine) -> None:
    del machine.nodes[1]


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (unmap, "is mapped 0 times, and 1 are counted"),
        (lambda machine: map_more(machine, used(machine)), "mapped 2 times, and 1 are counted"),
        (lambda machine: map_more(machine, 4095), "frame 0xfff is mapped, and free"),
        (lambda machine: map_more(machine, 16383), "frame 0x3fff is mapped, and free"),
        (lambda machine: machine.nodes[0].memmap.pop_front(1), "is mapped, and free"),
        (lambda machine: machine.nodes[1].zones[0].free.pop_front(2), "2 frames from 0x"),
        (lose_free, "pages are free, and "),
        (lose_free, "2 frames from 0x100003ffe are neither free nor in use"),
        (own_twice, "is owned twice"),
        (list_free(Extent(4099, 0)), "a run of no pages at 0x1003"),
        (list_free(Extent(4096, 4), Extent(4099, 1)), "two runs overlap at 0x1003"),
        (
            lambda machine: machine.nodes[0].memmap.put(16384, 16385, FrameRun(16384, 1, ANON)),
            "frame 0x4000 in use lies outside",
        ),
        (change(pool_of, nr=3), "pool has 2 pages, and 3 are counted"),
        (change(pool_of, surplus=3), "2 pages, of which 3 are surplus"),
        (change(pool_of, surplus=-1), "2 pages, of which -1 are surplus"),
        (lambda machine: pool_of(machine).free.pop_front(512), "pool lists other pages as free"),
        (change(lambda machine: machine, resv_huge_pages=1), "0 huge pages are reserved, and 1"),
        (reserve, "1 huge pages are reserved, of 0 free"),
        (on_device(ANON._replace(flags=0)), "device gpu: frame 0x"),
        (lose_device, "device gpu: 2 frames from 0x40000000006 are neither free nor in use"),
        (on_device(ANON._replace(order=9)), "holds what cannot be there"),
        (on_device(ANON._replace(pins=1)), "holds what cannot be there"),
        (change(lambda machine: machine, num_poisoned_pages=1), "0 pages are bad, and 1"),
        (entry(Pte.HWPOISON | Pte.WRITE), "is that of another, too"),
        (entry(0), "is that of nothing"),
        (lambda machine: task_of(machine).mm.vmas.pop(0), "lies in no mapping"),
        (change(vma_of, end=PAGE + 4000), "two mappings overlap at 0x"),
        (change(vma_of, pgoff=5), "the mapping at 0x200004000000 is empty, or displaced"),
        (change(vma_of, end=PAGE), "the mapping at 0x200004000000 is empty, or displaced"),
        (change(vma_of, policy=GONE), "names nodes that are not there"),
        (lambda machine: machine.spaces.clear(), "maps a file that is gone"),
        (change(file_of, size=4096), "file data: page 0 is cached beyond its end"),
        (
            lambda machine: file_of(machine).pages.put(0, 1, PteRun(0, 1, (used(machine),))),
            "is cached, and not its own",
        ),
        (change(task_of, cpuset="gone"), "its cpuset gone is gone"),
        (change(task_of, cpus=Cpumask.of(9)), "its CPUs 9 are not there"),
        (change(task_of, pid=999), "process 1000: its pid is wrong"),
        (change(task_of, mm=Mm(1, 1)), "its address space is not the machine's"),
        (lambda machine: machine.tasks.clear(), "belongs to no process"),
        (lose_node, "cannot be read: "),
        (lambda machine: machine.pins.append(Pin(9, 0, 1, True, (LAST,))), "has outlived it"),
        (lambda machine: machine.pins.append(Pin(9, 0, 1, True, (LAST,))), "0xfff is pinned, and"),
        (change(lambda machine: machine, lru_batches={1: LruBatch([4095])}), "list on CPU 1"),
    ],
)
def test_problems_are_told(machine: Machine, spoil: Callable[[Machine], None], line: str) -> None:
    spoil(machine)
    assert [found for found in problems(machine) if line in found]
