"""Who has raised the counters of /proc/vmstat, and for what: an account of each event."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple


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

    @contextmanager
    def raised_by(self, raiser: Raiser) -> Iterator[None]:
        """Let it be *raiser* who raises counters while the block runs."""
        outer = self.raiser
        self._go_on(raiser)
        try:
            yield
        finally:
            self._go_on(outer)

    def close(self, command: str, continues: bool = False) -> bool:
        """Let all that was raised since the last entry be an entry, if anything was; if so, True.

        *command* has done it, which *continues* what the last entry says.
        """
        entries = self.all_entries(command, continues)
        is_more, self.entries = len(entries) > len(self.entries), entries
        self._accounts.clear()
        self._go_on(self.raiser)
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

    def _go_on(self, raiser: Raiser) -> None:
        self.raiser, self.account = raiser, self._accounts[raiser]


def _account() -> defaultdict[str, int]:
    return defaultdict(int)
