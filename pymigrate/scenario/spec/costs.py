"""What a scenario says of the time that migrations take."""

from typing import Annotated, Any

from pydantic import Field

from pymigrate.mm.state.cost import Costs
from pymigrate.scenario.text.fields import Model

Micros = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Bandwidth = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


def _cost(name: str, text: str) -> Any:  # a model's field: pydantic's own type
    """A parameter, which has the default that the core has."""
    return Field(default=getattr(Costs(), name), description=text)


class CostsSpec(Model):
    """What each part of a migration takes: microseconds, and 10^9 bytes a second."""

    unmap_us: Micros = _cost("unmap_us", "to unmap a base page")
    remap_us: Micros = _cost("remap_us", "to map it at its new place")
    thp_unmap_us: Micros = _cost("thp_unmap_us", "to unmap a huge page")
    thp_remap_us: Micros = _cost("thp_remap_us", "to map it at its new place")
    pte_unmap_us: Micros = _cost("pte_unmap_us", "to unmap a single page of a large folio")
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
