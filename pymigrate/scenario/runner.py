"""Executes a scenario's steps; each gives the record that FORMAT describes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pymigrate.errors import KernelError, UnsupportedError
from pymigrate.mm import ksm
from pymigrate.mm.machine import Machine, Meanwhile, Region, Task, find_file
from pymigrate.mm.meanwhile import finish
from pymigrate.mm.memmap import Busy, nid_of
from pymigrate.mm.trace import MigrateMode
from pymigrate.nodemask import Nodemask
from pymigrate.scenario import steps
from pymigrate.scenario.build import build
from pymigrate.scenario.loader import load
from pymigrate.scenario.models import Scenario
from pymigrate.scenario.names import RegionNames
from pymigrate.syscalls import (
    cpuset,
    devices,
    drivers,
    gup,
    madvise,
    mempolicy,
    migrate,
    mmap,
    process,
    sysctl,
)
from pymigrate.tools import migratepages
from pymigrate.tools.program import Libnuma
from pymigrate.units import PAGE_SHIFT, PAGE_SIZE
from pymigrate.views import numa_maps, placement, trace, vmstat

Record = dict[str, Any]  # a step's answer, as JSON has it
# What a step's record counts; the other counters follow from more than a case can name.
COUNTED = """
    pgmigrate_success pgmigrate_fail thp_migration_success thp_migration_fail
    thp_migration_split numa_pages_migrated numa_hint_faults numa_hint_faults_local
    numa_pte_updates thp_fault_alloc thp_split_page thp_split_pmd pgdemote_kswapd
    pgdemote_direct pgdemote_proactive pgpromote_success compact_success compact_fail
    compact_stall compact_migrate_scanned compact_free_scanned compact_isolated cow_ksm
""".split()


def run_scenario(path: Path, kernel: str | None = None) -> list[Record]:
    """The records of all steps of a scenario file."""
    scenario = load(path)
    return list(Runner(build(scenario, kernel), scenario).run())


class Runner:
    """A machine, and how far its scenario's steps have come."""

    def __init__(self, machine: Machine, scenario: Scenario) -> None:
        self.machine, self.scenario = machine, scenario
        self.names = RegionNames()
        self.pids = {task.name: task.pid for task in machine.tasks.values()}
        self.counted: dict[str, int] = {}
        for task in scenario.tasks:
            for region in scenario.tasks[task].memory:
                self.names.declare(task, region.as_)

    def run(self) -> Iterator[Record]:
        """Execute the steps one by one."""
        for step in self.scenario.steps:
            yield self.step(step)

    def step(self, step: steps.Step) -> Record:
        """Execute one step; where the machine is watched, its record holds the trace."""
        if self.machine.events is None:
            return self._answer(step)
        self.machine.events.clear()
        record = self._answer(step)
        if self.machine.events:
            record["trace"] = trace.lines(self.machine)
        return record

    def _answer(self, step: steps.Step) -> Record:
        do = _STEPS.get(type(step))
        if do is None:
            raise UnsupportedError(f"step {step.op} cannot be simulated yet")
        other = None
        try:
            other = self._meanwhile(getattr(step, "meanwhile", None))
            answer = do(self, step)
        except KernelError as error:
            answer = {"ret": -1, "errno": error.errno}
            if isinstance(step, steps.MovePagesStep):
                answer["status"] = []
        if other:
            finish(self.machine, other)
            answer["meanwhile"] = {"waited": other.waited, "signal": other.signal}
        return {"op": step.op, **answer}

    def _meanwhile(self, spec: steps.Meanwhile | None) -> Meanwhile | None:
        """Announce the access that another task makes in the middle of a step."""
        if spec is None:
            return None
        page = self.region(spec.task, spec.at).start + (spec.offset >> PAGE_SHIFT)
        other = Meanwhile(self.task(spec.task).pid, page, spec.write)
        self.machine.meanwhile.append(other)
        return other

    def task(self, name: str) -> Task:
        """The task that a step names.

        Raises KernelError ESRCH once it has exited, or if it was never made, for its fork failed.
        """
        if name not in self.pids:
            raise KernelError("ESRCH", f"there is no process called {name}")
        return self.machine.task(self.pids[name])

    def caller(self, name: str | None) -> Task:
        """The task that makes a call: the shell, where a step names none."""
        return self.task(name) if name else self.machine.shell

    def range(self, step: Any) -> tuple[int, int]:  # any step with at, offset and length
        """Address and length in bytes of what a step works on."""
        region = self.region(step.task, step.at)
        size = region.nr << PAGE_SHIFT
        length = step.length if step.length is not None else max(size - step.offset, 0)
        return (region.start << PAGE_SHIFT) + step.offset, length

    def region(self, task: str, at: str) -> Region:
        """The memory that a step names."""
        key = self.names.find(task, at)
        assert key is not None, "the loader has seen to it"
        return self.machine.regions[key.task, key.name]


