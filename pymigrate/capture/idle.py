"""Bitmaps of idle pages: /sys/kernel/mm/page_idle/bitmap, as read some time after it was set.

Bit *i* of its native 64-bit words is frame *i*, set if nobody has accessed the page since. Which
frames are whose, /proc/PID/pagemap says; only pages on a list of the LRU are tracked, and a huge
page by its first one, which /proc/kpageflags tells (idle_page_tracking and pagemap, in the kernel's
admin guide; Linux 4.3 and later).
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence

from pymigrate.capture.pagemap import PFN, PRESENT, read_entries
from pymigrate.capture.process import Mapping, Process
from pymigrate.capture.recorded import Heat, Seen, asked
from pymigrate.capture.tree import Tree
from pymigrate.errors import ScenarioError

_BLOCK = 512  # frames whose flags are read at once: a huge page lies in one block
_LRU, _TAIL = 1 << 5, 1 << 16  # KPF_LRU, KPF_COMPOUND_TAIL
_FLAGS = "proc/kpageflags"


def idle_heat(
    bitmap: bytes, path: str, seconds: float | None, tree: Tree, processes: Sequence[Process]
) -> Heat:
    """The pages of *processes* that are not idle, each accessed once in so many *seconds*.

    Raises ScenarioError.
    """
    time = asked(seconds, path)
    if not tree.has(_FLAGS):
        message = "is needed for a bitmap of idle pages: it tells which pages are tracked"
        raise ScenarioError(message, tree.path(_FLAGS))
    frames = _Frames(bitmap, path, tree)
    seen: list[Seen] = []
    notes: list[str] = []
    for process in processes:
        for mapping in process.mappings:
            if mapping.kind == "huge":
                if mapping.pages:
                    notes.append(
                        f"process {process.pid}, {mapping.start:08x}: "
                        "idle pages are not tracked in pools of huge pages"
                    )
            elif mapping.pages:
                seen += _of_mapping(frames, tree, process.pid, mapping)
    if not seen:
        raise ScenarioError("shows no page of these processes that is in use", path)
    whether = f"whether a page was accessed in {time:g} s, not how often"
    notes.append(f"{path} tells {whether}: rates are the least")
    return Heat(seen, time, notes)


def _of_mapping(frames: _Frames, tree: Tree, pid: int, mapping: Mapping) -> Iterator[Seen]:
    """The pages in use of *mapping*, those in a row as one. Raises ScenarioError."""
    size = tree.page_size
    entries = read_entries(tree, pid, mapping)
    if not any(entry & PFN for entry in entries if entry & PRESENT):
        message = "does not tell the frames of pages; expected what root reads"
        raise ScenarioError(message, tree.path(f"proc/{pid}/pagemap"))
    start = None
    for i, entry in enumerate((*entries, 0)):
        in_use = bool(entry & PRESENT) and frames.in_use(entry & PFN)
        if in_use and start is None:
            start = i
        elif not in_use and start is not None:
            at, end = mapping.start + start * size, mapping.start + i * size
            yield Seen(pid, at, end, i - start)
            start = None


class _Frames:
    """Which frames are in use."""

    def __init__(self, bitmap: bytes, path: str, tree: Tree) -> None:
        self._words, self._path = array("Q"), path
        self._words.frombytes(bitmap)
        self._flags_path, self._flags_name = tree.inside(_FLAGS), tree.path(_FLAGS)
        self._block, self._flags = -1, array("Q")

    def in_use(self, pfn: int) -> bool:
        """Whether the page at *pfn*, or the large one that it is of, was accessed."""
        flags = self._flags_of(pfn)
        while flags & _TAIL and pfn % _BLOCK:
            pfn -= 1
            flags = self._flags_of(pfn)
        if flags & (_LRU | _TAIL) != _LRU:
            return False  # not tracked, such as the zero page
        if pfn >= len(self._words) * 64:
            raise ScenarioError(f"ends before frame {pfn}", self._path)
        return not self._words[pfn // 64] >> pfn % 64 & 1

    def _flags_of(self, pfn: int) -> int:
        """The flags of a frame. Raises ScenarioError if they cannot be read."""
        block = pfn // _BLOCK
        if block != self._block:
            self._flags = self._read(block)
            self._block = block
        if pfn % _BLOCK >= len(self._flags):
            raise ScenarioError(f"ends before frame {pfn}", self._flags_name)
        return self._flags[pfn % _BLOCK]

    def _read(self, block: int) -> array[int]:
        flags = array("Q")
        try:
            with open(self._flags_path, "rb", buffering=0) as file:
                content = os.pread(file.fileno(), _BLOCK * 8, block * _BLOCK * 8)
        except OSError as error:
            message = f"cannot be read: {error.strerror}"
            raise ScenarioError(message, self._flags_name) from None
        flags.frombytes(content[: len(content) // 8 * 8])
        return flags
