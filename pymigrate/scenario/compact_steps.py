"""Steps of a scenario: the kernel's own memory, and compaction."""

from typing import Annotated, Literal

from pydantic import Field

from pymigrate.scenario.spec.step_base import OptionalCaller, Step
from pymigrate.scenario.text.fields import Name, NodeId


class AllocStep(Step):
    """Let the kernel allocate blocks of pages for itself; nobody can move them."""

    op: Literal["alloc"]
    task: OptionalCaller = None
    name: Name = Field(description="what they are called, for `free`")
    order: Annotated[int, Field(ge=0, le=10)] = Field(
        default=0, description="a block is 2 to the power of this many pages"
    )
    count: Annotated[int, Field(ge=1, le=1 << 20)] = Field(default=1, description="how many blocks")
    node: NodeId | None = Field(
        default=None, description="the node that is asked first; default: the caller's"
    )
    this_node: bool = Field(default=False, description="no other node will do")
    movable: bool = Field(
        default=False, description="taken from movable pageblocks, and from ZONE_MOVABLE"
    )
    mode: Literal["kernel", "nofs", "nowait", "noretry", "retry_mayfail", "none"] = Field(
        default="kernel",
        description="what is done if there is no block: GFP_KERNEL compacts and tries again; nofs:"
        " without files' pages; nowait: only kcompactd does; noretry: one try; retry_mayfail: as"
        " kernel, but for orders above 3 too; none: nothing",
    )


class FreeStep(Step):
    """Let the kernel free the blocks of an `alloc`."""

    op: Literal["free"]
    task: OptionalCaller = None
    name: Name = Field(description="what they are called")


class CompactStep(Step):
    """Compact a node, or all of them."""

    op: Literal["compact"]
    task: OptionalCaller = None
    node: NodeId | None = Field(default=None, description="the node; default: all")
    order: Annotated[int, Field(ge=1, le=10)] | None = Field(
        default=None,
        description="only until a block of that order is free, as kcompactd does; default: whole"
        " zones",
    )
