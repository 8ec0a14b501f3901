"""The models of a scenario file but for its steps: machine, files, tasks and declared memory."""

import re
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from pymigrate.mm.base.costs import Costs
from pymigrate.mm.base.release import Kernel
from pymigrate.mm.state.task import TASK_COMM_LEN, AccessPattern
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.scenario.spec.runner import Step
from pymigrate.scenario.text.fields import (
    Address,
    Comm,
    Cpus,
    CpusetName,
    FileName,
    Integer,
    Mode,
    ModeFlag,
    Model,
    Name,
    NodeId,
    Nodes,
    PageNumber,
    Prot,
    Size,
    combined,
    listed,
    nearest,
    number_of,
    shown,
)
from pymigrate.uapi import (
    BALANCING,
    MODE_FLAG_TEXTS,
    MODE_FLAGS,
    MODE_TEXTS,
    MODE_WORDS,
    MODES,
    MPOL,
    RELATIVE,
    STATIC,
    Thp,
    ThpDefrag,
    words_of,
)
from pymigrate.units import HPAGE_PMD_NR, PAGE_SIZE

MAX_PID = 1 << 22
MAX_POOL = 1 << 23  # 16 TiB of 2 MiB pages
LOCAL_DISTANCE, REMOTE_DISTANCE = 10, 20
MAX_SEED = (1 << 63) - 1
MAX_HMAT, MAX_ADISTANCE = 10**8, 10**6

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Micros = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Bandwidth = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
HmatNumber = Annotated[int, Field(ge=1, le=MAX_HMAT)]
PageState = Literal["clean", "dirty", "anon"]
Kind = Literal["anon", "heap", "stack", "file", "shmem", "hugetlb"]

# numa_maps's names of modes and mode flags, and those of the calls.
_MODE_TEXTS = {text: MODE_WORDS[mode] for mode, text in MODE_TEXTS.items()}
_FLAG_TEXTS = {text: words_of(bit, MODE_FLAGS)[0] for text, bit in MODE_FLAG_TEXTS.items()}
_POLICY_TEXT = re.compile(r"([^=:]+)(?:=([^:]+))?(?::(.*))?")


def _filled_in(schema: dict[str, Any]) -> None:  # Any: pydantic's type of a JSON Schema
    """Take the default out of *schema*: the loader works it out."""
    del schema["default"]


def _or_text(schema: dict[str, Any]) -> None:
    """Let *schema*, of a mapping, take text too."""
    mapping = dict(schema)
    schema.clear()
    schema.update(
        {"description": mapping.pop("description"), "anyOf": [{"type": "string"}, mapping]}
    )


def _or_number(schema: dict[str, Any]) -> None:
    """Let *schema*, of a kernel's version, take it without quotes too."""
    schema["enum"] = schema["enum"] + [float(version) for version in schema["enum"]]
    del schema["type"]


class HmatSpec(Model):
    """How fast the nearest CPUs reach a node's memory, as the firmware's HMAT says."""

    read_latency: HmatNumber = Field(description="in ns")
    write_latency: HmatNumber = Field(description="in ns")
    read_bandwidth: HmatNumber = Field(description="in MiB/s")
    write_bandwidth: HmatNumber = Field(description="in MiB/s")


class PatternSpec(Model):
    """Pages that are in use when the machine boots, so that a node's free memory is scattered."""

    pages: Literal["movable", "unmovable", "reclaimable", "none"] = Field(
        default="movable",
        description="movable: clean page cache; unmovable, reclaimable: the kernel's own;"
        " none: the pageblocks get their type, and nothing is put there",
    )
    stride: Annotated[int, Field(ge=1, le=1 << 30)] = Field(
        default=2, description="of so many pages the first ones are in use"
    )
    run: Annotated[int, Field(ge=1, le=1 << 30)] = Field(
        default=1, description="how many of each `stride`"
    )
    blocks: Annotated[float, Field(gt=0, le=100, strict=False)] = Field(
        default=100, description="on so many percent of the 2 MiB blocks, drawn by lot"
    )
    seed: Integer = Field(default=0, description="what the drawing begins with")
    type: Literal["unmovable", "movable", "reclaimable"] | None = Field(
        default=None,
        description="the migratetype of the blocks; default: that of the kernel's pages",
    )
    offset: Size = Field(default=0, description="where in the node it begins")
    size: Size | None = Field(
        default=None, description="how much of the node it concerns; default: to its end"
    )


