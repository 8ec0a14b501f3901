"""capture(): reads a machine and its processes, and gives the text of a scenario."""

from __future__ import annotations

from collections.abc import Sequence

from pymigrate.capture.heat import add_heat, read_heat
from pymigrate.capture.host import node_of_blocks, read_host
from pymigrate.capture.memory import DELETED, HUGEPAGE, IN_MEMORY, ZERO
from pymigrate.capture.occupied import as_data, occupied
from pymigrate.capture.pagemap import Run, read_runs
from pymigrate.capture.process import Mapping, Process, read_process
from pymigrate.capture.scenario import scenario_of
from pymigrate.capture.settings import other_settings
from pymigrate.capture.tiers import tiers_of
from pymigrate.capture.tree import Tree
from pymigrate.capture.zones import scattered
from pymigrate.errors import ScenarioError
from pymigrate.mm.state.machine import Machine
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.text.dump import dump
from pymigrate.units import PAGE_SIZE, counted
from pymigrate.version import __version__

_FIRST_UID = 1000  # where names are replaced
_PAGE_KB = (4, 8, 16, 64, 256)  # that kernels have


def capture(
    root: str | Tree,
    pids: list[int],
    anonymize: bool,
    memory: int | None = None,
    told: Sequence[str] = (),
    heat: tuple[str, float | None] | None = None,
) -> tuple[str, list[str]]:
    """A scenario of the machine below *root* with *pids*, or all that may be read; and notes.

    Nodes of which no file says how much memory they have get *memory* bytes; *told* are notes that
    are known already; *heat* is a file of recorded accesses, and for how many seconds they were
    recorded, if it does not say.
    Raises ScenarioError if a file is missing or malformed, or one of *pids* cannot be read.
    """
    tree = Tree(root) if isinstance(root, str) else root
    notes = list(told)
    processes = [read_process(tree, pid) for pid in pids] if pids else _all(tree, notes)
    _find_page_size(tree, processes, notes)
    host = read_host(tree, memory)
    notes += host.notes
    placed = _placed(tree, processes)
    recorded = heat and read_heat(*heat, tree, processes)
    processes = [_in_base_pages(tree, process, notes) for process in processes]
    if anonymize:
        processes = _anonymized(processes)
    about = f"captured: {counted(len(host.nodes), 'node')}, {_nr_processes(len(processes))}"
    captured = scenario_of(host, processes, placed, about)
    notes += captured.notes
    if heat and recorded:
        notes += add_heat(captured.data, recorded, heat[0])
    text, machine_data = dump(captured.data), captured.data["machine"]
    before = dump({"machine": machine_data})
    # It is loaded, and booted, before anybody does: what is wrong is said here.
    machine = _booted(tree, text)
    others = occupied(tree, host, machine)
    tiers = tiers_of(tree, machine, notes)
    for nid, node in captured.nodes.items():
        node |= as_data(others[nid]) if nid in others else {}
        node |= {"adistance": tiers[nid]} if nid in tiers else {}
    notes += scattered(tree) + other_settings(tree, machine)
    heading = f"# Captured by pymigrate {__version__}.\n"
    heading += "".join(f"# Not as it was: {note}\n" for note in notes)
    return heading + text.replace(before, dump({"machine": machine_data}), 1), notes


def _booted(tree: Tree, text: str) -> Machine:
    """The machine of the scenario *text*. Raises ScenarioError that names the tree."""
    try:
        return build(load_text(text, "<captured>"))
    except ScenarioError as error:
        raise ScenarioError(f"makes no scenario: {error.message}", tree.root) from None


def _nr_processes(nr: int) -> str:
    return "1 process" if nr == 1 else f"{nr} processes"


def _find_page_size(tree: Tree, processes: list[Process], notes: list[str]) -> None:
    """Learn from *processes* of how many bytes the pages of *tree* are."""
    mappings = (m for process in processes for m in process.mappings if m.kind != "huge")
    sizes = {mapping.page_kb for mapping in mappings}.intersection(_PAGE_KB)
    if sizes:
        tree.page_size = min(sizes) << 10
    if tree.page_size != PAGE_SIZE:
        size, nr = tree.page_size >> 10, tree.page_size // PAGE_SIZE
        notes.append(
            f"each page of {size} KiB is {nr} of 4 KiB: counts of pages are {nr} times as high"
        )


def _in_base_pages(tree: Tree, process: Process, notes: list[str]) -> Process:
    """*process* with what it has counted in base pages; pages that are neither are left out."""
    kept: list[Mapping] = []
    for mapping in process.mappings:
        if mapping.kind != "huge" and mapping.page_kb << 10 > tree.page_size:
            where = f"process {process.pid}, {mapping.start:08x}"
            notes.append(f"{where}: pages of {mapping.page_kb} kB of no pool are left out")
        else:
            kept.append(mapping.in_pages(tree.page_size // PAGE_SIZE))
    return process._replace(mappings=kept)


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
        if process.mappings or process.has_mm:
            found.append(process)
    if refused:
        notes.append(f"{_nr_processes(refused)} could not be read")
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
    blocks = node_of_blocks(tree, tree.page_size)
    nr = tree.page_size // PAGE_SIZE
    placed: dict[tuple[int, int], list[Run]] = {}
    for process in processes:
        if not blocks or not tree.has(f"proc/{process.pid}/pagemap"):
            continue
        for mapping in process.mappings:
            if mapping.pages and mapping.kind != "huge":
                runs = read_runs(tree, process.pid, mapping, blocks)
                if runs is not None:
                    runs = [run._replace(nr=run.nr * nr) for run in runs]
                    placed[process.pid, mapping.start] = runs
    return placed
