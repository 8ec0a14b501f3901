"""The command line in a process of its own: ``pymigrate`` and ``python -m pymigrate``."""

import gc
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

# What click imports, and no command needs that does not print help.
SELDOM = ("inspect",)


class Later(ModuleType):
    """A module that is loaded when something of it is used."""

    def __getattr__(self, name: str) -> Any:
        """What the module has by that name. Raises AttributeError."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        module = import_module(self.__name__)
        vars(self).update(vars(module))  # for those who have imported this
        return getattr(module, name)


def main() -> None:
    """Run one command. An interrupt while the command is still being loaded exits with 130, too."""
    gc.disable()  # a command is short, and neither modules nor a machine have cycles worth finding
    try:
        for name in SELDOM:
            sys.modules.setdefault(name, Later(name))
        from pymigrate.cli.main import main as run_command

        run_command()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        gc.freeze()  # nor are cycles looked for at the end


if __name__ == "__main__":
    main()
