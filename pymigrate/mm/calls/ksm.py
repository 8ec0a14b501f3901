"""Pages with the same content become one. Mirrors mm/ksm.c.

Contents are not simulated, but for one thing: an anonymous page holds zeroes until something is
stored into it, and then it holds what every such page holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

from pymigrate.mm.base.memmap import Frame, FrameFlag, nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.faults.anon_fault import VmFault, counted
from pymigrate.mm.faults.wp_fault import wp_page_copy
from pymigrate.mm.frames.frames import folio_of, frame_of, update_folio
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.spaces.huge_memory import split_huge_page
from pymigrate.mm.spaces.rmap import mappings, page_of
from pymigrate.mm.state.machine import Machine, as_thread
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.stable_tree import RmapItem
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.records import NamedTuple, replaced

_MERGED = Pte.PRESENT | Pte.YOUNG | Pte.KSM  # what an entry becomes that is set anew
_Content = tuple[bool, int]  # whether a page holds zeroes, and the node of its tree, -1 for all
_UNSTORED = ~(Pte.WRITE | Pte.DIRTY)


class KsmState(NamedTuple):
    """What /sys/kernel/mm/ksm shows once all has been scanned."""

    pages_shared: int  # merged pages
    pages_sharing: int  # how many more mergeable pages they stand for than there are of them
    pages_unshared: int  # mergeable pages without a twin


class _Candidate(NamedTuple):
    """A mergeable page, and where it is mapped."""

    mm: Mm
    vma: Vma
    page: int
    pfn: int


def scan(machine: Machine) -> None:
    """Merge the mergeable pages of all tasks, until nothing is left to be merged.

    Pages that somebody holds stay, huge pages are split first, and a merged page stands for at
    most max_page_sharing. Mirrors ksm_do_scan(), as often as it takes.
    """
    with as_thread(machine, "ksmd", "ksm"):
        lru_add_drain_all(machine)
        _forget_stale(machine)
        for mm, vma in _mergeable(machine):
            _split_large(machine, mm, vma)
        scan = _Scan(machine)
        for mm, vma in _mergeable(machine):
            for run in mm.page_table.between(vma.start, vma.end):
                if run.lanes and run.flags & Pte.PRESENT and not run.order:
                    for page, pfn in zip(range(run.start, run.end), run.pfns(), strict=True):
                        scan.cmp_and_merge_page(_Candidate(mm, vma, page, pfn))
        scan.commit()


def state(machine: Machine) -> KsmState:
    """What /sys/kernel/mm/ksm shows now.

    Only pages that were scanned count: those of tasks that forked before they may be merged do
    not, though they map the merged page, too.
    """
    merged = [nr for node in machine.stable_tree.items if (nr := _nr_scanned(machine, node))]
    unshared = sum(
        run.nr
        for mm, vma in _mergeable(machine)
        for run in mm.page_table.between(vma.start, vma.end)
        if run.lanes and run.flags & (Pte.PRESENT | Pte.KSM) == Pte.PRESENT
    )
    return KsmState(len(merged), sum(merged) - len(merged), unshared)


def unmerge(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> None:
    """Give *task* copies of the merged pages in [a, b) of *vma*, which nothing is stored into.

    Raises Fault SIGKILL when memory runs out. Mirrors unmerge_ksm_pages() and break_ksm().
    """
    table = task.mm.page_table
    for run in table.between(a, b):
        if not run.flags & Pte.KSM:
            continue
        with counted(machine, run.start, run.end), counted(machine, run.start, run.end, "cow_ksm"):
            for entry in run.entries():
                zeroed = bool(frame_of(machine, entry.lanes[0]).flags & FrameFlag.ZEROED)
                wp_page_copy(VmFault(machine, task, vma), entry, zeroed)
        copies = table.between(run.start, run.end)
        table.edit([(c.start, c.end, (c.with_flags(c.flags & _UNSTORED),)) for c in copies])


def unmerge_all(machine: Machine) -> None:
    """Give all tasks copies of their merged pages, which root's shell makes.

    Mirrors unmerge_and_remove_all_rmap_items().
    """
    for mm, vma in list(_mergeable(machine)):
        unmerge(machine, replaced(machine.shell_of(0), mm=mm), vma, vma.start, vma.end)
    _forget_stale(machine)


def has_merged(machine: Machine) -> bool:
    """Whether there are merged pages, or were some when ksmd looked last: ksm_pages_shared."""
    items = (item for node in machine.stable_tree.items.values() for item in node)
    return any(item.mm_id in machine.mms for item in items)


class _Scan:
    """What one scan finds: the edits are collected, and made at its end."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.tree = machine, machine.stable_tree
        self.node_of: dict[int, int] = {}  # merged page -> node, also of those that become one
        self.open: dict[_Content, list[int]] = {}  # of nodes with room
        self.unstable: dict[_Content, _Candidate] = {}  # a page that waits for its twin
        self.maps: Counter[int] = Counter()  # how many more entries map a frame
        self.locked: set[int] = set()
        self.entries: dict[int, dict[int, PteRun]] = {}  # of an mm, by page
        self.became: dict[int, _Candidate] = {}
        for node, items in self.tree.items.items():
            pfn, frame = page_of(machine, node)
            assert frame is not None, "stale nodes are gone"
            self.node_of[pfn] = node
            if len(items) < machine.ksm_knobs.max_page_sharing:
                self.open.setdefault(self._content(pfn, frame), []).append(node)
        self.pfn_of = {node: pfn for pfn, node in self.node_of.items()}

    def cmp_and_merge_page(self, found: _Candidate) -> None:
        """Find the page's twin. Mirrors cmp_and_merge_page()."""
        node = self.node_of.get(found.pfn)
        if node is not None:
            self._append(node, found)
            return
        frame = frame_of(self.machine, found.pfn)
        if not frame.is_anon or frame.order or frame.is_held or found.pfn in self.machine.busy:
            return
        content = self._content(found.pfn, frame)
        if self.open.get(content):
            node = max(self.open[content], key=lambda node: len(self.tree.items[node]))
            self._replace_page(node, found, content)
            return
        twin = self.unstable.get(content)
        if twin is None:
            self.unstable[content] = found
        elif twin.pfn != found.pfn:
            del self.unstable[content]
            node = self._new_node(found, content)
            self._replace_page(node, twin, content)
            self._append(node, found)

    def _content(self, pfn: int, frame: Frame) -> _Content:
        """What a page holds, and in which tree it is looked for. Mirrors get_kpfn_nid()."""
        nid = -1 if self.machine.ksm_knobs.merge_across_nodes else nid_of(pfn)
        return bool(frame.flags & FrameFlag.ZEROED), nid

    def commit(self) -> None:
        """Make the edits."""
        for pfn, found in self.became.items():
            self._protect(pfn, found.vma.name(found.page))
        for mm_id, entries in self.entries.items():
            edits = [(page, page + 1, (entries[page],)) for page in sorted(entries)]
            self.machine.mms[mm_id].page_table.edit(edits)
        for pfn in {*self.maps, *self.became, *self.locked}:
            update_folio(self.machine, pfn, partial(self._changed, pfn))

    def _append(self, node: int, found: _Candidate) -> None:
        """Note that *found* is mapped to the node's page. Mirrors stable_tree_append()."""
        item = RmapItem(found.mm.mm_id, found.mm.family, found.page)
        items = self.tree.items[node]
        if item not in items:
            items.append(item)
        if len(items) >= self.machine.ksm_knobs.max_page_sharing:
            for nodes in self.open.values():
                if node in nodes:
                    nodes.remove(node)

    def _new_node(self, found: _Candidate, content: _Content) -> int:
        """Let *found* be a merged page, wherever it is mapped. Mirrors stable_tree_insert()."""
        node = self.machine.new_id()
        self.tree.items[node] = []
        self.tree.pages.put(node, node + 1, PteRun(node, 1, (found.pfn,)))
        self.node_of[found.pfn], self.pfn_of[node] = node, found.pfn
        self.open.setdefault(content, []).append(node)
        self.became[found.pfn] = found
        return node

    def _replace_page(self, node: int, found: _Candidate, content: _Content) -> None:
        """Map the node's page in place of *found*. Mirrors replace_page()."""
        pfn = self.pfn_of[node]
        self._set(found.mm, PteRun(found.page, 1, (pfn,), 0, _MERGED))
        self.maps[found.pfn] -= 1
        self.maps[pfn] += 1
        if found.vma.flags & Vm.LOCKED:
            self.locked |= {pfn, found.pfn}
        self._append(node, found)

    def _protect(self, pfn: int, name: int) -> None:
        """Let the entries that stay on a page that becomes a merged one say so."""
        found = mappings(self.machine, frame_of(self.machine, pfn), name, name + 1)
        for table, _, _, shift, mm in found:
            assert mm is not None, "it is anonymous"
            page = name + shift
            run = table.at(page)
            is_replaced = page in self.entries.get(mm.mm_id, ())
            if run is None or not run.lanes or run.pfn(page) != pfn or is_replaced:
                continue
            flags = run.flags & (Pte.PRESENT | Pte.YOUNG) | Pte.KSM
            self._set(mm, PteRun(page, 1, (pfn,), 0, flags))

    def _set(self, mm: Mm, entry: PteRun) -> None:
        self.entries.setdefault(mm.mm_id, {})[entry.start] = entry

    def _changed(self, pfn: int, frame: Frame) -> Frame | None:
        """The state of a frame after the scan; None if nothing maps it any more."""
        frame = frame.mapped(self.maps[pfn])
        if pfn in self.became:
            node = self.node_of[pfn]
            frame = frame.with_flags(FrameFlag.KSM | FrameFlag.DIRTY)._replace(owner=node)
        if pfn in self.locked:
            locked = pfn in self.node_of
            frame = (frame.with_flags if locked else frame.without_flags)(FrameFlag.MLOCKED)
        return frame if frame.mapcount else None


