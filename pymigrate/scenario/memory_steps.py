"""Steps of a scenario that take memory away, or ask for a certain part of it."""

from typing import Annotated, Literal

from pydantic import Field

from pymigrate.scenario.spec.step_base import OptionalCaller, Step
from pymigrate.scenario.text.fields import Integer, Name, PageNumber, Size

BlockNumbers = Annotated[
    tuple[PageNumber, ...] | None,
    Field(description="numbers of memory blocks of 128 MiB; default: all of the node's"),
]


class CmaAllocStep(Step):
    """Allocate memory in one piece from what a node keeps for CMA."""

    op: Literal["cma_alloc"]
    task: OptionalCaller = None
    name: Name = Field(description="what it is called")
    size: Size = Field(description="how much")
    node: Integer | None = Field(default=None, description="whose area; default: the first one")


class CmaReleaseStep(Step):
    """Give back what an earlier `cma_alloc` got."""

    op: Literal["cma_release"]
    task: OptionalCaller = None
    name: Name = Field(description="what it is called")


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
