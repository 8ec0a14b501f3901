"""/proc/PID/pagemap: on which frame, and so on which node, each page lies."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator

from pymigrate.capture.process import Mapping
from pymigrate.capture.tree import Tree
from pymigrate.records import NamedTuple

_CHUNK = 1 << 16  # entries that are read at once
_MAX_PAGES = 1 << 24  # of a mapping that is read: 64 GiB
PRESENT, PFN = 1 << 63, (1 << 55) - 1  # of an entry
_FILE = 1 << 61


class Run(NamedTuple):
    """*nr* pages in a row on one node, or absent ones (-1); anon: anonymous memory."""

    nr: int
    node: int
    anon: bool = False


def read_runs(
    tree: Tree, pid: int, mapping: Mapping, blocks: list[tuple[int, int, int]]
) -> list[Run] | None:
    """Where the pages of *mapping* lie; None if nobody may know the frames.

    Pages are of the machine's own size; *blocks* are the ranges of frames of each node. The result
    is None, too, if it does not agree with the line of numa_maps, so that the process has gone on
    meanwhile.
    """
    if (mapping.end - mapping.start) // tree.page_size > _MAX_PAGES:
        return None
    entries = read_entries(tree, pid, mapping)
    starts = [start for start, _, _ in blocks]
    runs: list[Run] = []
    zero = _zero_page(entries) if mapping.inode == 0 and not mapping.is_shared else 0
    for entry in entries:
        pfn = entry & PFN
        if not entry & PRESENT or (zero and pfn == zero):
            run = Run(1, -1)
        else:
            i = bisect_right(starts, pfn) - 1
            if not pfn or i < 0 or pfn >= blocks[i][1]:
                return None
            run = Run(1, blocks[i][2], not entry & _FILE)
        if runs and runs[-1][1:] == run[1:]:
            runs[-1] = run._replace(nr=runs[-1].nr + 1)
        else:
            runs.append(run)
    seen: Counter[int] = Counter()
    for run in runs:
        seen[run.node] += run.nr
    seen.pop(-1, None)
    return runs if dict(seen) == mapping.nodes else None


def read_entries(tree: Tree, pid: int, mapping: Mapping) -> array[int]:
    """The entries of *mapping* up to the last page that is present; none if they are secret."""
    path, size = tree.inside(f"proc/{pid}/pagemap"), tree.page_size
    found = array("Q")
    wanted = mapping.pages
    if not os.path.isfile(path):
        return found
    try:
        with open(path, "rb", buffering=0) as file:
            for part in _chunks(file.fileno(), mapping.start // size, mapping.end // size):
                found.extend(part)
                wanted -= sum(1 for entry in part if entry & PRESENT)
                if wanted <= 0 and not part[-1] & PRESENT:
                    break
    except (OSError, ValueError):
        return array("Q")
    return found


def _zero_page(entries: array[int]) -> int:
    """The frame that anonymous memory has several times: the zero page. 0 if there is none."""
    frames = Counter(entry & PFN for entry in entries if entry & PRESENT)
    frames.pop(0, None)
    pfn, nr = max(frames.items(), key=lambda item: item[1], default=(0, 0))
    return pfn if nr > 1 else 0


def _chunks(fd: int, a: int, b: int) -> Iterator[array[int]]:
    for page in range(a, b, _CHUNK):
        part = array("Q")
        part.frombytes(os.pread(fd, min(_CHUNK, b - page) * 8, page * 8))
        if not part:
            return
        yield part
