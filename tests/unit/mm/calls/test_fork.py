"""fork and exit: what a child shares, and what goes with a task."""

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls.gup import pin
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.mempolicy import mbind, set_mempolicy
from pymigrate.syscalls.mmap import mlock
from pymigrate.syscalls.process import exit_task, fork, sched_setaffinity, touch
from tests.conftest import (
    PAGE,
    errno_of,
    flags_at,
    hold,
    mapped,
    new_file,
    new_task,
    nodes_of,
    nodes_with,
    touched,
    two_nodes,
)
from tests.property.invariants import entries
from tests.unit.mm.conftest import loaded


def test_written_memory_is_mapped_twice_and_write_protected(machine: Machine, task: Task) -> None:
    addr, machine.now = touched(machine, task, "64KiB"), 5000
    child = fork(machine, task, "b")
    assert child.mm.numa.next_scan == 5000 + 1000
    assert frame_of(machine, 0).mapcount == 2
    assert flags_at(task, addr) == Pte.PRESENT | Pte.DIRTY | Pte.YOUNG
    assert flags_at(child, addr) == Pte.PRESENT | Pte.DIRTY
    assert machine.nodes[0].nr_free == 1024 - 16


def test_memory_that_was_never_written_is_not_copied(machine: Machine, task: Task) -> None:
    anonymous = mapped(machine, task, "16KiB")
    touch(machine, task, anonymous, 4 * PAGE, write=False)
    shared = touched(machine, task, "16KiB", is_shared=True)
    private = mapped(machine, task, "16KiB", space=new_file(machine, "16KiB"))
    touch(machine, task, private, 4 * PAGE, write=False)
    child = fork(machine, task, "b")
    for addr in (anonymous, shared, private):
        assert nodes_of(machine, child, addr, "16KiB") == [[4, -1]]
    assert child.mm.page_table.runs == []


def test_one_written_page_brings_all_entries_of_its_vma(machine: Machine, task: Task) -> None:
    addr = loaded(machine, task, "16KiB", space=new_file(machine, "16KiB"))
    touch(machine, task, addr, PAGE)
    child = fork(machine, task, "b")
    assert nodes_of(machine, child, addr, "16KiB") == [[4, 0]]


