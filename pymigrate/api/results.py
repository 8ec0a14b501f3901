"""What the calls of a Machine answer: plain values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

from pymigrate.errors import ERRNO, KernelError
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Node
from pymigrate.mm.state.task import Left
from pymigrate.records import NamedTuple
from pymigrate.syscalls.mempolicy import PolicyAnswer
from pymigrate.uapi import MODE_FLAG_TEXTS, MODE_TEXTS, words_of
from pymigrate.units import PAGE_SHIFT, PAGE_SIZE
from pymigrate.views.pictures.ps import PsRow as Process
from pymigrate.views.proc import numa_maps
from pymigrate.views.why.explain import Refusal as Refusal
from pymigrate.views.why.explain import Verdict
from pymigrate.views.why.reasons import REASONS

__all__ = ["Process", "Refusal"]

_FEW, _SHOWN = 4, 20  # pages in a repr; lines in a notebook
ERRNO_NAMES = {number: name for name, number in ERRNO.items()}


class Region(NamedTuple):
    """Memory of a task that has a name: where it begins, and its size in bytes."""

    name: str
    address: int
    size: int


class Stayed(NamedTuple):
    """Pages of one mapping on one node that a call was to move and did not, and why."""

    pid: int
    region: str
    node: int
    pages: int
    why: str
    shows: str  # in which errno or counter it shows
    cure: str


class Migrated(NamedTuple):
    """How many pages a call moved, and which it left; *ret* is what the real call returns."""

    ret: int
    moved: int
    stayed: tuple[Stayed, ...]


class PageStatus(NamedTuple):
    """What move_pages() wrote for a page: its node, or an errno; neither if it wrote nothing."""

    address: int
    node: int | None
    errno: str | None


class MovedPages(NamedTuple):
    """The answer of move_pages(): *ret* pages were not moved, or not come to."""

    ret: int
    pages: tuple[PageStatus, ...]
    moved: int
    stayed: tuple[Stayed, ...]

    def __repr__(self) -> str:
        """Short, for there may be many pages."""
        nr = len(self.pages)
        pages = repr(self.pages) if nr <= _FEW else f"<{nr} pages>"
        return (
            f"MovedPages(ret={self.ret}, pages={pages}, moved={self.moved}, stayed={self.stayed})"
        )


class MovePagesError(KernelError):
    """move_pages() failed; `pages` is what it had written until then."""

    def __init__(self, name: str, why: str, pages: tuple[PageStatus, ...]) -> None:
        super().__init__(name, why)
        self.pages = pages

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.name, self.why, self.pages)


class Policy(NamedTuple):
    """A memory policy; its text is the one in numa_maps."""

    mode: str  # "bind", "prefer", "prefer (many)", "interleave", ...
    nodes: tuple[int, ...]
    flags: tuple[str, ...] = ()  # "static", "relative", "balancing"
    text: str = ""

    def __str__(self) -> str:
        return self.text


class Mapping(NamedTuple):
    """A line of numa_maps. Counts are pages of `page_size`, which is 4 or 2048 kB."""

    address: int
    policy: str
    file: str | None
    kind: str | None  # "heap", "stack", "huge" or None
    pages: int
    anon: int
    dirty: int
    mapmax: int
    swapcache: int
    active: int
    writeback: int
    nodes: dict[int, int]
    page_size: int  # kB


class Placed(NamedTuple):
    """So many pages in a row on one node; None: not present, or the zero page."""

    pages: int
    node: int | None


class NodeInfo(NamedTuple):
    """A node: its CPUs, its memory in bytes, and how far the nodes are from it."""

    cpus: tuple[int, ...]
    memory: int
    free: int
    distances: dict[int, int]


class Group(NamedTuple):
    """A cpuset: its CPUs, its nodes, and the pids in it."""

    cpus: tuple[int, ...]
    mems: tuple[int, ...]
    memory_migrate: bool
    pids: tuple[int, ...]


class Outlook(NamedTuple):
    """What would become of a run of pages; *why* is None if they would move."""

    region: str
    address: int
    pages: int
    nodes: dict[int, int]
    why: str | None
    detail: str
    note: str
    shows: str
    cure: str


class Explanation(NamedTuple):
    """What would keep pages from moving: all of them, then each run of them."""

    refused: tuple[Refusal, ...]
    runs: tuple[Outlook, ...]


@dataclass(slots=True)
class Trace:
    """What happened inside calls; filled when the `with` block ends."""

    lines: list[str] = field(default_factory=list)  # as `run --trace` has them
    events: list[dict[str, object]] = field(default_factory=list)  # the same as facts

    def __repr__(self) -> str:
        return f"<Trace: {len(self.lines)} lines>"

    def __str__(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    def _repr_html_(self) -> str:
        """What a notebook shows: the first lines."""
        more = len(self.lines) - _SHOWN
        text = "\n".join(self.lines[:_SHOWN]) + (f"\n... and {more} more" if more > 0 else "")
        return f"<pre>{escape(repr(self))}\n{escape(text)}</pre>"


def stayed_of(left: Iterable[Left]) -> tuple[Stayed, ...]:
    """Rows of what a call left, in words."""
    return tuple(
        Stayed(row.pid, row.mapping, row.node, row.nr, *REASONS[row.why][1:]) for row in left
    )


def statuses_of(addrs: Sequence[int], status: Sequence[int | None]) -> tuple[PageStatus, ...]:
    """The pages of a move_pages() with what it wrote for them."""
    return tuple(
        PageStatus(addr, node, None)
        if node is None or node >= 0
        else PageStatus(addr, None, ERRNO_NAMES[-node])
        for addr, node in zip(addrs, status, strict=True)
    )


def policy_of(answer: PolicyAnswer) -> Policy:
    """The policy that get_mempolicy() wrote."""
    flags = tuple(words_of(answer.flags, MODE_FLAG_TEXTS))
    mode = MODE_TEXTS[answer.mode]
    text = mode + ("=" + "|".join(flags) if flags else "")
    text += f":{answer.nodes}" if answer.nodes else ""
    return Policy(mode, tuple(answer.nodes), flags, text)


def mapping_of(row: numa_maps.NumaMapsRow) -> Mapping:
    """A line of numa_maps with plain values."""
    return Mapping(
        row.start << PAGE_SHIFT,
        row.policy,
        row.path or None,
        "huge" if row.is_huge else row.kind or None,
        row.pages,
        row.anon,
        row.dirty,
        row.mapmax,
        row.swapcache,
        row.active,
        row.writeback,
        row.nodes,
        row.kernelpagesize_kb,
    )


def node_of(machine: Machine, node: Node) -> NodeInfo:
    """A node with plain values."""
    free, distances = node.nr_free * PAGE_SIZE, dict(machine.distances[node.nid])
    return NodeInfo(tuple(node.cpus), node.nr_pages * PAGE_SIZE, free, distances)


def outlook_of(row: Verdict) -> Outlook:
    """A verdict in words."""
    reason = REASONS.get(row.why)
    return Outlook(
        row.mapping,
        row.start << PAGE_SHIFT,
        row.nr,
        row.nodes,
        reason.text if reason else None,
        row.detail,
        row.note,
        reason.shows if reason else "",
        reason.cure if reason else "",
    )
