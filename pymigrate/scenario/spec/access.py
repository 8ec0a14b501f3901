"""What a scenario says of how its tasks use their memory."""

from typing import Annotated

from pydantic import Field

from pymigrate.mm.state.task import AccessPattern
from pymigrate.scenario.text.fields import Model, Name, Size

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


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
