"""From what was read to a scenario's data, as a file would hold it."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from pymigrate.capture.host import Host
from pymigrate.capture.memory import Memory
from pymigrate.capture.pagemap import Run
from pymigrate.capture.process import Process
from pymigrate.nodemask import Nodemask

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
        if process.thp_kb:
            huge = f"{process.thp_kb} kB of transparent huge pages are base pages"
            notes.append(f"process {process.pid}: {huge}")
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

    [vdso] and the like never have one of their own; else a mapping that says `default` settles
    it, else what most say.
    """
    told = [m.policy for name in _SPECIAL for m in process.mappings if m.path == name]
    if told:
        return told[0]
    policies = Counter(mapping.policy for mapping in process.mappings)
    if not policies or "default" in policies:
        return "default"
    return policies.most_common(1)[0][0]


def _nodes(host: Host) -> dict[int, Data]:
    nodes: dict[int, Data] = {}
    for nid, node in host.nodes.items():
        memory = f"{node.memory >> 10}KiB" if node.memory % (1 << 20) else f"{node.memory >> 20}MiB"
        cpus: Data = {"cpus": str(node.cpus)} if node.cpus else {}
        nodes[nid] = {**cpus, "memory": memory if node.memory else 0}
    return nodes


def _machine(host: Host, processes: list[Process], nodes: dict[int, Data]) -> Data:
    pools = Counter({nid: node.hugetlb for nid, node in host.nodes.items()})
    used: Counter[int] = Counter()
    for mapping in (m for process in processes for m in process.mappings):
        used.update(mapping.nodes if mapping.kind == "huge" else {})
    hugetlb = {nid: max(pools[nid], used[nid]) for nid in host.nodes}
    distances = [list(node.distances) for node in host.nodes.values()]
    data: Data = {"nodes": nodes}
    data |= {"distances": distances} if all(distances) else {}
    data |= {"thp": host.thp}
    data |= {"hugetlb": {n: nr for n, nr in hugetlb.items() if nr}} if any(hugetlb.values()) else {}
    data |= {"numa_balancing": host.numa_balancing} if host.numa_balancing else {}
    return data | ({"demotion": True} if host.demotion else {})


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
