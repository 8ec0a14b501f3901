"""Makes the calls on the machine: cpusets, settings, memory taken away; see the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from pymigrate.errors import KernelError
from pymigrate.interface.declare import Answer
from pymigrate.interface.made import runs
from pymigrate.mm.base.gfp import Gfp
from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.calls import ksm as _ksm
from pymigrate.mm.calls.cgroup import processes_below
from pymigrate.mm.clock import simulated_time
from pymigrate.mm.offline.memory_failure import num_poisoned_kb
from pymigrate.mm.offline.memory_hotplug import physical
from pymigrate.mm.reclaim.damon import Action, Scheme
from pymigrate.mm.reclaim.damon import Kind as DamonKind
from pymigrate.mm.reclaim.kernel_alloc import Blocks
from pymigrate.mm.state.events import MigrateMode
from pymigrate.mm.state.machine import Machine, watching
from pymigrate.mm.state.node import Called
from pymigrate.mm.state.task import FindLeft, Task
from pymigrate.nodemask import Bitmap, Cpumask, Nodemask
from pymigrate.syscalls import cma, cpuset, drivers, kernel_pages, memory_blocks, memory_failure
from pymigrate.syscalls import compact as _compact
from pymigrate.syscalls import damon as _damon
from pymigrate.syscalls import reclaim as _reclaim
from pymigrate.syscalls import sysctl as _sysctl
from pymigrate.units import PAGE_SHIFT, pages_of
from pymigrate.views.told import balance as balance_view
from pymigrate.views.why import stayed

WHOLE = (0, 1 << 47)  # bytes of addresses


def cpuset_create(
    machine: Machine, caller: Task, name: str, cpus: str, mems: str, memory_migrate: bool
) -> Answer:
    """Make a cpuset, and write its files."""
    cpuset.create(machine, caller, name, Cpumask(), Nodemask(), memory_migrate)
    return cpuset_set(machine, caller, name, cpus, mems, None)


def cpuset_set(
    machine: Machine,
    caller: Task,
    name: str,
    cpus: str | None,
    mems: str | None,
    memory_migrate: bool | None,
) -> Answer:
    """Write the files of a cpuset that are given."""
    cpuset.change(machine, caller, name, memory_migrate=memory_migrate)
    if cpus is not None:
        cpuset.change(machine, caller, name, cpus=cpuset.cpulist(machine, cpus))
    if mems is not None:
        cpuset.change(machine, caller, name, mems=cpuset.nodelist(mems))
    return {}


def left_by_cpuset_set(machine: Machine, caller: Task, name: str, *_: object) -> FindLeft | None:
    """What finds the pages that do not follow when the cpuset's nodes change."""
    return _left_by(machine, name, processes_below(machine, name))


def cpuset_attach(machine: Machine, caller: Task, name: str, task: Task) -> Answer:
    """Move a task into a cpuset."""
    cpuset.attach_task(machine, caller, task, name)
    return {}


def left_by_cpuset_attach(machine: Machine, caller: Task, name: str, task: Task) -> FindLeft | None:
    """What finds the pages that do not follow from the cpuset that the task is in now."""
    return _left_by(machine, task.cpuset, [task])


def _left_by(machine: Machine, name: str, tasks: list[Task]) -> FindLeft | None:
    if name not in machine.cpusets:
        return None
    return lambda stays: stayed.cpuset_rows(machine, tasks, stays)


def sysctl(machine: Machine, caller: Task, name: str, value: str | int, node: int | None) -> Answer:
    """Write a setting; true and false are 1 and 0."""
    text = str(int(value)) if isinstance(value, bool) else str(value)
    _sysctl.write(machine, caller, name, text, node)
    return {}


def reclaim(
    machine: Machine,
    caller: Task,
    size: int,
    node: int | None,
    target: Task | None,
    group: str | None,
    swappiness: int | None,
) -> Answer:
    """Reclaim memory; `reclaimed` is in base pages."""
    tasks = None if target is None else [target]
    if group is not None:
        tasks = _reclaim.cpuset_tasks(machine, group)
    return {"reclaimed": _reclaim.reclaim(machine, caller, size, node, tasks, swappiness)}


def damon(
    machine: Machine,
    caller: Task,
    action: str,
    to: int,
    node: int | None,
    task: Task | None,
    addr: int | None,
    length: int | None,
    quota: int | None,
    exclude: Sequence[str],
) -> Answer:
    """Apply a scheme to a node, or to a task's memory; `migrated` is in base pages."""
    pages = None if quota is None else pages_of(quota)
    scheme = Scheme(Action(action), to, pages, frozenset(DamonKind(kind) for kind in exclude))
    at = WHOLE if addr is None or length is None else (addr, length)
    if task is None:
        assert node is not None, "one of the two is given"
        return {"migrated": _damon.apply_to_node(machine, caller, scheme, node)}
    return {"migrated": _damon.apply_to_range(machine, caller, scheme, task, *at)}


