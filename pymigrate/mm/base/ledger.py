"""Who has raised the counters of /proc/vmstat, and for what: an account of each event."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from pymigrate.records import NamedTuple


class Raiser(NamedTuple):
    """Who raises counters, and for what: a fault, reclaim, the reason of a migration, ..."""

    task: str = "shell"  # a process by its name, or a thread of the kernel by its comm
    pid: int = 0  # of the process; 0: the machine has none of it
    reason: str = ""  # of a migration as the tracepoints call it; none: just the call


class Entry(NamedTuple):
    """What a command has raised: by whom, which counters, and by how much."""

    command: str
    accounts: dict[Raiser, dict[str, int]]
    continues: bool = False  # it is the rest of the one before


class Ledger:
    """What commands have raised, in their order, and what the one does that goes on.

    Its sums are the counters: these write to it whatever they count.
    """

    __slots__ = ("_accounts", "account", "entries", "raiser")

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries = list(entries)
        self.raiser = Raiser()
        self._accounts: defaultdict[Raiser, defaultdict[str, int]] = defaultdict(_account)
        self.account = self._accounts[self.raiser]  # what counters write to

    def raised_by(self, raiser: Raiser) -> _RaisedBy:
        """Let it be *raiser* who raises counters while the block runs."""
        return _RaisedBy(self, raiser)

    def close(self, command: str, continues: bool = False) -> bool:
        """Let all that was raised since the last entry be an entry, if anything was; if so, True.

        *command* has done it, which *continues* what the last entry says.
        """
        entries = self.all_entries(command, continues)
        is_more, self.entries = len(entries) > len(self.entries), entries
        self._accounts.clear()
        self.go_on(self.raiser)
        return is_more

    def all_entries(self, command: str = "", continues: bool = False) -> list[Entry]:
        """All entries, with one of *command* for what was raised since the last."""
        accounts = {raiser: dict(raised) for raiser, raised in self._accounts.items() if raised}
        more = [Entry(command, accounts, continues)] if accounts else []
        return self.entries + more

    def sums(self) -> Counter[str]:
        """How much was raised of each counter."""
        found: Counter[str] = Counter()
        for entry in self.all_entries():
            for raised in entry.accounts.values():
                found.update(raised)
        return found

    def go_on(self, raiser: Raiser) -> None:
        """Let it be *raiser* from now on."""
        self.raiser, self.account = raiser, self._accounts[raiser]


class _RaisedBy:
    """A block for which somebody raises counters: each call is one, so that it has no generator."""

    __slots__ = ("_ledger", "_outer", "_raiser")

    def __init__(self, ledger: Ledger, raiser: Raiser) -> None:
        self._ledger, self._raiser, self._outer = ledger, raiser, ledger.raiser

    def __enter__(self) -> None:
        self._outer = self._ledger.raiser
        self._ledger.go_on(self._raiser)

    def __exit__(self, *_: object) -> None:
        self._ledger.go_on(self._outer)


def _account() -> defaultdict[str, int]:
    return defaultdict(int)
