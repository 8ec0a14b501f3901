"""Commands that are made of the table of calls: their words, their options, and what they print."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import click

from pymigrate.cli.call import Call as Made
from pymigrate.cli.call import access_of, find_range, meanwhile_option, system_call
from pymigrate.cli.common import (
    CPU_LIST,
    CPUMASK,
    CPUSET_NAME,
    NAME,
    NODE_LIST,
    NODEMASK,
    NUMBERS,
    POLICY,
    SIZE,
    Options,
    common_options,
    find_task,
    seconds,
    shorten,
    with_options,
)
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command, Group, option
from pymigrate.errors import KernelError
from pymigrate.interface import declare
from pymigrate.interface.declare import Answer, Argument, Call, Kind, Range
from pymigrate.interface.made import find_left, made_of, make
from pymigrate.interface.noted import acting_as, meanwhile
from pymigrate.interface.table import COMMANDS
from pymigrate.mm.base.advice import ADVICE
from pymigrate.mm.state.machine import Machine, find_file, is_mapped
from pymigrate.mm.state.task import Task

_TYPES: dict[str, click.ParamType[Any]] = {
    "size": SIZE,
    "stride": SIZE,
    "alignment": SIZE,
    "nodes": NODEMASK,
    "cpus": CPUMASK,
    "node list": NODE_LIST,
    "cpu list": CPU_LIST,
    "new region": NAME,
    "new task": NAME,
    "new cpuset": CPUSET_NAME,
    "name": NAME,
    "policy": POLICY,
    "numbers": NUMBERS,
}


class TableGroup(Group):
    """A group whose commands are rows of the table, and those that are added to it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All of them."""
        return sorted([*self._rows(), *super().list_commands(ctx)])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command *name*."""
        if name in self._rows():
            return command_of(f"{self.name} {name}")
        return super().get_command(ctx, name)

    def _rows(self) -> list[str]:
        names = (words.partition(" ") for words in COMMANDS)
        return [name for group, _, name in names if group == self.name and name]


def command_of(words: str) -> click.Command:
    """The command that makes the call whose command is called *words*."""
    call = COMMANDS[words]

    def function(options: Options, given_words: tuple[str, ...] = (), **given: Any) -> None:
        _run(call, options, given_words, given)

    own = [argument.name for argument in call.arguments if argument.kind.name == "flags"]
    leaves = bool(call.leaves)
    acts = any(argument.kind.name in ("caller", "shell", "own") for argument in call.arguments)
    decorated: Any = common_options(
        changes=True, calls=acts, leaves=leaves, strict=leaves and not own
    )(function)
    options = [option for argument in call.arguments for option in _options(argument)]
    decorated = with_options(options)(decorated)
    usage = " ".join(_usage(argument) for argument in _placed(call))
    if usage:
        decorated = click.argument(
            "given_words",
            nargs=-1,
            metavar=usage,
            shell_complete=complete.words_of(_placed(call)),
        )(decorated)
    name = words.rpartition(" ")[2]
    text = f"{call.text}\n\n{call.more}" if call.more else call.text
    return click.command(name, cls=Command, help=text)(decorated)


def _placed(call: Call) -> list[Argument]:
    """The arguments that are given by their place."""
    return [argument for argument in call.arguments if argument.metavar]


def _usage(argument: Argument) -> str:
    word = argument.metavar if argument.is_required else f"[{argument.metavar}]"
    return f"{word} [LENGTH]" if argument.kind.name == "range" else word