def ksm(machine: Machine) -> Answer:
    """Merge pages; what /sys/kernel/mm/ksm shows then."""
    _ksm.scan(machine)
    return dict(_ksm.state(machine)._asdict())


def balance(machine: Machine, seconds: float) -> Answer:
    """Let time pass."""
    done = simulated_time.balance(machine, ceil(seconds * 1000))
    return balance_view.as_json(machine, done)


def migrate_driver(
    machine: Machine,
    driver: str,
    to: int,
    pages: Sequence[int] | None,
    mode: str,
    isolated: Sequence[int] | None = None,
) -> Answer:
    """Move a driver's pages; `calls` are its functions with page and answer, in their order.

    Another CPU has isolated those of *isolated* before.
    """
    found = machine.drivers.get(driver)
    if found is None:
        raise KernelError("ENODEV", f"there is no driver called {driver}")
    calls: list[Called] = []
    numbers = pages if pages is not None else range(len(found.pages))
    others = isolated or ()
    if any(number >= len(found.pages) for number in (*numbers, *others)):
        raise KernelError("EINVAL", f"{driver} has {len(found.pages)} pages")
    answer: Answer = {}
    try:
        mode_ = MigrateMode[mode.upper()]
        with watching(machine, machine.watch._replace(driver_calls=calls)):
            answer["ret"] = drivers.migrate_driver(machine, found, numbers, to, mode_, others)
    except KernelError as error:
        answer = {"ret": -1, "errno": error.name, "why": error.why}
    answer["calls"] = [list(call) for call in calls]
    answer["nodes"] = runs([-1 if pfn < 0 else nid_of(pfn) for pfn in found.pages])
    return answer


def alloc(
    machine: Machine,
    caller: Task,
    name: str,
    order: int,
    count: int,
    node: int | None,
    this_node: bool,
    movable: bool,
    mode: str,
) -> Answer:
    """Allocate blocks; `ret` is how many there were, `nodes` where they are, as runs."""
    flags = kernel_pages.MODES[mode]
    flags |= Gfp.MOVABLE if movable else Gfp.NONE
    flags |= Gfp.THISNODE if this_node else Gfp.NONE
    got = kernel_pages.alloc(machine, caller, name, Blocks(order, count, flags), node)
    return {"ret": got, "nodes": runs([nid_of(pfn) for pfn in machine.allocations[name].pfns])}


def compact(machine: Machine, caller: Task, node: int | None, order: int | None) -> Answer:
    """Compact zones; of each node, zone, how it ended and the pages that moved."""
    found = _compact.compact(machine, caller, node, order)
    return {"zones": [[run.node, run.zone, run.result.name.lower(), run.moved] for run in found]}


def cma_alloc(machine: Machine, caller: Task, name: str, size: int, node: int | None) -> Answer:
    """Allocate memory in one piece; `address` is its physical address."""
    found = cma.alloc(machine, caller, name, size, node)
    return {"address": f"{physical(machine, found.start) << PAGE_SHIFT:#x}"}


def memory_offline(
    machine: Machine, caller: Task, node: int, blocks: Sequence[int] | None
) -> Answer:
    """Take memory blocks away; see _blocks()."""
    return _blocks(memory_blocks.offline(machine, caller, node, blocks))


def memory_online(
    machine: Machine, caller: Task, node: int, blocks: Sequence[int] | None, online_type: str | None
) -> Answer:
    """Give memory blocks back; see _blocks()."""
    return _blocks(memory_blocks.online(machine, caller, node, blocks, online_type))


def _blocks(outcomes: list[memory_blocks.Outcome]) -> Answer:
    """The answer of the first block that failed; which were done, and why others were not."""
    failed = {str(number): error.name for number, error in outcomes if error}
    first = next((error for _, error in outcomes if error), None)
    answer: Answer = {"ret": -1, "errno": first.name, "why": first.why} if first else {}
    answer["blocks"] = str(Bitmap.collect(n for n, error in outcomes if not error))
    return answer | ({"left": failed} if failed else {})


def _offline(how: memory_failure.Offline) -> Callable[..., Answer]:
    def call(
        machine: Machine,
        caller: Task,
        task: Task | None,
        addr: int | None,
        length: int | None,
        address: int | None,
    ) -> Answer:
        """Take pages out of use; `hardware_corrupted_kB` is how much is out of use then."""
        if task is not None:
            assert addr is not None
            assert length is not None
            how.of_task(machine, task, addr, length)
        else:
            assert address is not None, "one of the two is given"
            how.store(machine, caller, address)
        return {"hardware_corrupted_kB": num_poisoned_kb(machine)}

    return call


hard_offline, soft_offline = _offline(memory_failure.HARD), _offline(memory_failure.SOFT)
