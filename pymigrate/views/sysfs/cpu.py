"""/sys/devices/system/cpu and /proc/cpuinfo: the CPUs, as readers of the topology want them.

A scenario says which node has which CPUs, and no more. Here each node's CPUs are one package of
cores with one thread each; caches are not simulated, and no directory names any.
"""

from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Cpumask
from pymigrate.views.entries import Dir, Entries, Link, dir_of, file_of
from pymigrate.views.proc.masks import cpumap

_KERNEL_MAX = 8191  # NR_CPUS - 1
_NO_CLUSTER = 65535


def cpu_dir(machine: Machine) -> Dir:
    """The directory; every CPU is online."""
    cpus = machine.cpus
    entries: Entries = dict.fromkeys(("online", "possible", "present", "enabled"), file_of(cpus))
    entries |= {"offline": file_of(""), "isolated": file_of("")}
    entries["kernel_max"] = file_of(_KERNEL_MAX)
    entries["smt"] = dir_of({"active": file_of(0), "control": file_of("notsupported")})
    for cpu in cpus:
        entries[f"cpu{cpu}"] = _dir_of_cpu(machine, cpu)
    return dir_of(entries)


def cpuinfo(machine: Machine) -> str:
    """The text of /proc/cpuinfo: of what it has, where each CPU is."""
    return "".join(_cpuinfo_of(machine, cpu) for cpu in machine.cpus)


def package_of(machine: Machine, cpu: int) -> tuple[int, Cpumask]:
    """The number of the package that *cpu* is in, among those with CPUs, and its CPUs."""
    packages = [node.cpus for _, node in sorted(machine.nodes.items()) if node.cpus]
    return next((i, cpus) for i, cpus in enumerate(packages) if cpu in cpus)


def _cpuinfo_of(machine: Machine, cpu: int) -> str:
    package, siblings = package_of(machine, cpu)
    lines = {
        "processor": cpu,
        "vendor_id": "pymigrate",
        "model name": "simulated CPU",
        "physical id": package,
        "siblings": len(siblings),
        "core id": siblings.rank(cpu),
        "cpu cores": len(siblings),
    }
    # Tabs bring the colons below each other.
    tabs = {"processor": "\t", "siblings": "\t", "core id": "\t\t"}
    text = "".join(f"{name}{tabs.get(name, chr(9))}: {value}\n" for name, value in lines.items())
    return f"{text}\n"


def _dir_of_cpu(machine: Machine, cpu: int) -> Dir:
    entries: Entries = {
        "topology": Dir(lambda: _topology(machine, cpu)),
        f"node{machine.node_of_cpu(cpu)}": Link(f"../../node/node{machine.node_of_cpu(cpu)}"),
        "subsystem": Link("../../../../bus/cpu"),
    }
    if cpu:  # on x86 the first CPU cannot be taken offline
        entries["online"] = file_of(1)
    return dir_of(entries)


def _topology(machine: Machine, cpu: int) -> Entries:
    package, siblings = package_of(machine, cpu)
    numbers = {
        "physical_package_id": package,
        "die_id": 0,
        "cluster_id": _NO_CLUSTER,
        "core_id": siblings.rank(cpu),
    }
    core = Cpumask.of(cpu)
    groups = dict.fromkeys(("core_cpus", "thread_siblings", "cluster_cpus"), core)
    groups |= dict.fromkeys(("die_cpus", "package_cpus", "core_siblings"), siblings)
    entries: Entries = {name: file_of(number) for name, number in numbers.items()}
    for name, cpus in groups.items():
        entries[name] = file_of(cpumap(machine, cpus))
        entries[f"{name}_list"] = file_of(cpus)
    return entries
