"""The tasks, with where their resident pages lie."""

from collections import Counter
from collections.abc import Iterable

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm
from pymigrate.records import NamedTuple
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.columns import aligned
from pymigrate.views.pages.tables import count_nodes, is_resident

_KB_SHIFT = PAGE_SHIFT - 10


class PsRow(NamedTuple):
    """One task; `nodes` are its resident base pages on each node that has memory."""

    pid: int
    uid: int
    task: str  # its name in the scenario
    cpus: str
    policy: str
    comm: str
    nodes: dict[int, int]

    @property
    def rss_kb(self) -> int:
        """Its resident memory in kB."""
        return sum(self.nodes.values()) << _KB_SHIFT


def rows(machine: Machine) -> list[PsRow]:
    """A row for each process, by pid. A shared page counts for each that maps it, as in RSS."""
    return [_row(machine, task) for task in machine.processes]


def format_rows(rows: list[PsRow], nodes: Iterable[int]) -> str:
    """A header with a column for each of *nodes*, then a line for each task.

    What may contain blanks, the policy and the comm, comes last, so that every column before
    them is the same field of each line.
    """
    nodes = list(nodes)
    table = [["PID", "UID", "TASK", "CPUS", "RSS", *[f"N{nid}" for nid in nodes]]]
    tails = [["POLICY", "COMM"]]
    for row in rows:
        counts = [str(row.nodes[nid]) for nid in nodes]
        table.append([str(row.pid), str(row.uid), row.task, row.cpus, str(row.rss_kb), *counts])
        tails.append([row.policy, row.comm])
    left = {2, 3}  # the texts among them
    lines = zip(aligned(table, left), aligned(tails, {0, 1}), strict=True)
    return "".join(f"{f'{head} {tail}'.rstrip()}\n" for head, tail in lines)


def as_json(row: PsRow) -> dict[str, object]:
    """The row for machines."""
    shown = row._asdict()
    nodes = {str(nid): nr for nid, nr in shown.pop("nodes").items()}
    return {**shown, "rss_kB": row.rss_kb, "nodes": nodes}


def _row(machine: Machine, task: Task) -> PsRow:
    counts: Counter[int] = Counter()
    for run in task.mm.page_table.runs:
        if is_resident(run):
            count_nodes(counts, run, run.start, run.end)
    for vma in task.mm.vmas:
        if vma.flags & Vm.HUGETLB:
            huge: Counter[int] = Counter()
            for run in task.mm.page_table.between(vma.start, vma.end):
                count_nodes(huge, run, run.start, run.end)
            counts -= huge
    return PsRow(
        task.pid,
        task.uid,
        task.name,
        str(task.cpus),
        str(task.policy or "default"),
        task.comm,
        {nid: counts[nid] for nid in machine.memory_nodes},
    )
