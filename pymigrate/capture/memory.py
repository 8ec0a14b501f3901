"""The memory of processes as declared regions, and the files that they map."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping as AnyMapping

from pymigrate.capture.pagemap import Run
from pymigrate.capture.place import CachedFile, spread, spread_huge
from pymigrate.capture.process import Mapping, Process
from pymigrate.scenario.text.dump import Hex, Line
from pymigrate.units import HPAGE_SIZE, counted, format_size, huge_ceil, huge_floor

Region = dict[str, object]
_OTHER = re.compile(r"[^A-Za-z0-9_-]+")
DELETED = " (deleted)"
ZERO, HUGEPAGE = f"/dev/zero{DELETED}", f"/anon_hugepage{DELETED}"
IN_MEMORY = ("/dev/shm/", "/memfd:", "/SYSV", "/run/", "/dev/zero")  # tmpfs, as far as a path says
HUGE_KB = HPAGE_SIZE >> 10


class Memory:
    """Makes regions of mappings, process by process."""

    def __init__(
        self,
        names: AnyMapping[int, str],
        placed: AnyMapping[tuple[int, int], list[Run]],
        notes: list[str],
    ) -> None:
        self.names, self.placed, self.notes = names, placed, notes
        self.files: dict[str, CachedFile] = {}
        self.kinds: dict[str, str] = {}  # file -> file system
        # Shared memory -> the TASK.REGION that declares it, and what it has of pages.
        self.objects: dict[tuple[object, ...], tuple[str, CachedFile]] = {}
        self.forked: dict[tuple[object, ...], list[str]] = {}  # alike private memory by fork
        self.mapmax: list[int] = []  # of mappings of files
        self.used: dict[str, int] = {}  # names of the process's regions, and the last number tried

    def regions(self, process: Process, policy: str) -> list[Line]:
        """The regions of *process*, whose own policy is *policy*."""
        self.used = {}
        devices = [mapping for mapping in process.mappings if is_device(mapping)]
        if devices:
            what = f"{counted(len(devices), 'mapping')} of devices ({_named(devices)})"
            self.notes.append(f"process {process.pid}: {what} left out: none of it ever moves")
        kept = [mapping for mapping in process.mappings if not is_device(mapping)]
        made = [self._region(process, mapping, policy) for mapping in kept]
        return [Line(region) for region in made if region is not None]

    def file_specs(self) -> dict[str, object]:
        """The scenario's files."""
        return {
            name: {"size": format_size(file.size), "fs": self.kinds[name]}
            for name, file in self.files.items()
        }

    def nr_unshared(self, nr: int) -> int:
        """How many mappings of *nr* processes share pages in ways that the regions do not."""
        alone = sum(len(g) % key[-1] for key, g in self.forked.items() if isinstance(key[-1], int))
        return alone + sum(mapmax > nr for mapmax in self.mapmax)

    def _region(self, process: Process, mapping: Mapping, policy: str) -> Region | None:
        where = f"process {process.pid}, {mapping.start:08x}"
        if mapping.kind == "huge" and (mapping.page_kb or HUGE_KB) != HUGE_KB:
            self.notes.append(f"{where}: huge pages of {_size_of(mapping.page_kb)} are left out")
            return None
        for name in ("swapcache", "writeback"):
            if name in mapping.counts:
                self.notes.append(f"{where}: {name}={mapping.counts[name]} is left out")
        region: Region = {"as": self._name(mapping), "kind": self._kind(mapping)}
        region["size"] = format_size(mapping.end - mapping.start)
        region["address"] = Hex(mapping.start)
        region["prot"] = mapping.perms[:3].replace("-", "") or "none"
        region |= {"policy": mapping.policy} if mapping.policy != policy else {}
        region |= {"locked": True} if mapping.smaps.is_locked else {}
        full = f"{self.names[process.pid]}.{region['as']}"
        origin = self._origin(process, mapping, full)
        if origin:
            return region | origin
        return region | self._pages(mapping, region, (process.pid, mapping.start), where)

    def _origin(self, process: Process, mapping: Mapping, full: str) -> Region | None:
        """What says that the mapping shares its memory with an earlier one; None: with none."""
        nr = mapping.end - mapping.start >> 12
        runs = self.placed.get((process.pid, mapping.start))
        mapmax = mapping.counts.get("mapmax", 1)
        is_private = mapping.pages and mapping.counts.get("anon", 0) == mapping.pages
        is_forked = is_private and mapmax > 1
        if mapping.path[:1] == "/" and not is_forked:
            self.mapmax.append(mapmax)
        if mapping.is_shared and mapping.path == ZERO:
            key = mapping.device, mapping.inode, mapping.offset, nr
            if key not in self.objects:
                self.objects[key] = full, CachedFile()
                self.objects[key][1].note(0, runs or spread(nr, mapping.nodes))
                return None
            origin, known = self.objects[key]
            if runs is None:
                runs, _ = known.place(0, nr, mapping.nodes)
            are_all = sum(mapping.nodes.values()) == sum(b - a for a, b, _ in known.runs)
            pages: Region = {} if are_all else {"pages": _joined(runs) or [[nr, -1]]}
            return {"shared": origin, **pages}
        if not is_forked:
            return None
        group = self.forked.setdefault(_likeness(mapping), [])
        group.append(full)
        first = (len(group) - 1) // mapmax * mapmax
        return {"shared": group[first]} if group[first] != full else None

    def _pages(self, mapping: Mapping, region: Region, key: tuple[int, int], where: str) -> Region:
        """What a region that shares nothing says of its pages."""
        nr = (mapping.end - mapping.start) // (HPAGE_SIZE if mapping.kind == "huge" else 4096)
        found: Region = {}
        file = self._file(mapping, found)
        runs = self.placed.get(key)
        lost = 0
        if runs is not None:
            if file is not None:
                file.note(mapping.offset >> 12, runs)
        elif file is not None and mapping.kind != "huge":
            runs, lost = self._by_counts(mapping, file, nr)
        else:
            blocks = _huge_blocks(mapping) if file is None else 0
            at_end = region["kind"] == "stack" and not blocks
            runs = spread_huge(mapping.start >> 12, nr, mapping.nodes, blocks) or spread(
                nr, mapping.nodes, at_end
            )
        if lost:
            self.notes.append(f"{where}: {lost} pages lie elsewhere in another process, left out")
        found["pages"] = _joined(runs) or [[nr, -1]]
        if file is None and mapping.kind != "huge":
            found |= self._thp(mapping, runs, where)
        if mapping.kind != "huge":
            found |= _states(mapping, runs)
        elif mapping.pages and not mapping.counts.get("dirty"):
            found["dirty"] = False
        return found

    def _thp(self, mapping: Mapping, runs: list[Run], where: str) -> Region:
        """How much is in transparent huge pages, as far as whole ones lie on one node."""
        at, fit = mapping.start >> 12, 0
        for nr, node in _joined(runs):
            blocks = huge_floor(at + nr) - huge_ceil(at) >> 9
            fit += max(blocks, 0) if node >= 0 else 0
            at += nr
        blocks = min(_huge_blocks(mapping), fit)
        left = mapping.smaps.thp_kb - blocks * HUGE_KB
        if left > 0:
            self.notes.append(f"{where}: {left} kB of transparent huge pages are base pages")
        return {"thp": format_size(blocks * HPAGE_SIZE)} if blocks else {}

    def _by_counts(self, mapping: Mapping, file: CachedFile, nr: int) -> tuple[list[Run], int]:
        """Runs of a file's mapping: first its own copies, then what is cached."""
        own = 0 if mapping.is_shared else mapping.counts.get("anon", 0)
        copies: list[Run] = []
        cached = dict(mapping.nodes)
        for node, count in sorted(mapping.nodes.items()):
            taken = min(own, count)
            if taken:
                copies.append(Run(taken, node, anon=True))
                cached[node] -= taken
                own -= taken
        at = sum(run.nr for run in copies)
        runs, lost = file.place((mapping.offset >> 12) + at, nr - at, cached)
        return copies + runs, lost

    def _file(self, mapping: Mapping, region: Region) -> CachedFile | None:
        """The file that is mapped, which *region* then names."""
        is_object = mapping.is_shared and mapping.path == ZERO
        if mapping.path[:1] != "/" or is_object or mapping.path == HUGEPAGE:
            if mapping.path == HUGEPAGE and mapping.is_shared:
                region["map"] = "shared"
            return None
        file = self.files.setdefault(mapping.path, CachedFile())
        file.size = max(file.size, mapping.offset + mapping.end - mapping.start)
        is_tmpfs = mapping.path.startswith(IN_MEMORY)
        fs = "hugetlbfs" if mapping.kind == "huge" else "tmpfs" if is_tmpfs else "ext4"
        self.kinds[mapping.path] = fs
        region["file"] = mapping.path
        region |= {"offset": format_size(mapping.offset)} if mapping.offset else {}
        region |= {"map": "shared"} if mapping.is_shared else {}
        return file

    def _kind(self, mapping: Mapping) -> str:
        if mapping.kind == "huge":
            return "hugetlb"
        if mapping.path[:1] == "/":
            return "shmem" if mapping.is_shared and mapping.path == ZERO else "file"
        return mapping.kind or "anon"

    def _name(self, mapping: Mapping) -> str:
        """A name for the region that the process has not given yet."""
        stem = os.path.basename(mapping.path.removesuffix(DELETED)).strip("[]")
        name = mapping.kind or _OTHER.sub("_", stem) or "anon"
        name = (name if re.match(r"[A-Za-z_]", name) else f"_{name}")[:56]
        unique, number = name, self.used.get(name, 0)
        while unique in self.used:
            number += 1
            unique = f"{name}-{number + 1}"
        self.used[name] = number
        self.used.setdefault(unique, 0)
        return unique


