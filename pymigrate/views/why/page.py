"""Everything about one page: its frame, flags, references, who maps it, and what moves it."""

from __future__ import annotations

from pymigrate.errors import KernelError
from pymigrate.mm.base.memmap import MAPPING_ANON, Folio, Frame, FrameFlag, nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.compact.compaction import ZONE_NAMES
from pymigrate.mm.frames.frames import folio_of, frame_of
from pymigrate.mm.frames.lru_batches import in_batches
from pymigrate.mm.frames.memory_tiers import next_demotion_node
from pymigrate.mm.offline.memory_hotplug import physical
from pymigrate.mm.reclaim.lru import is_droppable, is_on_lru
from pymigrate.mm.reclaim.shrink import can_demote
from pymigrate.mm.spaces.rmap import mappings, rmap_index
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vma
from pymigrate.records import NamedTuple
from pymigrate.units import MAX_NUMNODES, PAGE_SHIFT
from pymigrate.views.columns import aligned
from pymigrate.views.pages.flags import PageFlags
from pymigrate.views.pages.regions import region_offsets
from pymigrate.views.proc.numa_maps import policy_text
from pymigrate.views.why.explain import Question, holders, references, rows
from pymigrate.views.why.reasons import REASONS

_KSM, _MOVABLE = 3, 2  # PAGE_MAPPING_KSM, PAGE_MAPPING_MOVABLE
_ENTRY = {
    Pte.PRESENT: "present",
    Pte.WRITE: "write",
    Pte.DIRTY: "dirty",
    Pte.YOUNG: "young",
    Pte.EXCLUSIVE: "exclusive",
    Pte.HINT: "prot_none by a NUMA scan",
    Pte.DEVICE: "device private",
    Pte.HWPOISON: "hwpoison",
}


class Mapper(NamedTuple):
    """A process that maps the page, where, and the bits of its entry."""

    pid: int
    task: str
    address: int
    bits: tuple[str, ...]
    is_huge: bool


class PageRow(NamedTuple):
    """What is known of a page; *pfn* is None where no frame is behind it: *entry* says why.

    It is the frame's physical number, as in /proc/PID/pagemap and /proc/zoneinfo.
    """

    name: str
    address: int
    entry: str
    policy: str
    pfn: int | None = None
    node: int = -1
    zone: str = ""
    order: int = 0
    offset: int = 0  # in its folio
    flags: tuple[str, ...] = ()
    mapping: str = ""
    lru: str = ""
    references: tuple[tuple[int, str], ...] = ()
    mappers: tuple[Mapper, ...] = ()
    outlook: tuple[tuple[str, str], ...] = ()  # who would move or drop it, and what comes of it


def row(machine: Machine, task: Task, page: int) -> PageRow:
    """What is known of *page* of *task*. Raises KernelError EFAULT where nothing is mapped."""
    vma = task.mm.find_vma(page)
    if vma is None:
        where = f"{page << PAGE_SHIFT:#x}"
        raise KernelError("EFAULT", f"process {task.pid} maps nothing at {where}")
    name = region_offsets(machine, task)(page)
    entry = task.mm.page_table.at(page)
    known = PageRow(name, page << PAGE_SHIFT, _entry_text(entry), policy_text(machine, task, vma))
    if entry is None or not entry.lanes:
        return known
    pfn = entry.pfn(page)
    folio, frame = folio_of(machine, pfn), frame_of(machine, pfn)
    is_node = nid_of(pfn) < MAX_NUMNODES
    return known._replace(
        pfn=physical(machine, pfn) if is_node else pfn,
        node=nid_of(pfn) if is_node else -1,
        zone=ZONE_NAMES[machine.nodes[nid_of(pfn)].zone_of(pfn).name] if is_node else "Device",
        order=folio.order,
        offset=pfn - folio.pfn,
        flags=PageFlags(machine).names(folio.frame, folio.pfn, pfn),
        mapping=_mapping(machine, vma, frame, page),
        lru=_lru(machine, folio),
        references=tuple(_references(machine, folio)),
        mappers=tuple(_mappers(machine, vma, frame, page, pfn)),
        outlook=tuple(_outlook(machine, task, page, folio)) if is_node else (),
    )


def format_row(found: PageRow) -> str:
    """Text for people: a line for each of what is known."""
    table = [["page", f"{found.name}, {found.address:#x}"], ["entry", found.entry]]
    if found.pfn is not None:
        node = f"node {found.node}" if found.node >= 0 else "a device's memory"
        where = f"{found.pfn:#x}: {node}, zone {found.zone}, order {found.order}"
        table.append(["pfn", where + (f", page {found.offset} of it" if found.offset else "")])
        table.append(["flags", " ".join(found.flags)])
        table.append(["mapping", found.mapping])
        table.append(["lru", found.lru])
        total = sum(nr for nr, _ in found.references)
        listed = " + ".join(
            f"{nr} ({what})" if what[0].isdigit() else f"{nr} {what}"
            for nr, what in found.references
            if nr
        )
        table.append(["refcount", f"{total} = {listed}"])
        label = "mapped by"
        for mapper in found.mappers:
            how = "huge " if mapper.is_huge else ""
            bits = " ".join(mapper.bits)
            where = f"{mapper.pid} {mapper.task} at {mapper.address:#x}: {how}{bits}"
            table.append([label, where])
            label = ""
    table.append(["policy", found.policy])
    table += [[who, what] for who, what in found.outlook]
    return "".join(f"{line.rstrip()}\n" for line in aligned(table, {0, 1}))


