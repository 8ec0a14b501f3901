"""The steps that are calls: models that are made of the table's rows, and what executes them."""

from collections.abc import Iterable, Iterator
from keyword import iskeyword
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import Field, create_model

from pymigrate.arguments import ModeAndNodes
from pymigrate.errors import KernelError
from pymigrate.interface import declare
from pymigrate.interface.declare import MAX_PAGES, Answer, Argument, Call, Kind, Range
from pymigrate.interface.made import made_of, make
from pymigrate.interface.noted import Access, meanwhile
from pymigrate.interface.table import policy_flags_key
from pymigrate.mm.base.advice import ADVICE
from pymigrate.mm.base.why import Stay, merged
from pymigrate.mm.state.machine import watching
from pymigrate.nodemask import Nodemask
from pymigrate.scenario.record import Record
from pymigrate.scenario.spec.runner import Runner, Step
from pymigrate.scenario.text.fields import (
    Advice,
    Alignment,
    Comm,
    CpuList,
    Cpus,
    CpusetName,
    FileName,
    Mode,
    ModeFlag,
    Model,
    Name,
    NodeList,
    Nodes,
    PageNodes,
    PageNumber,
    PhysicalAddress,
    Prot,
    Setting,
    Size,
    Stride,
    Target,
    combined,
    flag_of,
    number_of,
)
from pymigrate.scenario.text.positions import Mistake, Path
from pymigrate.syscalls.sysctl import SETTINGS
from pymigrate.uapi import MODE_FLAGS, MODES
from pymigrate.units import PAGE_SHIFT

Fields = dict[str, Any]  # pydantic's: a field's name -> its type and its FieldInfo


_WEIGHT = r"^weighted_interleave/node\d{1,4}$"


class Meanwhile(Model):
    """A page that another task touches as soon as a call has unmapped it."""

    task: Name = Field(description="the task that touches it")
    at: str = Field(description="a region from an earlier `as`, or TASK.REGION of declared memory")
    offset: Size = Field(default=0, description="where in the region the part begins")
    write: bool = Field(default=True, description="write rather than read")


_TYPES: dict[str, Any] = {  # kind -> pydantic's type of what a step's key holds
    **dict.fromkeys(("caller", "own", "task", "pid", "new task", "new region", "name"), Name),
    **dict.fromkeys(("new cpuset", "cpuset"), CpusetName),
    "comm": Comm,
    "driver": Name,
    "file": FileName,
    "size": Size,
    "stride": Stride,
    "alignment": Alignment,
    "nodes": Nodes,
    "cpus": Cpus,
    "node list": NodeList,
    "cpu list": CpuList,
    "flag": bool,
    "prot": Prot,
    "advice": Advice,
    "setting": Literal[tuple(SETTINGS)] | Annotated[str, Field(pattern=_WEIGHT)],
    "value": Setting,
    "numbers": tuple[PageNumber, ...],
    "target": Target,
    "page nodes": PageNodes,
    "address": PhysicalAddress,
    "meanwhile": Meanwhile,
}