def test_zero_pages_are_copied_with_the_others(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    touch(machine, task, addr, 3 * PAGE, write=False)
    touch(machine, task, addr, PAGE)
    child = fork(machine, task, "b")
    assert flags_at(child, addr + PAGE) == Pte.PRESENT
    assert child.mm.page_table.at((addr >> 12) + 3) is None


def test_a_pinned_page_is_copied_by_the_vmas_policy(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    mbind(machine, task, addr, 4 * PAGE, 2, Nodemask.of(1), 0)
    hold(machine, task, addr + PAGE)
    child = fork(machine, task, "b")
    assert [frame_of(machine, pfn).mapcount for pfn in range(4)] == [2, 1, 2, 2]
    assert flags_at(task, addr + PAGE) & Pte.EXCLUSIVE
    assert flags_at(child, addr + PAGE) & Pte.WRITE
    assert nodes_of(machine, child, addr, "16KiB") == [[1, 0], [1, 1], [2, 0]]


def test_a_page_with_a_plain_reference_is_shared_as_usual(machine: Machine, task: Task) -> None:
    hold(machine, task, touched(machine, task, "4KiB"), pins=0)
    fork(machine, task, "b")
    assert frame_of(machine, 0).mapcount == 2


def test_policy_cursor_affinity_and_uid_are_inherited(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8KiB")
    mbind(machine, task, addr, PAGE, 2, Nodemask.of(1), 0)
    set_mempolicy(machine, task, 3, Nodemask.of(0, 1))
    sched_setaffinity(machine, task, Cpumask.of(1))
    task.il_prev = 1
    child = fork(machine, task, "b")
    assert [str(vma.policy) for vma in child.mm.vmas] == ["bind:1", "None"]
    assert (child.policy, child.il_prev, child.cpus, child.uid) == (task.policy, 1, task.cpus, 0)
    assert (child.name, child.parent, child.mm.family) == ("b", "a", task.mm.family)
    assert child.pid == task.pid + 1


def test_a_childs_anon_vmas_are_its_own_and_chained(machine: Machine, task: Task) -> None:
    touched(machine, task, "4KiB")
    child = fork(machine, task, "b")
    ours, theirs = task.mm.vmas[0], child.mm.vmas[0]
    assert (ours.anon_chained, theirs.anon_chained) == (False, True)
    assert ours.anon_vma != theirs.anon_vma


def test_halves_of_a_child_merge_again(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    child = fork(machine, task, "b")
    mbind(machine, child, addr, PAGE, 2, Nodemask.of(1), 0)
    mbind(machine, child, addr, PAGE, 0, Nodemask(), 0)
    assert len(child.mm.vmas) == 1  # both halves have the chained one


def test_locks_are_not_inherited(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "4KiB")
    mlock(machine, task, addr, PAGE)
    child = fork(machine, task, "b")
    assert task.mm.vmas[0].flags & Vm.LOCKED
    assert not child.mm.vmas[0].flags & Vm.LOCKED


def test_dontfork_memory_stays_behind(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    madvise(machine, task, addr, PAGE, Madv.DONTFORK)
    child = fork(machine, task, "b")
    assert [(vma.start << 12, vma.nr) for vma in child.mm.vmas] == [(addr + PAGE, 1)]


def test_exit_frees_what_nobody_else_maps(machine: Machine, task: Task) -> None:
    touched(machine, task, "64KiB")
    child = fork(machine, task, "b")
    touched(machine, child, "64KiB")
    exit_task(machine, child)
    assert (machine.nodes[0].nr_free, frame_of(machine, 0).mapcount) == (1024 - 16, 1)
    exit_task(machine, task)
    assert machine.nodes[0].nr_free == 1024
    assert (machine.tasks, machine.mms) == ({}, {})


def test_exit_empties_this_cpus_batch_only(machine: Machine, task: Task) -> None:
    other = new_task(machine, "b", cpu=1)
    touched(machine, task, "40KiB")
    touched(machine, other, "40KiB")
    exit_task(machine, task)
    assert list(machine.lru_batches) == [1]


def test_pinned_pages_among_others_of_a_table_are_copied(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "32KiB")
    for page in (3, 0, 6, 1, 7, 2, 5, 4):
        touch(machine, task, addr + page * PAGE, PAGE)
    for page in (2, 5):
        hold(machine, task, addr + page * PAGE)
    child = fork(machine, task, "b")
    shared = [frame_of(machine, e.lanes[0]).mapcount == 2 for e in entries(task.mm)]
    assert shared == [True, True, False, True, True, False, True, True]
    assert nodes_of(machine, child, addr, "32KiB") == [[8, 0]]


def test_a_huge_page_that_is_pinned_is_split_and_its_neighbour_is_not() -> None:
    machine = two_nodes("16MiB")
    machine.thp = "always"
    task = new_task(machine)
    addr = touched(machine, task, "4MiB")
    pin(machine, task, addr, PAGE, is_long=True)
    fork(machine, task, "b")
    assert machine.counters["thp_split_pmd"] == 1
    assert [(run.order, run.nr) for run in task.mm.page_table.runs] == [(0, 512), (9, 512)]


def test_without_memory_for_copies_there_is_no_child() -> None:
    machine = nodes_with("2MiB")
    task = new_task(machine)
    hold(machine, task, touched(machine, task, "1200KiB"), 300)
    assert errno_of(fork, machine, task, "b") == "ENOMEM"
    assert (machine.tasks, machine.mms) == ({}, {})  # the parent was killed for memory
    assert machine.nodes[0].nr_free == 512 - 300
