"""Steps of a scenario: what is done to the machine, and what is shown of it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pymigrate.scenario.spec.step_base import (
    At,
    Caller,
    CpusetName,
    Length,
    Offset,
    OptionalCaller,
    Step,
)
from pymigrate.scenario.text.fields import (
    Cpus,
    Integer,
    Name,
    NodeId,
    Nodes,
    PageNumber,
    Setting,
    Size,
)


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
        "compact_unevictable_allowed",
        "extfrag_threshold",
        "compaction_proactiveness",
        "thp_defrag",
        "numa_balancing/scan_delay_ms",
        "numa_balancing/scan_period_min_ms",
        "numa_balancing/scan_period_max_ms",
        "numa_balancing/scan_size_mb",
        "numa_balancing/hot_threshold_ms",
        "numa_balancing_promote_rate_limit_MBps",
    ] = Field(description="the setting")
    value: Setting = Field(description="what to write")
    node: Integer | None = Field(default=None, description="with nr_hugepages: the pool's node")


class ReclaimStep(Step):
    """Reclaim memory, as a write to memory.reclaim does: pages are demoted, or dropped."""

    op: Literal["reclaim"]
    task: OptionalCaller = None
    size: Size = Field(description="how much")
    node: NodeId | None = Field(default=None, description="only from this node")
    target: Annotated[Name | None, Field(description="only what this task maps")] = None
    cpuset: Annotated[Name | None, Field(description="only what tasks of this cpuset map")] = None


class DamonStep(Step):
    """Apply a scheme of DAMON's to a node, or to a part of a task's memory."""

    op: Literal["damon"]
    action: Literal["migrate_hot", "migrate_cold"] = Field(description="what it does")
    to: Integer = Field(description="the node to move to")
    node: NodeId | None = Field(default=None, description="the memory of this node, or else:")
    task: Annotated[Name | None, Field(description="the task whose memory it is")] = None
    at: Annotated[str | None, Field(description="its region, as in other steps")] = None
    offset: Offset = 0
    length: Length = None
    quota: Size | None = Field(
        default=None, description="at most so much, the hottest first, or the coldest"
    )
    exclude: tuple[Literal["anon", "file", "young", "old"], ...] = Field(
        default=(), description="what is filtered out"
    )

    @model_validator(mode="after")
    def _has_one_region(self) -> "DamonStep":
        if (self.node is None) == (self.task is None) or (self.task is None) != (self.at is None):
            raise ValueError("the region is not clear; expected either node, or task and at")
        return self


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


class BalanceStep(Step):
    """Let time pass while tasks use their memory as they declare, and NUMA balancing follows."""

    op: Literal["balance"]
    task: OptionalCaller = None
    seconds: Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)] = Field(
        description="how long"
    )


class AccessesStep(Step):
    """Show how far the tasks reach with their declared accesses."""

    op: Literal["accesses"]
    task: OptionalCaller = None
