"""Each call of the table is a step, a command, and a method, with the same arguments."""

import inspect
from collections import Counter
from typing import Any

import click
import pytest

from pymigrate.api.machine import Machine
from pymigrate.cli.main import MODULES, cli, commands
from pymigrate.interface.declare import ITSELF, REQUIRED, Argument, Call
from pymigrate.interface.made import function, made_of
from pymigrate.interface.table import CALLS
from pymigrate.scenario.steps.every import OPS, step_model
from pymigrate.units import parse_size

# What an argument is called in a method, where it is not its name.
NAMES = {
    **dict.fromkeys(["fork as", "clone as", "start as", "mmap as", "mremap as"], "name"),
    "cpuset_create cpuset": "name",
    "cpuset_set cpuset": "name",
    "cpuset_remove cpuset": "name",
    "cpuset_attach cpuset": "name",
    "migrate_pages from": "from_nodes",
    "migrate_pages to": "to_nodes",
    "migrate_pages task": "caller",
    "start task": "caller",
    "migrate_pages target": "who",
    "reclaim target": "who",
    "move_pages task": "caller",
    "move_pages at": "pages",
    "move_pages target": "who",
}
# Arguments that a method does not have, and why.
LEFT_OUT = {
    "move_pages stride": "`pages` may be any addresses",
    "move_pages pages": "`at` is `pages`: a place, or addresses",
    "get_mempolicy flags": "node_of() and mems_allowed() are methods of their own",
    "mbind flags lazy": "the kernel refuses it",
    "move_pages flags strict": "the kernel refuses it",
    "move_pages flags lazy": "the kernel refuses it",
    "move_pages flags move": "it is what the method does",
    "hard_offline caller": "uid",
    "soft_offline caller": "uid",
}
# Steps that are no calls, with their commands and methods; a program is run by its own command.
LOOKS = {
    "placement": ("placement", "placement"),
    "numa_maps": ("numa_maps", "numa_maps"),
    "vmstat": ("vmstat", "vmstat"),
    "accesses": ("accesses", "accesses"),
    "exec": ("numactl", None),
}


def context_of(command: click.Command) -> click.Context:
    """A context as the group gives it; click keeps the help option that is made for the first."""
    return click.Context(command, **cli.context_settings)


def command_of(call: Call) -> click.Command:
    """The command that makes *call*."""
    ctx = context_of(cli)
    found: click.Command = cli
    for word in (call.command or call.op).split():
        assert isinstance(found, click.Group)
        inner = found.get_command(ctx, word)
        assert inner is not None, call.op
        found = inner
    return found


def method_of(call: Call) -> inspect.Signature:
    """The method that makes *call*."""
    return inspect.signature(getattr(Machine, call.method or call.op))


def expected(call: Call, argument: Argument) -> dict[str, object]:
    """The parameters of a method that stand for *argument*, with their defaults."""
    key, kind, default = f"{call.op} {argument.name}", argument.kind.name, argument.default
    default = REQUIRED if default is ITSELF else default  # a method names the process
    if key in LEFT_OUT or kind in ("meanwhile", "shell") or (kind == "caller" and key not in NAMES):
        return {}
    if key in NAMES:
        return {NAMES[key]: None if kind == "caller" else default}
    if kind in ("own", "task") and argument.name == "task":
        return {"who": default}
    if kind == "range":
        return {"place": default, "length": None}
    if kind == "place":
        return {"place": default}
    if kind == "policy":
        return {"policy": default}
    if kind == "flags":
        words = [word for word, _ in argument.kind.words]
        return {word: False for word in words if f"{key} {word}" not in LEFT_OUT}
    return {argument.name: default}


def same(default: Any, declared: Any) -> bool:
    """Whether a method's default is the declared one; sizes may be texts."""
    if declared is REQUIRED:
        return default is inspect.Parameter.empty
    return default == declared or (isinstance(default, str) and parse_size(default) == declared)


def is_written_out(call: Call) -> bool:
    """Whether its command has a module of its own, for the table that it prints."""
    return (call.command or call.op) in MODULES


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_method_takes_what_is_declared(call: Call) -> None:
    parameters = method_of(call).parameters
    wanted: dict[str, object] = {}
    for argument in call.arguments:
        wanted |= expected(call, argument)
    assert set(wanted) == set(parameters) - {"self", "uid"}
    for name, default in wanted.items():
        assert same(parameters[name].default, default), name


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_function_that_makes_it_takes_what_is_declared(call: Call) -> None:
    parameters = inspect.signature(function(call.make)).parameters.values()
    given = 1 + sum(1 + (a.kind.name in ("range", "policy")) for a in made_of(call))
    assert sum(each.default is each.empty for each in parameters) <= given <= len(parameters)
    if call.leaves:
        assert callable(function(call.leaves))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_command_takes_what_is_declared(call: Call) -> None:
    command = command_of(call)
    options = {
        name for param in command.params if isinstance(param, click.Option) for name in param.opts
    }
    usage = " ".join(command.collect_usage_pieces(context_of(command)))
    for argument in () if is_written_out(call) else call.arguments:
        kind = argument.kind
        name = f"--{(argument.option or argument.name).replace('_', '-')}"
        if kind.name in ("caller", "shell"):
            assert "--as" in options
        elif argument.metavar:
            assert argument.metavar in usage
        elif kind.name == "flags":
            assert {f"--{word.replace('_', '-')}" for word, _ in kind.words} <= options
        else:
            assert name in options


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_option_has_the_name_of_another(call: Call) -> None:
    params = [param for param in command_of(call).params if isinstance(param, click.Option)]
    names = Counter(name for param in params for name in (*param.opts, *param.secondary_opts))
    assert [name for name, nr in names.items() if nr > 1] == []


def test_written_out_commands_know_the_same_words() -> None:
    words = {
        "migrate_pages": ["--meanwhile", "FROM_NODES", "TO_NODES", "PID"],
        "move_pages": ["--meanwhile", "--to", "--move-all", "--from-file", "PID"],
        "get_mempolicy": ["--node", "--mems-allowed", "PID"],
        "sysctl": ["NAME[=VALUE]"],
        "balance": ["--seconds"],
        "compact": ["NODE", "--order"],
        "memory_offline": ["NODE", "--blocks"],
        "memory_online": ["NODE", "--blocks", "--online-type"],
        "hard_offline": ["PID", "--address"],
        "soft_offline": ["PID", "--address"],
    }
    assert {op for op, call in CALLS.items() if is_written_out(call)} == set(words)
    for op, known in words.items():
        command = command_of(CALLS[op])
        text = command.get_help(context_of(command))
        text = " ".join(text.upper().split())
        assert [word for word in known if word.upper() not in text] == []


def test_every_step_has_its_command_and_its_method() -> None:
    assert set(OPS) == set(CALLS) | set(LOOKS)
    for op, (command, method) in LOOKS.items():
        assert step_model(op).__doc__
        assert command in commands()
        assert method is None or hasattr(Machine, method)
