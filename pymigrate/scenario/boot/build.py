"""From a scenario's text to a booted machine."""

from pymigrate.errors import ScenarioError
from pymigrate.mm.base.memmap import Busy, Frame
from pymigrate.mm.base.release import RELEASES, Release
from pymigrate.mm.calls.cgroup import CONTROLLERS
from pymigrate.mm.calls.cpuset import attach
from pymigrate.mm.engine.movable_ops import new_pages
from pymigrate.mm.faults.filemap import dirty_frames
from pymigrate.mm.frames.busy import begin
from pymigrate.mm.frames.frames import FrameEdits
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.frames.lru_gen import first_generations
from pymigrate.mm.frames.page_alloc import reserve_pages
from pymigrate.mm.frames.watermarks import add_memory, setup_watermarks
from pymigrate.mm.offline.contig import declare_cma
from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine, add_device
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.node import AccessCoordinate, Driver, Node
from pymigrate.mm.state.task import CAPABILITIES, Cpuset, Task
from pymigrate.scenario.boot.fragmentation import fragment, occupy
from pymigrate.scenario.boot.memory import declare, policy_of
from pymigrate.scenario.spec.models import (
    DriverSpec,
    FileSpec,
    MachineSpec,
    NodeSpec,
    Scenario,
    TaskSpec,
)
from pymigrate.syscalls import cpuset
from pymigrate.units import PAGE_SHIFT

FIRST_INODE = 2  # of a tmpfs: its root is 1


def build(scenario: Scenario, kernel: str | None = None) -> Machine:
    """The machine of *scenario* with its files, tasks and declared memory, just booted.

    *kernel* overrides the scenario's. Raises ScenarioError for memory that does not fit.
    """
    machine = boot(scenario.machine, kernel or scenario.kernel)
    inode = FIRST_INODE
    for name, spec in scenario.files.items():
        space = AddressSpace(machine.new_id(), name, spec.fs, spec.size)
        machine.spaces[space.space_id] = space
        if space.is_shmem:
            space.inode, inode = inode, inode + 1
    for name, group in sorted(scenario.cpusets.items(), key=lambda item: item[0].count("/")):
        cpuset.create(
            machine, machine.shell_of(0), name, group.cpus, group.mems, memory_migrate=True
        )
    families = _families(machine, scenario)
    mm_ids = {name: machine.new_id() for name in scenario.tasks}
    for name, task in scenario.tasks.items():
        mm = Mm(mm_ids[name], families[name])
        mm.ancestors = tuple(mm_ids[parent] for parent in _ancestors(scenario, name))
        machine.add_mm(mm)
        machine.tasks[task.pid] = made = Task(
            task.pid,
            name,
            task.comm,
            task.uid,
            task.cpus,
            mm,
            machine.memory_nodes,
            user_cpus=task.cpus,
            caps=_caps(task),
            is_dumpable=task.dumpable,
            accesses=[access.pattern for access in task.access],
        )
        if task.cpuset is not None:
            attach(machine, made, machine.cpusets[task.cpuset])
        made.policy = policy_of(made.mems_allowed & machine.memory_nodes, task.mempolicy)
    machine.next_pid = max([machine.next_pid - 1, *machine.tasks]) + 1
    _declare_memory(machine, scenario)
    return machine


def _caps(task: TaskSpec) -> int | None:
    """The capabilities that a task declares."""
    if task.capabilities is None:
        return None
    return sum(CAPABILITIES[name] for name in set(task.capabilities))


def _declare_memory(machine: Machine, scenario: Scenario) -> None:
    """Map what the tasks declare; it costs no counters, and no page waits for its LRU list."""
    files = {space.name: space for space in machine.spaces.values() if space.name}
    for name, spec in scenario.tasks.items():
        task = machine.task(name)
        for region in spec.memory:
            declare(machine, task, region, files)
            if machine.counters["oom_kill"]:
                raise ScenarioError(
                    f"task {name}, region {region.as_}: its nodes have no room left, and"
                    f" {_killed(machine, scenario)} would be killed to make some"
                )
        task.il_prev, task.il_weight = -1, 0
    for name, driver in scenario.drivers.items():
        _load_driver(machine, name, driver)
    for name, file in scenario.files.items():
        _set_state(machine, files[name], file)
    lru_add_drain_all(machine)
    machine.counters.clear()
    for node in machine.nodes.values():
        node.numa.clear()
    machine.open_ledger()


def _killed(machine: Machine, scenario: Scenario) -> str:
    """The tasks that are no more."""
    alive = {task.name for task in machine.tasks.values()}
    return ", ".join(name for name in scenario.tasks if name not in alive)


