"""When a huge page that is unmapped entry by entry waits to be split, as kernels have answered."""

import pytest

from pymigrate.mm.base.release import Kernel
from tests.unit.mm.counting import MIGRATE, counted

BY_ENTRIES = [
    "mmap 4MiB",
    "touch",
    "mprotect, task: a, at: r, length: 4KiB, prot: r",
    "mprotect, task: a, at: r, length: 4KiB, prot: rw",
]
BACK = MIGRATE.replace("from: '0', to: '1'", "from: '1', to: '0'")


@pytest.mark.parametrize(
    ("kernel", "steps", "deferred", "split"),
    [
        ("6.1", ["munmap"], 1, 0),
        ("6.12", ["munmap"], 0, 0),
        ("6.1", [MIGRATE], 1, 0),
        ("6.12", [MIGRATE], 2, 0),
        ("6.1", [MIGRATE, BACK], 2, 0),
        ("6.12", [MIGRATE, BACK], 2, 1),
        ("6.1", [MIGRATE, BACK, "munmap"], 3, 0),
    ],
)
def test_a_huge_page_waits_to_be_split(
    kernel: Kernel, steps: list[str], deferred: int, split: int
) -> None:
    names = ["thp_deferred_split_page", "thp_split_page"]
    found = counted(kernel, [*BY_ENTRIES, *steps], names)
    assert [found.get(name, 0) for name in names] == [deferred, split]
