"""By whom, for what and by which command each counter was raised."""

import pytest

from pymigrate.mm.base.ledger import Entry, Raiser
from pymigrate.mm.compact.kcompactd import proactive_compact_nodes
from pymigrate.mm.frames.page_alloc import available
from pymigrate.mm.reclaim.vmscan import wakeup_kswapd
from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.mempolicy import mbind
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.mmap import munmap
from pymigrate.syscalls.process import clone, fork, touch
from pymigrate.syscalls.reclaim import reclaim
from pymigrate.uapi import MPOL, MPOL_MF_MOVE
from pymigrate.units import PAGE_SIZE
from pymigrate.views.told.ledger import By, as_json, format_rows, shares
from tests.conftest import MIB, mapped, new_task, touched, two_nodes
from tests.unit.mm.reclaim.test_vmscan import tiers


def raised(machine: Machine, counter: str, by: By) -> dict[object, int]:
    """The shares of a counter."""
    rows = [row for row in shares(machine, by) if row.counter == counter]
    return {row.key[-1]: row.nr for row in rows}


def test_a_fault_is_its_tasks() -> None:
    machine = two_nodes()
    task = new_task(machine)
    touched(machine, task, "16KiB")
    assert raised(machine, "pgfault", "task") == {"a": 4}
    assert raised(machine, "pgfault", "reason") == {"fault": 4}


def test_a_thread_counts_as_its_process() -> None:
    machine = two_nodes()
    task = new_task(machine)
    addr = mapped(machine, task, "8KiB")
    thread = clone(machine, task, "a-thread")
    touch(machine, thread, addr, PAGE_SIZE)
    touch(machine, task, addr + PAGE_SIZE, PAGE_SIZE)
    [share] = [row for row in shares(machine, "task") if row.counter == "pgfault"]
    assert (share.key, share.nr) == ((task.pid, "a"), 2)


def test_a_migration_is_its_callers_and_has_a_reason() -> None:
    machine = two_nodes()
    task = new_task(machine)
    addr = touched(machine, task, "16KiB")
    nodes = Nodemask.of(0), Nodemask.of(1)
    migrate_pages(machine, machine.shell_of(0), task, *nodes)
    mbind(machine, task, addr, PAGE_SIZE, MPOL.BIND, Nodemask.of(0), MPOL_MF_MOVE)
    assert raised(machine, "pgmigrate_success", "task") == {"shell": 4, "a": 1}
    assert raised(machine, "pgmigrate_success", "reason") == {
        "syscall_or_cpuset": 4,
        "mempolicy_mbind": 1,
    }
    assert raised(machine, "pgalloc_dma32", "reason") == {
        "fault": 4,
        "syscall_or_cpuset": 4,
        "mempolicy_mbind": 1,
    }


def test_kswapd_demotes_for_itself() -> None:
    machine = tiers("64MiB", "64MiB")
    task = new_task(machine)
    touched(machine, task, f"{available(machine.nodes[0], to_min=False) * 4}KiB")
    wakeup_kswapd(machine, 0)
    by_task = raised(machine, "pgdemote_kswapd", "task")
    assert list(by_task) == ["kswapd0"]
    assert by_task["kswapd0"] > 0
    assert raised(machine, "pgdemote_kswapd", "reason") == {"demotion": by_task["kswapd0"]}
    assert set(raised(machine, "pgfault", "task")) == {"a"}


def test_who_asks_for_reclaim_demotes() -> None:
    machine = tiers("64MiB", "64MiB")
    touched(machine, new_task(machine), "8MiB")
    reclaim(machine, machine.shell_of(0), MIB)
    assert raised(machine, "pgdemote_direct", "task") == {"shell": 256}


@pytest.mark.parametrize("counter", ["compact_migrate_scanned", "compact_daemon_migrate_scanned"])
def test_kcompactd_compacts_for_itself(counter: str) -> None:
    machine = two_nodes("16MiB")
    task = new_task(machine)
    touched(machine, task, "12MiB")
    for page in range(0, 12 * MIB, 2 * PAGE_SIZE):
        _unmap(machine, task.pid, page)
    machine.compact_knobs = machine.compact_knobs._replace(proactiveness=100)
    proactive_compact_nodes(machine)
    assert set(raised(machine, counter, "task")) == {"kcompactd0"}
    assert set(raised(machine, counter, "reason")) == {"compaction"}


def _unmap(machine: Machine, pid: int, offset: int) -> None:
    task = machine.tasks[pid]
    munmap(machine, task, (task.mm.vmas[0].start << 12) + offset, PAGE_SIZE)


def journal(*commands: dict[str, int]) -> Machine:
    """A machine whose ledger says what each command has raised, all by the shell."""
    machine = two_nodes()
    machine.open_ledger(
        Entry(f"c{number}", {Raiser(): counts}) for number, counts in enumerate(commands, 1)
    )
    return machine


def test_what_was_before_is_left_out() -> None:
    machine = journal({"pgfree": 3}, {"pgfree": 4, "pgfault": 1}, {"pgfault": 2})
    rows = shares(machine, "command", {"pgfree": 3, "nr_free_pages": 77})
    assert [(row.counter, row.nr, row.key) for row in rows] == [
        ("pgfree", 4, (2, "c2")),
        ("pgfault", 1, (2, "c2")),
        ("pgfault", 2, (3, "c3")),
    ]


def test_the_first_part_of_what_a_command_did_may_be_before() -> None:
    machine = journal({"pgfree": 3}, {"pgfree": 4})
    assert [row.nr for row in shares(machine, "command", {"pgfree": 5})] == [2]


def test_the_rest_of_an_entry_has_its_number() -> None:
    machine = journal({"pgfree": 3})
    entries = machine.ledger.entries
    machine.open_ledger([*entries, Entry("c1", {Raiser(): {"pgfree": 2}}, continues=True)])
    assert [(row.nr, row.key) for row in shares(machine, "command")] == [(5, (1, "c1"))]


def test_counters_that_are_higher_before_are_of_another_machine() -> None:
    machine = journal({"pgfree": 3})
    with pytest.raises(ValueError, match="pgfree was 4 and is 3"):
        shares(machine, "reason", {"pgfree": 4})


def test_shares_as_text_and_as_json() -> None:
    machine = two_nodes()
    task = new_task(machine, "db")
    touched(machine, task, "8KiB")
    fork(machine, task, "child")
    migrate_pages(machine, machine.shell_of(0), task, Nodemask.of(0), Nodemask.of(1))
    rows = [row for row in shares(machine, "task") if row.counter in ("numa_hit", "pgfault")]
    assert format_rows(rows) == f"numa_hit  +2  {task.pid} db\n          +2  shell\n" + (
        f"pgfault   +2  {task.pid} db\n"
    )
    assert [as_json(row, "task") for row in rows[:2]] == [
        {"counter": "numa_hit", "pid": task.pid, "task": "db", "nr": 2},
        {"counter": "numa_hit", "pid": None, "task": "shell", "nr": 2},
    ]
    assert format_rows([]) == ""
