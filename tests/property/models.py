"""migrate_pages() and move_pages() one page at a time, as the manual pages tell them."""

from pymigrate.errors import ERRNO
from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.calls.cpuset import cpuset_mems_allowed
from pymigrate.mm.calls.mempolicy import node_pairs
from pymigrate.mm.frames.page_alloc import available
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Cap, Task
from pymigrate.mm.state.vma import Vm
from pymigrate.nodemask import Nodemask
from tests.property.invariants import mapped_pages, used_frames

Answer = tuple[int, str | None, list[int | None]]


def migrate_pages_model(
    machine: Machine, caller: Task, target: Task, old: Nodemask, new: Nodemask
) -> tuple[dict[int, int], int, bool] | None:
    """The node of each frame's page afterwards, the return value, whether memory surely suffices.

    None if memory surely does not suffice.
    """
    frames = used_frames(machine)
    nodes = {pfn: nid_of(pfn) for pfn in frames}
    room = {nid: available(node, to_min=True) for nid, node in machine.nodes.items()}
    stayed, is_ample = 0, True
    for source, dest in node_pairs(old, new):
        there = [pfn for _, pfn, _ in mapped_pages(target.mm) if nodes[pfn] == source]
        if not caller.has(Cap.SYS_NICE):
            there = [pfn for pfn in there if frames[pfn].mapcount == 1]
        queue = set(there)
        free = [pfn for pfn in queue if not frames[pfn].is_held]
        if len(free) > room[dest]:
            return None
        is_ample = is_ample and len(queue) <= room[dest]
        second_sightings = len(there) - len(queue)
        stayed += second_sightings * machine.release.second_sighting_fails
        stayed += len(queue) - len(free)
        nodes |= dict.fromkeys(free, dest)
        room[dest] -= len(free)
        if source in room:
            room[source] += len(free)
    return nodes, stayed, is_ample


class MovePagesModel:
    """do_pages_move(): runs of pages for one node move together; where there is memory for all."""

    def __init__(self, machine: Machine, target: Task, move_all: bool) -> None:
        self.machine, self.target, self.move_all = machine, target, move_all
        self.frames = used_frames(machine)
        self.at = {page: pfn for page, pfn, _ in mapped_pages(target.mm)}
        self.nodes = {pfn: nid_of(pfn) for pfn in self.frames}
        self.queue: list[int] = []
        self.status: list[int | None] = []
        self.current: int | None = None
        self.start = 0

    def answer(self, pages: list[int], nodes: list[int]) -> Answer:
        """The return value, the errno, and the statuses."""
        self.status = [None] * len(pages)
        for i, (page, node) in enumerate(zip(pages, nodes, strict=True)):
            errno = self.errno_of_node(node)
            if errno:
                self.submit(i)
                return -1, errno, self.status
            left = self.add(i, page, node)
            if left:
                return left, None, self.status
        return self.submit(len(pages)), None, self.status

    def errno_of_node(self, node: int) -> str | None:
        """Why the call ends at this node, if it does."""
        if node not in self.machine.memory_nodes:
            return "ENODEV"
        allowed = cpuset_mems_allowed(self.machine, self.target)
        return None if node in allowed else "EACCES"

    def add(self, i: int, page: int, node: int) -> int:
        """Take in one page; give what the call returns if it ends here, else 0."""
        if node != self.current:
            left = self.submit(i)
            if left:
                return left
            self.start, self.current = i, node
        outcome = self.outcome(page, node)
        if outcome is None:
            self.queue.append(self.at[page])
            return 0
        self.status[i] = outcome
        left = self.submit(i)
        self.current = None
        return left - 1 if left else 0

    def submit(self, i: int) -> int:
        """Move what is queued."""
        held = [pfn for pfn in self.queue if self.frames[pfn].is_held]
        for pfn in self.queue:
            if pfn not in held:
                assert self.current is not None
                self.nodes[pfn] = self.current
        nr, self.queue = len(self.queue), []
        if held:
            return len(held) + len(self.status) - i
        if nr:
            self.status[self.start : i] = [self.current] * (i - self.start)
        return 0

    def outcome(self, page: int, node: int) -> int | None:
        """The status of a page that is not queued."""
        errno = self.errno_of_page(page)
        if errno:
            return -ERRNO[errno]
        pfn = self.at[page]
        if self.nodes[pfn] == node:
            return node
        if self.frames[pfn].mapcount > 1 and not self.move_all:
            return -ERRNO["EACCES"]
        return -ERRNO["EBUSY"] if pfn in self.queue else None

    def errno_of_page(self, page: int) -> str | None:
        """Why a page has no frame that could move."""
        release = self.machine.release
        vma = next((vma for vma in self.target.mm.vmas if vma.start <= page < vma.end), None)
        if vma is None:
            return "EFAULT"
        run = self.target.mm.page_table.at(page)
        if run is None:
            return "EFAULT" if release.absent_anon_is_efault and not vma.space else "ENOENT"
        if run.flags & Pte.DEVICE:
            return "ENOENT"
        if release.prot_none_is_absent and not vma.flags & Vm.ACCESS:
            return "ENOENT"
        return None if run.lanes else "EFAULT"
