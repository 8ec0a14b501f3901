"""What the zones keep free."""

import pytest

from pymigrate.mm.frames.watermarks import min_free_kbytes, total_reserve
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


def test_programs_cannot_count_on_high_watermarks_and_reserves() -> None:
    machine = nodes_with("64MiB")
    dma, dma32 = machine.nodes[0].zones
    assert dma.reserve > 0
    kept = dma.watermark_high + dma.reserve
    assert total_reserve(machine) == kept + dma32.watermark_high
    dma32.watermark_high = 20000
    assert total_reserve(machine) == kept + dma32.nr
