"""Where the pages of a mapping lie, when only their numbers on each node are known."""

from __future__ import annotations

from bisect import bisect_right, insort

from pymigrate.capture.pagemap import Run
from pymigrate.units import HPAGE_PMD_NR, huge_ceil


class CachedFile:
    """What mappings of one file have shown of its page cache: on which node each page lies."""

    def __init__(self) -> None:
        self.size = 0  # bytes
        self.runs: list[tuple[int, int, int]] = []  # (first page, end, node), ascending

    def note(self, page: int, runs: list[Run]) -> None:
        """Learn where pages lie, from *page* of the file on; those known already stay."""
        found = []
        for run in runs:
            if run.node >= 0 and not run.anon:
                for a, b, node in self._parts(page, page + run.nr):
                    if node < 0:
                        found.append((a, b, run.node))
            page += run.nr
        for part in found:
            insort(self.runs, part)

    def place(self, page: int, nr: int, wanted: dict[int, int]) -> tuple[list[Run], int]:
        """Runs for *nr* pages from *page* with so many on each node; and how many do not fit.

        Pages that are known to lie on a node are taken first, then others from the beginning.
        """
        left = dict(wanted)
        parts: list[tuple[int, int, int]] = []
        for a, b, node in self._parts(page, page + nr):
            taken = min(left.get(node, 0), b - a) if node >= 0 else 0
            if taken:
                left[node] -= taken
                parts.append((a, a + taken, node))
        for a, b, node in self._parts(page, page + nr):
            at = a
            for nid in left if node < 0 else ():
                taken = min(left[nid], b - at)
                if taken:
                    left[nid] -= taken
                    parts.append((at, at + taken, nid))
                    at += taken
        runs: list[Run] = []
        at = page
        for a, b, node in sorted(parts):
            runs += [Run(a - at, -1)] if a > at else []
            runs.append(Run(b - a, node))
            at = b
        self.note(page, runs)
        return runs, sum(left.values())

    def _parts(self, a: int, b: int) -> list[tuple[int, int, int]]:
        """The pages [a, b) in order: those that are known with their node, others with -1."""
        parts: list[tuple[int, int, int]] = []
        at = a
        first = max(bisect_right(self.runs, (a,)) - 1, 0)
        for i in range(first, len(self.runs)):
            start, end, node = self.runs[i]
            if start >= b:
                break
            low, high = max(start, a), min(end, b)
            if low < high:
                parts += [(at, low, -1)] if at < low else []
                parts.append((low, high, node))
                at = high
        if at < b:
            parts.append((at, b, -1))
        return parts


def spread(nr: int, nodes: dict[int, int], at_end: bool = False) -> list[Run]:
    """*nr* pages with so many on each node from the beginning, or up to the end (a stack's)."""
    runs = [Run(count, node) for node, count in sorted(nodes.items()) if count]
    absent = nr - sum(nodes.values())
    if absent <= 0:
        return runs
    return [Run(absent, -1), *runs] if at_end else runs


def spread_huge(start: int, nr: int, nodes: dict[int, int], blocks: int) -> list[Run]:
    """Like spread(), for memory from page *start* with *blocks* huge pages: they lie whole.

    Each node has as many of them as its pages allow, the lowest first. Nothing if they do not fit.
    """
    first = huge_ceil(start) - start
    left, runs, at = dict(nodes), [Run(first, -1)] if first else [], first
    for node in sorted(nodes):
        taken = min(left[node] // HPAGE_PMD_NR, blocks)
        blocks -= taken
        left[node] -= taken * HPAGE_PMD_NR
        runs += [Run(taken * HPAGE_PMD_NR, node)] if taken else []
        at += taken * HPAGE_PMD_NR
    rest = [Run(count, node) for node, count in sorted(left.items()) if count]
    if at == first or at > nr or sum(run.nr for run in rest) > nr - at + first:
        return []
    if first and sum(run.nr for run in rest) <= nr - at:
        return runs + rest
    return _filling(first, runs[1:] if first else runs, rest)


def _filling(first: int, huge: list[Run], rest: list[Run]) -> list[Run]:
    """*huge* with what fits of *rest* in the *first* pages before it, and the others behind."""
    before: list[Run] = []
    room = first
    behind: list[Run] = []
    for run in rest:
        taken = min(run.nr, room)
        room -= taken
        before += [run._replace(nr=taken)] if taken else []
        behind += [run._replace(nr=run.nr - taken)] if run.nr > taken else []
    return before + ([Run(room, -1)] if room else []) + huge + behind
