"""How much may be kept page by page: more would take minutes, and all of the host's memory."""

from collections.abc import Iterator, Mapping

from pymigrate.scenario.spec.models import (
    MachineSpec,
    NodeSpec,
    PatternSpec,
    RandomPages,
    TaskSpec,
)
from pymigrate.scenario.text.positions import Mistake, Path
from pymigrate.units import HPAGE_PMD_NR, PAGE_SIZE

MAX_PIECES = 1 << 20  # of free memory, that declared fragmentation makes
MAX_RANDOM = 1 << 22  # pages that lie on random nodes


def size_mistakes(machine: MachineSpec, tasks: Mapping[str, TaskSpec]) -> Iterator[Mistake]:
    """Where fragmentation, or pages at random, become more than the limits of this module."""
    pieces = 0
    for nid, node in machine.nodes.items():
        for number, pattern in enumerate(node.fragmentation):
            pieces += _pieces(node, pattern)
            if pieces > MAX_PIECES:
                path: Path = ("machine", "nodes", nid, "fragmentation", number)
                message = f"free memory is in {pieces} pieces; expected at most {MAX_PIECES}"
                yield Mistake(path, f"{message}, as a larger `stride` makes them")
                return
    pages = 0
    for name, task in tasks.items():
        for number, region in enumerate(task.memory):
            if not isinstance(region.pages, RandomPages):
                continue
            pages += region.nr_pages
            if pages > MAX_RANDOM:
                path = ("tasks", name, "memory", number, "pages")
                yield Mistake(path, f"{pages} pages at random; expected at most {MAX_RANDOM}")
                return


def _pieces(node: NodeSpec, pattern: PatternSpec) -> int:
    """In how many pieces a pattern leaves the memory that it concerns, at most."""
    size = max(node.memory - pattern.offset, 0)
    pages = min(size, size if pattern.size is None else pattern.size) // PAGE_SIZE
    share = pattern.blocks / 100
    blocks = 1 if share == 1 else int(pages * share) // HPAGE_PMD_NR
    return blocks if pattern.run == pattern.stride else int(pages * share) // pattern.stride