def is_device(mapping: Mapping) -> bool:
    """Whether a device's driver maps its memory (VM_PFNMAP), or it is a device's file."""
    is_memory = mapping.path.startswith(IN_MEMORY) or mapping.kind == "huge"
    is_driven = mapping.smaps.is_device and mapping.path[:1] != "["  # but for [vvar]
    return is_driven or (mapping.path.startswith("/dev/") and not is_memory)


def _named(devices: list[Mapping]) -> str:
    """The first paths of *devices*."""
    paths = sorted({mapping.path or "no name" for mapping in devices})
    return ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "")


def _size_of(kb: int) -> str:
    return f"{kb >> 20} GiB" if kb and not kb % (1 << 20) else f"{kb} kB"


def _huge_blocks(mapping: Mapping) -> int:
    """Its transparent huge pages by smaps: of anonymous memory, and of no copies of files."""
    is_anon = mapping.path[:1] != "/" and mapping.kind != "huge"
    return mapping.smaps.thp_kb // HUGE_KB if is_anon else 0


def _likeness(mapping: Mapping) -> tuple[object, ...]:
    """What private memory has in common that a fork has shared: no other is at such an address."""
    counts, nodes = sorted(mapping.counts.items()), sorted(mapping.nodes.items())
    place = mapping.start, mapping.end, mapping.path
    return (*place, str(counts), str(nodes), mapping.counts["mapmax"])


