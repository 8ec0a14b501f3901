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
    from pymigrate.api.comparing import Outcome as Outcome
    from pymigrate.api.comparing import compare as compare
    from pymigrate.api.machine import Machine as Machine
    from pymigrate.api.movers import Block as Block
    from pymigrate.api.movers import Compacted as Compacted
    from pymigrate.api.movers import DriverMoved as DriverMoved
    from pymigrate.api.movers import Meanwhile as Meanwhile
    from pymigrate.api.movers import Timed as Timed
    from pymigrate.api.programs import Called as Called
    from pymigrate.api.programs import Finished as Finished
    from pymigrate.api.results import Explanation as Explanation
    from pymigrate.api.results import Group as Group
    from pymigrate.api.results import Mapping as Mapping
    from pymigrate.api.results import Migrated as Migrated
    from pymigrate.api.results import MovedPages as MovedPages
    from pymigrate.api.results import MovePagesError as MovePagesError
    from pymigrate.api.results import NodeInfo as NodeInfo
    from pymigrate.api.results import Outlook as Outlook
    from pymigrate.api.results import PageStatus as PageStatus
    from pymigrate.api.results import Placed as Placed
    from pymigrate.api.results import Policy as Policy
    from pymigrate.api.results import Process as Process
    from pymigrate.api.results import Refusal as Refusal
    from pymigrate.api.results import Region as Region
    from pymigrate.api.results import Stayed as Stayed
    from pymigrate.api.results import Trace as Trace
    from pymigrate.api.types import AccessRow as AccessRow
    from pymigrate.api.types import BalanceRow as BalanceRow
    from pymigrate.api.types import BuddyRow as BuddyRow
    from pymigrate.api.types import KsmState as KsmState
    from pymigrate.api.types import Plan as Plan
    from pymigrate.api.types import TierRow as TierRow
    from pymigrate.api.types import Verdict as Verdict
    from pymigrate.errors import KernelError as KernelError
    from pymigrate.errors import PymigrateError as PymigrateError
    from pymigrate.errors import ScenarioError as ScenarioError
    from pymigrate.errors import ScenarioErrors as ScenarioErrors
    from pymigrate.errors import StoreError as StoreError
    from pymigrate.errors import UnmetError as UnmetError
    from pymigrate.errors import UnsupportedError as UnsupportedError

_MODULES = {  # and what of them is public
    "api.boot": "boot load",
    "api.comparing": "Outcome compare",
    "api.machine": "Machine",
    "api.movers": "Block Compacted DriverMoved Meanwhile Timed",
    "api.results": """
        Explanation Group Mapping Migrated MovePagesError MovedPages NodeInfo Outlook PageStatus
        Placed Policy Process Refusal Region Stayed Trace
    """,
    "api.programs": "Called Finished",
    "api.types": "AccessRow BalanceRow BuddyRow KsmState Plan TierRow Verdict",
    "errors": """
        KernelError PymigrateError ScenarioError ScenarioErrors StoreError UnmetError
        UnsupportedError
    """,
}
_PUBLIC = {name: module for module, names in _MODULES.items() for name in names.split()}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> object:
    """Import what is asked for: the command line needs none of it."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