def _forget_stale(machine: Machine) -> None:
    """Drop nodes whose page is gone, and items of virtual pages that have another now."""
    tree = machine.stable_tree
    for node, items in list(tree.items.items()):
        pfn, frame = page_of(machine, node)
        if frame is None:
            del tree.items[node]
            tree.pages.put(node, node + 1)
            continue
        tree.items[node] = [
            item
            for item in items
            if any(_maps(mm, item.page, pfn) for mm in machine.mms_of(item.family))
        ]


def _maps(mm: Mm, page: int, pfn: int) -> bool:
    run = mm.page_table.at(page)
    return run is not None and bool(run.flags & Pte.KSM) and run.pfn(page) == pfn


def _nr_scanned(machine: Machine, node: int) -> int:
    """How many mergeable pages the node's page stands for."""
    pfn, frame = page_of(machine, node)
    if frame is None:
        return 0
    items = {(item.mm_id, item.page) for item in machine.stable_tree.items[node]}
    return sum(
        mm_id in machine.mms and _maps(machine.mms[mm_id], page, pfn) for mm_id, page in items
    )


def _mergeable(machine: Machine) -> Iterator[tuple[Mm, Vma]]:
    """The memory that may be merged."""
    for mm in machine.mms.values():
        for vma in mm.vmas:
            if vma.flags & Vm.MERGEABLE and vma.anon_vma:
                yield mm, vma


def _split_large(machine: Machine, mm: Mm, vma: Vma) -> None:
    """Split the large folios in *vma*: of their pages, at least two hold the same."""
    at = vma.start
    while at < vma.end and (found := mm.page_table.between(at, vma.end)):
        run = found[0]
        at = run.end
        for entry in run.entries() if run.lanes else ():
            if frame_of(machine, entry.lanes[0]).order and _split(machine, vma, entry):
                at = entry.start
                break


def _split(machine: Machine, vma: Vma, entry: PteRun) -> bool:
    """Split the large folio that *entry* maps, or a page of."""
    folio = folio_of(machine, entry.lanes[0])
    page = vma.name(entry.start) - (entry.lanes[0] - folio.pfn)
    return folio.is_anon and split_huge_page(machine, folio, page)
