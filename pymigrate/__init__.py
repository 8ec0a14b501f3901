"""pymigrate: Linux NUMA page migration, simulated.

>>> import pymigrate
>>> machine = pymigrate.boot("two-node")
>>> machine.migrate_pages("db", 0, 1).moved
29187
"""

from pymigrate.version import __version__ as __version__

TYPE_CHECKING = False  # the one of typing, whose import a command can do without
if TYPE_CHECKING:
    from pymigrate.api.boot import boot as boot
    from pymigrate.api.boot import load as load
    from pymigrate.api.machine import Machine as Machine
    from pymigrate.api.results import MovePagesError as MovePagesError
    from pymigrate.api.results import Region as Region
    from pymigrate.errors import KernelError as KernelError
    from pymigrate.errors import PymigrateError as PymigrateError
    from pymigrate.errors import ScenarioError as ScenarioError
    from pymigrate.errors import StoreError as StoreError
    from pymigrate.errors import UnsupportedError as UnsupportedError

_PUBLIC = {
    "boot": "api.boot",
    "load": "api.boot",
    "Machine": "api.machine",
    "MovePagesError": "api.results",
    "Region": "api.results",
    "KernelError": "errors",
    "PymigrateError": "errors",
    "ScenarioError": "errors",
    "StoreError": "errors",
    "UnsupportedError": "errors",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> object:
    """Import what is asked for: the command line needs none of it."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