class CallStep(Step):
    """A step that is a call."""

    call: ClassVar[Call]

    def run(self, runner: Runner) -> Record:
        """Make the call, while another task accesses a page if the step says so."""
        told: Answer = {}
        try:
            with meanwhile(runner.machine, self._other(runner), told):
                arguments = [self._find(runner, argument) for argument in made_of(self.call)]
                answer = self._make(runner, arguments)
        except KernelError as error:
            if not told:
                raise
            return self.failed(error) | told
        self._name(runner, answer)
        record: Record = {"ret": 0, "errno": None} if self.call.has_errno else {}
        record |= {
            key: value
            for key, value in answer.items()
            if key not in self.call.unrecorded and (value is not None or key == "errno")
        }
        return record | told

    def _make(self, runner: Runner, arguments: list[object]) -> Answer:
        """Make the call; where something is expected of it, note what it moves and leaves."""
        machine = runner.machine
        if not self.expect:
            return make(machine, self.call, arguments)
        before, stays = machine.counters["pgmigrate_success"], list[Stay]()
        try:
            with watching(machine, machine.watch._replace(left=stays)):
                return make(machine, self.call, arguments)
        finally:
            moved = machine.counters["pgmigrate_success"] - before
            runner.noted = {"moved": moved, "stayed": sum(stay.nr for stay in merged(stays))}

    def refused(self, error: KernelError) -> Record:
        """The record where it was refused, but for why."""
        return {"ret": -1, "errno": error.name, **{key: [] for key in self.call.lists}}

    def given(self, key: str) -> Any:  # what pydantic made of it
        """The value of a key."""
        return getattr(self, field_name(key))

    def mistakes(self, path: Path) -> Iterator[Mistake]:
        """What is wrong between its keys; *path* is the step's."""
        call = self.call
        there = [key for key in call.one_of if self.given(key) is not None]
        if call.one_of and len(there) != 1:
            yield Mistake(path, f"expected either {' or '.join(call.one_of)}")
        there = [key for key in call.at_most_one_of if self.given(key) is not None]
        if len(there) > 1:
            yield Mistake((*path, there[1]), f"expected no {there[1]} with {there[0]}", at_key=True)
        for argument in call.arguments:
            if argument.kind.name == "range":
                yield from self._part_mistakes(path)
            if argument.kind is declare.PAGE_NODES:
                yield from self._page_node_mistakes(path)

    def _part_mistakes(self, path: Path) -> Iterator[Mistake]:
        """Whether a part of memory comes with its task, and the task with a part if it must."""
        if self.given("at") and self.given("task") is None:
            yield Mistake((*path, "at"), "expected task with it", at_key=True)
        if "task" in self.call.one_of and self.given("task") and self.given("at") is None:
            yield Mistake((*path, "task"), "expected at with it", at_key=True)

    def _page_node_mistakes(self, path: Path) -> Iterator[Mistake]:
        """Whether there is a node for each page, where it says itself how many pages there are."""
        length, pages, nodes = self.given("length"), self.given("pages"), self.given("nodes")
        count = None if length is None else -(-length // self.given("stride"))
        if pages is not None:
            count = len(pages)
        if count is not None and count > MAX_PAGES:
            yield Mistake((*path, "length"), f"{count} pages; expected at most {MAX_PAGES}")
        if isinstance(nodes, tuple) and count is not None and len(nodes) != count:
            message = f"{len(nodes)} nodes; expected {count}, one for each page"
            yield Mistake((*path, "nodes"), message)

    def taken(self, argument: Argument) -> object:
        """What the call takes for *argument*, but that tasks and places are still names."""
        kind = argument.kind
        if kind is declare.POLICY:
            bits = combined(self.given(policy_flags_key(self.call)), MODE_FLAGS)
            return ModeAndNodes(number_of(self.given("mode"), MODES) | bits, self.given("nodes"))
        value = self.given(argument.name)
        if value is None and argument.default is declare.ITSELF:
            return self.given("task")
        if kind is declare.ADVICE:
            return number_of(value, ADVICE)
        return combined(value, dict(kind.words)) if kind.name == "flags" else value

    def _find(self, runner: Runner, argument: Argument) -> object:
        """What the function that makes the call is given for *argument*."""
        kind = argument.kind
        if kind is declare.SHELL:
            return runner.caller(None)
        if kind.name in ("range", "place"):
            return self._place(runner, kind)
        value: Any = self.taken(argument)
        if kind is declare.CALLER:
            return runner.caller(value)
        if kind is declare.TARGET:
            return None if value is None else runner.place(self.given("task"), value)
        if kind is declare.NEW_REGION:
            runner.names.declare(self.given("task"), value)
        if kind in (declare.OWN, declare.TASK):
            return None if value is None else runner.task(value)
        return runner.pids.get(value, -1) if kind is declare.PID else value

    def _place(self, runner: Runner, kind: Kind) -> object:
        at = self.given("at")
        if at is None:
            return None
        if kind is declare.PLACE:
            return runner.range(self.given("task"), at, self.given("offset"), 0)[0]
        length = self.given("length")
        return Range(*runner.range(self.given("task"), at, self.given("offset"), length))

    def _other(self, runner: Runner) -> Access | None:
        """The access that another task makes in the middle of the call."""
        other = getattr(self, "meanwhile", None)
        if other is None:
            return None
        page = runner.region(other.task, other.at).start + (other.offset >> PAGE_SHIFT)
        return Access(runner.task(other.task), page, other.write)

    def _name(self, runner: Runner, answer: Answer) -> None:
        """Let later steps name what the call has made."""
        for argument in self.call.arguments:
            if argument.kind is declare.NEW_TASK:
                pid = answer["pid"]
                assert isinstance(pid, int)
                runner.pids[self.given("as")] = pid
                runner.names.made(self.call.op, self.given("task"), self.given("as"))


def field_name(key: str) -> str:
    """How a model's field is called that holds what is at *key*: `as` and `from` are reserved."""
    return f"{key}_" if iskeyword(key) else key


def model_of(call: Call) -> type[CallStep]:
    """A model of the step that makes *call*."""
    fields: Fields = {"op": (Literal[call.op], ...)}
    for argument in call.arguments:
        fields |= _fields(call, argument)
    name = call.op.title().replace("_", "") + "Step"
    model = create_model(name, __base__=CallStep, __doc__=call.text, **fields)
    model.call = call
    return model


def _fields(call: Call, argument: Argument) -> Fields:
    """The keys of a step that *argument* stands for."""
    if argument.kind is declare.SHELL:
        return {}
    if argument.kind.name in ("range", "place"):
        return _place_fields(argument)
    if argument.kind is declare.POLICY:
        return {
            "mode": (Mode, Field(description="the policy's mode, by name or number")),
            "nodes": (Nodes, Field(default=Nodemask(), description="the policy's nodes")),
            policy_flags_key(call): (
                tuple[ModeFlag, ...],
                Field(default=(), description=f"mode flags: {', '.join(MODE_FLAGS)}"),
            ),
        }
    kind = _type(argument)
    return {field_name(argument.name): _field(argument.name, kind, argument.default, argument.help)}


def _place_fields(argument: Argument) -> Fields:
    named = "a region from an earlier `as`, or TASK.REGION of declared memory"
    fields = {
        "at": _field("at", str, argument.default, named),
        "offset": _field("offset", Size, 0, "where in the region the part begins"),
    }
    if argument.kind.name == "range":
        text = "the part's length; default: to the end"
        fields["length"] = _field("length", Size, None, text)
    return fields


def _field(key: str, kind: Any, default: object, text: str) -> tuple[Any, Any]:
    if default in (None, declare.ITSELF):
        kind, default = kind | None, None
    alias = key if iskeyword(key) else None
    default = ... if default is declare.REQUIRED else default
    return kind, Field(default=default, alias=alias, description=text)


def _type(argument: Argument) -> Any:
    kind = argument.kind
    if kind.name == "number":
        return Annotated[int, Field(ge=kind.low, le=kind.high)]
    if kind.name == "seconds":
        bounds = Field(gt=0, le=kind.high) if argument.is_required else Field(ge=0, le=kind.high)
        return Annotated[float, bounds, Field(allow_inf_nan=False)]
    if kind.name == "word":
        return _one_of(word for word, _ in kind.words)
    if kind.name == "words":
        return _several(_one_of(word for word, _ in kind.words))
    if kind.name == "flags":
        return _several(flag_of(dict(kind.words)))
    return _TYPES[kind.name]


def _one_of(words: Iterable[str]) -> Any:
    return Literal[tuple(words)]


def _several(kind: Any) -> Any:
    return cast(Any, tuple)[kind, ...]  # of a type that is known only now
