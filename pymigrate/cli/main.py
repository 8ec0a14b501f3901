"""The command group, and the exit codes, which EXIT_CODES explains."""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

import click

from pymigrate.cli.helped import WithHelp, any_file, option
from pymigrate.cli.terminal import guard_terminals
from pymigrate.errors import KernelError, PymigrateError
from pymigrate.version import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# Command -> its first help line (so that --help stays lean), for those with a module of their own.
MODULES = {
    "accesses": "Show how far tasks reach with their accesses.",
    "balance": "Let time pass, so that NUMA balancing acts.",
    "boot": "Boot a scenario afresh.",
    "buddyinfo": "Print /proc/buddyinfo.",
    "capture": "Write a scenario of a real machine.",
    "cat": "Print files of the machine's /proc and /sys.",
    "check": "Check claims about the machine.",
    "cma": "Allocate memory in one piece.",
    "compact": "Compact the memory of a node, or of all.",
    "compare": "Compare variants of a scenario.",
    "completion": "Print a script for completion in a shell.",
    "cpuset": "Make and change cpusets.",
    "doctor": "Check the stored machine for damage.",
    "exec": "Run a real command on the simulated machine.",
    "explain": "Say what keeps pages from moving, and the cure.",
    "export": "Write /proc and /sys into a directory.",
    "extfrag": "Print how fragmented free memory is, by order.",
    "get_mempolicy": "Print the policy of a process, or of an address.",
    "help": "Show a guide, or the help of a command.",
    "hard_offline": "Let a page go bad: its contents are lost.",
    "init": "Write a scenario to begin with.",
    "man": "Write manual pages into a directory.",
    "memhog": "Fill memory, and free it.",
    "migratepages": "Move the pages of a process to other nodes.",
    "migspeed": "Move pages between nodes, and say how long it takes.",
    "move_pages": "Move single pages, or ask where they are.",
    "numa_maps": "Print /proc/PID/numa_maps.",
    "numactl": "Run a command with a policy, or show the nodes.",
    "numastat": "Print the nodes' counters, or where memory lies.",
    "offline": "Take a node's memory offline.",
    "online": "Bring a node's memory back online.",
    "page": "Show everything about one page.",
    "pagetypeinfo": "Print /proc/pagetypeinfo.",
    "placement": "Print the node of each page of a range.",
    "plan": "Say what moving memory would do, in advance.",
    "ps": "List the tasks, with their pages by node.",
    "report": "Write a page of HTML of the machine and a plan.",
    "run": "Run a scenario's steps, and print their records.",
    "scenarios": "List the scenarios that ship, or print one.",
    "schema": "Print the JSON Schema of scenario files.",
    "shims": "Write numactl's programs into a directory.",
    "show": "Draw the nodes, and the memory of each task.",
    "soft_offline": "Take a page out of use before it goes bad.",
    "status": "Show what is booted, and what has happened to it.",
    "sysctl": "Print or change a setting of the kernel.",
    "task": "Let a task map, touch, lock, fork, exit, ...",
    "tiers": "List memory tiers, and where pages are demoted.",
    "tour": "Walk through the kernel's migration document.",
    "trace": "Run a command, and print what happens in order.",
    "vmstat": "Print /proc/vmstat.",
}
# In which order --help lists the commands, by what they are for.
GROUPS = {
    "Start": "help tour scenarios init boot status run capture doctor",
    "Look": """
        show ps numa_maps vmstat placement page cat explain plan compare report accesses check trace
        tiers buddyinfo pagetypeinfo extfrag
    """,
    "Move pages": "migratepages move_pages mbind balance damon migrate_driver",
    "Policies and tasks": """
        task cpuset set_mempolicy get_mempolicy set_mempolicy_home_node sysctl
    """,
    "numactl's programs, and others": "exec numactl numastat memhog migspeed shims export",
    "Free memory, and take it away": """
        reclaim compact offline online soft_offline hard_offline cma alloc free ksm
    """,
    "This program": "schema completion man",
}
EXAMPLES = """\
  pymigrate boot two-node        boot a machine of two nodes, a database on it
  pymigrate migratepages db 0 1  move the database's pages from node 0 to 1
  pymigrate numa_maps db         see where they lie
  pymigrate explain db --to 1    ask what would keep them, and for the cure
  pymigrate exec -- ./script.sh  run a program on the simulated machine
  pymigrate help                 list the guides
"""
ENVIRONMENT = {
    "PYMIGRATE_SCENARIO": "The scenario, where --scenario names none.",
    "PYMIGRATE_STATE": "The file of the booted machine, where --state names none.",
    "PYMIGRATE_TASK": "The process that numactl's programs are called by; root's shell if not set.",
    "PYMIGRATE_SIZE": "How much memory a command touches that numactl starts (16MiB).",
    "PYMIGRATE_EXEC": "Inside of exec: the file of the booted machine.",
    "NO_COLOR": "If set, show uses no colours.",
    "COLUMNS": "How wide show draws.",
}
# Words that people try, and what they lead to.
LED_ON = {"version": "--version", "list": "scenarios, and ps"}
INTERRUPTED = 130
EXIT_CODES = {
    0: "Done. Pages may have stayed, as with the real call.",
    1: "Refused by the simulated kernel or by numactl's programs, or a claim does not hold.",
    2: "Wrong usage, a wrong scenario, or something that is not simulated.",
    3: "The state file cannot be used: it is damaged, of another version, or of a scenario that"
    " differs or was edited.",
    4: "Pages stayed, and --strict was given.",
    130: "Interrupted.",
}


