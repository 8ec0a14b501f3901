"""Bitmaps in hex, as the kernel prints them."""

import pytest

from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.views.proc.masks import cpumap, format_bitmap, nodemap
from tests.conftest import nodes_with


@pytest.mark.parametrize(
    ("bits", "nr", "text"),
    [
        pytest.param(0b111, 8, "07", id="two digits"),
        pytest.param(0, 3, "0", id="none"),
        pytest.param(1 << 31, 32, "80000000", id="a full word"),
        pytest.param(1 << 32, 33, "1,00000000", id="one bit more"),
        pytest.param((1 << 40) - 1, 40, "ff,ffffffff", id="40 CPUs"),
    ],
)
def test_words_of_32_bits_the_highest_first(bits: int, nr: int, text: str) -> None:
    assert format_bitmap(bits, nr) == text


def test_a_map_of_cpus_is_as_long_as_the_machine_has_cpus() -> None:
    machine = nodes_with("64MiB", "64MiB", cpus=("0-2", "3-9"))
    assert cpumap(machine, Cpumask.parse("0-2")) == "007"


def test_a_map_of_nodes_has_all_1024_bits() -> None:
    assert nodemap(Nodemask.parse("0-1,3")) == "00000000," * 31 + "0000000b"
