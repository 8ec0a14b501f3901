"""From what was read to a scenario's data, as a file would hold it."""

from __future__ import annotations

import re
from collections import Counter

from pymigrate.capture.host import Host
from pymigrate.capture.memory import HUGE_KB, Memory
from pymigrate.capture.pagemap import Run
from pymigrate.capture.process import Process
from pymigrate.nodemask import Nodemask
from pymigrate.records import NamedTuple
from pymigrate.scenario.text.dump import Line
from pymigrate.units import format_size

Data = dict[str, object]
_CAPS = {19: "sys_ptrace", 23: "sys_nice"}
_CAP_BITS = sum(1 << bit for bit in _CAPS)
_SPECIAL = ("[vdso]", "[vvar]", "[stack]")  # mappings that show the task's own policy
_OTHER = re.compile(r"[^A-Za-z0-9_-]")
COMM_LEN = 15


class Captured(NamedTuple):
    """A scenario, and what of the machine it does not have."""

    data: Data
    nodes: dict[int, Data]  # those in *data*
    notes: list[str]


def scenario_of(
    host: Host, processes: list[Process], placed: dict[tuple[int, int], list[Run]], about: str
) -> Captured:
    """The scenario of *host* with *processes*; *placed* are pages by (pid, address), if known."""
    notes: list[str] = []
    if host.release and not host.release.startswith(f"{host.kernel}."):
        notes.append(f"Linux {host.release} is taken for {host.kernel}")
    names = _task_names(processes)
    memory = Memory(names, placed, notes)
    tasks: Data = {}
    cpusets: Data = {}
    for process in sorted(processes, key=lambda each: each.pid):
        notes += _notes_of(process)
        task = _task(host, process, cpusets)
        regions = memory.regions(process, task_policy(process))
        tasks[names[process.pid]] = {**task, **({"memory": regions} if regions else {})}
    if nr := memory.nr_unshared(len(processes)):
        mappings = "1 mapping shares" if nr == 1 else f"{nr} mappings share"
        notes.append(
            f"{mappings} pages with processes that are not captured, or in part: mapmax is lower"
        )
    nodes = _nodes(host)
    machine = _machine(host, processes, nodes)
    data: Data = {"about": about, "kernel": host.kernel, "machine": machine}
    data |= {"cpusets": cpusets} if cpusets else {}
    data |= {"files": memory.file_specs()} if memory.files else {}
    data |= {"tasks": tasks} if tasks else {}
    return Captured(data, nodes, notes)


def task_policy(process: Process) -> str:
    """The policy of the process itself, of which /proc tells only by the mappings that have none.

    [vdso] and the like never have one of their own. Without them it is that of all mappings, if
    they agree and one is the heap or a file's, which hardly anybody gives a policy; else `default`.
    """
    told = [m.policy for name in _SPECIAL for m in process.mappings if m.path == name]
    if told:
        return told[0]
    policies = {mapping.policy for mapping in process.mappings}
    is_usual = any(m.kind == "heap" or m.path[:1] == "/" for m in process.mappings)
    return policies.pop() if len(policies) == 1 and is_usual else "default"


def _notes_of(process: Process) -> list[str]:
    """What a task cannot say of *process* as a whole."""
    notes: list[str] = []
    mappings = process.mappings
    if process.thp_kb:
        notes.append(f"{process.thp_kb} kB of transparent huge pages are base pages")
    if other := sum(m.smaps.other_thp_kb for m in mappings):
        notes.append(f"{other} kB of huge pages of files or shared memory are base pages")
    if process.pinned_kb:
        notes.append(f"{process.pinned_kb} kB are pinned (VmPin) and would stay; here they move")
    if not any(m.path in _SPECIAL for m in mappings) and any(
        m.policy != "default" for m in mappings
    ):
        told = task_policy(process)
        notes.append(f"without [stack] its own policy is not known: taken for {told}")
    if any(m.kind == "huge" and not m.page_kb for m in mappings):
        notes.append(f"huge pages of a size that nothing tells are taken for {HUGE_KB} kB")
    return [f"process {process.pid}: {note}" for note in notes]


def _nodes(host: Host) -> dict[int, Data]:
    nodes: dict[int, Data] = {}
    for nid, node in host.nodes.items():
        memory = f"{node.memory >> 10}KiB" if node.memory % (1 << 20) else f"{node.memory >> 20}MiB"
        data: Data = {"cpus": str(node.cpus)} if node.cpus else {}
        data["memory"] = memory if node.memory else 0
        for name, size in (("movable", node.movable), ("cma", node.cma)):
            data |= {name: format_size(size)} if size else {}
        nodes[nid] = data | ({"hmat": Line(node.hmat)} if node.hmat else {})
    return nodes


def _machine(host: Host, processes: list[Process], nodes: dict[int, Data]) -> Data:
    pools = Counter({nid: node.hugetlb for nid, node in host.nodes.items()})
    used: Counter[int] = Counter()
    for mapping in (m for process in processes for m in process.mappings):
        if mapping.kind == "huge" and (mapping.page_kb or HUGE_KB) == HUGE_KB:
            used.update(mapping.nodes)
    hugetlb = {nid: max(pools[nid], used[nid]) for nid in host.nodes}
    distances = [list(node.distances) for node in host.nodes.values()]
    data: Data = {"nodes": nodes}
    data |= {"distances": distances} if all(distances) else {}
    data |= {"hugetlb": {n: nr for n, nr in hugetlb.items() if nr}} if any(hugetlb.values()) else {}
    return data | host.settings


def _task(host: Host, process: Process, cpusets: Data) -> Data:
    """All of a task but its memory; a cpuset that keeps it from nodes is put among *cpusets*."""
    task: Data = {"pid": process.pid, "comm": process.comm[:COMM_LEN], "uid": process.uid}
    cpus = process.cpus & host.cpus
    task |= {"cpus": str(cpus)} if cpus and cpus != host.cpus else {}
    usual = _CAP_BITS if process.uid == 0 else 0
    if process.capabilities & _CAP_BITS != usual:
        task["capabilities"] = [n for bit, n in _CAPS.items() if process.capabilities >> bit & 1]
    memory = Nodemask.of(*host.memory_nodes)
    mems = process.mems & memory
    if mems and mems != memory:
        name = _OTHER.sub("_", process.cpuset.strip("/")) or "cpuset"
        name = name if name[0].isalpha() else f"_{name}"
        group: Data = {"cpus": str(cpus or host.cpus), "mems": str(mems)}
        while cpusets.setdefault(name, group) != group:
            name += "_"
        task["cpuset"] = name
    policy = task_policy(process)
    return task | ({"mempolicy": policy} if policy != "default" else {})


def _task_names(processes: list[Process]) -> dict[int, str]:
    """A name for each process: its comm, with its pid where that is not enough."""
    names: dict[int, str] = {}
    comms = Counter(_OTHER.sub("_", process.comm) for process in processes)
    for process in processes:
        name = _OTHER.sub("_", process.comm)
        name = name if comms[name] == 1 else f"{name}-{process.pid}"
        names[process.pid] = name if re.match(r"[A-Za-z_]", name) else f"_{name}"
    return names