def _options(argument: Argument) -> list[Callable[[Any], Any]]:
    """The options that stand for an argument; none if it is given by its place, or is --as."""
    kind, name = argument.kind, _option(argument)
    if argument.metavar or kind.name in ("caller", "shell"):
        return []
    if kind is declare.MEANWHILE:
        return [meanwhile_option()]
    text = f"{argument.help[0].upper()}{argument.help[1:]}."
    if kind.name == "flags":
        return [
            option(f"--{word.replace('_', '-')}", word, is_flag=True, help=_FLAGS[word])
            for word, _ in kind.words
        ]
    how: dict[str, Any] = {"help": text, "shell_complete": complete.of_argument(argument)}
    if argument.default is declare.REQUIRED:
        how["required"] = True
    else:
        how["default"] = argument.default
    if argument.default not in (None, declare.REQUIRED, False, (), declare.ITSELF):
        how["show_default"] = True
    if kind.name == "flag":
        if argument.off:
            name = f"{name}/--{argument.off}"
        elif argument.default is None:
            name = f"{name}/--no-{name[2:]}"
        else:
            how["is_flag"] = True
        return [option(name, argument.name, **how)]
    if kind.name == "words":
        how |= {"multiple": True}
    return [option(name, argument.name, type=_type(kind), metavar=_metavar(argument), **how)]


def _option(argument: Argument) -> str:
    """What its option is called."""
    return f"--{(argument.option or argument.name).replace('_', '-')}"


def _metavar(argument: Argument) -> str | None:
    """What stands behind an option's name in --help, where its type does not say it well."""
    names = {"task": "PID", "own": "PID", "range": "ADDR|REGION[+OFFSET[:LENGTH]]"}
    names |= {"comm": "COMM", "cpuset": "NAME", "file": "FILE", "prot": "PROT"}
    names["target"] = "ADDR|REGION[+OFFSET]"
    if argument.kind.name == "number":
        return "NODE" if argument.name in ("node", "to") else "N"
    return names.get(argument.kind.name)


_FLAGS = {
    "strict": "Fail if a page lies elsewhere, or cannot be moved.",
    "move": "Move the process's own pages to where they belong.",
    "move_all": "Move shared pages too (needs CAP_SYS_NICE).",
    "lazy": "MPOL_MF_LAZY, which the kernel refuses.",
    "current": "What is mapped now (MCL_CURRENT).",
    "future": "What will be mapped (MCL_FUTURE).",
    "onfault": "Only pages that are touched (MCL_ONFAULT).",
    "maymove": "Let it move if it must (MREMAP_MAYMOVE).",
    "fixed": "Let it move there (MREMAP_FIXED).",
    "dontunmap": "Leave the old place mapped, and empty (MREMAP_DONTUNMAP).",
}


def _type(kind: Kind) -> click.ParamType[Any]:
    if kind.name == "number":
        return click.IntRange(kind.low, kind.high) if kind != declare.INTEGER else click.INT
    if kind.name == "seconds":
        return seconds(kind.high)
    if kind.name in ("word", "words"):
        return click.Choice([word for word, _ in kind.words])
    if kind.name == "advice":
        from pymigrate.syscalls.madvise import SIMULATED

        return click.Choice(list(SIMULATED))
    return _TYPES.get(kind.name, click.STRING)


def _run(call: Call, options: Options, words: tuple[str, ...], given: dict[str, Any]) -> None:
    ctx = click.get_current_context()
    length = _take_words(ctx, call, words, given)
    _check(call, given)
    group = call.command.rpartition(" ")[0]
    with system_call(options, call.op if group == "task" else group or call.op) as made:
        finder = _Finder(made, given, length)
        arguments = [finder.find(argument) for argument in made_of(call)]
        made.noted.find_left = find_left(made.machine, call, arguments)
        owner = made.caller
        told: Answer = {}
        with (
            acting_as(owner, options.uid) if owner else nullcontext(),
            meanwhile(made.machine, access_of(made.machine, given.get("meanwhile")), told),
        ):
            answer = make(made.machine, call, arguments)
        made.answer |= answer | told
        made.text = _said(call, answer)
        if errno := answer.get("errno"):
            raise KernelError(str(errno), str(answer["why"]))


def _take_words(
    ctx: click.Context, call: Call, words: tuple[str, ...], given: dict[str, Any]
) -> int | None:
    """Put the words into *given* by the arguments' names; give a length that is a word of its own.

    That may follow a part of memory. Wrong words end the command as a usage error.
    """
    placed, rest, length = _placed(call), list(words), None
    for number, argument in enumerate(placed, 1):
        if not rest:
            given[argument.name] = None
            if argument.is_required:
                ctx.fail(f"Missing argument '{argument.metavar}'.")
            continue
        kind = argument.kind
        given[argument.name] = _convert(ctx, argument.metavar, kind, rest.pop(0))
        nr_after = sum(later.is_required for later in placed[number:])
        if kind.name == "range" and len(rest) > nr_after:
            length = _convert(ctx, "LENGTH", declare.SIZE, rest.pop(0))
    if rest:
        ctx.fail(f"Got unexpected extra argument ({rest[0]})")
    return length


