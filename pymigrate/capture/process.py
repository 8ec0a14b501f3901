"""A process: its mappings with their policies and pages, its user, CPUs and nodes."""

from __future__ import annotations

import re

from pymigrate.capture.tree import Tree
from pymigrate.errors import ScenarioError
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.records import NamedTuple

_MAPS = re.compile(
    r"([0-9a-f]+)-([0-9a-f]+) ([r-][w-][x-][sp]) ([0-9a-f]+) (\S+) (\d+)(?:\s+(.*))?"
)
_NUMA_MAPS = re.compile(
    r"([0-9a-f]+) ([a-z][a-z ()]*?(?:=[a-z|]+)?(?::[0-9,-]*)?)"
    r"(?: file=(\S+)| (heap|stack)| stack:\d+)?( huge)?((?: [A-Za-z_]\w*=\d+)*)"
)
_MAPS_FORM = "START-END PERMS OFFSET DEV INODE [PATH]"
_NUMA_MAPS_FORM = "START POLICY [file=PATH|heap|stack] [huge] [NAME=NUMBER]..."
_SIZES = {
    "KernelPageSize:": "page_kb",
    "AnonHugePages:": "thp_kb",
    "ShmemPmdMapped:": "other_thp_kb",
    "FilePmdMapped:": "other_thp_kb",
}
_SMAPS = re.compile(
    rf"^(?:([0-9a-f]+)-[0-9a-f]+ [r-][w-][x-][sp] |({'|'.join(_SIZES)}|VmFlags:)(.*))", re.MULTILINE
)
_COUNTED = frozenset(("anon", "dirty", "mapped", "swapcache", "active", "writeback"))
_DEVICE_FLAGS = frozenset(("pf", "io"))  # VM_PFNMAP, VM_IO
_VSYSCALL = 1 << 47  # no mapping of the process's own begins there or above


class Smaps(NamedTuple):
    """What smaps adds of a mapping."""

    is_locked: bool = False
    is_device: bool = False  # memory of a device, not of a node
    page_kb: int = 0  # 0: unknown
    thp_kb: int = 0  # in huge pages: anonymous memory
    other_thp_kb: int = 0  # likewise, of files and shared memory


class NumaLine(NamedTuple):
    """A line of numa_maps."""

    policy: str
    kind: str
    counts: dict[str, int]
    nodes: dict[int, int]
    path: str  # as it is written there: blanks are \\040


class Mapping(NamedTuple):
    """A line of maps with the line of numa_maps that belongs to it."""

    start: int
    end: int
    perms: str
    offset: int
    device: str
    inode: int
    path: str
    policy: str
    kind: str  # "heap", "stack", "huge" or ""; a thread's stack is memory like any other
    counts: dict[str, int]  # anon, dirty, mapmax, ...: what the kernel prints
    nodes: dict[int, int]
    smaps: Smaps = Smaps()

    @property
    def is_shared(self) -> bool:
        """Whether it is MAP_SHARED."""
        return self.perms[3] == "s"

    @property
    def pages(self) -> int:
        """Its pages that are present; huge ones of the hugetlb pools."""
        return sum(self.nodes.values())

    @property
    def page_kb(self) -> int:
        """The size of its pages, if numa_maps or smaps says it; else 0."""
        return self.counts.get("kernelpagesize_kB", 0) or self.smaps.page_kb

    def in_pages(self, factor: int) -> Mapping:
        """The same with each of its pages, if they are of no pool, as *factor* smaller ones."""
        if self.kind == "huge" or factor == 1:
            return self
        counts = {k: nr * factor if k in _COUNTED else nr for k, nr in self.counts.items()}
        nodes = {nid: nr * factor for nid, nr in self.nodes.items()}
        return self._replace(counts=counts, nodes=nodes)


class Process(NamedTuple):
    """What a scenario says of a process."""

    pid: int
    parent: int
    comm: str
    uid: int
    capabilities: int
    cpus: Cpumask
    mems: Nodemask
    cpuset: str
    mappings: list[Mapping]
    thp_kb: int = 0  # of them in transparent huge pages, if only smaps_rollup says it
    pinned_kb: int = 0
    has_mm: bool = True  # a kernel thread has none


