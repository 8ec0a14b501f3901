"""What of a range of frames is found, to be moved out of it."""

import pytest

from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.base.pageblock import MigrateType
from pymigrate.mm.calls import ksm
from pymigrate.mm.frames.buddy import set_pageblocks
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.offline.page_isolation import (
    has_unmovable_pages,
    isolate_range,
    isolated_page_range,
    isolated_range,
)
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.syscalls.gup import pin
from pymigrate.syscalls.madvise import Madv, madvise
from pymigrate.syscalls.mempolicy import set_mempolicy
from pymigrate.syscalls.mmap import munmap
from pymigrate.syscalls.process import touch
from pymigrate.uapi import MPOL
from tests.conftest import PAGE, kernel_page, mapped, new_file, pfn_at, touched
from tests.unit.mm.conftest import huge

ALL = (0, 16384)  # the frames of node 0


def found(machine: Machine, a: int = 0, b: int = 16384) -> list[tuple[int, int, int]]:
    """First frame, pages and order of what is in a range, as it is queued."""
    queue = isolate_range(machine, a, b).queue
    return [(part.run.lanes[part.picked[0]], part.nr, part.run.order) for part in queue]


def test_runs_are_found_from_the_highest_frame_down(machine: Machine, task: Task) -> None:
    one = pfn_at(task, touched(machine, task, "16KiB"))
    file = new_file(machine, "8KiB")
    other = pfn_at(task, touched(machine, task, "8KiB", space=file, is_shared=True))
    assert found(machine) == sorted([(one, 4, 0), (other, 2, 0)], reverse=True)
    assert found(machine, one + 1, one + 3) == [(one + 1, 2, 0)]


def test_each_page_is_apart_where_somebody_watches(machine: Machine, task: Task) -> None:
    pfn = pfn_at(task, touched(machine, task, "16KiB"))
    machine.watch = machine.watch._replace(events=[])
    assert found(machine) == [(pfn + i, 1, 0) for i in (3, 2, 1, 0)]


def test_interleaved_pages_are_found_on_their_node_alone(machine: Machine, task: Task) -> None:
    set_mempolicy(machine, task, MPOL.INTERLEAVE, Nodemask.of(0, 1))
    addr = mapped(machine, task, "32KiB")
    touch(machine, task, addr, 8 * PAGE)
    pfn = min(pfn_at(task, addr), pfn_at(task, addr + PAGE))
    assert found(machine) == [(pfn, 4, 0)]
    assert found(machine, pfn + 2, pfn + 3) == [(pfn + 2, 1, 0)]


def test_huge_pages_are_found_whole(machine: Machine, task: Task) -> None:
    addr = huge(machine, task)
    pfn = pfn_at(task, addr)
    assert found(machine) == [(pfn, 512, 9)]
    munmap(machine, task, addr, 100 * PAGE)
    assert found(machine) == [(pfn, 512, 9)]
    [part] = isolate_range(machine, pfn, pfn + 512).queue
    assert part.run.start == addr // PAGE


def test_merged_pages_and_what_is_only_held_are_found(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "12KiB")
    madvise(machine, task, addr, 3 * PAGE, Madv.MERGEABLE)
    ksm.scan(machine)
    other = touched(machine, task, "8KiB")
    held = [(pfn_at(task, other + i * PAGE), 1, 0) for i in range(2)]
    pin(machine, task, other, 2 * PAGE, is_long=True)
    munmap(machine, task, other, 2 * PAGE)
    merged = (pfn_at(task, addr), 1, 0)
    assert sorted(found(machine)) == sorted([merged, *held])


def test_pages_of_drivers_are_isolated_and_put_back() -> None:
    text = """
machine: {nodes: {0: {cpus: "0", memory: 64MiB}}}
drivers: {d: {node: 0, pages: 4, kind: zsmalloc}, keeps: {node: 0, pages: 2, kind: scripted,
    isolate: [false]}}
"""
    machine = build(load_text(text))
    driver = machine.drivers["d"]
    with isolated_range(machine, *ALL) as taken:
        assert [pfn for part in taken.queue for pfn in part.run.lanes] == sorted(driver.pages)[::-1]
        assert all(frame_of(machine, pfn).flags & FrameFlag.ISOLATED for pfn in driver.pages)
    assert not any(frame_of(machine, pfn).flags & FrameFlag.ISOLATED for pfn in driver.pages)


@pytest.mark.parametrize("nr", [1, 2])
def test_the_kernels_own_memory_cannot_move(machine: Machine, nr: int) -> None:
    for pfn in range(nr):
        kernel_page(machine, pfn)
    text = f"the kernel's own memory ({nr} page{'s' * (nr > 1)})"
    assert has_unmovable_pages(machine, 0, 512) == text
    assert has_unmovable_pages(machine, 512, 1024) == ""


def test_memory_of_cma_is_not_taken(machine: Machine) -> None:
    set_pageblocks(machine.nodes[0].zones[0], 512, 1024, migratetype=MigrateType.CMA)
    assert has_unmovable_pages(machine, 0, 1024) == "a part of it is kept for CMA"
    assert has_unmovable_pages(machine, 0, 512) == ""


def test_nobody_allocates_of_what_is_isolated(machine: Machine, task: Task) -> None:
    free = machine.nodes[0].nr_free
    with isolated_page_range(machine, 0, 4096) as isolated:
        assert (isolated.nr_free, machine.nodes[0].nr_free) == (4096, free - 4096)
        touched(machine, task, "40MiB")
        assert machine.nodes[0].memmap.between(0, 4096) == []
    assert machine.nodes[0].nr_free == free - 10240
