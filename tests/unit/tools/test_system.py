"""A program's process on the machine: whose child it is, what it maps, what stays of it."""

import pytest

from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls.mempolicy import set_mempolicy
from pymigrate.tools import programs
from pymigrate.tools.program import Exit, Policy, Region
from pymigrate.tools.system import MMAP_TOP, System, end, name_region
from pymigrate.uapi import MPOL
from tests.conftest import errno_of, maps, new_task, touched, two_nodes


@pytest.fixture
def machine() -> Machine:
    return two_nodes()


def test_shells_child_may_use_all(machine: Machine) -> None:
    system = System(machine, machine.shell_of(0))
    assert (system.task.cpus, system.libnuma.allowed) == (Cpumask.of(0, 1), Nodemask.of(0, 1))
    assert not machine.tasks


def test_child_of_a_task_inherits_policy_cpus_and_user(machine: Machine) -> None:
    parent = new_task(machine, cpu=1, uid=26)
    set_mempolicy(machine, parent, MPOL.BIND, Nodemask.of(1))
    system = System(machine, parent)
    assert system.get_mempolicy() == Policy(MPOL.BIND, Nodemask.of(1))
    assert (system.task.cpus, system.task.uid) == (Cpumask.of(1), 26)
    system.sched_setaffinity(Cpumask.of(0))
    assert parent.cpus == Cpumask.of(1)


def test_process_appears_when_it_maps_memory_and_goes_with_it(machine: Machine) -> None:
    free = [node.nr_free for node in machine.nodes.values()]
    system = System(machine, machine.shell_of(0))
    region = system.mmap(1 << 20)
    assert region == Region(MMAP_TOP - (1 << 20), 1 << 20)
    assert system.touch(region) is None
    assert list(machine.tasks) == [1000]
    system.finish()
    assert not machine.tasks
    assert not machine.mms
    assert [node.nr_free for node in machine.nodes.values()] == free


def test_regions_of_others_are_mapped_where_they_would_be(machine: Machine) -> None:
    before = machine.next_region
    system = System(machine, machine.shell_of(0))
    system.mmap(1 << 20)
    assert machine.next_region == before


@pytest.mark.parametrize(("wanted", "pid"), [(77, 77), (1000, 1001), (None, 1001)])
def test_pid_is_the_wanted_one_if_it_is_free(
    machine: Machine, wanted: int | None, pid: int
) -> None:
    new_task(machine)
    assert System(machine, machine.shell_of(0), pid=wanted).start("x").pid == pid


@pytest.mark.parametrize(
    ("comm", "name"), [("sleep", "sleep"), ("a", "a-2"), ("7z", "_7z"), ("x.py", "x_py")]
)
def test_name_is_one_that_no_other_task_has(machine: Machine, comm: str, name: str) -> None:
    new_task(machine, "a")
    task = System(machine, machine.shell_of(0)).start(comm)
    assert (task.name, task.comm) == (name, comm)


def test_aliases_are_pids_of_what_they_stand_for(machine: Machine) -> None:
    task = new_task(machine)
    touched(machine, task, "64KiB")
    system = System(machine, machine.shell_of(0), aliases={4: task.pid})
    process = system.find(4)
    assert process is not None
    assert process.pid == task.pid
    assert system.numa_maps(4) == system.numa_maps(task.pid)
    system.migrate_pages(4, Nodemask.of(0), Nodemask.of(1))
    assert maps(machine, task)[0].endswith("N1=16 kernelpagesize_kB=4")


def test_pid_0_is_the_program_itself(machine: Machine) -> None:
    task = new_task(machine)
    touched(machine, task, "64KiB")
    argv = ["migratepages", "0", "0", "1"]
    assert programs.run(argv, System(machine, task)) == Exit(0)
    assert machine.counters["pgmigrate_success"] == 0


def test_end_of_a_command_takes_its_names_along(machine: Machine) -> None:
    system = System(machine, machine.shell_of(0))
    task = system.start("job")
    name_region(machine, task, "data", system.mmap(1 << 20))
    assert ("job", "data") in machine.regions
    end(machine, task.pid)
    end(machine, task.pid)  # it may have been killed meanwhile
    assert not machine.regions


@pytest.mark.parametrize(("length", "errno"), [(0, "EINVAL"), (1 << 30, "ENOMEM")])
def test_mmap_refuses(machine: Machine, length: int, errno: str) -> None:
    assert errno_of(System(machine, machine.shell_of(0)).mmap, length) == errno


def test_program_that_becomes_another_passes_its_policy_on(machine: Machine) -> None:
    system = System(machine, machine.shell_of(0))
    argv = ["numactl", "-m", "1", "-C", "1", "numactl", "-t", "memhog", "1m"]
    warning = "numactl: warning. Strict flag for process ignored.\n"
    assert programs.run(argv, system) == Exit(0, ".\n", warning)
    assert machine.nodes[1].numa["numa_local"] == 256


def test_children_know_their_parents(machine: Machine) -> None:
    parent = new_task(machine, "p")
    child = System(machine, parent).start("c")
    process = System(machine, machine.shell_of(0)).find(child.pid)
    assert process is not None
    assert process.ppid == parent.pid
