"""Steps of a scenario that take memory away, or ask for a certain part of it."""

from typing import Annotated, Literal

from pydantic import Field

from pymigrate.scenario.fields import Integer, PageNumber
from pymigrate.scenario.step_base import OptionalCaller, Step

BlockNumbers = Annotated[
    tuple[PageNumber, ...] | None,
    Field(description="numbers of memory blocks of 128 MiB; default: all of the node's"),
]


class MemoryOfflineStep(Step):
    """Take memory blocks of a node away."""

    op: Literal["memory_offline"]
    task: OptionalCaller = None
    node: Integer = Field(description="the node")
    blocks: BlockNumbers = None


class MemoryOnlineStep(Step):
    """Give memory blocks of a node back."""

    op: Literal["memory_online"]
    task: OptionalCaller = None
    node: Integer = Field(description="the node")
    blocks: BlockNumbers = None
