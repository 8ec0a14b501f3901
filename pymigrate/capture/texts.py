"""A tree made of texts as they stand in bug reports: numa_maps, and what `numactl -H` prints."""

from __future__ import annotations

import re

from pymigrate.capture.host import NODES
from pymigrate.capture.process import NumaLine, numa_lines
from pymigrate.capture.tree import Tree
from pymigrate.errors import ScenarioError
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.records import NamedTuple

_CPUS = re.compile(r"node (\d+) cpus:((?: \d+)*)")
_SIZE = re.compile(r"node (\d+) (size|free): (\d+) MB")
_ROW = re.compile(r"(\d+):((?:\s+\d+)+)")
_SKIPPED = re.compile(r"available:.*|node distances:|node(\s+\d+)*|\s*")
_HARDWARE = "what `numactl --hardware` prints"
_SHARED = re.compile(r"/SYSV|/dev/zero|/dev/shm/|/memfd:")
_SPECIAL = {"heap": "[heap]", "stack": "[stack]"}
DEFAULT_PID = 1000


class TextTree(Tree):
    """Files of which there is but their text, by name; others are not there."""

    def __init__(self, files: dict[str, str], root: str) -> None:
        super().__init__(root)
        self.files, self.page_size = files, 4096

    @property
    def is_live(self) -> bool:
        """It never is this host."""
        return False

    def has(self, name: str) -> bool:
        """Whether there is such a file or directory."""
        return name in self.files or bool(self.names(name))

    def names(self, folder: str) -> list[str]:
        """What a directory holds; nothing if it is not there."""
        inside = [n[len(folder) + 1 :] for n in self.files if n.startswith(f"{folder}/")]
        return sorted({name.partition("/")[0] for name in inside})

    def is_dir(self, name: str) -> bool:
        """Whether it is a directory."""
        return bool(self.names(name))

    def read(self, name: str) -> str:
        """A file's text. Raises ScenarioError if there is none."""
        if name not in self.files:
            raise ScenarioError("cannot be read: No such file or directory", self.path(name))
        return self.files[name]

    def path(self, name: str) -> str:
        """The file that was given: its lines are those of numa_maps."""
        return self.root


class _Hardware(NamedTuple):
    """The nodes: CPUs, sizes in MB by what they are, and distances."""

    cpus: dict[int, Cpumask]
    sizes: dict[tuple[int, str], int]
    rows: dict[int, list[int]]


def text_tree(
    numa_maps: str, hardware: str | None, memory: int | None, pid: int
) -> tuple[Tree, list[str]]:
    """A tree of the files *numa_maps* and *hardware*, and notes of what they do not tell.

    Without *hardware* each node that numa_maps names has *memory* bytes. Raises ScenarioError.
    """
    notes = ["sizes of mappings are guessed by their pages, and so is what they may be used for"]
    notes.append("the name, user and CPUs of the process are not told")
    text = Tree("").read(numa_maps)
    files = {f"proc/{pid}/numa_maps": text}
    tree = TextTree(files, numa_maps)
    lines = numa_lines(tree, f"proc/{pid}/numa_maps")
    if not lines:
        raise ScenarioError("is empty; expected the lines of a numa_maps", numa_maps)
    if hardware is not None:
        nodes = _nodes_of(hardware, notes)
    elif memory is not None:
        nodes = _guessed_nodes(lines, memory, notes)
    else:
        message = "needs --hardware FILE, with what `numactl -H` prints, or --memory SIZE"
        raise ScenarioError(message, numa_maps)
    files |= nodes
    known = {int(name.split("/")[4][4:]) for name in nodes}
    missing = {nid for line in lines.values() for nid in line.nodes} - known
    if missing:
        raise ScenarioError(f"has pages on node {min(missing)}, which {hardware} lacks", numa_maps)
    files[f"proc/{pid}/maps"] = _maps(lines)
    mems = Nodemask.collect(known)
    status = {"Name": "process", "Uid": "0 0", "CapEff": "0", "VmSize": "0 kB"}
    status |= {"Mems_allowed_list": str(mems)}
    files[f"proc/{pid}/status"] = "".join(f"{name}:\t{value}\n" for name, value in status.items())
    return tree, notes


