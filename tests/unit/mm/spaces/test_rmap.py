"""Where the pages of an owner may be mapped."""

from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.spaces.rmap import mappings
from pymigrate.syscalls.process import fork
from tests.conftest import mapped, new_file, new_task, touched, two_nodes
from tests.unit.mm.conftest import with_task


def test_an_anonymous_page_lies_at_one_address_in_each_process_of_its_family() -> None:
    machine, task = with_task(two_nodes("4MiB"))
    page = touched(machine, task, "4KiB") >> 12
    new_task(machine, "stranger")
    child = fork(machine, task, "b")
    frame = frame_of(machine, 0)
    assert [
        (m.table, m.start, m.end, m.shift) for m in mappings(machine, frame, page, page + 1)
    ] == [(task.mm.page_table, page, page + 1, 0), (child.mm.page_table, page, page + 1, 0)]


def test_a_files_page_lies_in_the_cache_and_in_each_vma_that_covers_its_index() -> None:
    machine, task = with_task(two_nodes("4MiB"))
    file = new_file(machine, "64KiB")
    whole = touched(machine, task, "64KiB", space=file, is_shared=True) >> 12
    tail = mapped(machine, task, "32KiB", space=file, is_shared=True, offset=32768) >> 12
    mapped(machine, task, "64KiB", space=new_file(machine, "64KiB"))
    frame = frame_of(machine, 0)
    found = [tuple(m[1:]) for m in mappings(machine, frame, 4, 10)]
    assert found == [(4, 10, 0, None), (4, 10, whole, task.mm), (8, 10, tail - 8, task.mm)]
