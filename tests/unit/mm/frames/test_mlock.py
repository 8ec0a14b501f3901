"""What is counted of pages on their way to and from the LRU lists, as kernels have answered."""

from collections.abc import Sequence

import pytest

from pymigrate.mm.base.release import Kernel
from tests.unit.mm.counting import MIGRATE, counted

# What unevictable_pgs_* have become once the steps are done.
BASE = {"mlocked": 200, "culled": 200, "stranded": 100, "rescued": 100}
THP = {"mlocked": 1024, "culled": 1024, "stranded": 1024, "rescued": 1024}
KEPT_THP = {"mlocked": 2048, "culled": 2048, "stranded": 1024, "rescued": 1024}
SPLIT = ["mmap 4MiB", "mlock", "mprotect, task: a, at: r, length: 4KiB, prot: r"]
NO_MORE = {"munlocked": 512, "rescued": 512}


_UNEVICTABLE = "culled rescued mlocked munlocked cleared stranded".split()
NAMES = [*(f"unevictable_pgs_{name}" for name in _UNEVICTABLE)]
NAMES += ["pgactivate", "pgdeactivate", "pglazyfree"]


def lru_counts(kernel: Kernel, steps: Sequence[str]) -> dict[str, int]:
    """What is counted of the LRU lists; unevictable_pgs_* by what follows."""
    found = counted(kernel, steps, NAMES)
    return {name.removeprefix("unevictable_pgs_"): nr for name, nr in found.items()}


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "7.2"])
@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["mmap 400KiB", "mlock"], {"mlocked": 100, "culled": 100}),
        (["mmap 400KiB", "touch", "mlock"], {"mlocked": 100, "culled": 100}),
        (["mmap 400KiB", "touch", "mlock", MIGRATE], BASE),
        (["mmap 400KiB, shared: true", "touch", "mlock", MIGRATE], BASE),
        (
            ["mmap 400KiB", "mlock", "munlock, task: a, at: r, length: 40KiB"],
            {"mlocked": 100, "culled": 100, "munlocked": 10, "rescued": 10},
        ),
        (["mmap 4MiB", "touch", "mlock"], {"mlocked": 1024, "culled": 1024}),
    ],
)
def test_mlocked_pages_come_and_go(
    kernel: Kernel, steps: list[str], expected: dict[str, int]
) -> None:
    assert lru_counts(kernel, steps) == expected


@pytest.mark.parametrize(
    ("kernel", "steps", "expected"),
    [
        ("6.12", ["mmap 4MiB", "mlock", MIGRATE], THP),
        ("6.12", ["mmap 4MiB", "mlock", MIGRATE, "munlock", "munmap"], THP),
        ("6.1", ["mmap 4MiB", "mlock", MIGRATE], KEPT_THP),
        ("7.2", ["mmap 4MiB", "mlock", MIGRATE], KEPT_THP),
        ("6.12", SPLIT, {"mlocked": 1024, "culled": 1024} | NO_MORE),
        ("6.1", SPLIT, {"mlocked": 1024, "culled": 1024} | NO_MORE),
        ("7.2", SPLIT, {"mlocked": 1024, "culled": 1024}),
        (
            "7.2",
            [*SPLIT, MIGRATE],
            {"mlocked": 1536, "culled": 1536, "stranded": 1024, "rescued": 1024},
        ),
    ],
)
def test_huge_pages_lose_it_or_keep_it(
    kernel: Kernel, steps: list[str], expected: dict[str, int]
) -> None:
    assert lru_counts(kernel, steps) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("400KiB", {"mlocked": 203, "culled": 197, "stranded": 103, "rescued": 97}),
        ("2MiB", {"mlocked": 512, "culled": 512, "stranded": 512, "rescued": 512}),
    ],
)
def test_what_stays_is_mapped_again(size: str, expected: dict[str, int]) -> None:
    pin = "pin, task: a, at: r, length: 12KiB, kind: short"
    assert lru_counts("6.12", [f"mmap {size}", "mlock", pin, MIGRATE]) == expected


@pytest.mark.parametrize(
    ("kernel", "steps", "expected"),
    [
        ("6.12", ["mmap 2MiB, align: 2MiB", "advise cold"], {"pgdeactivate": 512}),
        ("6.12", ["mmap 400KiB", "advise cold"], {"pgdeactivate": 93}),
        ("6.12", ["mmap 400KiB", "advise cold", "advise cold"], {"pgdeactivate": 193}),
        ("6.1", ["mmap 400KiB", "advise cold"], {}),
        ("6.12", ["mmap 400KiB", "advise free"], {"pglazyfree": 93}),
        ("6.12", ["mmap 400KiB", "advise free", "touch", "advise free"], {"pglazyfree": 100}),
        ("6.1", ["mmap 400KiB", "advise free"], {"pglazyfree": 90}),
        ("6.12", ["mmap 400KiB", "advise pageout"], {"pgactivate": 100}),
    ],
)
def test_advice_goes_by_batches(kernel: Kernel, steps: list[str], expected: dict[str, int]) -> None:
    steps = [step.replace("advise ", "madvise, task: a, at: r, advice: ") for step in steps]
    assert lru_counts(kernel, [steps[0], "touch", *steps[1:]]) == expected
