"""Huge pages in small programs, each of which some random program once got wrong."""

from typing import Any

import pytest

from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.spec.runner import Runner
from tests.property.invariants import check

HEAD = """
machine:
  nodes: {0: {cpus: "0", memory: 64MiB}, 1: {cpus: "1", memory: 64MiB}}
  thp: always
tasks: {a: {cpus: "0", uid: 0}}
steps:
  - {op: mmap, task: a, as: r, length: 4MiB}
"""
HUGE = 2 << 20


def nodes(*steps: str, task: str = "a") -> Any:
    """Where the pages of *task* are in the end."""
    last = f"placement, task: {task}, at: r"
    scenario = load_text(HEAD + "".join(f"  - {{op: {step}}}\n" for step in (*steps, last)))
    machine = build(scenario)
    records = list(Runner(machine).run(scenario.steps))
    check(machine)
    return records[-1]["nodes"]


def test_only_locked_vmas_keep_the_zero_filled_pages_of_a_split() -> None:
    found = nodes(
        "touch, task: a, at: r, length: 4KiB",
        "mlock, task: a, at: r, offset: 8KiB, length: 8KiB",
        "madvise, task: a, at: r, offset: 1MiB, length: 4KiB, advice: cold",
    )
    assert found == [[1, 0], [1, -1], [2, 0], [1020, -1]]


def test_what_was_locked_before_it_was_copied_is_locked_no_longer() -> None:
    found = nodes(
        "touch, task: a, at: r, length: 4KiB",
        "fork, task: a, as: b",
        "mlock, task: a, at: r",
        "madvise, task: b, at: r, length: 4KiB, advice: cold",
        task="b",
    )
    assert found == [[1, 0], [1023, -1]]


def test_pages_between_copies_are_found_by_a_split() -> None:
    found = nodes(
        f"touch, task: a, at: r, length: {HUGE}, stride: 8KiB",
        "fork, task: a, as: b",
        f"touch, task: b, at: r, length: {HUGE}, stride: 8KiB",
        "fork, task: b, as: c",
        "exit, task: b",
        f"touch, task: a, at: r, length: {HUGE}, stride: 8KiB",
        "migrate_pages, task: a, target: c, from: '0', to: '1'",
    )
    assert found == [[1, 0], [1, -1]] * 255 + [[1, 0], [513, -1]]


def test_unmapping_ends_of_two_huge_pages_leaves_both_partially_mapped() -> None:
    found = nodes(
        f"touch, task: a, at: r, stride: {HUGE}",
        "madvise, task: a, at: r, offset: 1MiB, length: 2MiB, advice: dontneed",
        "migrate_pages, task: a, from: '0', to: '1'",
    )
    assert found == [[1, 1], [1023, -1]]


@pytest.mark.parametrize(("length", "node"), [("0", 1), ("4KiB", 0), ("2MiB", 1)])
def test_huge_pages_take_turns_from_where_their_vma_begins(length: str, node: int) -> None:
    found = nodes(
        f"mprotect, task: a, at: r, length: {length}, prot: none",
        "set_mempolicy, task: a, mode: interleave, nodes: '0-1'",
        "touch, task: a, at: r, offset: 2MiB, length: 4KiB",
    )
    assert found == [[512, -1], [512, node]]


def test_huge_pages_that_move_take_turns_from_where_their_vma_begins() -> None:
    found = nodes(
        "mprotect, task: a, at: r, length: 4KiB, prot: none",
        "touch, task: a, at: r, offset: 2MiB, length: 4KiB",
        "mbind, task: a, at: r, mode: interleave, mode_flags: [relative], nodes: '1-2',"
        " flags: [move]",
    )
    assert found == [[512, -1], [512, 0]]


def test_pieces_that_are_zero_are_freed_when_the_others_find_no_memory() -> None:
    found = nodes(
        "touch, task: a, at: r, offset: 8KiB, length: 4KiB",
        "cpuset_create, cpuset: c, cpus: '0', mems: '0', memory_migrate: true",
        "fork, task: a, as: b",
        "cpuset_attach, task: b, cpuset: c",
        "move_pages, task: b, target: a, at: r, length: 4KiB, nodes: 1, flags: [move_all]",
    )
    assert found == [[2, -1], [1, 0], [1021, -1]]
