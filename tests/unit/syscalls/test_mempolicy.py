"""set_mempolicy, get_mempolicy, mbind and set_mempolicy_home_node: arguments and answers."""

import pytest

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.mempolicy import (
    PolicyAnswer,
    get_mempolicy,
    mbind,
    set_mempolicy,
    set_mempolicy_home_node,
)
from pymigrate.syscalls.process import touch
from tests.conftest import BASE, PAGE, errno_of, mapped, new_file, new_task, nodes_with, touched
from tests.unit.syscalls.conftest import outcome

TOP = 1 << 64
DEFAULT, PREFERRED, BIND, INTERLEAVE, LOCAL, MANY, WEIGHTED = range(7)
STATIC, RELATIVE, BALANCING = 0x8000, 0x4000, 0x2000
NODE, ADDR, MEMS_ALLOWED = 1, 2, 4
N = Nodemask.of


# set_mempolicy


def test_the_policy_is_replaced_and_default_removes_it(machine: Machine, task: Task) -> None:
    set_mempolicy(machine, task, BIND, N(1))
    assert str(task.policy) == "bind:1"
    set_mempolicy(machine, task, DEFAULT, N())
    assert task.policy is None


@pytest.mark.parametrize(
    ("mode", "prev"), [(INTERLEAVE, -1), (WEIGHTED, -1), (BIND, 1), (DEFAULT, 1)]
)
def test_interleaving_modes_reset_the_cursor(
    machine: Machine, task: Task, mode: int, prev: int
) -> None:
    task.il_prev = 1
    set_mempolicy(machine, task, mode, N(0, 1) if mode else N())
    assert task.il_prev == prev


@pytest.mark.parametrize(
    ("mode", "nodes"),
    [
        (7, N(0)),
        (BIND, N()),
        (BIND, N(7)),
        (DEFAULT, N(0)),
        (LOCAL, N(0)),
        (INTERLEAVE | BALANCING, N(0)),
    ],
)
def test_a_refused_policy_leaves_the_old_one(
    machine: Machine, task: Task, mode: int, nodes: Nodemask
) -> None:
    set_mempolicy(machine, task, PREFERRED, N(1))
    assert errno_of(set_mempolicy, machine, task, mode, nodes) == "EINVAL"
    assert str(task.policy) == "prefer:1"


def test_a_node_without_memory_is_dropped() -> None:
    machine = nodes_with("4MiB", "0")
    task = new_task(machine)
    set_mempolicy(machine, task, BIND, N(0, 1))
    assert str(task.policy) == "bind:0"
    assert errno_of(set_mempolicy, machine, task, BIND, N(1)) == "EINVAL"


# get_mempolicy


@pytest.mark.parametrize(
    ("flags", "addr", "errno"),
    [
        pytest.param(8, 0, "EINVAL", id="unknown flag"),
        pytest.param(MEMS_ALLOWED | NODE, 0, "EINVAL", id="mems_allowed with node"),
        pytest.param(MEMS_ALLOWED | ADDR, BASE, "EINVAL", id="mems_allowed with addr"),
        pytest.param(ADDR, 0x1000, "EFAULT", id="nothing mapped"),
        pytest.param(0, BASE, "EINVAL", id="an address without addr"),
        pytest.param(NODE, 0, "EINVAL", id="node of a policy that does not interleave"),
    ],
)
def test_what_get_mempolicy_refuses(
    machine: Machine, task: Task, flags: int, addr: int, errno: str
) -> None:
    mapped(machine, task, "4KiB")
    set_mempolicy(machine, task, BIND, N(1))
    assert errno_of(get_mempolicy, machine, task, addr, flags) == errno


def test_node_without_a_policy_is_einval(machine: Machine, task: Task) -> None:
    assert errno_of(get_mempolicy, machine, task, 0, NODE) == "EINVAL"


@pytest.mark.parametrize(
    ("mode", "nodes", "answer"),
    [
        pytest.param(DEFAULT, N(), (0, 0, N()), id="default"),
        pytest.param(BIND, N(1, 7), (BIND, 0, N(1)), id="plain: those in effect"),
        pytest.param(BIND | STATIC, N(1, 7), (BIND, STATIC, N(1, 7)), id="static: those asked for"),
        pytest.param(PREFERRED, N(), (LOCAL, 0, N()), id="preferred of none is local"),
        pytest.param(PREFERRED, N(0, 1), (PREFERRED, 0, N(0)), id="preferred keeps one"),
    ],
)
def test_the_tasks_policy(
    machine: Machine, task: Task, mode: int, nodes: Nodemask, answer: tuple[int, int, Nodemask]
) -> None:
    set_mempolicy(machine, task, mode, nodes)
    assert get_mempolicy(machine, task, 0, 0) == (*answer, None)


