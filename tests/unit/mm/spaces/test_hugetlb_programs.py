"""hugetlb in small programs: what a random one once got wrong (section 6)."""

from typing import Any

import pytest

from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.runner import Runner
from tests.property.invariants import check

HEAD = """
machine:
  nodes: {0: {cpus: "0", memory: 64MiB}, 1: {cpus: "1", memory: 64MiB}}
  hugetlb: {0: 2}
tasks: {a: {cpus: "0", uid: 0}}
steps:
"""


def run(*steps: str) -> list[dict[str, Any]]:
    """The records of a program."""
    scenario = load_text(HEAD + "".join(f"  - {{op: {step}}}\n" for step in steps))
    machine = build(scenario)
    records = list(Runner(machine).run(scenario.steps))
    check(machine)
    return records


def test_a_page_that_its_owner_drops_is_reserved_again() -> None:
    records = run(
        "mmap, task: a, as: r, length: 4MiB, hugetlb: true, populate: true",
        "madvise, task: a, at: r, length: 2MiB, advice: dontneed",
        "mmap, task: a, as: s, length: 2MiB, hugetlb: true",
        "munmap, task: a, at: r",
        "mmap, task: a, as: t, length: 4MiB, hugetlb: true",
    )
    assert [record["errno"] for record in records] == [None, None, "ENOMEM", None, None]


@pytest.mark.parametrize("kind", ["long", "short"])
def test_a_pinned_page_outlives_its_shared_memory(kind: str) -> None:
    part = f"task: a, at: r, offset: 1MiB, length: 4KiB, kind: {kind}"
    records = run(
        "mmap, task: a, as: r, length: 2MiB, hugetlb: true, shared: true",
        f"pin, {part}",
        "munmap, task: a, at: r",
        "mmap, task: a, as: s, length: 4MiB, hugetlb: true",
        f"unpin, {part}",
        "mmap, task: a, as: t, length: 4MiB, hugetlb: true",
    )
    assert [record["errno"] for record in records] == [None] * 3 + ["ENOMEM", None, None]


def test_private_memory_that_becomes_writable_is_dirty_once_it_is_populated() -> None:
    records = run(
        "mmap, task: a, as: r, length: 2MiB, hugetlb: true, prot: r",
        "touch, task: a, at: r, length: 4KiB, write: false",
        "mprotect, task: a, at: r, prot: rw",
        "mlock, task: a, at: r",
        "numa_maps, task: a, at: r",
    )
    assert records[-1]["lines"][0]["dirty"] == 1