class NodeSpec(Model):
    """A NUMA node: memory-only without CPUs, CPU-only with a memory of 0."""

    cpus: Cpus = Field(default=Cpumask(), description="its CPUs; none: a memory-only node")
    memory: Size = Field(description="how much memory it has; 0: a CPU-only node")
    movable: Size = Field(default=0, description="how much of it, at its end, is ZONE_MOVABLE")
    cma: Size = Field(default=0, description="how much of it, below that, is kept for CMA")
    kernel: Size = Field(
        default=0, description="how much of it is the kernel's, or others', and never moves"
    )
    cache: Size = Field(
        default=0, description="how much of it is clean page cache that nobody maps"
    )
    hmat: HmatSpec | None = Field(
        default=None, description="how fast its memory is; its memory tier follows from it"
    )
    adistance: Annotated[int, Field(ge=1, le=MAX_ADISTANCE)] | None = Field(
        default=None,
        description="its memory's abstract distance, as a driver gives it; default: by the HMAT,"
        " or else DRAM's 576",
    )
    fragmentation: tuple[PatternSpec, ...] = Field(
        default=(), description="patterns of pages in use, one laid over the other"
    )


class DeviceSpec(Model):
    """A device with memory of its own, which no CPU can reach."""

    memory: Size = Field(description="how much memory it has")


def _cost(name: str, text: str) -> Any:  # a model's field: pydantic's own type
    """A parameter, which has the default that the core has."""
    return Field(default=getattr(Costs(), name), description=text)


class CostsSpec(Model):
    """What each part of a migration takes: microseconds, and 10^9 bytes a second."""

    unmap_us: Micros = _cost("unmap_us", "to unmap a base page")
    remap_us: Micros = _cost("remap_us", "to map it at its new place")
    thp_unmap_us: Micros = _cost("thp_unmap_us", "to unmap a huge page")
    thp_remap_us: Micros = _cost("thp_remap_us", "to map it at its new place")
    pte_unmap_us: Micros = _cost(
        "pte_unmap_us", "an entry for a page of a large folio, or a further one of any"
    )
    pte_remap_us: Micros = _cost("pte_remap_us", "to map it at its new place")
    flush_us: Micros = _cost("flush_us", "a flush of the TLB")
    flush_cpu_us: Micros = _cost("flush_cpu_us", "each further CPU that it must reach")
    copy_local_gbps: Bandwidth = _cost("copy_local_gbps", "how fast copies within a node are")
    copy_remote_gbps: Bandwidth = _cost("copy_remote_gbps", "how fast they are at distance 20")
    alloc_us: Micros = _cost("alloc_us", "the destination of an attempt that failed")
    attempt_us: Micros = _cost("attempt_us", "unmapping and mapping again in vain")
    split_us: Micros = _cost("split_us", "the splitting of a THP")
    hint_fault_us: Micros = _cost("hint_fault_us", "a hint fault of NUMA balancing")

    @property
    def costs(self) -> Costs:
        """What the core is given."""
        return Costs(**self.model_dump())


class MachineSpec(Model):
    """The machine: its nodes, how far they are from each other, and its settings."""

    nodes: dict[NodeId, NodeSpec] = Field(min_length=1, description="the nodes by their numbers")
    distances: tuple[tuple[int, ...], ...] | None = Field(
        default=None,
        description="a row for each node in ascending order; default: 10 to itself, 20 to others",
    )
    thp: Thp = Field(default="never", description="transparent_hugepage/enabled")
    thp_defrag: ThpDefrag = Field(
        default="madvise",
        description="transparent_hugepage/defrag: which faults compact memory for a huge page",
    )
    hugetlb: dict[NodeId, Annotated[int, Field(ge=0, le=MAX_POOL)]] = Field(
        default_factory=dict, description="2 MiB pages in the pool of each node"
    )
    devices: dict[Name, DeviceSpec] = Field(
        default_factory=dict, description="devices with private memory, by their names"
    )
    numa_balancing: Annotated[int, Field(ge=0, le=3)] = Field(
        default=0, description="sysctl kernel.numa_balancing: 0 off, 1 normal, 2 tiering"
    )
    weights: dict[NodeId, Annotated[int, Field(ge=1, le=255)]] = Field(
        default_factory=dict, description="of nodes in weighted interleave; default: 1"
    )
    demotion: bool = Field(default=False, description="/sys/kernel/mm/numa/demotion_enabled")
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = Field(
        default=0, description="what the machine's random choices begin with"
    )
    costs: CostsSpec = Field(
        default=CostsSpec(), description="what migrations take, for estimates of their time"
    )

    @property
    def node_ids(self) -> tuple[int, ...]:
        """The nodes' numbers in ascending order."""
        return tuple(sorted(self.nodes))

    @property
    def matrix(self) -> tuple[tuple[int, ...], ...]:
        """The distances, given or by default: rows and columns are in the order of `node_ids`."""
        if self.distances is not None:
            return self.distances
        return tuple(
            tuple(LOCAL_DISTANCE if a == b else REMOTE_DISTANCE for b in self.node_ids)
            for a in self.node_ids
        )

    @property
    def cpus(self) -> Cpumask:
        """All CPUs."""
        return Cpumask.collect(cpu for node in self.nodes.values() for cpu in node.cpus)

    @property
    def memory_nodes(self) -> Nodemask:
        """The nodes that have memory."""
        return Nodemask.collect(nid for nid, node in self.nodes.items() if node.memory)


