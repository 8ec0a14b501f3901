"""Executes the steps that are done to the machine, or show it."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from pymigrate.errors import KernelError, UnsupportedError
from pymigrate.mm.base.memmap import Busy, nid_of
from pymigrate.mm.calls import ksm
from pymigrate.mm.clock import balance
from pymigrate.mm.reclaim.damon import Action, Kind, Scheme
from pymigrate.mm.state.driver import Called
from pymigrate.mm.state.events import MigrateMode
from pymigrate.mm.state.scope import watching
from pymigrate.programs.simulated import Simulated
from pymigrate.scenario import machine_steps
from pymigrate.scenario.record import Record, done, runs
from pymigrate.syscalls import cpuset, damon, devices, drivers, gup, reclaim, sysctl
from pymigrate.tools import programs
from pymigrate.units import PAGE_SHIFT, PAGE_SIZE
from pymigrate.views.pages import placement
from pymigrate.views.proc import numa_maps, vmstat
from pymigrate.views.told import accesses
from pymigrate.views.told import balance as balance_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymigrate.scenario.runner import Runner
    from pymigrate.scenario.spec.step_base import Step

# What a step's record counts; the other counters follow from more than a case can name.
COUNTED = """
    pgmigrate_success pgmigrate_fail thp_migration_success thp_migration_fail
    thp_migration_split numa_pages_migrated numa_hint_faults numa_hint_faults_local
    numa_pte_updates thp_fault_alloc thp_split_page thp_split_pmd pgdemote_kswapd
    pgdemote_direct pgdemote_proactive pgpromote_success compact_success compact_fail
    compact_stall compact_migrate_scanned compact_free_scanned compact_isolated cow_ksm
