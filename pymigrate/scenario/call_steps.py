"""Steps of a scenario: what a task does, with the defaults of the conformance format."""

from typing import Annotated, Literal

from pydantic import Field

from pymigrate.mm.base.advice import ADVICE
from pymigrate.nodemask import Nodemask
from pymigrate.scenario.spec.step_base import (
    At,
    Caller,
    Length,
    ModeFlags,
    Offset,
    PinKind,
    PolicyMode,
    PolicyNodes,
    Protection,
    Step,
    Target,
)
from pymigrate.scenario.text.fields import (
    Advice,
    Alignment,
    Cpus,
    FileName,
    GetFlag,
    Integer,
    Model,
    MoveFlag,
    Name,
    Nodes,
    PageNodes,
    PageNumber,
    Size,
    Stride,
    combined,
    number_of,
)
from pymigrate.uapi import GET_FLAGS, MODE_FLAGS, MODES, MOVE_FLAGS
from pymigrate.units import HPAGE_PMD_NR, PAGE_SIZE


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