def _convert(ctx: click.Context, name: str, kind: Kind, word: str) -> Any:
    return _type(kind).convert(word, click.Argument([name.lower()], metavar=name), ctx)


def _check(call: Call, given: dict[str, Any]) -> None:
    """What may be given together. Raises click.UsageError."""
    options = {a.name: a.metavar or _option(a) for a in call.arguments}
    there = [name for name in call.one_of if given[name] is not None]
    if call.one_of and len(there) != 1:
        either = ", or ".join(options[name] for name in call.one_of)
        raise click.UsageError(f"Expected either {either}.")
    there = [name for name in call.at_most_one_of if given[name] is not None]
    if len(there) > 1:
        raise click.UsageError(f"{options[there[0]]} and {options[there[1]]} exclude each other.")
    if given.get("at") is not None and given["task"] is None:
        raise click.UsageError("--at needs --task.")


class _Finder:
    """Finds on the machine what the words and options of a command name."""

    def __init__(self, made: Made, given: dict[str, Any], length: int | None) -> None:
        self.made, self.given, self.length = made, given, length
        self.machine, self.task = made.machine, made.shell

    def find(self, argument: Argument) -> object:
        """What the function that makes the call is given for *argument*."""
        kind = argument.kind.name
        if kind in ("caller", "shell"):
            return self.made.shell
        if kind == "flags":
            return sum(bit for word, bit in argument.kind.words if self.given[word])
        value = self.given[argument.name]
        if value is None:
            return None
        _check_value(self.machine, self.task, kind, value)
        if kind in ("own", "task"):
            return self._task(argument, value)
        if kind == "target":
            return find_range(self.machine, self.task, value)[0]
        if kind == "range":
            return self._range(argument, value)
        if kind == "cpuset":
            return "" if value == "/" else value
        return ADVICE[value] if kind == "advice" else value

    def _task(self, argument: Argument, who: str) -> Task:
        task = find_task(self.machine, who)
        if argument.name == "task":
            self.task = task
        if argument.kind is declare.OWN:
            self.made.caller = task
        return task

    def _range(self, argument: Argument, place: str) -> Range:
        addr, length = find_range(self.machine, self.task, place)
        length = length if self.length is None else self.length
        if length is None:
            length = argument.kind.low or None
        if length is None:
            raise click.BadParameter(f"{shorten(place)} has no length; expected LENGTH after it")
        return Range(addr, length)


def _check_value(machine: Machine, task: Task, kind: str, value: Any) -> None:
    """Whether the machine lets an argument of *kind* be *value*. Raises click.BadParameter."""
    if kind == "stride" and not value:
        raise click.BadParameter("is 0, expected at least a byte", param_hint="--stride")
    if kind == "new region" and is_mapped(machine, task, value):
        raise click.BadParameter(f"{value} is mapped already", param_hint="NAME")
    if kind == "new task" and any(task.name == value for task in machine.tasks.values()):
        raise click.BadParameter(f"a task is called {value} already", param_hint="NAME")
    if kind == "file" and find_file(machine, value) is None:
        raise click.BadParameter(f"there is no file {shorten(value)}", param_hint="--file")


def _said(call: Call, answer: Answer) -> str:
    """What the command prints of the answer; nothing where the first value is missing."""
    if not call.says or None in answer.values():
        return ""
    text = call.says.format_map({name: _text(value) for name, value in answer.items()})
    return "".join(f"{line}\n" for line in text.splitlines() if line)


def _text(value: object) -> str:
    """A value in words; rows are separated by semicolons."""
    if isinstance(value, list):
        return "; ".join(" ".join(map(str, row)).rstrip() for row in value)
    return str(value)
