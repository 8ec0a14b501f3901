"""Through which kernel functions the engine was called."""

from importlib import import_module

import pytest

import pymigrate
from pymigrate.cli.call import watch_of
from pymigrate.mm.state.events import Event
from pymigrate.mm.state.machine import watching
from pymigrate.mm.state.trace import STACK
from pymigrate.views.told.stack import KERNEL, format_stacks, stacks

SYSCALL = ["do_syscall_64", "entry_SYSCALL_64"]
KTHREAD = ["kthread", "ret_from_fork"]


def test_each_function_of_the_table_is_there() -> None:
    for name in KERNEL:
        module, _, rest = next(
            (head, "", tail)
            for head, tail in ((name[:i], name[i + 1 :]) for i, c in enumerate(name) if c == ".")
            if (tail[0].isupper() or tail.lstrip("_")[0].isupper() or "." not in tail)
        )
        found = import_module(f"pymigrate.{module}")
        for part in rest.split("."):
            found = getattr(found, part)
        assert callable(found), name


def chains(machine: pymigrate.Machine, call: object) -> list[list[str]]:
    """The names of the functions in each distinct stack that the call makes, outermost last."""
    events: list[object] = []
    watch = watch_of(True, False, None, False, stack=True)._replace(events=events)  # type: ignore[arg-type]
    with watching(machine._core, watch):
        call(machine)  # type: ignore[operator]
    return [[line.split()[0] for line in stack] for stack in stacks(events)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scenario", "call", "expected"),
    [
        pytest.param(
            "two-node",
            lambda m: m.migrate_pages("backup", 1, 0, uid=26),
            "migrate_to_node do_migrate_pages kernel_migrate_pages __x64_sys_migrate_pages".split()
            + SYSCALL,
            id="migrate_pages",
        ),
        pytest.param(
            "two-node",
            lambda m: m.move_pages("db", "heap+0:8KiB", 1),
            "do_move_pages_to_node move_pages_and_store_status do_pages_move kernel_move_pages"
            " __x64_sys_move_pages".split()
            + SYSCALL,
            id="move_pages",
        ),
        pytest.param(
            "two-node",
            lambda m: m.mbind("db", "heap", "bind:1", move=True),
            ["do_mbind", "kernel_mbind", "__x64_sys_mbind", *SYSCALL],
            id="mbind",
        ),
        pytest.param(
            "numa-balancing",
            lambda m: m.balance(2),
            "migrate_misplaced_folio do_numa_page handle_pte_fault __handle_mm_fault"
            " handle_mm_fault do_user_addr_fault exc_page_fault asm_exc_page_fault".split(),
            id="a hint fault",
        ),
        pytest.param(
            "fragmented-zone",
            lambda m: m.compact(0),
            "compact_zone compact_node compact_store kernfs_fop_write_iter vfs_write"
            " ksys_write".split()
            + SYSCALL,
            id="compaction",
        ),
    ],
)
def test_the_call_chain(scenario: str, call: object, expected: list[str]) -> None:
    assert chains(pymigrate.boot(scenario), call) == [["migrate_pages", *expected]]


def test_a_workers_stack_does_not_show_who_asked_for_the_work() -> None:
    machine = pymigrate.boot("two-node")
    machine.cpuset_create("far", cpus="4-7", mems="1")
    [chain] = chains(machine, lambda m: m.cpuset_attach("far", "db"))
    worker = ["cpuset_migrate_mm_workfn", "process_one_work", "worker_thread", *KTHREAD]
    assert chain == ["migrate_pages", "migrate_to_node", "do_migrate_pages", *worker]


def test_equal_stacks_are_told_once() -> None:
    event = Event(STACK, "SYNC SYSCALL mm.engine.migrate.migrate_pages none.of_its")
    assert format_stacks([event, event, event._replace(text="ASYNC DEMOTION x")]) == (
        "#0  migrate_pages (mode=MIGRATE_SYNC, reason=MR_SYSCALL) at mm/migrate.c\n(2 times)\n\n"
    )
