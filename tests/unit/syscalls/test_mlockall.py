"""mlockall() and munlockall(): what is locked and faulted in, now and later."""

import pytest

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm
from pymigrate.syscalls.mmap import mlockall, munlockall
from pymigrate.syscalls.process import fork
from pymigrate.uapi import MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT
from tests.conftest import errno_of, mapped, nodes_of


def locked(task: Task, addr: int) -> int:
    vma = task.mm.find_vma(addr >> 12)
    assert vma is not None
    return vma.flags & Vm.LOCKED_MASK


@pytest.mark.parametrize("flags", [0, MCL_ONFAULT, 8, MCL_CURRENT | 8])
def test_flags_that_ask_for_nothing(machine: Machine, task: Task, flags: int) -> None:
    assert errno_of(mlockall, machine, task, flags) == "EINVAL"


def test_what_is_mapped_is_locked_and_there(machine: Machine, task: Task) -> None:
    addr, none = mapped(machine, task, "16KiB"), mapped(machine, task, "8KiB", prot="")
    mlockall(machine, task, MCL_CURRENT)
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 0]]
    assert nodes_of(machine, task, none, "8KiB") == [[2, -1]]
    assert (locked(task, addr), locked(task, none)) == (Vm.LOCKED, Vm.LOCKED)
    later = mapped(machine, task, "8KiB")
    assert (locked(task, later), nodes_of(machine, task, later, "8KiB")) == (0, [[2, -1]])


def test_what_will_be_mapped_is_locked_and_there(machine: Machine, task: Task) -> None:
    before = mapped(machine, task, "8KiB")
    mlockall(machine, task, MCL_FUTURE)
    assert (locked(task, before), nodes_of(machine, task, before, "8KiB")) == (0, [[2, -1]])
    addr = mapped(machine, task, "8KiB")
    assert (locked(task, addr), nodes_of(machine, task, addr, "8KiB")) == (Vm.LOCKED, [[2, 0]])


def test_pages_on_fault_wait_for_their_touch(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8KiB")
    mlockall(machine, task, MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)
    later = mapped(machine, task, "8KiB")
    for at in (addr, later):
        assert (locked(task, at), nodes_of(machine, task, at, "8KiB")) == (
            Vm.LOCKED_MASK,
            [[2, -1]],
        )


def test_unlocked_is_all(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8KiB")
    mlockall(machine, task, MCL_CURRENT | MCL_FUTURE)
    munlockall(machine, task)
    assert (locked(task, addr), locked(task, mapped(machine, task, "8KiB"))) == (0, 0)


def test_a_later_call_takes_the_place_of_an_earlier_one(machine: Machine, task: Task) -> None:
    mlockall(machine, task, MCL_FUTURE)
    mlockall(machine, task, MCL_CURRENT)
    assert locked(task, mapped(machine, task, "8KiB")) == 0


def test_a_child_has_nothing_locked(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8KiB")
    mlockall(machine, task, MCL_CURRENT | MCL_FUTURE)
    child = fork(machine, task, "b")
    assert (locked(child, addr), locked(child, mapped(machine, child, "8KiB"))) == (0, 0)
