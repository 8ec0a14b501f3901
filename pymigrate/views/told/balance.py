"""What NUMA balancing has done while time passed: task by task, scan by scan."""

from collections.abc import Iterable
from typing import Any

from pymigrate.mm.base.vmstat import MIGRATION
from pymigrate.mm.clock.simulated_time import Balanced, Scan
from pymigrate.mm.state.machine import Machine
from pymigrate.records import NamedTuple
from pymigrate.units import counted
from pymigrate.views.columns import aligned

COUNTED = (*MIGRATION, "pgpromote_success", "pgpromote_candidate")


class BalanceRow(NamedTuple):
    """What it has done with a task; pages are base pages, faults count folios."""

    pid: int
    task: str
    node: int  # that it runs on
    scans: int
    pte_updates: int
    huge_pte_updates: int
    hint_faults: int
    hint_faults_local: int
    pages_migrated: int
    preferred: int | None
    period: int  # ms, of its scans from now on


def rows(machine: Machine, done: Balanced) -> list[BalanceRow]:
    """A row for each task that has run, and still exists, by pid."""
    return [_row(machine, pid, done) for pid in done.tasks if pid in machine.tasks]


def _row(machine: Machine, pid: int, done: Balanced) -> BalanceRow:
    task = machine.tasks[pid]
    numa, scans = task.numa, [scan for scan in done.scans if scan.pid == pid]
    return BalanceRow(
        pid,
        task.name,
        machine.local_node(task),
        len(scans),
        sum(scan.pte_updates for scan in scans),
        sum(scan.huge_pte_updates for scan in scans),
        *done.tasks[pid],
        numa.preferred if numa.preferred >= 0 else None,
        numa.period,
    )


def format_rows(rows: list[BalanceRow]) -> str:
    """A header, then a line for each task."""
    names = "PID TASK NODE SCANS UPDATES FAULTS LOCAL MIGRATED PREFERRED PERIOD".split()
    table = [names]
    for row in rows:
        numbers = [row.scans, row.pte_updates, row.hint_faults, row.hint_faults_local]
        preferred = "-" if row.preferred is None else str(row.preferred)
        cells = [str(row.pid), row.task, str(row.node), *map(str, numbers)]
        table.append([*cells, str(row.pages_migrated), preferred, f"{row.period}ms"])
    return "".join(f"{line.rstrip()}\n" for line in aligned(table, {1}))


def format_lines(done: dict[str, Any]) -> list[str]:  # as_json()'s
    """What a step's record says, a line for each task."""
    return [
        f"{task['task']} on node {task['node']}: {counted(task['scans'], 'scan')},"
        f" {counted(task['hint_faults'], 'fault')}, {task['hint_faults_local']} of them local,"
        f" {counted(task['pages_migrated'], 'page')} migrated"
        for task in done["balanced"]
    ]


def format_scans(machine: Machine, scans: Iterable[Scan]) -> list[str]:
    """A line for each scan: what it has changed, and what came of it until the next one."""
    lines = []
    for scan in scans:
        task = machine.tasks.get(scan.pid)
        name = task.name if task else f"process {scan.pid}"
        lines.append(
            f"{scan.time / 1000:.3f} s: {name} scans,"
            f" {counted(scan.pte_updates, 'page')} made inaccessible;"
            f" {counted(scan.hint_faults, 'fault')}, {scan.hint_faults_local} of them local,"
            f" {counted(scan.pages_migrated, 'page')} migrated; next scan after {scan.period} ms"
        )
    return lines


def as_json(machine: Machine, done: Balanced) -> dict[str, object]:
    """All of it for machines."""
    return {
        "now": machine.now,
        "balanced": [row._asdict() for row in rows(machine, done)],
        "scans": [scan._asdict() for scan in done.scans],
        "ended": [ended._asdict() for ended in done.ended],
    }
