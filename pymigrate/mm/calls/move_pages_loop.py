"""The loop of do_pages_move(), mm/migrate.c, whoever carries its runs of pages out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from pymigrate.errors import ERRNO
from pymigrate.mm.base.memmap import NODE_SHIFT
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.release import Release
from pymigrate.mm.state.vma import Vm, Vma

EACCES, EBUSY, EFAULT, ENOENT, ENOMEM = (
    -ERRNO[name] for name in ("EACCES", "EBUSY", "EFAULT", "ENOENT", "ENOMEM")
)


class MovePagesResult(NamedTuple):
    """What the call answers: a status for each page that the kernel wrote one for, else None."""

    ret: int
    errno: str | None
    status: list[int | None]


class Carrier(Protocol):
    """Finds single pages, isolates their folios, and moves what it has isolated."""

    def place(self, page: int) -> int:
        """The frame of *page*, or the negative errno that is its status."""

    def isolate(self, page: int, pfn: int) -> int | None:
        """Isolate the folio of *page*, which is frame *pfn*, or say why it is not queued.

        That is -EACCES if the call may not move it, or -EBUSY if it is isolated already. Mirrors
        add_folio_for_migration(), which has compared the nodes first.
        """

    def migrate(self, node: int) -> int:
        """Move what is isolated to *node*: how many folios stayed, or -ENOMEM."""


class Loop:
    """The run of pages for one node that is being collected, and what was written so far."""

    def __init__(self, carrier: Carrier, refused: Mapping[int, str]) -> None:
        self.carrier, self.refused = carrier, refused
        self.status: list[int | None] = []
        self.node, self.start, self.is_empty = -1, 0, True

    def play(self, pages: Sequence[int], nodes: Sequence[int]) -> MovePagesResult:
        """Move *pages* to *nodes* in runs of one node; a page that is not queued ends a run.

        A node of *refused* ends the call. Mirrors do_pages_move().
        """
        self.status = [None] * len(pages)
        place, isolate = self.carrier.place, self.carrier.isolate
        for at, (page, node) in enumerate(zip(pages, nodes, strict=True)):
            if node in self.refused:
                return self._answer(self._submit(at), self.refused[node])
            if node != self.node:
                left = self._submit(at)
                if left:
                    return self._answer(left)
                self.node, self.start = node, at
            pfn = place(page)
            outcome: int | None = pfn
            if pfn >= 0:
                outcome = node if pfn >> NODE_SHIFT == node else isolate(page, pfn)
            if outcome is None:
                self.is_empty = False
                continue
            self.status[at] = outcome
            left = self._submit(at)
            if left:
                return self._answer(left - 1 if left > 0 else left)
            self.node = -1
        return self._answer(self._submit(len(pages)))

    def _submit(self, at: int) -> int:
        """Move the run, which ends before *at*: 0, or how many pages were left, or -ENOMEM.

        Mirrors move_pages_and_store_status().
        """
        if self.is_empty:
            return 0
        self.is_empty = True
        stayed = self.carrier.migrate(self.node)
        if not stayed:
            self.status[self.start : at] = [self.node] * (at - self.start)
            return 0
        return stayed + len(self.status) - at if stayed > 0 else stayed

    def _answer(self, left: int, errno: str | None = None) -> MovePagesResult:
        if errno is None and left < 0:
            errno = "ENOMEM"
        return MovePagesResult(-1 if errno else left, errno, self.status)


def without_frame(release: Release, vma: Vma, run: PteRun | None) -> int:
    """The status of pages of *vma* that *run* maps, if they have no frame to follow; else 0.

    Mirrors folio_walk_start() and its callers.
    """
    if run is None or (release.prot_none_is_absent and not vma.flags & Vm.ACCESS):
        is_none = run is None or run.order > 0  # nothing to follow at the level of its table
        in_anon = release.absent_anon_is_efault and vma.is_anonymous and is_none
        return EFAULT if in_anon else ENOENT
    if not run.flags & Pte.PRESENT:
        return ENOENT
    return 0 if run.lanes else EFAULT