@cache
def commands() -> dict[str, str]:
    """All commands with their first help lines: of modules, and of the table of calls."""
    from pymigrate.interface.table import COMMANDS

    rows = {name: call.text for name, call in COMMANDS.items() if " " not in name}
    return dict(sorted((rows | MODULES).items()))


class LazyGroup(WithHelp, click.Group):
    """Imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands."""
        return list(commands())

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command *name*."""
        if name not in MODULES:
            if name not in commands():
                return None
            from pymigrate.cli.declared import command_of

            return command_of(name)
        module = import_module(f"pymigrate.cli.commands.{name}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that is meant; where it fails, --json still gets its object."""
        try:
            return self._invoke(ctx)
        except (PymigrateError, click.ClickException) as error:
            if self._prints_json(ctx):
                from pymigrate.cli.common import failure, print_json

                print_json(failure(error))
            raise

    def _invoke(self, ctx: click.Context) -> object:
        if not (sys.stderr and sys.stderr.isatty()):
            return super().invoke(ctx)
        from pymigrate.cli.waiting import LONG, waiting

        is_long = any(word in LONG for word in sys.argv[1:4]) and "--watch" not in sys.argv
        with waiting(is_long):
            return super().invoke(ctx)

    def _prints_json(self, ctx: click.Context) -> bool:
        if "--json" not in sys.argv:
            return False
        command = self.get_command(ctx, ctx.invoked_subcommand or "")
        if command is None or isinstance(command, click.Group) or ctx.invoked_subcommand == "trace":
            return True
        return any("--json" in param.opts for param in command.params)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant; an unknown one is answered with the nearest name."""
        name = args[0] if args else ""
        if name and name not in MODULES and name not in commands() and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, commands(), 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            hint = f" Did you mean {LED_ON[name]}?" if name in LED_ON else hint
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that begin with *incomplete*, without importing one; else the options."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=text)
            for name, text in commands().items()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The lists in --help, without importing a command."""
        about = commands()
        width = max(map(len, about))
        for title, names in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), about[name]) for name in names.split()])

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What the program is, and the first things to try."""
        super().format_help_text(ctx, formatter)
        formatter.write(f"\nExamples:\n{EXAMPLES}")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Exit codes and the environment."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), text) for code, text in EXIT_CODES.items()])
        with formatter.section("Environment"):
            formatter.write_dl(list(ENVIRONMENT.items()))


def _scenarios(ctx: click.Context, param: click.Parameter, word: str) -> list[CompletionItem]:
    from pymigrate.cli.help.complete import scenarios

    return scenarios(ctx, param, word)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@option(
    "--scenario",
    shell_complete=_scenarios,
    metavar="FILE",
    help="The scenario (default: $PYMIGRATE_SCENARIO).",
)
@option(
    "--state",
    shell_complete=any_file,
    metavar="FILE",
    help="The booted machine (default: $PYMIGRATE_STATE).",
)
@option("--ephemeral", is_flag=True, help="Boot a machine for this command alone.")
@option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda *args: _version(*args),
    help="Show the version and exit.",
)
@option("--json", is_flag=True, expose_value=False, hidden=True)
@click.pass_context
def cli(ctx: click.Context, scenario: str | None, state: str | None, ephemeral: bool) -> None:
    """Simulate NUMA page migration as Linux does it.

    Commands work on a simulated machine that a scenario file describes: the one that was booted
    last, or else a built-in one with two nodes.
    """
    ctx.obj = {"scenario": scenario, "state": state, "ephemeral": ephemeral}


def main() -> None:
    """Run one command; turn what it raises into text and an exit code."""
    guard_terminals()
    try:
        # Colours are those of names: click would take them out of a pipe.
        code = cli.main(prog_name="pymigrate", standalone_mode=False, color=True)
        if sys.stdout:
            sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        for line in _lines_of(error):
            click.echo(line, err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except PymigrateError as error:
        why = f": {error.why}" if isinstance(error, KernelError) and error.why else ""
        for line in f"{error}{why}".splitlines():
            click.echo(f"pymigrate: {line}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        _drop_output()
        sys.exit(1)
    except OSError as error:
        _drop_output()
        click.echo(f"pymigrate: cannot write the output: {error.strerror}", err=True)
        sys.exit(1)


def _lines_of(error: click.ClickException) -> list[str]:
    """What is wrong with the command line, and where help is."""
    text = error.format_message().splitlines()
    if isinstance(error, click.NoSuchOption):
        text = [f"No such option {error.option_name!r}{_meant_by(error)}"]
    if isinstance(error, click.UsageError) and error.ctx:
        text.append(f"Try '{error.ctx.command_path} --help' for help.")
    return [f"pymigrate: {text[0]}", *text[1:]]


def _meant_by(error: click.NoSuchOption) -> str:
    """What an unknown option may have meant: an argument that has no name, or another option."""
    from difflib import get_close_matches

    word = error.option_name.lstrip("-").replace("-", "_")
    params = error.ctx.command.params if error.ctx else []
    for param in params:
        if isinstance(param, click.Argument) and (param.name or "").startswith(word):
            return f": {param.human_readable_name} is an argument, not an option."
    near = get_close_matches(error.option_name, error.possibilities or (), cutoff=0.7)
    return f". Did you mean {' or '.join(near)}?" if near else "."


def _version(ctx: click.Context, _: click.Parameter, is_asked: bool) -> None:
    """Print the version, and what else of this program matters to others, as JSON."""
    if not is_asked or ctx.resilient_parsing:
        return
    if "--json" in sys.argv:
        from platform import python_version

        from pymigrate.cli.common import print_json
        from pymigrate.mm.base.release import RELEASES
        from pymigrate.store.store import SCHEMA_VERSION

        print_json(
            {
                "version": __version__,
                "python": python_version(),
                "platform": sys.platform,
                "kernels": list(RELEASES),
                "state_format": SCHEMA_VERSION,
            }
        )
    else:
        click.echo(f"pymigrate, version {__version__}")
    ctx.exit()


def _drop_output() -> None:
    """What is still buffered has nowhere to go."""
    if sys.stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