def _done(ret: int = 0) -> Record:
    return {"ret": ret, "errno": None}


def _mmap(runner: Runner, step: steps.MmapStep) -> Record:
    machine = runner.machine
    runner.names.declare(step.task, step.as_)
    task = runner.task(step.task)
    addr = mmap.place_region(machine, task, step.as_, step.length, step.align)
    space = find_file(machine, step.file) if step.file else None
    if step.secretmem:
        space = mmap.memfd_secret(machine, step.length)
    mmap.mmap(
        machine,
        task,
        addr,
        step.length,
        step.prot,
        is_shared=step.shared,
        space=space,
        offset=step.offset,
        populate=step.populate,
        hugetlb=step.hugetlb,
    )
    return _done()


def _munmap(runner: Runner, step: steps.MunmapStep) -> Record:
    mmap.munmap(runner.machine, runner.task(step.task), *runner.range(step))
    return _done()


def _mprotect(runner: Runner, step: steps.MprotectStep) -> Record:
    mmap.mprotect(runner.machine, runner.task(step.task), *runner.range(step), step.prot)
    return _done()


def _madvise(runner: Runner, step: steps.MadviseStep) -> Record:
    task = runner.task(step.task)
    madvise.madvise(runner.machine, task, *runner.range(step), step.advice_number)
    return _done()


def _mlock(runner: Runner, step: steps.MlockStep) -> Record:
    mmap.mlock(runner.machine, runner.task(step.task), *runner.range(step))
    return _done()


def _munlock(runner: Runner, step: steps.MunlockStep) -> Record:
    mmap.munlock(runner.machine, runner.task(step.task), *runner.range(step))
    return _done()


def _touch(runner: Runner, step: steps.TouchStep) -> Record:
    task = runner.task(step.task)
    signal = process.touch(
        runner.machine, task, *runner.range(step), step.write, step.stride, step.seconds or 0
    )
    return {"signal": signal} if signal else {}


def _fork(runner: Runner, step: steps.ForkStep) -> Record:
    child = process.fork(runner.machine, runner.task(step.task), step.as_)
    runner.pids[step.as_] = child.pid
    runner.names.fork(step.task, step.as_)
    return _done()


def _exit(runner: Runner, step: steps.ExitStep) -> Record:
    process.exit_task(runner.machine, runner.task(step.task))
    return _done()


def _sched_setaffinity(runner: Runner, step: steps.SchedSetaffinityStep) -> Record:
    process.sched_setaffinity(runner.machine, runner.task(step.task), step.cpus)
    return _done()


def _set_mempolicy(runner: Runner, step: steps.SetMempolicyStep) -> Record:
    task = runner.task(step.task)
    mempolicy.set_mempolicy(runner.machine, task, step.mode_number, step.nodes)
    return _done()


def _mbind(runner: Runner, step: steps.MbindStep) -> Record:
    mempolicy.mbind(
        runner.machine,
        runner.task(step.task),
        *runner.range(step),
        step.mode_number,
        step.nodes,
        step.flag_bits,
    )
    return _done()


def _set_mempolicy_home_node(runner: Runner, step: steps.SetMempolicyHomeNodeStep) -> Record:
    task = runner.task(step.task)
    mempolicy.set_mempolicy_home_node(runner.machine, task, *runner.range(step), step.node)
    return _done()


_MODES = ("default", "preferred", "bind", "interleave", "local", "preferred-many")
_MODE_NAMES = (*_MODES, "weighted-interleave")
_MODE_FLAGS = ((0x8000, "static"), (0x4000, "relative"), (0x2000, "numa_balancing"))


