"""What must agree between the parts of a scenario: machine, files, tasks and their memory."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping

from pymigrate.nodemask import Bitmap, Nodemask
from pymigrate.scenario.spec.models import (
    CpusetSpec,
    FileSpec,
    MachineSpec,
    NodeSpec,
    PolicySpec,
    RandomPages,
    RegionSpec,
    TaskSpec,
)
from pymigrate.scenario.text.fields import listed, nearest, shown
from pymigrate.scenario.text.positions import Mistake, Path
from pymigrate.units import HPAGE_PMD_NR, PAGE_SIZE, format_size, pages_of

MAX_NODE_MEMORY = 16 << 40
MAX_DISTANCE = 255
HPAGE_SIZE = HPAGE_PMD_NR * PAGE_SIZE


def machine_mistakes(machine: MachineSpec) -> Iterator[Mistake]:
    """What makes *machine* impossible."""
    path: Path = ("machine",)
    nodes: Path = (*path, "nodes")
    if not machine.memory_nodes:
        yield Mistake(nodes, "no node has memory; expected at least one")
    if not machine.cpus:
        yield Mistake(nodes, "no node has CPUs; expected at least one")
    for nid, node in machine.nodes.items():
        if node.memory % PAGE_SIZE or node.memory > MAX_NODE_MEMORY:
            message = f"{format_size(node.memory)}; expected a multiple of 4KiB, at most 16TiB"
            yield Mistake((*nodes, nid, "memory"), message)
        if node.movable > node.memory or node.movable % HPAGE_SIZE:
            size = format_size(node.movable)
            message = f"{size}; expected a multiple of 2MiB, at most the node's memory"
            yield Mistake((*nodes, nid, "movable"), message)
        yield from _cma_mistakes(node, (*nodes, nid, "cma"))
        yield from _occupied_mistakes(node, (*nodes, nid))
        yield from _pattern_mistakes(node, (*nodes, nid, "fragmentation"))
    yield from _cpu_mistakes(machine, nodes)
    yield from _distance_mistakes(machine, (*path, "distances"))
    yield from _pool_mistakes(machine, (*path, "hugetlb"))
    yield from _device_mistakes(machine, (*path, "devices"))
    yield from _tier_mistakes(machine, nodes)
    for nid in machine.weights:
        if nid not in machine.memory_nodes:
            message = f"node {nid} has no memory; expected one of {machine.memory_nodes}"
            yield Mistake((*path, "weights", nid), message)


def _cma_mistakes(node: NodeSpec, path: Path) -> Iterator[Mistake]:
    if node.cma % HPAGE_SIZE or node.cma > max(node.memory - node.movable, 0):
        size = format_size(node.cma)
        yield Mistake(path, f"{size}; expected a multiple of 2MiB, at most what is not movable")
    elif node.cma and node.fragmentation:
        yield Mistake(path, "a node with declared fragmentation has no CMA; expected one of them")


def _occupied_mistakes(node: NodeSpec, path: Path) -> Iterator[Mistake]:
    fixed = max(node.memory - node.movable - node.cma, 0)
    for key, size, most in (
        ("kernel", node.kernel, fixed),
        ("cache", node.cache, max(node.memory - node.kernel, 0)),
    ):
        if size % PAGE_SIZE or size > most:
            expected = f"a multiple of 4KiB, at most {format_size(most)}"
            yield Mistake((*path, key), f"{format_size(size)}; expected {expected}")


def _pattern_mistakes(node: NodeSpec, path: Path) -> Iterator[Mistake]:
    for number, pattern in enumerate(node.fragmentation):
        where: Path = (*path, number)
        if pattern.run > pattern.stride:
            message = f"{pattern.run} of {pattern.stride} pages; expected at most {pattern.stride}"
            yield Mistake((*where, "run"), message)
        if pattern.pages == "none" and pattern.type is None:
            yield Mistake(where, "missing key 'type'; expected one, because there are no pages")
        if pattern.offset >= node.memory or pattern.offset % PAGE_SIZE:
            message = f"{format_size(pattern.offset)}; expected a multiple of 4KiB in the node"
            yield Mistake((*where, "offset"), message)
        if pattern.size is not None and (not pattern.size or pattern.size % PAGE_SIZE):
            message = f"{format_size(pattern.size)}; expected a multiple of 4KiB, or no size"
            yield Mistake((*where, "size"), message)


def _device_mistakes(machine: MachineSpec, path: Path) -> Iterator[Mistake]:
    for name, device in machine.devices.items():
        if name == "ram":
            yield Mistake((*path, name), "ram is no device; expected another name", at_key=True)
        if not 0 < device.memory <= MAX_NODE_MEMORY or device.memory % PAGE_SIZE:
            message = f"{format_size(device.memory)}; expected a multiple of 4KiB, at most 16TiB"
            yield Mistake((*path, name, "memory"), message)


def _tier_mistakes(machine: MachineSpec, path: Path) -> Iterator[Mistake]:
    has_hmat = any(node.hmat for node in machine.nodes.values())
    for nid, node in machine.nodes.items():
        for key in ("hmat", "adistance"):
            if getattr(node, key) is not None and not node.memory:
                message = f"node {nid} has no memory; expected no key {key!r} there"
                yield Mistake((*path, nid, key), message, at_key=True)
        if has_hmat and node.cpus and node.memory and node.hmat is None:
            message = (
                f"node {nid} has no key 'hmat', but others have; "
                "expected it on every node with CPUs and memory, to compare with"
            )
            yield Mistake((*path, nid), message)


def _cpu_mistakes(machine: MachineSpec, path: Path) -> Iterator[Mistake]:
    owners: dict[int, int] = {}
    for nid, node in machine.nodes.items():
        for cpu in node.cpus:
            if owners.setdefault(cpu, nid) != nid:
                message = f"CPU {cpu} is on node {owners[cpu]} already; expected it on one node"
                yield Mistake((*path, nid, "cpus"), message)


def _distance_mistakes(machine: MachineSpec, path: Path) -> Iterator[Mistake]:
    rows, size = machine.matrix, len(machine.nodes)
    if len(rows) != size:
        yield Mistake(path, f"{len(rows)} rows; expected {size}, one for each node")
    for number, row in enumerate(rows):
        if len(row) != size:
            message = f"{len(row)} distances; expected {size}, one for each node"
            yield Mistake((*path, number), message)
        for column, distance in enumerate(row):
            if number == column and distance != 10:
                message = f"wrong distance {shown(distance)}; expected 10 from a node to itself"
                yield Mistake((*path, number, column), message)
            if number != column and not 10 < distance <= MAX_DISTANCE:
                message = f"wrong distance {shown(distance)}; expected 11 to {MAX_DISTANCE}"
                yield Mistake((*path, number, column), message)


def _pool_mistakes(machine: MachineSpec, path: Path) -> Iterator[Mistake]:
    for nid, count in machine.hugetlb.items():
        node = machine.nodes.get(nid)
        if node is None:
            yield Mistake((*path, nid), _no_node(nid, machine), at_key=True)
        elif count and not node.memory:
            message = f"node {nid} has no memory; expected a pool on a node that has"
            yield Mistake((*path, nid), message)
        elif count * HPAGE_SIZE > node.memory:
            message = (
                f"{count} pages of 2MiB do not fit into node {nid}; "
                f"expected at most {node.memory // HPAGE_SIZE}"
            )
            yield Mistake((*path, nid), message)


def file_mistakes(files: Mapping[str, FileSpec]) -> Iterator[Mistake]:
    """What makes one of *files* impossible."""
    for name, file in files.items():
        if file.fs == "hugetlbfs" and file.size % HPAGE_SIZE:
            yield Mistake(("files", name, "size"), "wrong value; expected a multiple of 2MiB")


def task_mistakes(machine: MachineSpec, tasks: Mapping[str, TaskSpec]) -> Iterator[Mistake]:
    """Where *tasks* ask for what *machine* has not, or for what another task has."""
    pids: dict[int, str] = {}
    for name, task in tasks.items():
        path: Path = ("tasks", name)
        if task.pid and pids.setdefault(task.pid, name) != name:
            message = f"pid {task.pid} is that of task {pids[task.pid]!r}; expected another"
            yield Mistake((*path, "pid"), message)
        if "cpus" in task.model_fields_set:
            yield from _task_cpu_mistakes(task, machine, (*path, "cpus"))
        if task.mempolicy is not None:
            yield from _policy_mistakes(task.mempolicy, machine, (*path, "mempolicy"))
        for number, region in enumerate(task.memory):
            if region.policy is not None:
                where: Path = (*path, "memory", number, "policy")
                yield from _policy_mistakes(region.policy, machine, where)


def access_mistakes(
    tasks: Mapping[str, TaskSpec], mapped: set[tuple[str, str]]
) -> Iterator[Mistake]:
    """Where a task accesses memory that it never has; steps map regions *mapped* (task, name)."""
    for name, task in tasks.items():
        known = [region.as_ for region in task.memory]
        known += [region for who, region in sorted(mapped) if who == name]
        for number, access in enumerate(task.access):
            if access.region not in known:
                near = nearest(access.region, known, "region")
                expected = listed(known) if known else "no access, because it has no memory"
                message = f"unknown region {shown(access.region)}; expected {expected}{near}"
                yield Mistake(("tasks", name, "access", number, "region"), message)


def _task_cpu_mistakes(task: TaskSpec, machine: MachineSpec, path: Path) -> Iterator[Mistake]:
    missing = task.cpus - machine.cpus
    if missing:
        yield Mistake(path, f"the machine has no CPU {missing}; expected some of {machine.cpus}")
    elif not task.cpus:
        yield Mistake(path, f"no CPU; expected some of {machine.cpus}")


def _policy_mistakes(policy: PolicySpec, machine: MachineSpec, path: Path) -> Iterator[Mistake]:
    home = Nodemask() if policy.home_node is None else Nodemask.of(policy.home_node)
    relative = "relative" in policy.flags
    missing = (home if relative else policy.nodes | home) - Nodemask.of(*machine.nodes)
    if missing:
        yield Mistake(path, _no_node(missing, machine))
    elif policy.nodes and not relative and not policy.nodes & machine.memory_nodes:
        expected = f"some of {machine.memory_nodes}"
        yield Mistake(path, f"no node of {policy.nodes} has memory; expected {expected}")


def memory_mistakes(
    machine: MachineSpec, files: Mapping[str, FileSpec], tasks: Mapping[str, TaskSpec]
) -> Iterator[Mistake]:
    """Where the declared memory of *tasks* is impossible or does not fit into the nodes."""
    room, nodes = _Room(machine), machine.memory_nodes
    for name, task in tasks.items():
        taken: dict[str, int] = {}
        for number, region in enumerate(task.memory):
            path: Path = ("tasks", name, "memory", number)
            if taken.setdefault(region.as_, number) != number:
                message = (
                    f"task {name!r} has a region {region.as_!r} already; expected another name"
                )
                yield Mistake((*path, "as"), message)
            yield from _region_mistakes(region, machine, nodes, path)
            yield from _file_use_mistakes(region, files, path)
            if not region.shared:
                yield from room.place(region, path)
        yield from _layout_mistakes(task, ("tasks", name, "memory"))


def unknown_origin(shared: str, known: Mapping[str, RegionSpec], path: Path) -> Mistake:
    """The mistake of a region at *path* that shares what is not declared before it."""
    near = nearest(shared, known, "region")
    expected = listed(sorted(known)) if 0 < len(known) <= 12 else "TASK.REGION declared before"
    message = f"unknown region {shown(shared)}; expected {expected}{near}"
    return Mistake((*path, "shared"), message)


def sharing_mistakes(region: RegionSpec, origin: RegionSpec, path: Path) -> Iterator[Mistake]:
    """Where *region* contradicts *origin*, whose memory it shares."""
    given = region.model_fields_set
    if "kind" in given and region.kind != origin.kind:
        message = f"wrong kind; expected {origin.kind}, that of the region that it shares"
        yield Mistake((*path, "kind"), message)
    if "size" in given and region.size > origin.size:
        expected = f"at most {format_size(origin.size)}, that of the region that it shares"
        yield Mistake((*path, "size"), f"wrong size; expected {expected}")
    for key in ("pages", "file", "offset", "map"):
        if key in given and not (key == "pages" and origin.is_shared):
            message = f"a region that shares another has no key {key!r}; expected it there"
            yield Mistake((*path, key), message, at_key=True)


def _region_mistakes(
    region: RegionSpec, machine: MachineSpec, nodes: Nodemask, path: Path
) -> Iterator[Mistake]:
    """Where *region* is impossible on *machine*, of which *nodes* have memory."""
    is_inherited = region.shared and "size" not in region.model_fields_set  # its origin is wrong
    if not region.size and not is_inherited:
        yield Mistake((*path, "size"), "size is 0 or missing; expected a size such as 64MiB")
    elif region.kind == "hugetlb" and region.size % HPAGE_SIZE:
        yield Mistake((*path, "size"), "wrong size; expected a multiple of 2MiB")
    yield from _state_mistakes(region, path)
    if region.thp:
        yield from _thp_mistakes(region, path)
    if region.pages is None:
        return
    where: Path = (*path, "pages")
    if isinstance(region.pages, RandomPages):
        yield from _no_memory(region.pages.random, machine, (*where, "random"))
        if not region.pages.random:
            yield Mistake((*where, "random"), "no nodes; expected some, as in 0-3")
        return
    total = sum(count for count, _ in region.pages)
    if total > region.nr_pages:
        message = f"{total} pages; expected at most the {region.nr_pages} that the region has"
        yield Mistake(where, message)
    for number, (_, nid) in enumerate(region.pages):
        if nid >= 0 and nid not in nodes:
            yield from _no_memory(Nodemask.of(nid), machine, (*where, number, 1))


def _thp_mistakes(region: RegionSpec, path: Path) -> Iterator[Mistake]:
    where: Path = (*path, "thp")
    if region.kind not in ("anon", "heap", "stack") or region.shared:
        message = "no thp here; expected it with anonymous memory that shares nothing"
        yield Mistake(where, message, at_key=True)
    elif region.pages is None or isinstance(region.pages, RandomPages):
        yield Mistake(where, "no runs of `pages`; expected them with thp", at_key=True)
    elif region.thp % HPAGE_SIZE:
        yield Mistake(where, "wrong size; expected a multiple of 2MiB")


def _state_mistakes(region: RegionSpec, path: Path) -> Iterator[Mistake]:
    """What `states` cannot say of *region*."""
    if not region.states:
        return
    where: Path = (*path, "states")
    if region.kind == "hugetlb" or region.shared or region.pages is None:
        message = "no states here; expected them with `pages`, and not of hugetlb or shared memory"
        yield Mistake(where, message, at_key=True)
    total = sum(count for count, _ in region.states)
    if total > region.nr_pages:
        message = f"{total} pages; expected at most the {region.nr_pages} that the region has"
        yield Mistake(where, message)
    for number, (_, state) in enumerate(region.states):
        if state == "anon" and (region.kind != "file" or region.is_shared):
            message = "only a private mapping of a file has anon pages; expected clean or dirty"
            yield Mistake((*where, number, 1), message)


def cpuset_mistakes(
    machine: MachineSpec, cpusets: Mapping[str, CpusetSpec], tasks: Mapping[str, TaskSpec]
) -> Iterator[Mistake]:
    """Where *cpusets* have what *machine* has not, or *tasks* are in none of them."""
    for name, group in cpusets.items():
        path: Path = ("cpusets", name)
        parent = name.rpartition("/")[0]
        if parent and parent not in cpusets:
            message = f"there is no cpuset {shown(parent)} that {shown(name)} could lie in"
            yield Mistake(path, message, at_key=True)
        missing = group.cpus - machine.cpus
        if missing or not group.cpus:
            message = f"no CPU {missing or 'at all'}; expected some of {machine.cpus}"
            yield Mistake((*path, "cpus"), message)
        if group.mems - machine.memory_nodes or not group.mems:
            nodes = group.mems - machine.memory_nodes
            message = f"no memory on node {nodes or 'at all'}; expected some of"
            yield Mistake((*path, "mems"), f"{message} {machine.memory_nodes}")
    for name, task in tasks.items():
        group_of = cpusets.get(task.cpuset) if task.cpuset else None
        path = ("tasks", name, "cpuset")
        if task.cpuset and group_of is None:
            expected = listed(cpusets) if cpusets else "a key of cpusets"
            near = nearest(task.cpuset, cpusets, "cpuset")
            yield Mistake(path, f"unknown cpuset {shown(task.cpuset)}; expected {expected}{near}")


def _no_memory(nodes: Nodemask, machine: MachineSpec, path: Path) -> Iterator[Mistake]:
    missing = nodes - machine.memory_nodes
    if missing:
        expected = f"some of {machine.memory_nodes}"
        yield Mistake(path, f"there is no memory on node {missing}; expected {expected}")


def _file_use_mistakes(
    region: RegionSpec, files: Mapping[str, FileSpec], path: Path
) -> Iterator[Mistake]:
    if region.kind == "file" and region.file is None:
        yield Mistake(path, "missing key 'file'; expected the name of the file that it maps")
    for key in ("file", "offset", "map"):
        if key in region.model_fields_set and region.kind not in ("file", "hugetlb"):
            message = (
                f"kind {region.kind} has no key {key!r}; expected it with kind file or hugetlb"
            )
            yield Mistake((*path, key), message, at_key=True)
    if region.file is None or region.kind not in ("file", "hugetlb"):
        return
    file = files.get(region.file)
    if file is None:
        near = nearest(region.file, files, "file")
        expected = listed(files) if files else "a key of files"
        message = f"unknown file {shown(region.file)}; expected {expected}{near}"
        yield Mistake((*path, "file"), message)
        return
    if (file.fs == "hugetlbfs") != (region.kind == "hugetlb"):
        message = f"the file is in {file.fs}; expected hugetlbfs with kind hugetlb, and only there"
        yield Mistake((*path, "file"), message)
    if region.offset % region.page_size:
        message = f"wrong offset; expected a multiple of {format_size(region.page_size)}"
        yield Mistake((*path, "offset"), message)
    elif _last_page(region) > pages_of(file.size):
        message = f"pages behind the file's end; expected none beyond {format_size(file.size)}"
        yield Mistake((*path, "pages"), message)


def _last_page(region: RegionSpec) -> int:
    """How many base pages the file must have for the pages of *region* to be there."""
    if region.pages is None:
        return 0
    end, reach = 0, region.nr_pages if isinstance(region.pages, RandomPages) else 0
    for count, nid in () if isinstance(region.pages, RandomPages) else region.pages:
        end += count
        reach = end if nid >= 0 else reach
    return (region.offset + reach * region.page_size) // PAGE_SIZE if reach else 0


def _layout_mistakes(task: TaskSpec, path: Path) -> Iterator[Mistake]:
    placed: list[tuple[int, int, str]] = []  # ascending; they do not overlap
    kinds: set[str] = set()
    for number, region in enumerate(task.memory):
        if region.kind in ("heap", "stack") and not region.shared:
            if region.kind in kinds and (region.kind == "stack" or region.address is None):
                message = f"a second {region.kind}; expected one for a task"
                yield Mistake((*path, number, "kind"), message)
            kinds.add(region.kind)
        if region.address is None:
            continue
        start, end = region.address, region.address + region.size
        where: Path = (*path, number, "address")
        if region.address % region.page_size:
            yield Mistake(where, f"wrong address; expected a multiple of {region.page_size:#x}")
        at = bisect_left(placed, (start, end, ""))
        near = placed[max(at - 1, 0) : at + 1]
        taken = [name for first, last, name in near if start < last and first < end]
        if taken:
            yield Mistake(where, f"it overlaps region {taken[0]!r}; expected free addresses")
        else:
            placed.insert(at, (start, end, region.as_))


class _Room:
    """How much of each node's memory, and of its hugetlb pool, no region has taken."""

    def __init__(self, machine: MachineSpec) -> None:
        self.pools = {nid: machine.hugetlb.get(nid, 0) for nid in machine.memory_nodes}
        self.pages = {
            nid: (node.memory - node.kernel - node.cache) // PAGE_SIZE
            - self.pools[nid] * HPAGE_PMD_NR
            for nid, node in machine.nodes.items()
            if nid in machine.memory_nodes
        }
        self.cached: dict[str, _Pages] = {}

    def place(self, region: RegionSpec, path: Path) -> Iterator[Mistake]:
        """Take what *region* declares."""
        room, unit = (
            (self.pools, "2MiB pages of the pool")
            if region.kind == "hugetlb"
            else (self.pages, "pages")
        )
        for nid, count in self._needs(region).items():
            if nid not in room:
                continue  # said by _region_mistakes()
            if 0 <= room[nid] < count:
                message = (
                    f"{count} {unit} do not fit into node {nid}; "
                    f"expected at most the {room[nid]} that earlier regions leave"
                )
                yield Mistake((*path, "pages"), message)
            room[nid] -= count

    def _needs(self, region: RegionSpec) -> dict[int, int]:
        """How many new pages *region* needs on each node."""
        if isinstance(region.pages, RandomPages):
            nodes = region.pages.random
            return {nid: region.nr_pages // len(nodes) for nid in nodes}  # about
        needs: dict[int, int] = {}
        start = region.offset // region.page_size
        cached = self.cached.setdefault(region.file, _Pages()) if region.file else None
        for count, nid in region.pages or ():
            if nid >= 0:
                fresh = cached.add(start, start + count) if cached else count
                needs[nid] = needs.get(nid, 0) + fresh
            start += count
        return needs


class _Pages:
    """Pages of a file, as ascending ranges with gaps between them."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []

    def add(self, start: int, end: int) -> int:
        """Put the pages [start, end) among them; gives how many of these were not there."""
        low, high = start, end
        first, last = bisect_left(self.ends, start), bisect_right(self.starts, end)
        near = zip(self.starts[first:last], self.ends[first:last], strict=True)
        fresh = end - start - sum(min(b, end) - max(a, start) for a, b in near)
        if first < last:
            low, high = min(start, self.starts[first]), max(end, self.ends[last - 1])
        self.starts[first:last], self.ends[first:last] = [low], [high]
        return fresh


def _no_node(nodes: int, machine: MachineSpec) -> str:
    missing = nodes if isinstance(nodes, Bitmap) else Nodemask.of(nodes)
    return f"the machine has no node {missing}; expected some of {Nodemask.of(*machine.nodes)}"
