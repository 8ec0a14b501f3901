"""What a shim runs: one program, on the machine that the environment names."""

from __future__ import annotations

import gc
import os
import sys

from pymigrate.cli import host
from pymigrate.cli.terminal import guard_terminals
from pymigrate.errors import PymigrateError
from pymigrate.session import Request, command_line
from pymigrate.units import parse_size

_INTERRUPTED = 130


def main() -> None:
    """Run the program ``argv[1]`` with what follows; exit with its code."""
    gc.disable()
    guard_terminals()
    try:
        size = os.environ.get("PYMIGRATE_SIZE")
        named = os.environ.get("PYMIGRATE_SCENARIO"), os.environ.get("PYMIGRATE_STATE")
        request = Request(named[0] or None, named[1] or None, command=command_line(sys.argv[1:]))
        touched = parse_size(size) if size else None
        code = host.run(sys.argv[1:], request, size=touched, becomes=True)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except PymigrateError as error:
        code = _fail(str(error), error.exit_code)
    except ValueError as error:
        code = _fail(f"PYMIGRATE_SIZE: {error}", 2)
    except OSError as error:  # a closed pipe, a full disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1 if isinstance(error, BrokenPipeError) else _fail(str(error), 1)
    sys.exit(code)


def _fail(message: str, code: int) -> int:
    for line in message.splitlines():
        host.say(line)
    return code
