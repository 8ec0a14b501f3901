"""Sizes and page numbers: x86-64's 4 KiB base pages and 2 MiB huge pages."""

import re

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
HPAGE_PMD_ORDER = 9
HPAGE_PMD_NR = 1 << HPAGE_PMD_ORDER  # base pages of a huge page, and entries of a page table
HPAGE_SIZE = HPAGE_PMD_NR * PAGE_SIZE
MAX_NUMNODES = 1024
END_OF_MEMORY = 1 << 52  # a page number above those of all addresses

_FACTORS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
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
