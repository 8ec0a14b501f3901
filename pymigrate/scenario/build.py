"""From a scenario's text to a booted machine."""

from pymigrate.errors import ScenarioError
from pymigrate.mm.address_space import AddressSpace
from pymigrate.mm.machine import Machine, Node, Task
from pymigrate.mm.mm import Mm
from pymigrate.mm.page_alloc import add_memory, setup_watermarks
from pymigrate.mm.release import RELEASES
from pymigrate.scenario.models import MachineSpec, Scenario
from pymigrate.units import PAGE_SHIFT

FIRST_INODE = 2  # of a tmpfs: its root is 1


def build(scenario: Scenario, kernel: str | None = None) -> Machine:
    """The machine of *scenario* with its files, tasks and declared memory, just booted.

    *kernel* overrides the scenario's. Raises ScenarioError for what is not simulated yet.
    """
    _check_simulated(scenario)
    machine = boot(scenario.machine, kernel or scenario.kernel)
    for number, (name, spec) in enumerate(scenario.files.items()):
        space = AddressSpace(machine.new_id(), name, spec.fs, spec.size, FIRST_INODE + number)
        machine.spaces[space.space_id] = space
    for name, task in scenario.tasks.items():
        mm = Mm(machine.new_id(), machine.new_id())
        machine.mms[mm.mm_id] = mm
        machine.tasks[task.pid] = Task(
            task.pid, name, task.comm, task.uid, task.cpus, mm, machine.memory_nodes
        )
    machine.next_pid = max([machine.next_pid - 1, *machine.tasks]) + 1
    return machine


def boot(spec: MachineSpec, kernel: str) -> Machine:
    """A machine with nothing running on it."""
    ids = spec.node_ids
    distances = {
        nid: dict(zip(ids, row, strict=True)) for nid, row in zip(ids, spec.matrix, strict=True)
    }
    nodes = {nid: Node(nid, spec.nodes[nid].cpus) for nid in ids}
    machine = Machine(
        nodes,
        distances,
        RELEASES[kernel],
        thp=spec.thp,
        demotion=spec.demotion,
        numa_balancing=spec.numa_balancing,
    )
    first = 0
    for nid in ids:
        nr = spec.nodes[nid].memory >> PAGE_SHIFT
        add_memory(machine, nodes[nid], nr, first)
        first += nr
    setup_watermarks(machine)
    return machine


def _check_simulated(scenario: Scenario) -> None:
    """Refuse what would be answered wrongly."""
    missing = ""
    if scenario.machine.thp != "never":
        missing = f"transparent huge pages (thp: {scenario.machine.thp})"
    elif any(scenario.machine.hugetlb.values()):
        missing = "hugetlb pages"
    elif scenario.machine.numa_balancing:
        missing = "NUMA balancing"
    elif scenario.machine.demotion:
        missing = "demotion"
    if missing:
        raise ScenarioError(f"{missing} cannot be simulated yet")
