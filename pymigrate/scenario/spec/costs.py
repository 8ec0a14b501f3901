"""What a scenario says of the time that migrations take."""

from typing import Annotated

from pydantic import Field

from pymigrate.mm.state.cost import Costs
from pymigrate.scenario.text.fields import Model

_DEFAULT = Costs()
Micros = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Bandwidth = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class CostsSpec(Model):
    """What each part of a migration takes: microseconds, and 10^9 bytes a second."""

    unmap_us: Micros = Field(default=_DEFAULT.unmap_us, description="to unmap a base page")
    remap_us: Micros = Field(default=_DEFAULT.remap_us, description="to map it at its new place")
    thp_unmap_us: Micros = Field(default=_DEFAULT.thp_unmap_us, description="to unmap a huge page")
    thp_remap_us: Micros = Field(
        default=_DEFAULT.thp_remap_us, description="to map it at its new place"
    )
    pte_unmap_us: Micros = Field(
        default=_DEFAULT.pte_unmap_us, description="to unmap a single page of a large folio"
    )
    pte_remap_us: Micros = Field(
        default=_DEFAULT.pte_remap_us, description="to map it at its new place"
    )
    flush_us: Micros = Field(default=_DEFAULT.flush_us, description="a flush of the TLB")
    flush_cpu_us: Micros = Field(
        default=_DEFAULT.flush_cpu_us, description="each further CPU that it must reach"
    )
    copy_local_gbps: Bandwidth = Field(
        default=_DEFAULT.copy_local_gbps, description="how fast copies within a node are"
    )
    copy_remote_gbps: Bandwidth = Field(
        default=_DEFAULT.copy_remote_gbps, description="how fast they are at distance 20"
    )
    alloc_us: Micros = Field(
        default=_DEFAULT.alloc_us, description="the destination of an attempt that failed"
    )
    attempt_us: Micros = Field(
        default=_DEFAULT.attempt_us, description="unmapping and mapping again in vain"
    )
    split_us: Micros = Field(default=_DEFAULT.split_us, description="the splitting of a THP")
    hint_fault_us: Micros = Field(
        default=_DEFAULT.hint_fault_us, description="a hint fault of NUMA balancing"
    )

    @property
    def costs(self) -> Costs:
        """What the core is given."""
        return Costs(**self.model_dump())
