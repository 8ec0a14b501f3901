"""Sizes and page numbers: x86-64's 4 KiB base pages and 2 MiB huge pages."""

import re

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
HPAGE_PMD_ORDER = 9
HPAGE_PMD_NR = 1 << HPAGE_PMD_ORDER  # base pages of a huge page, and entries of a page table
MIB_PAGES = 256
HPAGE_SIZE = HPAGE_PMD_NR * PAGE_SIZE
MAX_NUMNODES = 1024
END_OF_MEMORY = 1 << 52  # a page number above those of all addresses

_FACTORS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_UNITS_OF_TIME = {"ms": 0.001, "s": 1, "min": 60, "h": 3600}
_SECONDS = r"(-?[0-9]{1,20}(?:\.[0-9]{1,20})?|\.[0-9]{1,20})\s*(ms|s|min|h)?"
_SIZE = r"([0-9]+)\s*(?:([KMGT])(?:iB)?|B)?"


def parse_size(text: str | int) -> int:
    """Bytes of ``"4MiB"``, ``"4m"``, ``"4096"`` or 4096.

    Raises ValueError, also for MB, which some take for a million bytes.

    >>> parse_size("64KiB"), parse_size("64k"), parse_size(12)
    (65536, 65536, 12)
    """
    if isinstance(text, int):
        if text < 0:
            raise ValueError(f"{text} is negative; expected a size such as 4096 or 64MiB")
        return text
    match = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is not a size; expected one such as 4096, 4KiB, 64MiB, 1GiB")
    return int(match[1]) * _FACTORS[f"{match[2].upper()}iB" if match[2] else ""]


def parse_seconds(text: str | float) -> float:
    """Seconds of ``"2"``, ``"1.5s"``, ``"200ms"``, ``"5min"``, ``"1h"`` or 2. Raises ValueError.

    >>> parse_seconds("1.5s"), parse_seconds("200 ms"), parse_seconds("5min"), parse_seconds(2)
    (1.5, 0.2, 300.0, 2.0)
    """
    match = re.fullmatch(_SECONDS, str(text).strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time; expected one such as 2, 1.5s, 200ms, 5min, 1h")
    return float(match[1]) * _UNITS_OF_TIME[match[2] or "s"]


def format_size(size: int) -> str:
    """The shortest exact text of *size* bytes.

    >>> format_size(65536), format_size(3 << 29), format_size(5)
    ('64KiB', '1536MiB', '5')
    """
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _FACTORS[unit] == 0:
            return f"{size // _FACTORS[unit]}{unit}"
    return str(size)


def counted(nr: int, noun: str) -> str:
    """How many there are of something, in words.

    >>> counted(1, "page"), counted(2, "page")
    ('1 page', '2 pages')
    """
    return f"{nr} {noun}" if nr == 1 else f"{nr} {noun}s"


def sized(nr: int) -> str:
    """A number of pages in words, from a MiB on with their size.

    >>> sized(1), sized(512), sized(48226725)
    ('1 page', '512 pages (2 MiB)', '48226725 pages (184 GiB)')
    """
    return counted(nr, "page") + (f" ({size_of_pages(nr)})" if nr >= MIB_PAGES else "")


def size_of_pages(nr: int) -> str:
    """*nr* base pages in the unit that suits.

    >>> size_of_pages(0), size_of_pages(1), size_of_pages(3 << 17), size_of_pages(79167488)
    ('0', '4 KiB', '1.5 GiB', '302 GiB')
    """
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        value = nr * PAGE_SIZE / _FACTORS[unit]
        if value >= 1:
            return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"
    return "0"


def pages_of(size: int) -> int:
    """Base pages that *size* bytes take up, rounded up."""
    return (size + PAGE_SIZE - 1) >> PAGE_SHIFT


def page_range(addr: int, length: int) -> tuple[int, int]:
    """The pages [a, b) that the *length* bytes from *addr* on lie in, neither of them aligned.

    >>> page_range(4095, 2), page_range(4096, 0)
    ((0, 2), (1, 1))
    """
    return addr >> PAGE_SHIFT, pages_of(addr + length)


def huge_floor(page: int) -> int:
    """Where the huge page's worth of pages begins that *page* lies in."""
    return page & -HPAGE_PMD_NR


def huge_ceil(page: int) -> int:
    """Where the first huge page's worth begins that lies wholly at or behind *page*."""
    return (page + HPAGE_PMD_NR - 1) & -HPAGE_PMD_NR
