"""The pages that KSM has merged, and who maps them: the stable tree of mm/ksm.c."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.runs import RunMap
from pymigrate.mm.state.mm import Mm
from pymigrate.records import NamedTuple, field, record


class RmapItem(NamedTuple):
    """A virtual page that was merged: of which address space, and of which fork family."""

    mm_id: int
    family: int
    page: int


@record
class StableTree:
    """A node for each merged page: its frame, and the virtual pages that were merged into it.

    As in the kernel, a node outlives its page, and an item its entry, until the next scan.
    """

    pages: RunMap[PteRun] = field(default_factory=RunMap)  # node -> frame
    items: dict[int, list[RmapItem]] = field(default_factory=dict)  # of each node, oldest first

    def origin(self, node: int) -> RmapItem:
        """The mapping whose page became the merged one; its page is the folio's index.

        The second of the two pages that were found equal did.
        """
        items = self.items[node]
        return items[min(1, len(items) - 1)]

    def walk(self, mms: Collection[Mm], node: int) -> Iterator[tuple[Mm, int]]:
        """Where the page of *node* may be mapped: address spaces and virtual pages.

        The newest item comes first, and children that came by fork after all that were merged.
        Nobody finds the entry of a process that an item's descends from, though it was of the same
        page. Mirrors rmap_walk_ksm().
        """
        seen: set[tuple[int, int]] = set()
        for is_fork in (False, True):
            for item in reversed(self.items.get(node, [])):
                for mm in mms:
                    place = (mm.mm_id, item.page)
                    if not (item.mm_id in mm.ancestors if is_fork else mm.mm_id == item.mm_id):
                        continue
                    if place not in seen:
                        seen.add(place)
                        yield mm, item.page
