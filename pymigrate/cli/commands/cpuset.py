"""``pymigrate cpuset``."""

from __future__ import annotations

from pymigrate.cli.common import Options, common_options
from pymigrate.cli.declared import TableGroup
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Cpuset
from pymigrate.records import NamedTuple
from pymigrate.views.columns import aligned

command = TableGroup(
    "cpuset",
    help="""Make and change cpusets: which nodes and CPUs a group of tasks may use.

    Tasks start in one that has everything. Memory follows when a task is attached, or when the
    nodes change (on Linux 6.1: if --memory-migrate is on).
    """,
)


@command.command("list")
@common_options()
def list_cpusets(options: Options) -> None:
    """List the cpusets with their CPUs, nodes and tasks."""
    with options.session() as machine:
        rows = [_row(machine, group) for group in machine.cpusets.values()]
    table = [["CPUSET", "CPUS", "MEMS", "MIGRATE", "PIDS"]]
    for row in rows:
        migrates, pids = "yes" if row.memory_migrate else "no", " ".join(map(str, row.pids))
        table.append([row.name, row.cpus or "-", row.mems or "-", migrates, pids or "-"])
    lines = aligned(table, {0, 1, 2, 3, 4}, gap="  ")
    options.show([row._asdict() for row in rows], "".join(f"{line.rstrip()}\n" for line in lines))


class _Row(NamedTuple):
    name: str
    cpus: str
    mems: str
    memory_migrate: bool
    pids: list[int]


def _row(machine: Machine, group: Cpuset) -> _Row:
    pids = [task.pid for task in machine.processes if task.cpuset == group.name]
    return _Row(group.name or "/", str(group.cpus), str(group.mems), group.memory_migrate, pids)
