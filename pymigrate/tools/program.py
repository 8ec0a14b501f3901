"""What all the programs share: what they know at their start, what they leave behind, strtoul()."""

import re
from collections.abc import Callable
from typing import NamedTuple

from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.uapi import MODE_WORDS

_ULONG = 1 << 64
_STRTOUL = re.compile(r"[ \t\n\v\f\r]*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_OCTAL = re.compile(r"[ \t\n\v\f\r]*([+-]?)([0-7]+)")
_ATOI = re.compile(r"[ \t\n\v\f\r]*([+-]?)([0-9]+)")
_SCALES = {"k": 10, "m": 20, "g": 30}
_MAX_DIGITS = 20  # of 2**64 in decimal; more are out of range, and int() refuses thousands

# What a shell says of a program that a signal has ended.
SIGNALLED = {"SIGBUS": 128 + 7, "SIGKILL": 128 + 9, "SIGSEGV": 128 + 11}


class Exit(NamedTuple):
    """How a program ended: its status, and all that it wrote.

    A program that becomes another one has not ended: *command* is the other's argv.
    """

    exit: int
    stdout: str = ""
    stderr: str = ""
    command: tuple[str, ...] = ()


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


def strtoul(text: str, base: int = 0) -> tuple[int, str]:
    """C's strtoul() in *base* 0 or 8: the number, modulo 2**64, and the rest of *text* after it.

    The rest is all of *text* if no number begins there; a number out of range is 2**64 - 1.

    >>> strtoul("0x10-3"), strtoul("08"), strtoul(" -1") == (2**64 - 1, ""), strtoul("x")
    ((16, '-3'), (0, '8'), True, (0, 'x'))
    """
    match = (_OCTAL if base == 8 else _STRTOUL).match(text)
    if match is None:
        return 0, text
    value = int(match[2], 8) if base == 8 else _magnitude(match[2])
    if value >= _ULONG:
        value = _ULONG - 1
    elif match[1] == "-":
        value = -value % _ULONG
    return value, text[match.end() :]


def memsize(text: str) -> int:
    """A size as numactl's programs take it: a number, then perhaps k, m or g; modulo 2**64.

    What follows is ignored. Mirrors memsize(), util.c.

    >>> memsize("1g5"), memsize("0x10K"), memsize("abc")
    (1073741824, 16384, 0)
    """
    number, rest = strtoul(text)
    return (number << _SCALES.get(rest[:1].lower(), 0)) % _ULONG


def atoi(text: str) -> int:
    """C's atoi(): the number that begins *text*, cut to an int; 0 if there is none.

    >>> atoi(" 12x"), atoi("x"), atoi("4294967297")
    (12, 0, 1)
    """
    match = _ATOI.match(text)
    if match is None:
        return 0
    digits = match[2].lstrip("0")
    value = int(digits or "0") if len(digits) <= _MAX_DIGITS else _ULONG
    value = min(value, (_ULONG >> 1) - 1)
    return to_signed(-value if match[1] == "-" else value, 32)


def to_signed(value: int, bits: int) -> int:
    """*value* cut to a signed integer of *bits*, as a C conversion does.

    >>> to_signed(2**32 + 1, 32), to_signed(2**64 - 1, 64)
    (1, -1)
    """
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


def _magnitude(digits: str) -> int:
    if digits[:2] in ("0x", "0X"):
        return int(digits, 16)
    if digits[0] == "0":
        return int(digits, 8)
    return int(digits) if len(digits) <= _MAX_DIGITS else _ULONG
