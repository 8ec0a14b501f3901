"""The steps that are no calls: they look at the machine, or run a program of it."""

from typing import Annotated, Literal

from pydantic import Field

from pymigrate.errors import UnsupportedError
from pymigrate.scenario.record import Record
from pymigrate.scenario.spec.runner import Runner, Step
from pymigrate.scenario.text.fields import Name, Size
from pymigrate.tools import programs
from pymigrate.tools.system import System
from pymigrate.units import page_range
from pymigrate.views.pages import placement
from pymigrate.views.proc import numa_maps, vmstat
from pymigrate.views.told import accesses

# What a step's record counts; the other counters follow from more than a case can name.
COUNTED = """
    pgmigrate_success pgmigrate_fail thp_migration_success thp_migration_fail
    thp_migration_split numa_pages_migrated numa_hint_faults numa_hint_faults_local
    numa_pte_updates thp_fault_alloc thp_split_page thp_split_pmd pgdemote_kswapd
    pgdemote_direct pgdemote_proactive pgpromote_success compact_success compact_fail
    compact_stall compact_migrate_scanned compact_free_scanned compact_isolated cow_ksm
""".split()

Whose = Annotated[Name, Field(description="the task whose memory it is")]
At = Annotated[
    str, Field(description="a region from an earlier `as`, or TASK.REGION of declared memory")
]


class ExecStep(Step):
    """Run one of numactl's programs."""

    op: Literal["exec"]
    task: Annotated[Name | None, Field(description="whose uid it runs by; default: root's")] = None
    argv: tuple[str, ...] = Field(
        min_length=1, description="the program and its arguments; $NAME is that task's pid"
    )

    def run(self, runner: Runner) -> Record:
        """Its exit code, and what it printed."""
        pids = runner.pids
        argv = [
            str(pids[word[1:]]) if word[:1] == "$" and word[1:] in pids else word
            for word in self.argv
        ]
        if argv[0] not in programs.PROGRAMS:
            raise UnsupportedError(f"program {argv[0]} cannot be simulated yet")
        system = System(runner.machine, runner.caller(self.task))
        outcome = programs.run(argv, system)
        system.finish()
        if outcome.command:  # nothing else is installed
            outcome = programs.not_found(outcome)
        return {"exit": outcome.exit, "stdout": outcome.stdout, "stderr": outcome.stderr}


class PlacementStep(Step):
    """Show the node of each page of a part of a region."""

    op: Literal["placement"]
    task: Whose
    at: At
    offset: Annotated[Size, Field(description="where in the region the part begins")] = 0
    length: Annotated[Size | None, Field(description="the part's length; default: to the end")] = (
        None
    )

    def run(self, runner: Runner) -> Record:
        """The nodes, as runs."""
        a, b = page_range(*runner.range(self.task, self.at, self.offset, self.length))
        return {"nodes": placement.runs(runner.machine, runner.task(self.task), a, b)}


class NumaMapsStep(Step):
    """Show a region's lines of numa_maps."""

    op: Literal["numa_maps"]
    task: Whose
    at: At

    def run(self, runner: Runner) -> Record:
        """The lines."""
        region = runner.region(self.task, self.at)
        a, b = region.start, region.start + region.nr
        rows = numa_maps.rows(runner.machine, runner.task(self.task), a, b)
        return {"lines": [_numa_maps_line(row, a) for row in rows]}


class VmstatStep(Step):
    """Show the counters that changed since the last `vmstat` step."""

    op: Literal["vmstat"]

    def run(self, runner: Runner) -> Record:
        """The counters that changed."""
        values = vmstat.rows(runner.machine)
        delta = {name: values.get(name, 0) - runner.counted.get(name, 0) for name in COUNTED}
        runner.counted = values
        return {"delta": {name: change for name, change in delta.items() if change}}


class AccessesStep(Step):
    """Show how far the tasks reach with their declared accesses."""

    op: Literal["accesses"]
    task: Annotated[Name | None, Field(description="the task; default: all")] = None

    def run(self, runner: Runner) -> Record:
        """The tasks."""
        rows = accesses.rows(runner.machine)
        if self.task:
            rows = [row for row in rows if row.pid == runner.task(self.task).pid]
        return {"tasks": [accesses.as_json(row) for row in rows]}


def _numa_maps_line(row: numa_maps.NumaMapsRow, base: int) -> Record:
    line: Record = {"policy": row.policy, "start": row.start - base}
    if row.path:
        line["file"] = row.path.removeprefix("/") if "(deleted)" not in row.path else row.path
    if row.is_huge:
        line["huge"] = True
    if row.pages:
        line |= numa_maps.counts(row)
        line["nodes"] = {str(nid): nr for nid, nr in row.nodes.items()}
        line["kernelpagesize_kB"] = row.kernelpagesize_kb
    return line


LOOKS: dict[str, type[Step]] = {
    "exec": ExecStep,
    "placement": PlacementStep,
    "numa_maps": NumaMapsStep,
    "vmstat": VmstatStep,
    "accesses": AccessesStep,
}