def _get_mempolicy(runner: Runner, step: steps.GetMempolicyStep) -> Record:
    task = runner.task(step.task)
    addr = 0
    if step.at is not None:
        addr = (runner.region(step.task, step.at).start << PAGE_SHIFT) + step.offset
    answer = mempolicy.get_mempolicy(runner.machine, task, addr, step.flag_bits)
    record = _done()
    if answer.node is not None:
        record["node"] = answer.node
    return record | {
        "mode": _MODE_NAMES[answer.mode],
        "nodes": str(answer.nodes),
        "mode_flags": [name for bit, name in _MODE_FLAGS if answer.flags & bit],
    }


def _migrate_pages(runner: Runner, step: steps.MigratePagesStep) -> Record:
    caller, target = runner.task(step.task), runner.task(step.target_name)
    return _done(migrate.migrate_pages(runner.machine, caller, target, step.from_, step.to))


def _move_pages(runner: Runner, step: steps.MovePagesStep) -> Record:
    caller = runner.task(step.task)
    addr, length = runner.range(step)
    if step.pages is not None:
        start = runner.region(step.task, step.at).start
        addrs = [start + page << PAGE_SHIFT for page in step.pages]
    else:
        addrs = list(range(addr, addr + length, step.stride))
    nodes = step.nodes
    if nodes is not None:
        nodes = (nodes,) * len(addrs) if isinstance(nodes, int) else nodes
    migrate.check_flags(caller, step.flag_bits)
    target = runner.task(step.target_name)
    result = migrate.move_pages(runner.machine, caller, target, addrs, nodes, step.flag_bits)
    status = result.status
    if result.ret == -1:
        status = [value for value in status if value is not None]
    return {"ret": result.ret, "errno": result.errno, "status": _runs(status)}


def _runs(values: list[int | None]) -> list[list[int | None]]:
    out: list[list[Any]] = []
    for value in values:
        if out and out[-1][1] == value:
            out[-1][0] += 1
        else:
            out.append([1, value])
    return out


def _pin(runner: Runner, step: steps.PinStep) -> Record:
    gup.pin(runner.machine, runner.task(step.task), *runner.range(step), step.kind == "long")
    return _done()


def _busy(runner: Runner, step: steps.BusyStep) -> Record:
    machine, task = runner.machine, runner.task(step.task)
    addr, length = runner.range(step)
    a, b = addr >> PAGE_SHIFT, addr + length + PAGE_SIZE - 1 >> PAGE_SHIFT
    kind = None if step.kind == "none" else Busy(step.kind)
    gup.work_on(machine, task, a, b, kind, -1 if step.passes is None else step.passes)
    return _done()


def _swap_cache(runner: Runner, step: steps.SwapCacheStep) -> Record:
    addr, length = runner.range(step)
    a, b = addr >> PAGE_SHIFT, addr + length + PAGE_SIZE - 1 >> PAGE_SHIFT
    gup.add_to_swap_cache(runner.machine, runner.task(step.task), a, b)
    return _done()


def _migrate_vma(runner: Runner, step: steps.MigrateVmaStep) -> Record:
    task = runner.task(step.task)
    moved = devices.migrate_vma(runner.machine, task, *runner.range(step), step.to)
    return _done() | moved._asdict()


def _migrate_driver(runner: Runner, step: steps.MigrateDriverStep) -> Record:
    machine = runner.machine
    driver = machine.drivers.get(step.driver)
    if driver is None:
        raise KernelError("ENODEV", f"there is no driver called {step.driver}")
    machine.driver_calls.clear()
    numbers = step.pages if step.pages is not None else range(len(driver.pages))
    if any(number >= len(driver.pages) for number in numbers):
        raise KernelError("EINVAL", f"{step.driver} has {len(driver.pages)} pages")
    mode = MigrateMode[step.mode.upper()]
    answer = _done()
    try:
        answer["ret"] = drivers.migrate_driver(machine, driver, numbers, step.to, mode)
    except KernelError as error:
        answer = {"ret": -1, "errno": error.errno}
    answer["calls"] = [list(call) for call in machine.driver_calls]
    answer["nodes"] = _runs([-1 if pfn < 0 else nid_of(pfn) for pfn in driver.pages])
    return answer


def _unpin(runner: Runner, step: steps.UnpinStep) -> Record:
    gup.unpin(runner.machine, runner.task(step.task), *runner.range(step), step.kind == "long")
    return _done()


