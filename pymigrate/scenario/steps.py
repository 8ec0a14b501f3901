"""The steps of a scenario: one model for each `op`."""

from typing import get_args

from pymigrate.scenario.call_steps import (
    ExitStep,
    ForkStep,
    GetMempolicyStep,
    MadviseStep,
    MbindStep,
    MigratePagesStep,
    MlockStep,
    MmapStep,
    MovePagesStep,
    MprotectStep,
    MunlockStep,
    MunmapStep,
    PinStep,
    SchedSetaffinityStep,
    SetMempolicyHomeNodeStep,
    SetMempolicyStep,
    TouchStep,
    UnpinStep,
)
from pymigrate.scenario.compact_steps import AllocStep, CompactStep, FreeStep
from pymigrate.scenario.machine_steps import (
    AccessesStep,
    BalanceStep,
    BusyStep,
    CpusetAttachStep,
    CpusetCreateStep,
    CpusetSetStep,
    DamonStep,
    ExecStep,
    KsmStep,
    MigrateDriverStep,
    MigrateVmaStep,
    NumaMapsStep,
    PlacementStep,
    ReclaimStep,
    SwapCacheStep,
    SysctlStep,
    VmstatStep,
)
from pymigrate.scenario.memory_steps import (
    CmaAllocStep,
    CmaReleaseStep,
    MemoryOfflineStep,
    MemoryOnlineStep,
)

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
    | AllocStep
    | FreeStep
    | CompactStep
    | AccessesStep
    | ReclaimStep
    | CmaAllocStep
    | CmaReleaseStep
    | MemoryOfflineStep
    | MemoryOnlineStep
    | DamonStep
    | BalanceStep
)
STEPS: dict[str, type[AnyStep]] = {
    get_args(model.model_fields["op"].annotation)[0]: model for model in get_args(AnyStep)
}
