"""The steps of a scenario: one model for each `op`, with the defaults of the conformance format."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from pymigrate.nodemask import Nodemask
from pymigrate.scenario.fields import (
    ADVICE,
    GET_FLAGS,
    MODE_FLAGS,
    MODES,
    MOVE_FLAGS,
    Advice,
    Alignment,
    Cpus,
    FileName,
    GetFlag,
    Integer,
    Mode,
    ModeFlag,
    Model,
    MoveFlag,
    Name,
    Nodes,
    PageNodes,
    PageNumber,
    Prot,
    Setting,
    Size,
    Stride,
    combined,
    number_of,
)
from pymigrate.units import HPAGE_PMD_NR, PAGE_SIZE

Caller = Annotated[Name, Field(description="the task that makes the call")]
OptionalCaller = Annotated[Name | None, Field(description="the task that acts; default: root's")]
Target = Annotated[Name | None, Field(description="the task whose pages move; default: the caller")]
At = Annotated[
    str, Field(description="a region from an earlier `as`, or TASK.REGION of declared memory")
]
Offset = Annotated[Size, Field(description="where in the region the part begins")]
Length = Annotated[Size | None, Field(description="the part's length; default: to the end")]
Protection = Annotated[Prot, Field(description="none, or some of r, w and x")]
ModeFlags = Annotated[
    tuple[ModeFlag, ...], Field(description="mode flags: static, relative, numa_balancing")
]
PolicyMode = Annotated[Mode, Field(description="the policy's mode, by name or number")]
PolicyNodes = Annotated[Nodes, Field(description="the policy's nodes")]
PinKind = Annotated[
    Literal["long", "short"], Field(description="long: for writing; short: a reference for reading")
]
CpusetName = Annotated[Name, Field(description="the cpuset's name")]


class Step(Model):
    """One step of a scenario; `op` says which."""

    op: str


class MmapStep(Step):
    """Map a new region."""

    op: Literal["mmap"]
    task: Caller
    as_: Name = Field(alias="as", description="the new region's name")
    length: Size = Field(description="the region's length")
    prot: Protection = "rw"
    shared: bool = Field(default=False, description="MAP_SHARED rather than MAP_PRIVATE")
    file: FileName | None = Field(default=None, description="the file; default: anonymous memory")
    offset: Size = Field(default=0, description="where in the file the region begins")
    populate: bool = Field(default=False, description="MAP_POPULATE: fault all pages in")
    hugetlb: bool = Field(default=False, description="MAP_HUGETLB: pages of the hugetlb pool")
    secretmem: bool = Field(default=False, description="memory of memfd_secret(), to be shared")
    align: Alignment = Field(
        default=HPAGE_PMD_NR * PAGE_SIZE, description="the alignment of the region's address"
    )


class MunmapStep(Step):
    """Unmap a part of a region."""

    op: Literal["munmap"]
    task: Caller
    at: At
    offset: Offset = 0
    length: Length = None


class MprotectStep(Step):
    """Change what a part of a region may be accessed for."""

    op: Literal["mprotect"]
    task: Caller
    at: At
    offset: Offset = 0
    length: Length = None
    prot: Protection


class MadviseStep(Step):
    """Give advice about a part of a region."""

    op: Literal["madvise"]
    task: Caller
    at: At
    offset: Offset = 0
    length: Length = None
    advice: Advice = Field(description="the advice, by name or number")

    @property
    def advice_number(self) -> int:
        """madvise()'s third argument."""
        return number_of(self.advice, ADVICE)


class TouchStep(Step):
    """Access a part of a region, once at each stride, up to the first access that faults."""

    op: Literal["touch"]
    task: Caller
    at: At
    offset: Offset = 0
    length: Length = None
    write: bool = Field(default=True, description="write rather than read")
    stride: Stride = Field(default=PAGE_SIZE, description="the distance between accesses")
    seconds: float | None = Field(
        default=None, ge=0, le=1e9, allow_inf_nan=False, description="again and again for so long"
    )


class MlockStep(Step):
    """Lock a part of a region in memory."""

    op: Literal["mlock"]
    task: Caller
    at: At
    offset: Offset = 0
    length: Length = None


class MunlockStep(Step):
    """Unlock a part of a region."""

    op: Literal["munlock"]
    task: Caller
    at: At
    offset: Offset = 0
    length: Length = None


class ForkStep(Step):
    """Make a child of the task."""

    op: Literal["fork"]
    task: Caller
    as_: Name = Field(alias="as", description="the child's name")


class ExitStep(Step):
    """End the task; its children go on, and its pid is free at once."""

    op: Literal["exit"]
    task: Caller