def _cpuset_create(runner: Runner, step: steps.CpusetCreateStep) -> Record:
    cpuset.create(
        runner.machine,
        runner.caller(step.task),
        step.cpuset,
        step.cpus,
        step.mems,
        step.memory_migrate,
    )
    return _done()


def _cpuset_set(runner: Runner, step: steps.CpusetSetStep) -> Record:
    cpuset.change(
        runner.machine,
        runner.caller(step.task),
        step.cpuset,
        step.cpus,
        step.mems,
        step.memory_migrate,
    )
    return _done()


def _cpuset_attach(runner: Runner, step: steps.CpusetAttachStep) -> Record:
    cpuset.attach_task(runner.machine, runner.machine.shell, runner.task(step.task), step.cpuset)
    return _done()


def _sysctl(runner: Runner, step: steps.SysctlStep) -> Record:
    value = step.value
    text = str(int(value)) if isinstance(value, bool) else str(value)
    sysctl.write(runner.machine, runner.caller(step.task), step.name, text, step.node)
    return _done()


def _ksm(runner: Runner, step: steps.KsmStep) -> Record:
    ksm.scan(runner.machine)
    return ksm.state(runner.machine)._asdict()


def _exec(runner: Runner, step: steps.ExecStep) -> Record:
    machine = runner.machine
    caller = runner.caller(step.task)
    argv = [
        str(runner.pids[word[1:]]) if word[:1] == "$" and word[1:] in runner.pids else word
        for word in step.argv
    ]
    if argv[0] != "migratepages":
        raise UnsupportedError(f"program {argv[0]} cannot be simulated yet")

    def migrate_pages(pid: int, old: Nodemask, new: Nodemask) -> int:
        target = machine.task(pid) if pid else caller
        return migrate.migrate_pages(machine, caller, target, old, new)

    libnuma = Libnuma(caller.mems_allowed, len(machine.nodes))
    outcome = migratepages.run(argv, libnuma, migrate_pages)
    return {"exit": outcome.exit, "stdout": outcome.stdout, "stderr": outcome.stderr}


def _placement(runner: Runner, step: steps.PlacementStep) -> Record:
    addr, length = runner.range(step)
    a = addr >> PAGE_SHIFT
    b = addr + length + PAGE_SIZE - 1 >> PAGE_SHIFT
    return {"nodes": placement.runs(runner.machine, runner.task(step.task), a, b)}


def _numa_maps(runner: Runner, step: steps.NumaMapsStep) -> Record:
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


def _vmstat(runner: Runner, step: steps.VmstatStep) -> Record:
    values = vmstat.rows(runner.machine)
    delta = {name: values.get(name, 0) - runner.counted.get(name, 0) for name in COUNTED}
    runner.counted = values
    return {"delta": {name: change for name, change in delta.items() if change}}


_STEPS: dict[type[steps.Step], Callable[[Runner, Any], Record]] = {  # each takes its own step
    steps.MmapStep: _mmap,
    steps.MunmapStep: _munmap,
    steps.MprotectStep: _mprotect,
    steps.MadviseStep: _madvise,
    steps.MlockStep: _mlock,
    steps.MunlockStep: _munlock,
    steps.TouchStep: _touch,
    steps.ForkStep: _fork,
    steps.ExitStep: _exit,
    steps.SchedSetaffinityStep: _sched_setaffinity,
    steps.SetMempolicyStep: _set_mempolicy,
    steps.MbindStep: _mbind,
    steps.SetMempolicyHomeNodeStep: _set_mempolicy_home_node,
    steps.GetMempolicyStep: _get_mempolicy,
    steps.MigratePagesStep: _migrate_pages,
    steps.MovePagesStep: _move_pages,
    steps.PinStep: _pin,
    steps.BusyStep: _busy,
    steps.MigrateVmaStep: _migrate_vma,
    steps.MigrateDriverStep: _migrate_driver,
    steps.SwapCacheStep: _swap_cache,
    steps.UnpinStep: _unpin,
    steps.CpusetCreateStep: _cpuset_create,
    steps.CpusetSetStep: _cpuset_set,
    steps.CpusetAttachStep: _cpuset_attach,
    steps.SysctlStep: _sysctl,
    steps.KsmStep: _ksm,
    steps.ExecStep: _exec,
    steps.PlacementStep: _placement,
    steps.NumaMapsStep: _numa_maps,
    steps.VmstatStep: _vmstat,
}
