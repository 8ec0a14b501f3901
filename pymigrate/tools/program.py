"""What all the programs share: what they know at their start, and what they leave behind."""

from __future__ import annotations

from collections.abc import Callable

from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.records import NamedTuple
from pymigrate.uapi import MODE_WORDS

# What a shell says of a program that a signal has ended.
SIGNALLED = {"SIGBUS": 128 + 7, "SIGKILL": 128 + 9, "SIGSEGV": 128 + 11}


class Exit(NamedTuple):
    """How a program ended: its status, and all that it wrote.

    A program that becomes another one has not ended: *command* is the other's argv. One that is
    still at work has not either: *again* goes on in its process, which others can look at before.
    """

    exit: int
    stdout: str = ""
    stderr: str = ""
    command: tuple[str, ...] = ()
    again: Callable[..., Exit] | None = None  # takes its System


class StoppedError(Exception):
    """A program has ended before the end of its main(), with *status*, and what it wrote last."""

    def __init__(self, status: int, stdout: str = "", stderr: str = "") -> None:
        super().__init__()
        self.status, self.stdout, self.stderr = status, stdout, stderr


class Output:
    """What a program has written so far."""

    def __init__(self) -> None:
        self.stdout: list[str] = []
        self.stderr: list[str] = []

    def exit(self, main: Callable[[], tuple[str, ...] | None]) -> Exit:
        """Run *main*, which gives a command to become, or raises StoppedError: how it ended."""
        status, command = 0, None
        try:
            command = main()
        except StoppedError as stopped:
            status = stopped.status
            self.stdout.append(stopped.stdout)
            self.stderr.append(stopped.stderr)
        return Exit(status, "".join(self.stdout), "".join(self.stderr), command or ())


class Libnuma(NamedTuple):
    """What libnuma finds when a program starts.

    *allowed* is the caller's Mems_allowed, so without nodes that have no memory; *nodes* are those
    that exist, *cpus* likewise; *allowed_cpus* is the affinity at the start.
    """

    allowed: Nodemask
    nodes: Nodemask
    allowed_cpus: Cpumask
    cpus: Cpumask

    @property
    def possible(self) -> Nodemask:
        """Every number up to the highest node's, as ``--all`` takes them."""
        return Nodemask((1 << int(self.nodes).bit_length()) - 1)


class Policy(NamedTuple):
    """What get_mempolicy() gives: a mode, which holds the mode flags too, and its nodes."""

    mode: int
    nodes: Nodemask

    @property
    def name(self) -> str:
        """What numactl calls the mode. Mirrors policy_name(), util.c."""
        return MODE_WORDS.get(self.mode, f"[{self.mode}]")


class Process(NamedTuple):
    """A process as /proc shows it."""

    pid: int
    comm: str
    args: str
    uid: int
    ppid: int = 0
    cpu: int = 0


class Region(NamedTuple):
    """Memory that the program has mapped, at the address *start* (bytes)."""

    start: int
    length: int


class Run(NamedTuple):
    """*length* bytes at *start* that are alike: they have one policy, or lie on one node."""

    start: int
    length: int
    policy: Policy
    node: int = -1


class Shared(NamedTuple):
    """A file or a segment that can be mapped: its size, and the size of its pages (bytes)."""

    name: str
    size: int
    page_size: int
