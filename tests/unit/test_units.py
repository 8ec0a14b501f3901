"""Sizes as people write them, and pages."""

import pytest

from pymigrate.units import format_size, page_range, pages_of, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        pytest.param("4096", 4096, id="bytes"),
        pytest.param("4096B", 4096, id="bytes with unit"),
        pytest.param("4KiB", 4096, id="KiB"),
        pytest.param(" 2 MiB ", 2097152, id="blanks"),
        pytest.param("1GiB", 1073741824, id="GiB"),
        pytest.param("1TiB", 1099511627776, id="TiB"),
        pytest.param("8K", 8192, id="a letter"),
        pytest.param("64m", 67108864, id="a small letter"),
        pytest.param("4kib", 4096, id="small letters"),
        pytest.param("0", 0, id="nothing"),
        pytest.param(12, 12, id="a number"),
    ],
)
def test_size_is_a_number_with_a_binary_unit(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "KiB", "4KB", "1MB", "\uff14KiB", "1.5MiB", "-1", "4 096", -1]
)
def test_anything_else_is_no_size(text: str | int) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (1, "1"),
        (1023, "1023"),
        (1024, "1KiB"),
        (1536, "1536"),
        (65536, "64KiB"),
        (3 << 29, "1536MiB"),
        (1 << 30, "1GiB"),
        (5 << 40, "5TiB"),
        (1 << 50, "1024TiB"),
    ],
)
def test_size_is_shown_exactly_in_the_largest_unit(size: int, text: str) -> None:
    assert format_size(size) == text
    assert parse_size(text) == size


@pytest.mark.parametrize(("size", "nr"), [(0, 0), (1, 1), (4096, 1), (4097, 2), (2 << 20, 512)])
def test_pages_are_counted_up(size: int, nr: int) -> None:
    assert pages_of(size) == nr


@pytest.mark.parametrize(
    ("addr", "length", "pages"),
    [
        pytest.param(8192, 4096, (2, 3), id="a page"),
        pytest.param(8191, 2, (1, 3), id="across the edge of one"),
        pytest.param(8193, 1, (2, 3), id="inside of one"),
        pytest.param(8192, 0, (2, 2), id="nothing"),
    ],
)
def test_range_of_bytes_lies_in_all_pages_that_it_touches(
    addr: int, length: int, pages: tuple[int, int]
) -> None:
    assert page_range(addr, length) == pages
