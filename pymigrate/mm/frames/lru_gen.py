"""The generation of its node's LRU lists that a folio is in. Mirrors include/linux/mm_inline.h.

Generations are numbered; the youngest is the node's max_seq. A frame keeps its number modulo
MAX_NR_GENS, beginning with that of memory that is faulted in on a new machine.
"""

from __future__ import annotations

from pymigrate.mm.base.memmap import Frame, FrameFlag, nid_of
from pymigrate.mm.base.release import Release
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import LruGen

MAX_NR_GENS, MIN_NR_GENS = 4, 2
_FIRST_SEQ = LruGen().max_seq
_GEN, _LIST = FrameFlag.GEN & -FrameFlag.GEN, FrameFlag.LIST & -FrameFlag.LIST
_NO_LIST = FrameFlag.HUGETLB | FrameFlag.MOVABLE | FrameFlag.CLEARED | FrameFlag.KERNEL
_NO_LIST |= FrameFlag.CONTIG


def seq_of(lrugen: LruGen, frame: Frame) -> int:
    """The number of the generation that *frame* is in. Mirrors folio_lru_gen()."""
    return _number(lrugen, (frame.flags & FrameFlag.GEN) // _GEN)


def list_of(lrugen: LruGen, frame: Frame) -> int:
    """The number of the generation on whose list *frame* is."""
    return _number(lrugen, (frame.flags & FrameFlag.LIST) // _LIST)


def _number(lrugen: LruGen, gen: int) -> int:
    return lrugen.max_seq - (lrugen.max_seq - _FIRST_SEQ - gen) % MAX_NR_GENS


def in_generation(frame: Frame, seq: int) -> Frame:
    """*frame*, in generation *seq* and on its list."""
    gen = (seq - _FIRST_SEQ) % MAX_NR_GENS
    return _marked(frame, FrameFlag.GEN | FrameFlag.LIST, gen * _GEN | gen * _LIST)


def promoted(frame: Frame, seq: int) -> Frame:
    """*frame*, in generation *seq*, and on the list where it was. Mirrors folio_update_gen()."""
    return _marked(frame, FrameFlag.GEN, (seq - _FIRST_SEQ) % MAX_NR_GENS * _GEN)


def _marked(frame: Frame, mask: int, flags: int) -> Frame:
    if frame.flags & mask == flags:
        return frame
    return frame._replace(flags=frame.flags & ~mask | flags)


def added(machine: Machine, nid: int, frame: Frame, is_active: bool = True) -> Frame:
    """*frame* of node *nid* as it comes to its list; *is_active*: for it was faulted in.

    Mirrors lru_gen_add_folio().
    """
    node = machine.nodes.get(nid)
    if node is None or frame.flags & _NO_LIST or not machine.release.lru_gen:
        return frame
    lrugen = node.lrugen
    begins_second = machine.release.lru_gen_begins_second
    if is_active and not begins_second:
        seq = lrugen.max_seq
    elif is_active or frame.flags & FrameFlag.SWAPBACKED:
        seq = lrugen.max_seq - 1
    elif begins_second:
        seq = max(lrugen.max_seq - MAX_NR_GENS + 1, lrugen.min_file)
    elif lrugen.min_file + MIN_NR_GENS >= lrugen.max_seq:
        seq = lrugen.min_file
    else:
        seq = lrugen.min_file + 1
    return in_generation(frame, seq)


def changes_generation(machine: Machine, frame: Frame) -> bool:
    """Whether *frame* may be of another generation once its folio has moved."""
    is_first = not frame.flags & FrameFlag.GEN and not is_aged(machine)
    return machine.release.lru_gen and not is_first


def arrived(
    machine: Machine, old: int, new: int, frame: Frame, is_reclaimed: bool = False
) -> Frame:
    """*frame* of pfn *old* as it comes to the list of pfn *new*, where its folio has moved to.

    Mirrors lru_gen_del_folio(), which remembers whether it was active, but for reclaim.
    """
    active = not is_reclaimed and is_active(machine, nid_of(old), frame)
    return added(machine, nid_of(new), frame, active)


def first_generations(release: Release) -> LruGen:
    """The generations of a new machine's node. Mirrors lru_gen_init_lruvec().

    They are so numbered that what is faulted in first is of the same on every kernel.
    """
    younger = int(release.lru_gen_begins_second)
    return LruGen(_FIRST_SEQ + younger, younger, younger)


def is_aged(machine: Machine) -> bool:
    """Whether any node has generations that a new machine has not."""
    youngest = _FIRST_SEQ + machine.release.lru_gen_begins_second
    return any(node.lrugen.max_seq != youngest for node in machine.nodes.values())


def is_active(machine: Machine, nid: int, frame: Frame) -> bool:
    """Whether it is in one of the two youngest generations. Mirrors lru_gen_is_active()."""
    node = machine.nodes.get(nid)
    return node is None or seq_of(node.lrugen, frame) >= node.lrugen.max_seq - 1