class SchedSetaffinityStep(Step):
    """Set the CPUs that the task may run on."""

    op: Literal["sched_setaffinity"]
    task: Caller
    cpus: Cpus = Field(description="the CPUs")


class SetMempolicyStep(Step):
    """Set the task's memory policy."""

    op: Literal["set_mempolicy"]
    task: Caller
    mode: PolicyMode
    nodes: PolicyNodes = Nodemask()
    flags: ModeFlags = ()

    @property
    def mode_number(self) -> int:
        """The call's first argument: the mode with its flags."""
        return number_of(self.mode, MODES) | combined(self.flags, MODE_FLAGS)


class Meanwhile(Model):
    """A page that another task touches as soon as a call has unmapped it."""

    task: Name = Field(description="the task that touches it")
    at: At
    offset: Offset = 0
    write: bool = Field(default=True, description="write rather than read")


MeanwhileField = Annotated[
    Meanwhile | None,
    Field(description="an access in the middle of the move; the record says whether it waited"),
]


class MbindStep(Step):
    """Set the memory policy of a part of a region."""

    op: Literal["mbind"]
    task: Caller
    at: At
    offset: Offset = 0
    length: Length = None
    mode: PolicyMode
    nodes: PolicyNodes = Nodemask()
    mode_flags: ModeFlags = ()
    flags: tuple[MoveFlag, ...] = Field(default=(), description="strict, move, move_all, lazy")
    meanwhile: MeanwhileField = None

    @property
    def mode_number(self) -> int:
        """The call's third argument: the mode with its flags."""
        return number_of(self.mode, MODES) | combined(self.mode_flags, MODE_FLAGS)

    @property
    def flag_bits(self) -> int:
        """The call's last argument."""
        return combined(self.flags, MOVE_FLAGS)


class SetMempolicyHomeNodeStep(Step):
    """Set the home node of the policies of a part of a region."""

    op: Literal["set_mempolicy_home_node"]
    task: Caller
    at: At
    offset: Offset = 0
    length: Length = None
    node: Integer = Field(description="the home node")


class GetMempolicyStep(Step):
    """Ask for the task's policy, an address's policy or node, or the nodes allowed."""

    op: Literal["get_mempolicy"]
    task: Caller
    flags: tuple[GetFlag, ...] = Field(default=(), description="node, addr, mems_allowed")
    at: Annotated[str | None, Field(description="with addr: the address's region")] = None
    offset: Annotated[Size, Field(description="with addr: the address's place there")] = 0

    @property
    def flag_bits(self) -> int:
        """The call's last argument."""
        return combined(self.flags, GET_FLAGS)


class MigratePagesStep(Step):
    """Move a task's pages from some nodes to others."""

    op: Literal["migrate_pages"]
    task: Caller
    target: Target = None
    from_: Nodes = Field(alias="from", description="the nodes to move from")
    to: Nodes = Field(description="the nodes to move to")
    meanwhile: MeanwhileField = None

    @property
    def target_name(self) -> str:
        """The task whose pages move."""
        return self.target or self.task


class MovePagesStep(Step):
    """Move single pages of a task, or ask where they are."""

    op: Literal["move_pages"]
    task: Caller
    target: Target = None
    at: At
    offset: Offset = 0
    length: Length = None
    stride: Stride = Field(default=PAGE_SIZE, description="the distance between the pages")
    pages: tuple[PageNumber, ...] | None = Field(
        default=None, description="the pages' numbers in the region, instead of a part of it"
    )
    nodes: PageNodes = Field(
        default=None, description="one node, a list with one for each page, or null to ask"
    )
    flags: tuple[MoveFlag, ...] = Field(default=("move",), description="move, move_all")
    meanwhile: MeanwhileField = None

    @property
    def flag_bits(self) -> int:
        """The call's last argument."""
        return combined(self.flags, MOVE_FLAGS)

    @property
    def target_name(self) -> str:
        """The task whose pages move."""
        return self.target or self.task


class PinStep(Step):
    """Pin each page of a part of a region."""

    op: Literal["pin"]
    task: Caller
    at: At
    offset: Offset = 0
    length: Length = None
    kind: PinKind


class UnpinStep(Step):
    """Drop the pins that an earlier `pin` of the same part took."""

    op: Literal["unpin"]
    task: Caller
    at: At
    offset: Offset = 0
    length: Length = None
    kind: PinKind


