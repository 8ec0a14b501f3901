"""Random command lines: real commands and options, with words that fit, and others that do not."""

from collections.abc import Iterator
from functools import cache
from random import Random

import click

from pymigrate.cli.main import cli

# They read this host, run its programs, wait, or take their time.
LEFT_OUT = {"capture", "compare", "exec", "tour"}
OPTIONS_LEFT_OUT = {"--watch", "--help", "-h", "--state", "--scenario", "--ephemeral", "--reset"}
TASKS = ("db", "4321", "backup", "1000", "httpd", "parent", "801", "app", "web", "0", "1", "99999")
WORDS = (
    *TASKS,
    *"heap heap+0 heap+4KiB:8KiB buffers buf stack libc index 0x0 0x1000 0x555555559000".split(),
    *"0 1 2 0-1 0,1 0-3 1-0 !0 +0 5 9 1023 1024 -1 -2 4294967296 18446744073709551616".split(),
    *"4KiB 8K 64KiB 2MiB 64MiB 1GiB 1TiB 128TiB 1 4096 4097 0B -4KiB 1e9 0.5 1s 10ms".split(),
    *"default bind:0 bind=static:0-1 interleave:0-1 prefer:1 local weighted bind:9 1:2".split(),
    *"none r rw rwx move move_all dontneed hugepage collapse cold pageout willneed 101".split(),
    *"proc/meminfo proc/vmstat proc/self/numa_maps proc/1/x sys sys/devices / . x.yaml".split(),
    *"two-node fork-server one-tib nosuch machine.yaml out out/x numa_balancing thp=always".split(),
    *"ram ext4 tmpfs 6.1 6.12 9.9 json chrome ret==0 vmstat.pgfault>0 alloc list create".split(),
    "", " ", "\t", "a b", "a\nb", "\x1b[2J", "é", "\udcff", "-", "--", "-x", "--nosuch", "%s", "{}",
    "x" * 300,
)  # fmt: skip


class Known:
    """A command, with the words that lead to it."""

    def __init__(self, words: tuple[str, ...], command: click.Command) -> None:
        self.words = words
        self.arguments = [p for p in command.params if isinstance(p, click.Argument)]
        self.options = [
            p
            for p in command.params
            if isinstance(p, click.Option) and not OPTIONS_LEFT_OUT & {*p.opts}
        ]


@cache
def known() -> tuple[Known, ...]:
    """All commands, those of groups too."""
    root = click.Context(cli, info_name="pymigrate")
    return tuple(_found(cli, root, ()))


def _found(group: click.Group, ctx: click.Context, words: tuple[str, ...]) -> Iterator[Known]:
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if command is None or name in LEFT_OUT:
            continue
        if isinstance(command, click.Group):
            inner = click.Context(command, parent=ctx, info_name=name)
            yield from _found(command, inner, (*words, name))
        yield Known((*words, name), command)


def command_line(random: Random) -> list[str]:
    """The words after `pymigrate`."""
    chosen = random.choice(known())
    parts = [[_word(p, random)] for p in chosen.arguments for _ in range(_times(p, random))]
    for _ in range(random.choice((0, 0, 1, 1, 2, 3))):
        if chosen.options:
            parts.insert(
                random.randrange(len(parts) + 1), _option(random.choice(chosen.options), random)
            )
    if random.random() < 0.1:
        parts.insert(random.randrange(len(parts) + 1), [random.choice(WORDS)])
    line = [*chosen.words, *(word for part in parts for word in part)]
    if random.random() < 0.05:
        del line[random.randrange(len(line))]
    return line


def _times(param: click.Argument, random: Random) -> int:
    if param.nargs == 1:
        return 1 if param.required else random.choice((0, 1, 1))
    return random.choice((0, 1, 1, 2, 3)) if param.nargs < 0 else param.nargs


def _option(param: click.Option, random: Random) -> list[str]:
    name = random.choice([*param.opts, *param.secondary_opts])
    if param.is_flag or param.count:
        return [name]
    return [name, *(_word(param, random) for _ in range(max(param.nargs, 1)))]


def _word(param: click.Parameter, random: Random) -> str:
    """A word that may fit the parameter, in most cases."""
    if isinstance(param.type, click.Choice) and random.random() < 0.8:
        return str(random.choice([*param.type.choices]))
    name = (param.human_readable_name or "").lower()
    if ("pid" in name or "task" in name) and random.random() < 0.8:
        return random.choice(TASKS)
    return random.choice(WORDS)