def _hardware(path: str) -> _Hardware:
    found = _Hardware({}, {}, {})
    for number, line in enumerate(Tree("").read(path).splitlines(), 1):
        line = line.strip()
        if match := _CPUS.fullmatch(line):
            found.cpus[int(match[1])] = Cpumask.collect(map(int, match[2].split()))
        elif match := _SIZE.fullmatch(line):
            found.sizes[int(match[1]), match[2]] = int(match[3])
        elif match := _ROW.fullmatch(line):
            found.rows[int(match[1])] = [int(word) for word in match[2].split()]
        elif not _SKIPPED.fullmatch(line):
            raise ScenarioError(f"{line[:60]!r}; expected {_HARDWARE}", path, number)
    if not found.cpus:
        raise ScenarioError(f"has no nodes; expected {_HARDWARE}", path)
    return found


def _nodes_of(path: str, notes: list[str]) -> dict[str, str]:
    """The files of the nodes that *path* tells of. Raises ScenarioError."""
    found = _hardware(path)
    files: dict[str, str] = {}
    for nid, cpus in found.cpus.items():
        if (nid, "size") not in found.sizes:
            raise ScenarioError(f"has no size of node {nid}; expected {_HARDWARE}", path)
        files |= _files_of(nid, cpus, found.sizes[nid, "size"] << 10)
        if (nid, "free") in found.sizes:
            free = found.sizes[nid, "free"] << 10
            files[f"{NODES}/node{nid}/meminfo"] += f"Node {nid} MemFree: {free} kB\n"
        if nid in found.rows:
            files[f"{NODES}/node{nid}/distance"] = " ".join(map(str, found.rows[nid]))
    notes.append("what of the memory in use is page cache is not told: all of it is the kernel's")
    return files


def _guessed_nodes(
    lines: dict[int, NumaLine],
    memory: int,
    notes: list[str],
) -> dict[str, str]:
    """The files of the nodes that numa_maps names, with a CPU each."""
    named = {nid for line in lines.values() for nid in line.nodes}
    for line in lines.values():
        named |= set(Nodemask.parse(line.policy.partition(":")[2]))
    named = named or {0}
    notes.append(f"the nodes are those that it names, with a CPU and {memory >> 20} MiB each")
    files: dict[str, str] = {}
    for cpu, nid in enumerate(sorted(named)):
        files |= _files_of(nid, Cpumask.of(cpu), memory >> 10)
    return files


def _files_of(nid: int, cpus: Cpumask, kb: int) -> dict[str, str]:
    folder = f"{NODES}/node{nid}"
    return {f"{folder}/cpulist": str(cpus), f"{folder}/meminfo": f"Node {nid} MemTotal: {kb} kB\n"}


def _maps(lines: dict[int, NumaLine]) -> str:
    """A maps that fits to numa_maps: mappings end with their pages, or where the next begins.

    Those of a file lie behind each other in it.
    """
    text = ""
    starts = sorted(lines)
    offsets: dict[str, int] = {}
    for number, (start, following) in enumerate(
        zip(starts, [*starts[1:], 1 << 47], strict=True), 1
    ):
        line = lines[start]
        unit = line.counts.get("kernelpagesize_kB", 2048 if line.kind == "huge" else 4) << 10
        size = min(max(sum(line.nodes.values()), 1) * unit, following - start)
        path = line.path.replace("\\040", " ") or _SPECIAL.get(line.kind, "")
        offset = offsets.get(path, 0) if line.path else 0
        offsets[path] = offset + size
        perms = "r--p" if line.path and not line.counts.get("anon") else "rw-p"
        if perms == "r--p" and (_SHARED.match(path) or line.kind == "huge"):
            perms = "rw-s"
        inode = number if line.path else 0
        text += f"{start:08x}-{start + size:08x} {perms} {offset:08x} 00:00 {inode} {path}\n"
    return text