class BusyStep(Step):
    """Let something work on each page of a part of a region, so that a migration meets it."""

    op: Literal["busy"]
    task: Caller
    at: At
    offset: Offset = 0
    length: Length = None
    kind: Literal["locked", "reading", "writeback", "buffer", "buffer-ref", "none"] = Field(
        description="locked; reading: locked, and not up to date; writeback; buffer: one of its"
        " buffers is locked; buffer-ref: one is in use; none: the work is done"
    )
    passes: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="how many attempts to get hold of a page fail; default: all"
    )


class SwapCacheStep(Step):
    """Let anonymous pages be in the swap cache, as after they were swapped out and in again."""

    op: Literal["swap_cache"]
    task: Caller
    at: At
    offset: Offset = 0
    length: Length = None


class MigrateVmaStep(Step):
    """Move a part of a region to a device's private memory, or back."""

    op: Literal["migrate_vma"]
    task: Caller
    at: At
    offset: Offset = 0
    length: Length = None
    to: Name = Field(description="the device; ram: back, to where the task allocates")


class MigrateDriverStep(Step):
    """Move pages of a driver, as compaction does."""

    op: Literal["migrate_driver"]
    driver: Name = Field(description="the driver")
    to: Integer = Field(description="the node to move to")
    pages: tuple[PageNumber, ...] | None = Field(
        default=None, description="the numbers of its pages; default: all"
    )
    mode: Literal["async", "sync_light", "sync"] = Field(
        default="sync", description="how far the migration goes"
    )


class CpusetCreateStep(Step):
    """Make a cpuset."""

    op: Literal["cpuset_create"]
    task: OptionalCaller = None
    cpuset: CpusetName
    cpus: Cpus = Field(description="its CPUs")
    mems: Nodes = Field(description="its nodes")
    memory_migrate: bool = Field(default=False, description="whether pages follow its nodes")


class CpusetSetStep(Step):
    """Change a cpuset."""

    op: Literal["cpuset_set"]
    task: OptionalCaller = None
    cpuset: CpusetName
    cpus: Annotated[Cpus | None, Field(description="its new CPUs")] = None
    mems: Annotated[Nodes | None, Field(description="its new nodes")] = None
    memory_migrate: bool | None = Field(default=None, description="whether pages follow its nodes")


class CpusetAttachStep(Step):
    """Move the task into a cpuset."""

    op: Literal["cpuset_attach"]
    task: Annotated[Name, Field(description="the task that moves")]
    cpuset: CpusetName


class SysctlStep(Step):
    """Write a setting of the machine."""

    op: Literal["sysctl"]
    task: OptionalCaller = None
    name: Literal[
        "numa_balancing",
        "demotion_enabled",
        "thp",
        "nr_hugepages",
        "drop_caches",
        "compact_memory",
    ] = Field(description="the setting")
    value: Setting = Field(description="what to write")
    node: Integer | None = Field(default=None, description="with nr_hugepages: the pool's node")


class KsmStep(Step):
    """Let KSM merge all mergeable pages that hold the same, as if ksmd had run for long enough."""

    op: Literal["ksm"]
    task: OptionalCaller = None


class ExecStep(Step):
    """Run one of numactl's programs."""

    op: Literal["exec"]
    task: Annotated[Name | None, Field(description="whose uid it runs by; default: root's")] = None
    argv: tuple[str, ...] = Field(
        min_length=1, description="the program and its arguments; $NAME is that task's pid"
    )


class PlacementStep(Step):
    """Show the node of each page of a part of a region."""

    op: Literal["placement"]
    task: Caller
    at: At
    offset: Offset = 0
    length: Length = None


class NumaMapsStep(Step):
    """Show a region's lines of numa_maps."""

    op: Literal["numa_maps"]
    task: Caller
    at: At


class VmstatStep(Step):
    """Show the counters that changed since the last `vmstat` step."""

    op: Literal["vmstat"]
    task: OptionalCaller = None


AnyStep = (
    MmapStep
    | MunmapStep
    | MprotectStep
    | MadviseStep
    | TouchStep
    | MlockStep
    | MunlockStep
    | ForkStep
    | ExitStep
    | SchedSetaffinityStep
    | SetMempolicyStep
    | MbindStep
    | SetMempolicyHomeNodeStep
    | GetMempolicyStep
    | MigratePagesStep
    | MovePagesStep
    | PinStep
    | BusyStep
    | MigrateVmaStep
    | MigrateDriverStep
    | SwapCacheStep
    | UnpinStep
    | CpusetCreateStep
    | CpusetSetStep
    | CpusetAttachStep
    | SysctlStep
    | ExecStep
    | PlacementStep
    | NumaMapsStep
    | VmstatStep
    | KsmStep
)
STEPS: dict[str, type[AnyStep]] = {
    get_args(model.model_fields["op"].annotation)[0]: model for model in get_args(AnyStep)
}
