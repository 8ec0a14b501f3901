"""Bitmaps of idle pages become accesses of the pages that are not idle."""

import re
import struct
from pathlib import Path

import pytest

from pymigrate.capture.capture import capture
from pymigrate.errors import ScenarioError
from pymigrate.mm.state.task import accessed
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text

HEAP = 0x1000000  # 16 pages, of which 6 are present
PRESENT = 1 << 63
LRU, HEAD, TAIL, ZERO = 1 << 5, 1 << 15, 1 << 16, 1 << 24
FRAMES = {0: 640, 1: 641, 2: 700, 3: 701, 4: 702, 5: 710}  # of the heap's pages


def tree(root: Path, idle: set[int], flags: dict[int, int], nr: int = 1024) -> Path:
    """Let process 77 have FRAMES, and the kernel know *idle* ones and their *flags*."""
    pages = {HEAP // 4096 + page: PRESENT | pfn for page, pfn in FRAMES.items()}
    with (root / "proc/77/pagemap").open("wb") as file:
        for page in range(0x400, HEAP // 4096 + 16):
            file.seek(page * 8)
            # The program's own pages are all on a frame that is idle.
            file.write(struct.pack("=Q", pages.get(page, PRESENT | 100 if page < 0x500 else 0)))
    known = [flags.get(pfn, LRU) for pfn in range(nr)]
    (root / "proc/kpageflags").write_bytes(struct.pack(f"={nr}Q", *known))
    bits = sum(1 << pfn for pfn in {*idle, 100})
    (root / "bitmap").write_bytes(
        b"".join(struct.pack("=Q", bits >> at & (1 << 64) - 1) for at in range(0, nr, 64))
    )
    return root / "bitmap"


def in_use(root: Path, bitmap: Path, seconds: float | None = 10) -> tuple[list[int], list[str]]:
    """The heap's pages that are accessed, and the notes; each is, every 10 s."""
    text, notes = capture(str(root), [77], False, heat=(str(bitmap), seconds))
    [task] = build(load_text(text)).tasks.values()
    found: list[int] = []
    for pattern in task.accesses:
        assert pattern.region == "heap"
        for part in accessed(pattern, 0, 16):
            if part.rate:
                assert part.rate == pytest.approx((part.end - part.start) / 10)
                found += range(part.start, part.end)
    return found, notes


@pytest.fixture(autouse=True)
def _no_other_memory(root: Path) -> None:
    """Only the program and the heap are there, so that the pagemap is small."""
    for name in ("maps", "numa_maps"):
        path = root / "proc/77" / name
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if not line.startswith(("7f", "ff"))))


def test_pages_whose_bit_is_clear_are_in_use(root: Path) -> None:
    found, notes = in_use(root, tree(root, {640, 701, 702}, {}))
    assert found == [1, 2, 5]
    assert any("whether a page was accessed in 10 s, not how often" in note for note in notes)


def test_a_large_page_is_in_use_if_its_first_is(root: Path) -> None:
    flags = {640: LRU | HEAD, 641: TAIL, 699: LRU | HEAD, 700: TAIL, 701: TAIL, 702: TAIL}
    assert in_use(root, tree(root, {699, 710}, flags))[0] == [0, 1]


def test_pages_that_the_kernel_does_not_track_are_not_in_use(root: Path) -> None:
    assert in_use(root, tree(root, {640, 641, 700, 701}, {702: ZERO}))[0] == [5]


def test_a_bitmap_does_not_tell_for_how_long(root: Path) -> None:
    with pytest.raises(ScenarioError, match="does not tell how long it was recorded"):
        in_use(root, tree(root, set(), {}), None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("proc/kpageflags", None, "is needed for a bitmap of idle pages"),
        ("proc/kpageflags", b"\0" * 8, "kpageflags: ends before frame"),
        ("bitmap", b"\0" * 8, "bitmap: ends before frame 100"),
        ("bitmap", b"\0" * 7, "is binary; expected the text of perf"),
        ("proc/77/pagemap", None, "does not tell the frames of pages"),
    ],
)
def test_what_is_missing_is_named(
    root: Path, name: str, content: bytes | None, message: str
) -> None:
    bitmap = tree(root, set(), {})
    if content is None:
        (root / name).unlink()
    else:
        (root / name).write_bytes(content)
    with pytest.raises(ScenarioError, match=re.escape(message)):
        in_use(root, bitmap)


def test_a_process_that_does_nothing_is_refused(root: Path) -> None:
    with pytest.raises(ScenarioError, match="shows no page of these processes that is in use"):
        in_use(root, tree(root, set(FRAMES.values()), {}))
