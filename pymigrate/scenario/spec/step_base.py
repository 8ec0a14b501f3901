"""What the steps of a scenario have in common."""

from typing import Annotated, Literal

from pydantic import Field

from pymigrate.scenario.text.fields import Mode, ModeFlag, Model, Name, Nodes, Prot, Size

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
