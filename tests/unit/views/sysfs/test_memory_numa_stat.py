"""memory.numa_stat of the root cgroup."""

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.views.entries import read
from pymigrate.views.tree import tree
from tests.conftest import new_file, new_task, touched


def test_each_line_has_bytes_on_each_node(machine: Machine, task: Task) -> None:
    touched(machine, task, "8KiB", node=1)
    touched(machine, task, "16KiB", is_shared=True, space=new_file(machine, "16KiB"))
    lines = read(tree(machine), "sys/fs/cgroup/memory.numa_stat").splitlines()
    assert lines[:2] == ["anon N0=0 N1=8192", "file N0=16384 N1=0"]
    assert "shmem N0=16384 N1=0" in lines
    assert "anon_thp N0=0 N1=0" in lines


def test_huge_pages_count_as_bytes_too(machine: Machine) -> None:
    machine.thp = "always"
    touched(machine, new_task(machine), "4MiB")
    lines = read(tree(machine), "sys/fs/cgroup/memory.numa_stat").splitlines()
    assert lines[0] == "anon N0=4194304 N1=0"
    assert "anon_thp N0=4194304 N1=0" in lines