""".split()


def _busy(runner: Runner, step: machine_steps.BusyStep) -> Record:
    machine, task = runner.machine, runner.task(step.task)
    addr, length = runner.range(step)
    a, b = addr >> PAGE_SHIFT, addr + length + PAGE_SIZE - 1 >> PAGE_SHIFT
    kind = None if step.kind == "none" else Busy(step.kind)
    gup.work_on(machine, task, a, b, kind, -1 if step.passes is None else step.passes)
    return done()


def _swap_cache(runner: Runner, step: machine_steps.SwapCacheStep) -> Record:
    addr, length = runner.range(step)
    a, b = addr >> PAGE_SHIFT, addr + length + PAGE_SIZE - 1 >> PAGE_SHIFT
    gup.add_to_swap_cache(runner.machine, runner.task(step.task), a, b)
    return done()


def _migrate_vma(runner: Runner, step: machine_steps.MigrateVmaStep) -> Record:
    task = runner.task(step.task)
    moved = devices.migrate_vma(runner.machine, task, *runner.range(step), step.to)
    return done() | moved._asdict()


def _migrate_driver(runner: Runner, step: machine_steps.MigrateDriverStep) -> Record:
    machine = runner.machine
    driver = machine.drivers.get(step.driver)
    if driver is None:
        raise KernelError("ENODEV", f"there is no driver called {step.driver}")
    calls: list[Called] = []
    numbers = step.pages if step.pages is not None else range(len(driver.pages))
    if any(number >= len(driver.pages) for number in numbers):
        raise KernelError("EINVAL", f"{step.driver} has {len(driver.pages)} pages")
    mode = MigrateMode[step.mode.upper()]
    answer = done()
    try:
        with watching(machine, machine.watch._replace(driver_calls=calls)):
            answer["ret"] = drivers.migrate_driver(machine, driver, numbers, step.to, mode)
    except KernelError as error:
        answer = {"ret": -1, "errno": error.errno}
    answer["calls"] = [list(call) for call in calls]
    answer["nodes"] = runs([-1 if pfn < 0 else nid_of(pfn) for pfn in driver.pages])
    return answer


def _cpuset_create(runner: Runner, step: machine_steps.CpusetCreateStep) -> Record:
    cpuset.create(
        runner.machine,
        runner.caller(step.task),
        step.cpuset,
        step.cpus,
        step.mems,
        step.memory_migrate,
    )
    return done()


def _cpuset_set(runner: Runner, step: machine_steps.CpusetSetStep) -> Record:
    cpuset.change(
        runner.machine,
        runner.caller(step.task),
        step.cpuset,
        step.cpus,
        step.mems,
        step.memory_migrate,
    )
    return done()


def _cpuset_attach(runner: Runner, step: machine_steps.CpusetAttachStep) -> Record:
    cpuset.attach_task(
        runner.machine, runner.machine.shell_of(0), runner.task(step.task), step.cpuset
    )
    return done()


def _sysctl(runner: Runner, step: machine_steps.SysctlStep) -> Record:
    value = step.value
    text = str(int(value)) if isinstance(value, bool) else str(value)
    sysctl.write(runner.machine, runner.caller(step.task), step.name, text, step.node)
    return done()


def _reclaim(runner: Runner, step: machine_steps.ReclaimStep) -> Record:
    machine, tasks = runner.machine, None
    if step.target is not None:
        tasks = [runner.task(step.target)]
    elif step.cpuset is not None:
        tasks = reclaim.cpuset_tasks(machine, step.cpuset)
    caller = runner.caller(step.task)
    return done() | {"reclaimed": reclaim.reclaim(machine, caller, step.size, step.node, tasks)}


def _damon(runner: Runner, step: machine_steps.DamonStep) -> Record:
    machine = runner.machine
    quota = None if step.quota is None else -(-step.quota >> PAGE_SHIFT)
    kinds = frozenset(Kind(kind) for kind in step.exclude)
    scheme = Scheme(Action(step.action), step.to, quota, kinds)
    if step.node is not None:
        moved = damon.apply_to_node(machine, machine.shell_of(0), scheme, step.node)
    else:
        task = runner.caller(step.task)
        moved = damon.apply_to_range(
            machine, machine.shell_of(0), scheme, task, *runner.range(step)
        )
    return done() | {"migrated": moved}


def _ksm(runner: Runner, step: machine_steps.KsmStep) -> Record:
    ksm.scan(runner.machine)
    return ksm.state(runner.machine)._asdict()


def _exec(runner: Runner, step: machine_steps.ExecStep) -> Record:
    machine = runner.machine
    caller = runner.caller(step.task)
    argv = [
        str(runner.pids[word[1:]]) if word[:1] == "$" and word[1:] in runner.pids else word
        for word in step.argv
    ]
    if argv[0] not in programs.PROGRAMS:
        raise UnsupportedError(f"program {argv[0]} cannot be simulated yet")
    system = Simulated(machine, caller)
    outcome = programs.run(argv, system)
    system.finish()
    if outcome.command:  # nothing else is installed
        outcome = programs.not_found(outcome)
    return {"exit": outcome.exit, "stdout": outcome.stdout, "stderr": outcome.stderr}


def _placement(runner: Runner, step: machine_steps.PlacementStep) -> Record:
    addr, length = runner.range(step)
    a = addr >> PAGE_SHIFT
    b = addr + length + PAGE_SIZE - 1 >> PAGE_SHIFT
    return {"nodes": placement.runs(runner.machine, runner.task(step.task), a, b)}


def _numa_maps(runner: Runner, step: machine_steps.NumaMapsStep) -> Record:
    region = runner.region(step.task, step.at)
    a, b = region.start, region.start + region.nr
    rows = numa_maps.rows(runner.machine, runner.task(step.task), a, b)
    return {"lines": [_numa_maps_line(row, a) for row in rows]}


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


def _vmstat(runner: Runner, step: machine_steps.VmstatStep) -> Record:
    values = vmstat.rows(runner.machine)
    delta = {name: values.get(name, 0) - runner.counted.get(name, 0) for name in COUNTED}
    runner.counted = values
    return {"delta": {name: change for name, change in delta.items() if change}}


def _balance(runner: Runner, step: machine_steps.BalanceStep) -> Record:
    done = balance.balance(runner.machine, ceil(step.seconds * 1000))
    return balance_view.as_json(runner.machine, done)


def _accesses(runner: Runner, step: machine_steps.AccessesStep) -> Record:
    rows = accesses.rows(runner.machine)
    if step.task:
        rows = [row for row in rows if row.pid == runner.task(step.task).pid]
    return {"tasks": [accesses.as_json(row) for row in rows]}


MACHINE: dict[type[Step], Callable[[Runner, Any], Record]] = {  # each takes its own step
    machine_steps.BusyStep: _busy,
    machine_steps.MigrateVmaStep: _migrate_vma,
    machine_steps.MigrateDriverStep: _migrate_driver,
    machine_steps.SwapCacheStep: _swap_cache,
    machine_steps.CpusetCreateStep: _cpuset_create,
    machine_steps.CpusetSetStep: _cpuset_set,
    machine_steps.CpusetAttachStep: _cpuset_attach,
    machine_steps.SysctlStep: _sysctl,
    machine_steps.KsmStep: _ksm,
    machine_steps.ReclaimStep: _reclaim,
    machine_steps.DamonStep: _damon,
    machine_steps.ExecStep: _exec,
    machine_steps.PlacementStep: _placement,
    machine_steps.NumaMapsStep: _numa_maps,
    machine_steps.VmstatStep: _vmstat,
    machine_steps.AccessesStep: _accesses,
    machine_steps.BalanceStep: _balance,
}
