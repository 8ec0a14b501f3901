"""capture(): reads a machine and its processes, and gives the text of a scenario."""

from __future__ import annotations

from pymigrate.capture.host import node_of_blocks, read_host
from pymigrate.capture.memory import DELETED, HUGEPAGE, IN_MEMORY, ZERO
from pymigrate.capture.occupied import as_data, occupied
from pymigrate.capture.pagemap import Run, read_runs
from pymigrate.capture.process import Mapping, Process, read_process
from pymigrate.capture.scenario import scenario_of
from pymigrate.capture.tree import Tree
from pymigrate.errors import ScenarioError
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.text.dump import dump
from pymigrate.version import __version__

_FIRST_UID = 1000  # where names are replaced


def capture(root: str, pids: list[int], anonymize: bool) -> tuple[str, list[str]]:
    """A scenario of the machine below *root* with *pids*, or all that may be read; and notes.

    Raises ScenarioError if a file is missing or malformed, or one of *pids* cannot be read.
    """
    tree = Tree(root)
    host = read_host(tree)
    notes: list[str] = []
    processes = [read_process(tree, pid) for pid in pids] if pids else _all(tree, notes)
    placed = _placed(tree, processes)
    if anonymize:
        processes = _anonymized(processes)
    nodes = "1 node" if len(host.nodes) == 1 else f"{len(host.nodes)} nodes"
    count = "1 process" if len(processes) == 1 else f"{len(processes)} processes"
    captured = scenario_of(host, processes, placed, f"captured: {nodes}, {count}")
    notes += captured.notes
    # It is loaded, and booted, before anybody does: what is wrong is said here.
    others = occupied(tree, load_text(dump(captured.data), "<captured>"))
    for nid, node in captured.nodes.items():
        node |= as_data(others[nid]) if nid in others else {}
    heading = f"# Captured by pymigrate {__version__}.\n"
    heading += "".join(f"# Not as it was: {note}\n" for note in notes)
    return heading + dump(captured.data), notes


def _all(tree: Tree, notes: list[str]) -> list[Process]:
    """All processes with memory that may be read."""
    found: list[Process] = []
    refused = 0
    for pid in sorted(int(name) for name in tree.names("proc") if name.isdigit()):
        try:
            process = read_process(tree, pid)
        except ScenarioError as error:
            if error.line:
                raise
            refused += 1
            continue
        if process.mappings:
            found.append(process)
    if refused:
        notes.append(f"{refused} processes could not be read")
    return found


def _anonymized(processes: list[Process]) -> list[Process]:
    """*processes* with other comms, users, cpusets and paths; what was alike stays alike.

    Root stays root, and it still shows of a path whether it is in memory or deleted.
    """
    comms: dict[str, str] = {}
    users: dict[int, int] = {0: 0}
    cpusets = {"/": "/"}
    paths = {ZERO: ZERO, HUGEPAGE: HUGEPAGE, "": ""}
    return [
        process._replace(
            comm=comms.setdefault(process.comm, f"task{len(comms) + 1}"),
            uid=users.setdefault(process.uid, _FIRST_UID + len(users) - 1),
            cpuset=cpusets.setdefault(process.cpuset, f"/cpuset{len(cpusets)}"),
            mappings=[_anonymous(mapping, paths) for mapping in process.mappings],
        )
        for process in processes
    ]


def _anonymous(mapping: Mapping, paths: dict[str, str]) -> Mapping:
    path = mapping.path
    if path not in paths:
        prefix = next((start for start in IN_MEMORY if path.startswith(start)), "/")
        suffix = DELETED if path.endswith(DELETED) else ""
        paths[path] = path if path[:1] == "[" else f"{prefix}file{len(paths) - 2}{suffix}"
    return mapping._replace(path=paths[path])


def _placed(tree: Tree, processes: list[Process]) -> dict[tuple[int, int], list[Run]]:
    """The pages of mappings by (pid, address), where pagemap tells of them."""
    blocks = node_of_blocks(tree)
    placed: dict[tuple[int, int], list[Run]] = {}
    for process in processes:
        if not blocks or not tree.has(f"proc/{process.pid}/pagemap"):
            continue
        for mapping in process.mappings:
            if mapping.pages and mapping.kind != "huge":
                runs = read_runs(tree, process.pid, mapping, blocks)
                if runs is not None:
                    placed[process.pid, mapping.start] = runs
    return placed
