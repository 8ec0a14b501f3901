"""What a shell is offered for a word of a command line: names of the machine that is meant."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

import click

from pymigrate.errors import PymigrateError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from pymigrate.interface.declare import Argument
    from pymigrate.mm.state.machine import Machine

    Complete: TypeAlias = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def scenarios(_ctx: click.Context, _param: object, word: str) -> list[CompletionItem]:
    """Scenarios that ship, and files."""
    from click.shell_completion import CompletionItem

    from pymigrate.session import about_scenario, shipped_scenarios

    shipped = {name: about_scenario(path) for name, path in shipped_scenarios().items()}
    return [*_items(shipped.items(), word), CompletionItem(word, type="file")]


def topics(ctx: click.Context, param: object, word: str) -> list[CompletionItem]:
    """Guides and commands."""
    from pymigrate.cli.help.guide import guides, title_of

    titles = {name: title_of(text) for name, text in guides().items()}
    others = [item for item in commands(ctx, param, word) if item.value not in titles]
    return [*_items(titles.items(), word), *others]


def commands(ctx: click.Context, _param: object, word: str) -> list[CompletionItem]:
    """Commands of pymigrate's."""
    return ctx.find_root().command.shell_complete(ctx.find_root(), word)


def arguments(ctx: click.Context, _param: object, word: str) -> list[CompletionItem]:
    """What the command that `trace` runs is offered."""
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    found = root.command.get_command(root, ctx.params["name"] or "")
    if found is None:
        return []
    given = list(ctx.params["args"])
    inner = found.make_context(ctx.params["name"], given, parent=root, resilient_parsing=True)
    if word.startswith("-"):
        return found.shell_complete(inner, word)
    for param in found.get_params(inner):
        if isinstance(param, click.Argument) and (
            param.nargs == -1 or inner.params[str(param.name)] is None
        ):
            return param.shell_complete(inner, word)
    return []


def tasks(ctx: click.Context, _param: object, word: str) -> list[CompletionItem]:
    """Tasks by their names, and by their PIDs."""
    machine = _machine(ctx)
    if machine is None:
        return []
    named = [(task.name, f"{task.pid} {task.comm}") for task in machine.tasks.values()]
    numbers = [(str(task.pid), task.name) for task in machine.tasks.values()]
    return _items([*named, *numbers], word)


def places(ctx: click.Context, _param: object, word: str) -> list[CompletionItem]:
    """Regions of the task that the command is given before."""
    machine = _machine(ctx)
    words = ctx.params.get("given_words") or ()
    who = ctx.params.get("pid") or ctx.params.get("task") or next(iter(words), None)
    if machine is None or who is None:
        return []
    from pymigrate.arguments import find_task
    from pymigrate.mm.state.machine import regions_of

    try:
        task = find_task(machine, who)
    except PymigrateError:
        return []
    return _items(((name, "") for name in regions_of(machine, task)), word)


def nodes(ctx: click.Context, _param: object, word: str) -> list[CompletionItem]:
    """Each node, and all of them."""
    return _items(((text, "") for text in _node_lists(_machine(ctx))), word)


def policies(ctx: click.Context, _param: object, word: str) -> list[CompletionItem]:
    """Modes, with the nodes of those that take some."""
    from pymigrate.uapi import MODES

    lists = _node_lists(_machine(ctx))
    alone = ("default", "local")
    texts = [text for mode in MODES for text in ([mode] if mode in alone else _each(mode, lists))]
    return _items(((text, "") for text in texts), word)


def cpusets(ctx: click.Context, _param: object, word: str) -> list[CompletionItem]:
    """The cpusets."""
    machine = _machine(ctx)
    return _items(((name or "/", "") for name in machine.cpusets), word) if machine else []


def files(ctx: click.Context, _param: object, word: str) -> list[CompletionItem]:
    """Files that tasks may map."""
    machine = _machine(ctx)
    spaces = machine.spaces.values() if machine else ()
    return _items(((file.name, "") for file in spaces if file.name and not file.is_deleted), word)


def settings(ctx: click.Context, _param: object, word: str) -> list[CompletionItem]:
    """Settings of the kernel, with their values."""
    from pymigrate.syscalls import sysctl

    machine = _machine(ctx)
    return _items(sysctl.read_all(machine).items(), word) if machine else []


def tree_paths(ctx: click.Context, _param: object, word: str) -> list[CompletionItem]:
    """Paths below the machine's /proc and /sys."""
    from pymigrate.views.entries import Dir, by_name, find
    from pymigrate.views.tree import tree

    machine = _machine(ctx)
    folder, slash, _ = word.rpartition("/")
    try:
        entry = find(tree(machine), folder) if machine else None
    except PymigrateError:
        return []
    if not isinstance(entry, Dir):
        return []
    found = ((f"{folder}{slash}{name}", below) for name, below in by_name(entry))
    return _items(((f"{path}/" if isinstance(b, Dir) else path, "") for path, b in found), word)


def of_argument(argument: Argument) -> Complete:
    """How an argument of the table of calls is completed."""
    kind = argument.kind
    if kind.name == "number":
        return nodes if argument.name in ("node", "to") else _nothing
    if kind.name in ("word", "words"):
        return _words([word for word, _ in kind.words])
    if kind.name == "advice":
        from pymigrate.syscalls.madvise import SIMULATED

        return _words(list(SIMULATED))
    return _BY_KIND.get(kind.name, _nothing)


def words_of(placed: list[Argument]) -> Complete:
    """How the words of a command are completed that are *placed* in this order."""

    def complete(ctx: click.Context, param: click.Parameter, word: str) -> list[CompletionItem]:
        number = len(ctx.params.get("given_words") or ())
        if number >= len(placed):
            return []
        return of_argument(placed[number])(ctx, param, word)

    return complete


def _nothing(_ctx: click.Context, _param: object, _word: str) -> list[CompletionItem]:
    return []


def _words(choices: list[str]) -> Complete:
    return lambda _ctx, _param, word: _items(((choice, "") for choice in choices), word)


_BY_KIND: dict[str, Complete] = {
    "caller": tasks,
    "own": tasks,
    "task": tasks,
    "range": places,
    "target": places,
    "place": places,
    "nodes": nodes,
    "policy": policies,
    "cpuset": cpusets,
    "file": files,
    "setting": settings,
}


def _items(found: Iterable[tuple[str, str]], word: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [
        CompletionItem(name, help=about or None) for name, about in found if name.startswith(word)
    ]


def _node_lists(machine: Machine | None) -> list[str]:
    if machine is None:
        return []
    from pymigrate.nodemask import Nodemask

    return [
        *map(str, machine.nodes),
        *([str(Nodemask.collect(machine.nodes))] if machine.nodes else []),
    ]


def _each(mode: str, lists: list[str]) -> list[str]:
    return [f"{mode}:{text}" for text in lists]


def _machine(ctx: click.Context) -> Machine | None:
    """The machine that the command would work on, as it is; None if there is none."""
    from pymigrate.session import Request, boot_scenario, load_state, scenario_path, state_path

    root = ctx.find_root().params
    scenario, state = (
        ctx.params.get(name) or root.get(name) or os.environ.get(f"PYMIGRATE_{name.upper()}")
        for name in ("scenario", "state")
    )
    try:
        path = state_path(Request(scenario or None, state or None))
        if os.path.exists(path):
            return load_state(path)[0]
        return boot_scenario(scenario_path(scenario or None))[0]
    except (PymigrateError, OSError):
        return None