def test_mems_allowed(machine: Machine, task: Task) -> None:
    task.mems_allowed = N(1)
    assert get_mempolicy(machine, task, 0, MEMS_ALLOWED).nodes == N(1)
    assert get_mempolicy(machine, task, BASE, MEMS_ALLOWED).mode == DEFAULT


@pytest.mark.parametrize(
    ("mode", "prev", "left", "node"),
    [
        (INTERLEAVE, -1, 0, 0),
        (INTERLEAVE, 0, 0, 1),
        (INTERLEAVE, 1, 0, 0),
        (WEIGHTED, 0, 2, 0),
        (WEIGHTED, 0, 0, 1),
    ],
)
def test_node_is_where_the_cursor_points(
    machine: Machine, task: Task, mode: int, prev: int, left: int, node: int
) -> None:
    set_mempolicy(machine, task, mode, N(0, 1))
    task.il_prev, task.il_weight = prev, left
    assert get_mempolicy(machine, task, 0, NODE).node == node
    assert (task.il_prev, task.il_weight) == (prev, left)


def test_an_addresss_policy_is_the_vmas_without_fallback(machine: Machine, task: Task) -> None:
    set_mempolicy(machine, task, INTERLEAVE, N(0, 1))
    addr = mapped(machine, task, "8KiB")
    mbind(machine, task, addr, PAGE, BIND, N(1), 0)
    assert get_mempolicy(machine, task, addr + 5, ADDR) == (BIND, 0, N(1), None)
    assert get_mempolicy(machine, task, addr + PAGE, ADDR) == (DEFAULT, 0, N(), None)


def test_an_address_of_shared_memory_has_the_objects_policy(machine: Machine, task: Task) -> None:
    file = new_file(machine, "16KiB")
    addr = mapped(machine, task, "16KiB", space=file, is_shared=True)
    mbind(machine, task, addr + PAGE, PAGE, BIND, N(1), 0)
    other = mapped(machine, task, "16KiB", space=file, is_shared=True)
    assert get_mempolicy(machine, task, other + PAGE, ADDR).nodes == N(1)
    assert get_mempolicy(machine, task, other, ADDR).mode == DEFAULT