def _load_driver(machine: Machine, name: str, spec: DriverSpec) -> None:
    """Give a driver its pages. Raises ScenarioError."""
    node = machine.nodes.get(spec.node)
    free = node.nr_free if node else 0
    if node is None or free < spec.pages:
        message = f"driver {name}: node {spec.node} has {free} free pages, expected {spec.pages}"
        raise ScenarioError(message)
    driver = Driver(machine.new_id(), name, spec.kind, spec.interface)
    driver.isolates = [str(answer).lower() for answer in spec.isolate]
    driver.migrates = list(spec.migrate)
    machine.drivers[name] = driver
    extents = reserve_pages(node, spec.pages)
    edits = FrameEdits(machine)
    edits.set(extents, Frame(driver.driver_id, 0))
    edits.commit()
    new_pages(machine, driver, [p for start, nr in extents for p in range(start, start + nr)])


def _set_state(machine: Machine, space: AddressSpace, file: FileSpec) -> None:
    """Let what is cached of a file be dirty, or under writeback, as it declares."""
    runs = list(space.pages.runs)
    if file.dirty:
        dirty_frames(machine, runs)
    if file.writeback:
        passes = -1 if file.writeback is True else file.writeback
        for run in runs:
            for pfn in run.pfns():
                begin(machine, pfn, Busy.WRITEBACK, passes)


def _families(machine: Machine, scenario: Scenario) -> dict[str, int]:
    """A fork family for each task; tasks that share private memory are of one."""
    families = {name: machine.new_id() for name in scenario.tasks}
    for name, spec in scenario.tasks.items():
        for region in spec.memory:
            if region.origin and not region.is_shared:
                ours, theirs = families[name], families[region.origin[0]]
                families = {
                    who: theirs if family == ours else family for who, family in families.items()
                }
    return families


def _ancestors(scenario: Scenario, name: str) -> list[str]:
    """The tasks whose private memory *name* has by fork, oldest first."""
    found: list[str] = []
    while name:
        regions = scenario.tasks[name].memory
        origins = [region.origin[0] for region in regions if region.origin and not region.is_shared]
        name = next((origin for origin in origins if origin not in found), "")
        found += [name] if name else []
    return found[::-1]


def boot(spec: MachineSpec, kernel: str) -> Machine:
    """A machine with nothing running on it."""
    ids = spec.node_ids
    distances = {
        nid: dict(zip(ids, row, strict=True)) for nid, row in zip(ids, spec.matrix, strict=True)
    }
    release = RELEASES[kernel]
    nodes = {nid: _node(nid, spec.nodes[nid], release) for nid in ids}
    machine = Machine(
        nodes,
        distances,
        release,
        thp=spec.thp,
        defrag=spec.thp_defrag,
        demotion=spec.demotion,
        numa_balancing=spec.numa_balancing,
        weights={nid: weight for nid, weight in spec.weights.items() if weight > 1},
        seed=spec.seed,
        costs=spec.costs.costs,
    )
    for name, device in spec.devices.items():
        add_device(machine, name, device.memory >> PAGE_SHIFT)
    first = 0
    for nid in ids:
        nr, movable = spec.nodes[nid].memory >> PAGE_SHIFT, spec.nodes[nid].movable >> PAGE_SHIFT
        add_memory(machine, nodes[nid], nr, first, movable)
        cma = spec.nodes[nid].cma >> PAGE_SHIFT
        if cma and not declare_cma(nodes[nid], cma):
            raise ScenarioError(f"node {nid}: no zone has room for its CMA area")
        first += nr
    setup_watermarks(machine)
    for nid in ids:
        occupy(machine, nodes[nid], spec.nodes[nid].kernel, spec.nodes[nid].cache)
    for nid, count in spec.hugetlb.items():
        set_nr_hugepages(machine, count, nid)
    for nid in ids:
        for pattern in spec.nodes[nid].fragmentation:
            fragment(machine, nodes[nid], pattern)
    machine.counters.clear()
    machine.open_ledger()
    mems = machine.memory_nodes
    machine.cpusets[""] = Cpuset("", machine.cpus, mems, True, mems, " ".join(CONTROLLERS))
    return machine


def _node(nid: int, spec: NodeSpec, release: Release) -> Node:
    """A node without memory yet."""
    node = Node(nid, spec.cpus, adistance=spec.adistance or 0, lrugen=first_generations(release))
    if spec.hmat is not None:
        node.perf = AccessCoordinate(**spec.hmat.model_dump())
    return node