def _states(mapping: Mapping, runs: list[Run]) -> Region:
    """`dirty` and `states` of a mapping: its copies, and as many dirty pages as were counted."""
    dirty = mapping.counts.get("dirty", 0)
    is_file = mapping.path[:1] == "/" and not (mapping.is_shared and mapping.path == ZERO)
    has_copies = is_file and not mapping.is_shared and mapping.counts.get("anon", 0) > 0
    usual = not is_file  # what the format takes for granted
    is_private = is_file and not mapping.is_shared  # what is dirty of it, `dirty` says of copies
    if not has_copies and (not dirty or (dirty == mapping.pages and not is_private)):
        is_dirty = bool(dirty) or (usual and not mapping.pages)
        return {"dirty": is_dirty} if is_dirty != usual else {}
    own = mapping.counts.get("anon", 0) if has_copies else 0
    dirty -= own
    states: list[list[object]] = []
    for run in runs:
        if run.node < 0 or (has_copies and run.anon):
            parts = [(run.nr, "anon" if run.node >= 0 else "clean")]
        else:
            stored = max(min(dirty, run.nr), 0)
            dirty -= stored
            parts = [(stored, "dirty"), (run.nr - stored, "clean")]
        for nr, state in parts:
            if nr and states and states[-1][1] == state:
                states[-1] = [int(str(states[-1][0])) + nr, state]
            elif nr:
                states.append([nr, state])
    return {"dirty": False, "states": states}


def _joined(runs: list[Run]) -> list[list[int]]:
    out: list[list[int]] = []
    for run in runs:
        if out and out[-1][1] == run.node:
            out[-1][0] += run.nr
        else:
            out.append([run.nr, run.node])
    while out and out[-1][1] < 0:
        out.pop()
    return out