class FileSpec(Model):
    """A file: sparse, unwritten and uncached when the scenario begins."""

    size: Size = Field(description="its size")
    fs: Literal["tmpfs", "ext4", "xfs", "btrfs", "nfs", "ramfs", "other", "hugetlbfs"] = Field(
        default="tmpfs",
        description="the file system that it is in; other: a disk's, without a migrate_folio",
    )
    dirty: bool = Field(default=False, description="whether what is cached at boot is dirty")
    writeback: bool | Annotated[int, Field(ge=1, le=1000)] = Field(
        default=False,
        description="whether what is cached at boot is under writeback: true for ever, or for"
        " so many attempts to get hold of a page",
    )


class DriverSpec(Model):
    """A driver with pages that are on no LRU list and can be moved."""

    kind: Literal["zsmalloc", "virtio-balloon", "scripted"] = Field(description="how it answers")
    node: NodeId = Field(description="the node that its pages lie on")
    pages: Annotated[int, Field(ge=1, le=1 << 18)] = Field(description="how many pages it has")
    interface: Literal["2016", "movable_operations"] = Field(
        default="movable_operations", description="whose callbacks it has: migratepage was 2016's"
    )
    isolate: tuple[Literal[True, False, "free"], ...] = Field(
        default=(),
        description="scripted: what isolate_page answers, in order, the last one for good; free:"
        " true, but then the driver gives the page up",
    )
    migrate: tuple[Literal["success", "EAGAIN", "EBUSY", "EINVAL", "EIO", "ENOMEM"], ...] = Field(
        default=(),
        description="scripted: what the call that moves a page answers, likewise; of the balloon"
        " EAGAIN: its lock is taken",
    )


