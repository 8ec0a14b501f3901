"""/proc/PID/maps: the kernel's columns."""

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.views.proc.maps import format_rows, rows
from tests.conftest import mapped, new_file


def text(machine: Machine, task: Task) -> str:
    return format_rows(rows(machine, task))


def test_a_line_without_a_name_ends_with_a_blank(machine: Machine, task: Task) -> None:
    mapped(machine, task, "16KiB")
    assert text(machine, task) == "200004000000-200004004000 rw-p 00000000 00:00 0 \n"


def test_a_name_begins_in_column_73(machine: Machine, task: Task) -> None:
    space = new_file(machine, "64KiB", inode=7)
    mapped(machine, task, "16KiB", prot="rx", space=space, offset=4096)
    line = text(machine, task)
    assert line[:73].rstrip() == "200004000000-200004004000 r-xp 00001000 00:1a 7"
    assert line[73:] == "/data\n"


def test_a_newline_in_a_name_is_escaped(machine: Machine, task: Task) -> None:
    space = new_file(machine, "64KiB")
    space.name = "/tmp/a file\n"
    mapped(machine, task, "16KiB", space=space, is_shared=True)
    assert text(machine, task).endswith(" /tmp/a file\\012\n")


def test_shared_anonymous_memory_is_a_deleted_file(machine: Machine, task: Task) -> None:
    mapped(machine, task, "16KiB", is_shared=True)
    [row] = rows(machine, task)
    assert (row.perms, row.device, row.name) == ("rw-s", "00:01", "/dev/zero (deleted)")
    assert row.inode > 0


def test_heap_and_stack_are_named(machine: Machine, task: Task) -> None:
    heap = mapped(machine, task, "16KiB") >> 12
    stack = mapped(machine, task, "16KiB") >> 12
    task.mm.brk, task.mm.start_stack = (heap, heap + 4), stack + 3
    assert [row.name for row in rows(machine, task)] == ["[heap]", "[stack]"]