def as_json(found: PageRow) -> dict[str, object]:
    """The page for machines."""
    return {
        "page": found.name,
        "address": f"{found.address:#x}",
        "entry": found.entry,
        "policy": found.policy,
        "pfn": None if found.pfn is None else f"{found.pfn:#x}",
        "node": found.node if found.node >= 0 else None,
        "zone": found.zone or None,
        "order": found.order,
        "flags": list(found.flags),
        "mapping": found.mapping or None,
        "lru": found.lru or None,
        "refcount": [{"nr": nr, "of": what} for nr, what in found.references if nr],
        "mappers": [
            mapper._asdict() | {"address": f"{mapper.address:#x}", "bits": list(mapper.bits)}
            for mapper in found.mappers
        ],
        "outlook": [{"what": what, "answer": answer} for what, answer in found.outlook],
    }


def _entry_text(entry: PteRun | None) -> str:
    if entry is None:
        return "none: nobody has touched it yet, or it was dropped"
    bits = " ".join(_bits(entry))
    if entry.flags & Pte.HWPOISON:
        return "hwpoison: who touches it is killed"
    return bits if entry.lanes else f"{bits}: the zero page"


def _bits(entry: PteRun) -> tuple[str, ...]:
    return tuple(name for bit, name in _ENTRY.items() if entry.flags & bit)


def _mapping(machine: Machine, vma: Vma, frame: Frame, page: int) -> str:
    """folio->mapping with its low bits, and the index."""
    if frame.flags & FrameFlag.KSM:
        return f"node {frame.owner} of KSM's stable tree | {_KSM} (KSM)"
    if frame.is_anon:
        index = f"index {page:#x}"
        return f"anon_vma of fork family {frame.owner} | {MAPPING_ANON} (ANON), {index}"
    space = machine.spaces.get(frame.owner)
    if space is None:
        return f"none, or a driver's | {_MOVABLE} (MOVABLE)"
    return f"{space.name or 'shared memory'} ({space.fs}) | 0, index {vma.index(page):#x}"


def _lru(machine: Machine, folio: Folio) -> str:
    """Where it waits to be reclaimed."""
    for cpu, batch in sorted(machine.lru_batches.items()):
        queues = {
            "for its list": batch.waiting,
            "for the unevictable list": batch.mlocked,
            "to be deactivated": batch.deactivated,
            "to be lazily freed": batch.lazyfreed,
        }
        for what, queue in queues.items():
            if folio.pfn in queue:
                return f"waits on CPU {cpu} {what}"
    if folio.flags & FrameFlag.MLOCKED:
        return "unevictable list"
    if nid_of(folio.pfn) >= MAX_NUMNODES or not is_on_lru(machine, folio.frame):
        return "on no list"
    kind = "anon" if folio.flags & FrameFlag.SWAPBACKED else "file"
    return f"{kind} list of node {nid_of(folio.pfn)}"


def _references(machine: Machine, folio: Folio) -> list[tuple[int, str]]:
    found = [*references(machine, folio), *holders(folio)]
    if folio.pfn in in_batches(machine):
        found.append((1, "batch of a CPU"))
    return found


def _mappers(machine: Machine, vma: Vma, frame: Frame, page: int, pfn: int) -> list[Mapper]:
    """Who maps it, in the order of the walk."""
    index = rmap_index(frame, vma, page)
    found = []
    for mapping in mappings(machine, frame, index, index + 1):
        at = index + mapping.shift
        entry = mapping.table.at(at)
        if mapping.mm is None or entry is None or not entry.lanes or entry.pfn(at) != pfn:
            continue
        found += [
            Mapper(task.pid, task.name, at << PAGE_SHIFT, _bits(entry), bool(entry.order))
            for task in machine.processes
            if task.mm is mapping.mm
        ]
    return found


def _outlook(machine: Machine, task: Task, page: int, folio: Folio) -> list[tuple[str, str]]:
    """What those that move or drop pages would make of it."""
    out = []
    for who, caller in (("as root", machine.shell_of(0)), (f"as uid {task.uid}", task)):
        [verdict] = rows(machine, task, Question(caller, a=page, b=page + 1))
        out.append((f"moved {who}", _verdict(verdict.why, verdict.detail)))
    out.append(("reclaimed", _reclaimed(machine, folio)))
    return out


def _verdict(why: str, detail: str) -> str:
    if not why:
        return "yes"
    reason = REASONS[why]
    return f"no: {reason.text}" + (f" ({detail})" if detail else "")


def _reclaimed(machine: Machine, folio: Folio) -> str:
    nid = nid_of(folio.pfn)
    if folio.flags & FrameFlag.MLOCKED:
        return "no: it is mlocked"
    if can_demote(machine, nid) and not folio.is_held:
        return f"demoted to node {next_demotion_node(machine, nid)}"
    if is_droppable(machine, folio.frame):
        return "dropped: clean page cache"
    if folio.is_anon and not folio.flags & (FrameFlag.SWAPBACKED | FrameFlag.DIRTY):
        return "dropped, unless its entry is dirty: it was lazily freed"
    if folio.is_held:
        return "no: somebody holds it"
    return "no: there is no swap" if folio.flags & FrameFlag.SWAPBACKED else "no: it is dirty"
