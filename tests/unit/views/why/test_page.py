"""What is told of one page."""

from typing import Any

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.calls import ksm
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.gup import pin
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.mmap import mlock
from pymigrate.syscalls.process import fork
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.why import page
from tests.conftest import PAGE, mapped, new_file, touched


def row_at(machine: Machine, task: Task, addr: int) -> page.PageRow:
    return page.row(machine, task, addr >> PAGE_SHIFT)


def text_at(machine: Machine, task: Task, addr: int) -> dict[str, str]:
    lines = page.format_row(row_at(machine, task, addr)).splitlines()
    width = max(len(name) for name in ("mapped by", "moved as root")) + 1
    return {line[:width].strip(): line[width:].strip() for line in lines}


def test_anonymous_page(machine: Machine, task: Task) -> None:
    found = row_at(machine, task, touched(machine, task, "256KiB"))
    assert (found.node, found.order, found.offset) == (0, 0, 0)
    assert found.flags == ("uptodate", "lru", "swapbacked")
    assert found.lru == "anon list of node 0"
    assert found.references == ((1, "mapping"),)
    assert [(m.pid, m.bits) for m in found.mappers] == [
        (task.pid, ("present", "write", "dirty", "young", "exclusive"))
    ]
    assert dict(found.outlook)["moved as root"] == "yes"


def test_page_that_waits_for_its_list(machine: Machine, task: Task) -> None:
    found = row_at(machine, task, touched(machine, task, "4KiB"))
    assert "lru" not in found.flags
    assert "active" in found.flags
    assert found.lru == f"waits on CPU {task.cpu} for its list"
    assert found.references == ((1, "mapping"), (1, "batch of a CPU"))


def test_pinned_and_locked_page_is_a_sum(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "256KiB")
    mlock(machine, task, addr, PAGE)
    pin(machine, task, addr, PAGE, True)
    text = page.format_row(row_at(machine, task, addr))
    assert "refcount" in text
    assert "1025 = 1 mapping + 1024 (1 pin of 1024)" in text
    assert "unevictable swapbacked mlocked" in text
    assert "no: pinned" in text
    assert "no: it is mlocked" in text


def test_huge_page_has_a_head_and_tails(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    addr = touched(machine, task, "2MiB")
    head, tail = (row_at(machine, task, addr + n * PAGE) for n in (0, 5))
    assert (head.order, head.offset, tail.order, tail.offset) == (9, 0, 9, 5)
    assert "head" in head.flags
    assert "tail" in tail.flags
    assert tail.mappers[0].is_huge


def test_all_that_map_it_are_named(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "256KiB")
    child = fork(machine, task, "child")
    found = row_at(machine, task, addr)
    assert [mapper.pid for mapper in found.mappers] == [task.pid, child.pid]
    assert found.references[0] == (2, "mappings")


def test_merged_page_says_so(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    madvise(machine, task, addr, 4 * PAGE, Madv.MERGEABLE)
    ksm.scan(machine)
    found = row_at(machine, task, addr)
    assert found.mapping.endswith("| 3 (KSM)")
    assert len(found.mappers) == 4


@pytest.mark.parametrize(
    ("how", "mapping", "reclaimed"),
    [
        ({"is_shared": True}, "shared memory (shm) | 0, index 0x0", "no: there is no swap"),
        ({"file": "ext4"}, "(ext4) | 0, index 0x0", "no: it is dirty"),
    ],
)
def test_page_of_a_file(
    machine: Machine, task: Task, how: dict[str, Any], mapping: str, reclaimed: str
) -> None:
    if "file" in how:
        how = {"is_shared": True, "space": new_file(machine, "1MiB", how["file"])}
    found = row_at(machine, task, touched(machine, task, "128KiB", **how))
    assert found.mapping.endswith(mapping)
    assert dict(found.outlook)["reclaimed"] == reclaimed
    assert (1, "page cache") in found.references


def test_what_has_no_frame_says_why(machine: Machine, task: Task) -> None:
    found = row_at(machine, task, mapped(machine, task, "4KiB"))
    assert found.pfn is None
    assert found.entry.startswith("none:")
    assert "pfn" not in text_at(machine, task, mapped(machine, task, "4KiB"))