def read_process(tree: Tree, pid: int) -> Process:
    """The process *pid* of *tree*. Raises ScenarioError."""
    folder = f"proc/{pid}"
    if not tree.has(f"{folder}/status"):
        raise ScenarioError(f"there is no process {pid}", tree.path(folder))
    status = dict(
        line.split(":\t", 1) for _, line in tree.lines(f"{folder}/status") if ":\t" in line
    )

    def field(name: str, default: str) -> str:
        return status.get(name, default).strip()

    try:
        return Process(
            pid,
            int(field("PPid", "0")),
            field("Name", "") or str(pid),
            int(field("Uid", "0 0").split()[1]),
            int(field("CapEff", "0"), 16),
            Cpumask.parse(field("Cpus_allowed_list", "")),
            Nodemask.parse(field("Mems_allowed_list", "")),
            tree.text(f"{folder}/cpuset", "/"),
            _mappings(tree, folder),
            _thp_kb(tree, folder),
            int((field("VmPin", "0") or "0").split()[0]),
            "VmSize" in status,
        )
    except (ValueError, IndexError) as error:
        raise ScenarioError(f"is malformed: {error}", tree.path(f"{folder}/status")) from None


def _mappings(tree: Tree, folder: str) -> list[Mapping]:
    """The mappings that both files list: [vsyscall] is in maps alone."""
    found: list[Mapping] = []
    lines = numa_lines(tree, f"{folder}/numa_maps")
    smaps = _smaps(tree, f"{folder}/smaps")
    for number, line in tree.lines(f"{folder}/maps"):
        match = _MAPS.fullmatch(line.rstrip())
        if match is None:
            raise tree.malformed(f"{folder}/maps", number, line, _MAPS_FORM)
        start, end = int(match[1], 16), int(match[2], 16)
        if start >= _VSYSCALL:
            continue
        told = lines.pop(start, None)
        if told is None:
            message = f"has no line for {start:x}, which maps has; expected the same mappings"
            raise ScenarioError(message, tree.path(f"{folder}/numa_maps"))
        place = match[3], int(match[4], 16), match[5], int(match[6]), match[7] or ""
        found.append(Mapping(start, end, *place, *told[:4], smaps.get(start, Smaps())))
    if lines:
        message = f"has no line for {min(lines):x}, which numa_maps has; expected the same mappings"
        raise ScenarioError(message, tree.path(f"{folder}/maps"))
    return found


def numa_lines(tree: Tree, name: str) -> dict[int, NumaLine]:
    """The lines of numa_maps by address. Raises ScenarioError."""
    found: dict[int, NumaLine] = {}
    for number, line in tree.lines(name):
        match = _NUMA_MAPS.fullmatch(line.rstrip())
        if match is None:
            raise tree.malformed(name, number, line, _NUMA_MAPS_FORM)
        counts = {k: int(v) for k, _, v in (word.partition("=") for word in match[6].split())}
        nodes = {int(k[1:]): counts.pop(k) for k in list(counts) if re.fullmatch(r"N\d+", k)}
        kind = "huge" if match[5] else match[4] or ""
        found[int(match[1], 16)] = NumaLine(match[2], kind, counts, nodes, match[3] or "")
    return found


def _thp_kb(tree: Tree, folder: str) -> int:
    """How much memory is in transparent huge pages, where smaps_rollup says it and not smaps."""
    if tree.peek(f"{folder}/smaps"):
        return 0
    lines = [line.split() for line in (tree.peek(f"{folder}/smaps_rollup") or "").splitlines()]
    return sum(int(words[1]) for words in lines if words[:1] == ["AnonHugePages:"])


def _smaps(tree: Tree, name: str) -> dict[int, Smaps]:
    """What smaps says of each mapping, by address, if it may be read."""
    found: dict[int, Smaps] = {}
    start, of = 0, Smaps()
    for match in _SMAPS.finditer(tree.peek(name) or ""):
        address, key, value = match.groups()
        if address:
            start, of = int(address, 16), Smaps()
        elif key == "VmFlags:":
            flags = value.split()
            is_device = not _DEVICE_FLAGS.isdisjoint(flags)
            of = of._replace(is_locked="lo" in flags, is_device=is_device)
        elif kb := int(value.split()[0]):
            field = _SIZES[key]
            of = of._replace(**{field: getattr(of, field) + kb})
        found[start] = of
    return found