def test_node_of_an_address_is_where_its_page_lies(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB", node=1)
    assert get_mempolicy(machine, task, addr, NODE | ADDR) == (DEFAULT, 0, N(), 1)


def test_node_of_an_untouched_address_maps_the_zero_page(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8KiB")
    answer = get_mempolicy(machine, task, addr, NODE | ADDR)
    assert isinstance(answer, PolicyAnswer)
    assert [(run.nr, run.lanes) for run in task.mm.page_table.runs] == [(1, ())]


def test_node_of_an_untouched_file_address_allocates(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8KiB", space=new_file(machine, "4KiB"), is_shared=True)
    mbind(machine, task, addr, PAGE, BIND, N(1), 0)
    assert get_mempolicy(machine, task, addr, NODE | ADDR).node == 1
    assert errno_of(get_mempolicy, machine, task, addr + PAGE, NODE | ADDR) == "EFAULT"


def test_node_of_inaccessible_memory_is_efault(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "4KiB", "none")
    assert errno_of(get_mempolicy, machine, task, addr, NODE | ADDR) == "EFAULT"


# mbind: the order of checks; what it does is in tests/unit/mm/calls/test_mbind.py


@pytest.mark.parametrize(
    ("addr", "length", "mode", "nodes", "flags", "uid", "answer"),
    [
        pytest.param(1, PAGE, 9, N(1), 8, 1000, "EINVAL", id="mode first"),
        pytest.param(1, PAGE, BIND, N(1), 8, 1000, "EINVAL", id="flags"),
        pytest.param(1, PAGE, BIND, N(1), 4, 1000, "EPERM", id="move_all before the address"),
        pytest.param(1, PAGE, BIND, N(1), 0, 1000, "EINVAL", id="address"),
        pytest.param(TOP - PAGE, 2 * PAGE, BIND, N(1), 0, 0, "EINVAL", id="wraps"),
        pytest.param(BASE, 0, BIND, N(), 0, 0, None, id="length 0 before the mask"),
        pytest.param(BASE, TOP - 1, BIND, N(), 0, 0, None, id="length that rounds to 0"),
        pytest.param(BASE, PAGE, BIND, N(), 0, 0, "EINVAL", id="empty mask"),
        pytest.param(BASE, PAGE, BIND, N(7), 0, 0, "EINVAL", id="no node left"),
        pytest.param(BASE, PAGE, DEFAULT, N(1), 0, 0, "EINVAL", id="default with nodes"),
        pytest.param(0x1000, PAGE, BIND, N(7), 0, 0, "EINVAL", id="nodes before holes"),
        pytest.param(0x1000, PAGE, BIND, N(1), 0, 0, "EFAULT", id="hole"),
        pytest.param(BASE, PAGE, BIND, N(1), 4, 0, None, id="root may move all"),
        pytest.param(BASE, PAGE, DEFAULT, N(), 1, 0, None, id="default drops strict"),
    ],
)
def test_the_order_of_mbinds_checks(
    machine: Machine,
    addr: int,
    length: int,
    mode: int,
    nodes: Nodemask,
    flags: int,
    uid: int,
    answer: str | None,
) -> None:
    task = new_task(machine, uid=uid)
    mapped(machine, task, "16KiB")
    assert outcome(mbind, machine, task, addr, length, mode, nodes, flags) == answer


# set_mempolicy_home_node


@pytest.mark.parametrize(
    ("addr", "length", "node", "flags"),
    [
        pytest.param(BASE + 1, PAGE, 0, 0, id="address"),
        pytest.param(BASE, PAGE, 0, 1, id="flags"),
        pytest.param(BASE, PAGE, 7, 0, id="no such node"),
        pytest.param(BASE, PAGE, -1, 0, id="negative"),
        pytest.param(BASE, PAGE, 1024, 0, id="beyond all"),
        pytest.param(TOP - PAGE, 2 * PAGE, 0, 0, id="wraps"),
    ],
)
def test_what_set_mempolicy_home_node_refuses(
    machine: Machine, task: Task, addr: int, length: int, node: int, flags: int
) -> None:
    mapped(machine, task, "16KiB")
    mbind(machine, task, BASE, 4 * PAGE, BIND, N(1), 0)
    assert errno_of(set_mempolicy_home_node, machine, task, addr, length, node, flags) == "EINVAL"


def test_a_home_node_of_nothing_is_fine(machine: Machine, task: Task) -> None:
    set_mempolicy_home_node(machine, task, BASE, 0, 1)


def test_a_home_node_needs_a_policy_of_the_memory(machine: Machine, task: Task) -> None:
    set_mempolicy(machine, task, BIND, N(1))
    addr = mapped(machine, task, "16KiB")
    assert errno_of(set_mempolicy_home_node, machine, task, addr, 4 * PAGE, 1) == "ENOENT"
    assert errno_of(set_mempolicy_home_node, machine, task, 0x1000, PAGE, 1) == "ENOENT"


def test_other_modes_have_no_home_node_and_those_before_are_changed(
    machine: Machine, task: Task
) -> None:
    addr = mapped(machine, task, "16KiB")
    mbind(machine, task, addr, PAGE, BIND, N(0, 1), 0)
    mbind(machine, task, addr + 2 * PAGE, PAGE, INTERLEAVE, N(0, 1), 0)
    mbind(machine, task, addr + 3 * PAGE, PAGE, MANY, N(0, 1), 0)
    answer = errno_of(set_mempolicy_home_node, machine, task, addr, 4 * PAGE, 1)
    assert answer == "EOPNOTSUPP"
    homes = [vma.policy.home_node if vma.policy else None for vma in task.mm.vmas]
    assert homes == [1, None, -1, -1]


def test_pages_are_taken_from_the_home_node_first(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    mbind(machine, task, addr, 4 * PAGE, BIND, N(0, 1), 0)
    set_mempolicy_home_node(machine, task, addr + PAGE, PAGE, 1)
    touch(machine, task, addr, 4 * PAGE)
    assert [vma.nr for vma in task.mm.vmas] == [1, 1, 2]
    assert [run.nr for run in machine.nodes[1].memmap.runs] == [1]


def test_a_cpu_only_node_can_be_a_home() -> None:
    machine = nodes_with("4MiB", "0")
    task = new_task(machine)
    addr = mapped(machine, task, "4KiB")
    mbind(machine, task, addr, PAGE, BIND, N(0), 0)
    set_mempolicy_home_node(machine, task, addr, PAGE, 1)
    touch(machine, task, addr, PAGE)
    assert machine.nodes[0].nr_free == 1023
