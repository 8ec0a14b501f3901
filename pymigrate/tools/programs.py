"""The programs by their names, and what runs one, and another that it becomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from pymigrate.tools.program import Exit
from pymigrate.tools.system import System

# Program -> the module and the function that it is; a module is imported when its program runs.
PROGRAMS = {
    "migratepages": "migratepages.run",
    "numactl": "numactl.run",
    "numastat": "numastat.run",
    "memhog": "memhog.run",
    "migspeed": "migspeed.run",
    "pidof": "procps.pidof",
    "pgrep": "procps.pgrep",
    "ps": "procps.ps",
}


def program(name: str) -> Callable[[Sequence[str], System], Exit]:
    """The function that is the program *name*: it takes argv and the machine."""
    module, _, function = PROGRAMS[name].partition(".")
    found = getattr(import_module(f"pymigrate.tools.{module}"), function)
    assert callable(found)
    return found  # type: ignore[no-any-return]  # what the table says


def run(argv: Sequence[str], system: System) -> Exit:
    """Run the program ``argv[0]``, then the one that it becomes, as far as they are known here.

    The outcome's *command* is one that is not.
    """
    outcome = begin(argv, system)
    while outcome.again is not None:
        more = outcome.again(system)
        stdout, stderr = outcome.stdout + more.stdout, outcome.stderr + more.stderr
        outcome = more._replace(stdout=stdout, stderr=stderr)
    return outcome


def begin(argv: Sequence[str], system: System) -> Exit:
    """Likewise, up to where others may look at its process: *again* goes on."""
    stderr = ""
    while True:
        outcome = program(argv[0])(argv, system)
        stderr += outcome.stderr
        if outcome.command[:1] and outcome.command[0] in PROGRAMS:
            argv = outcome.command
            continue
        return outcome._replace(stderr=stderr)


def not_found(outcome: Exit, strerror: str = "No such file or directory") -> Exit:
    """How numactl ends where the command that it was to become cannot be executed."""
    line = f"numactl: execution of `{outcome.command[0]}': {strerror}\n\n"
    return Exit(1, outcome.stdout, outcome.stderr + line)