class PolicySpec(Model):
    """A memory policy, written as numa_maps prints it (`bind=static:0-1`) or as a mapping."""

    model_config = ConfigDict(json_schema_extra=_or_text)

    mode: Mode = Field(description="default, preferred, bind, interleave, local, ...")
    nodes: Nodes = Field(default=Nodemask(), description="its nodes")
    flags: tuple[ModeFlag, ...] = Field(
        default=(), description="static or relative; numa_balancing"
    )
    home_node: NodeId | None = Field(default=None, description="of a region's policy: its home")

    @property
    def mode_number(self) -> int:
        """The mode without its flags."""
        return number_of(self.mode, MODES)

    @property
    def flag_bits(self) -> int:
        """The mode flags alone."""
        return combined(self.flags, MODE_FLAGS)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return parse_policy(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_one_the_kernel_has(self) -> "PolicySpec":
        mode, flags = self.mode_number, self.flag_bits
        if mode not in MODES.values() or flags & ~sum(MODE_FLAGS.values()):
            raise ValueError("no such policy; expected a mode of 0 to 6 and known mode flags")
        if flags & STATIC and flags & RELATIVE:
            raise ValueError("a policy is not both static and relative; expected one of them")
        _check_nodes(mode, flags, self.nodes)
        if self.home_node is not None and mode not in (MPOL.BIND, MPOL.PREFERRED_MANY):
            raise ValueError("only bind and preferred-many have a home node; expected none here")
        return self


def parse_policy(text: str) -> dict[str, object]:
    """The mapping that says what *text*, a policy as numa_maps prints it, says.

    Raises ValueError.

    >>> parse_policy("bind=static|balancing:0-1")
    {'mode': 'bind', 'flags': ('static', 'numa_balancing'), 'nodes': Nodemask('0-1')}
    """
    match = _POLICY_TEXT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{shown(text)} is not a policy; expected one such as bind:0-1")
    name, flags = match[1].strip(), (match[2] or "").split("|") if match[2] else []
    mode = _MODE_TEXTS.get(name, name)
    names = list(dict.fromkeys([*MODES, *_MODE_TEXTS]))
    if mode not in MODES:
        near = nearest(name, names, "mode")
        raise ValueError(f"unknown mode {shown(name)}; expected {listed(names)}{near}")
    for flag in flags:
        if flag not in _FLAG_TEXTS:
            near = nearest(flag, _FLAG_TEXTS, "flag")
            raise ValueError(f"unknown flag {shown(flag)}; expected {listed(_FLAG_TEXTS)}{near}")
    nodes = Nodemask.parse(match[3] or "")
    return {"mode": mode, "flags": tuple(_FLAG_TEXTS[f] for f in flags), "nodes": nodes}


def _check_nodes(mode: int, flags: int, nodes: Nodemask) -> None:
    """Mirrors the checks of mpol_new(), mm/mempolicy.c."""
    name = MODE_WORDS[mode]
    if flags & BALANCING and name not in ("bind", "preferred-many"):
        raise ValueError(f"{name} cannot be balancing; expected bind or preferred-many")
    if name in ("default", "local") and nodes:
        raise ValueError(f"{name} has no nodes; expected none, not {nodes}")
    if name == "local" and flags:
        raise ValueError("local has no mode flags; expected none")
    may_be_empty = name in ("default", "local") or (name == "preferred" and not flags)
    if not nodes and not may_be_empty:
        raise ValueError(f"{name} without nodes; expected some, as in {name}:0-1")


class RandomPages(Model):
    """Pages that lie each on a random node."""

    random: Nodes = Field(description="the nodes")
    seed: Integer = Field(default=0, description="what the random numbers begin with")


def _pages_tag(value: object) -> str:
    return "random" if isinstance(value, dict | RandomPages) else "runs"


PageRuns = tuple[tuple[PageNumber, Annotated[int, Field(ge=-1, le=1023)]], ...]
Pages = Annotated[
    Annotated[PageRuns, Tag("runs")] | Annotated[RandomPages, Tag("random")],
    Discriminator(_pages_tag),
]


class RegionSpec(Model):
    """A region of declared memory: a mapping of a task and where its pages lie."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["size"]}, {"required": ["shared"]}]}
    )

    as_: Name = Field(alias="as", description="the region's name")
    kind: Kind = Field(default="anon", description="what it maps")
    size: Size = Field(
        default=0, description="its size", json_schema_extra=_filled_in
    )  # 0 only until the loader takes the size of the region that it shares
    file: FileName | None = Field(default=None, description="with kind file or hugetlb: the file")
    offset: Size = Field(default=0, description="where in the file it begins")
    map: Literal["private", "shared"] = Field(
        default="private", description="how it maps a file; shmem is always shared"
    )
    prot: Prot = Field(
        default="",
        description="what it may be accessed for; default: rw, with kind file r",
        json_schema_extra=_filled_in,
    )
    pages: Pages | None = Field(
        default=None,
        description="runs [count, node] with -1 for not present, in pages of the region's"
        " page size; or {random: NODES, seed: N}; default: the task touches all of them",
    )
    states: tuple[tuple[PageNumber, PageState], ...] = Field(
        default=(),
        description="runs [count, state] over the same pages, where `dirty` does not say it: clean;"
        " dirty; anon: of a private mapping of a file, a copy that was written",
    )
    thp: Size = Field(
        default=0,
        description="how much of its anonymous `pages` is in transparent huge pages, from the"
        " beginning: of the 2 MiB blocks that lie on one node",
    )
    policy: PolicySpec | None = Field(default=None, description="its memory policy")
    locked: bool = Field(default=False, description="mlocked")
    dirty: bool | None = Field(
        default=None, description="whether its pages were written; default: not with kind file"
    )
    address: Address | None = Field(
        default=None, description="where it lies; default: behind the regions before it"
    )
    shared: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_-]*\.[A-Za-z_][A-Za-z0-9_-]*$",
        description="TASK.REGION: the same memory mapped again; private memory as after a fork",
    )

    @property
    def origin(self) -> tuple[str, str] | None:
        """The task and the name of the region whose memory it shares."""
        task, _, name = (self.shared or "").partition(".")
        return (task, name) if task else None

    @property
    def is_shared(self) -> bool:
        """Whether it is MAP_SHARED."""
        return self.kind == "shmem" or self.map == "shared"

    @property
    def is_dirty(self) -> bool:
        """Whether its pages were written."""
        return self.kind != "file" if self.dirty is None else self.dirty

    @property
    def page_size(self) -> int:
        """The size of a page in `pages`."""
        return PAGE_SIZE * (HPAGE_PMD_NR if self.kind == "hugetlb" else 1)

    @property
    def nr_pages(self) -> int:
        """How many pages of `page_size` it has."""
        return -(-self.size // self.page_size)


class CpusetSpec(Model):
    """A group of tasks that share CPUs and nodes."""

    cpus: Cpus = Field(description="its CPUs")
    mems: Nodes = Field(description="its nodes")


class AccessSpec(Model):
    """Accesses of a task to a region, evenly over its pages but for a hot set."""

    region: Name = Field(description="the region, declared or mapped by a step")
    rate: Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)] = Field(
        description="accesses a second"
    )
    writes: Share = Field(default=0.0, description="the share of them that are stores")
    hot: Share = Field(default=0.0, description="the share of the region's pages that is hot")
    hot_rate: Share = Field(
        default=0.9, description="the share of the accesses that the hot pages get"
    )
    hot_at: Size = Field(default=0, description="where in the region the hot pages begin")

    @property
    def pattern(self) -> AccessPattern:
        """What the core is given."""
        hot_rate = self.hot_rate if self.hot else 0.0
        return AccessPattern(self.region, self.rate, self.writes, self.hot, hot_rate, self.hot_at)


class TaskSpec(Model):
    """A task; without `memory` it has no memory but what its steps map."""

    pid: Annotated[int, Field(ge=1, le=MAX_PID)] = Field(
        default=0,
        description="its pid; default: 1000, 1001, ... in the file's order",
        json_schema_extra=_filled_in,
    )
    comm: Comm = Field(
        default="",
        min_length=1,
        max_length=TASK_COMM_LEN - 1,
        description="its command's name; default: the task's name",
        json_schema_extra=_filled_in,
    )
    uid: Annotated[int, Field(ge=0, le=(1 << 32) - 2)] = Field(
        default=0, description="its user; 0 has every capability, any other has none"
    )
    cpus: Cpus = Field(
        default=Cpumask(),
        description="its affinity: it runs on the lowest; default: all CPUs",
        json_schema_extra=_filled_in,
    )
    capabilities: tuple[Literal["sys_nice", "sys_ptrace"], ...] | None = Field(
        default=None, description="the only ones it has; default: all for uid 0, else none"
    )
    dumpable: bool = Field(default=True, description="whether others of its uid may inspect it")
    mempolicy: PolicySpec | None = Field(default=None, description="its memory policy")
    memory: tuple[RegionSpec, ...] = Field(default=(), description="its declared memory")
    cpuset: CpusetName | None = Field(
        default=None, description="its cpuset; default: the one with all there is"
    )
    access: tuple[AccessSpec, ...] = Field(default=(), description="how it uses its memory")


class Scenario(Model):
    """A simulated machine, what is on it, and the steps to run there."""

    about: str = Field(default="", description="one sentence: what the scenario shows")
    kernel: Kernel = Field(
        default="6.12", description="the kernel whose rules hold", json_schema_extra=_or_number
    )
    machine: MachineSpec = Field(description="the machine")
    files: dict[FileName, FileSpec] = Field(
        default_factory=dict, description="the files by their names"
    )
    tasks: dict[Name, TaskSpec] = Field(
        default_factory=dict, description="the tasks by their names"
    )
    cpusets: dict[CpusetName, CpusetSpec] = Field(
        default_factory=dict, description="cpusets by their names; `a/b` lies in `a`"
    )
    drivers: dict[Name, DriverSpec] = Field(
        default_factory=dict, description="drivers with movable pages, by their names"
    )
    steps: tuple[Step, ...] = Field(default=(), description="the steps, in order")
