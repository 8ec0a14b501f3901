"""What the zones keep free."""

import pytest

from pymigrate.mm.frames.watermarks import min_free_kbytes
from tests.conftest import nodes_with


@pytest.mark.parametrize(
    ("memory", "thp", "kbytes"),
    [
        ("64KiB", "never", 128),
        ("64MiB", "never", 1024),
        ("1GiB", "never", 4096),
        ("4096GiB", "never", 262144),
        ("64MiB", "always", 3276),
        ("16GiB", "always", 67584),
        ("4096GiB", "madvise", 262144),
    ],
)
def test_min_free_kbytes_grows_with_the_root_of_memory_and_with_the_zones_for_huge_pages(
    memory: str, thp: str, kbytes: int
) -> None:
    machine = nodes_with(memory)
    machine.thp = thp
    assert min_free_kbytes(machine) == kbytes
