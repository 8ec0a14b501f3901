"""How a call is declared: its name, its sentence, its arguments, and what makes it."""

from __future__ import annotations

from collections.abc import Mapping

from pymigrate.records import NamedTuple

REQUIRED = object()  # the default of an argument that has none
MAX_PAGES = 1 << 21  # that one move_pages is given: 8 GiB; it takes seconds then, and 300 MB
ITSELF = object()  # the default of a task that is the caller where no other is named


class Kind(NamedTuple):
    """What an argument holds. How that is written is for a scenario and the command line to say."""

    name: str
    words: tuple[tuple[str, int], ...] = ()  # of "word", "words", "flags": with their numbers
    low: int = 0  # of "number"
    high: int = 0


SHELL = Kind("shell")  # the shell, as who it acts; no key of a step
CALLER = Kind("caller")  # the task that acts on the machine; where none is named, root's shell
OWN = Kind("own")  # the task that makes the call on its own memory
TASK = Kind("task")  # a task that the call is about
PID = Kind("pid")  # a task by its number, which may have ended
RANGE = Kind("range")  # a part of a task's memory: `at`, `offset`, `length`
TOUCHED = Kind("range", (), 1)  # likewise; at an address without a length it is a byte
PLACE = Kind("place")  # an address in a task's memory: `at`, `offset`
TARGET = Kind("target")  # another place in it, as `REGION[+OFFSET]`
POLICY = Kind("policy")  # `mode`, `nodes` and the mode's flags
MEANWHILE = Kind("meanwhile")  # an access of another task in the middle of the call
NEW_REGION, NEW_TASK, NEW_CPUSET = Kind("new region"), Kind("new task"), Kind("new cpuset")
NAME, COMM = Kind("name"), Kind("comm")
CPUSET, DRIVER, FILE = Kind("cpuset"), Kind("driver"), Kind("file")
SIZE, STRIDE, ALIGNMENT = Kind("size"), Kind("stride"), Kind("alignment")  # bytes
NODES, CPUS = Kind("nodes"), Kind("cpus")
NODE_LIST, CPU_LIST = Kind("node list"), Kind("cpu list")  # texts, as the kernel takes them
FLAG = Kind("flag")
PROT, ADVICE, SETTING, VALUE = Kind("prot"), Kind("advice"), Kind("setting"), Kind("value")
NUMBERS = Kind("numbers")  # of pages or blocks
PAGE_NODES = Kind("page nodes")  # one node, or one for each page, or None to ask
ADDRESS = Kind("address")  # a physical one


def number(low: int, high: int) -> Kind:
    """A whole number from *low* to *high*."""
    return Kind("number", (), low, high)


INTEGER = number(-(1 << 63), (1 << 64) - 1)


def seconds(high: int) -> Kind:
    """How long simulated time passes, at most *high* seconds; if it is required, not 0."""
    return Kind("seconds", (), 0, high)


def word(*words: str) -> Kind:
    """One of *words*."""
    return Kind("word", tuple((each, 0) for each in words))


def words(*words: str) -> Kind:
    """Some of *words*."""
    return Kind("words", tuple((each, 0) for each in words))


def flags(bits: Mapping[str, int]) -> Kind:
    """Some of the words in *bits*, whose bits make a number."""
    return Kind("flags", tuple(bits.items()))


class Argument(NamedTuple):
    """An argument of a call: the key of a step, and what stands for it on the command line.

    One with a *metavar* is given by its place there, any other by an option of its name.
    """

    name: str
    kind: Kind
    help: str
    default: object = REQUIRED  # a value, REQUIRED or ITSELF
    metavar: str = ""
    option: str = ""  # the option, where it is not called as the argument
    off: str = ""  # of a flag that is set by default: the option that clears it

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is REQUIRED


class Call(NamedTuple):
    """A call. *make* names the function that makes it, as `syscalls.mmap.munmap`.

    The function takes the machine and the arguments in their order, MEANWHILE left out, a RANGE as
    address and length, a POLICY as mode and nodes. If it gives a dict, that is the answer; a number
    is its `ret`, which else is 0.
    """

    op: str  # the name of the step
    text: str  # one sentence
    arguments: tuple[Argument, ...]
    make: str
    command: str = ""  # the words of its command, where they are not its op
    more: str = ""  # what the command's help says besides
    says: str = ""  # what the command prints of the answer
    leaves: str = ""  # the function that finds the pages that it left behind
    method: str = ""  # the API's method, where it is not called as the op
    has_errno: bool = True  # whether a step's record says `ret` and `errno`
    unrecorded: tuple[str, ...] = ()  # what of the answer a step's record leaves out
    lists: tuple[str, ...] = ()  # what is an empty list in the record of a refused step
    one_of: tuple[str, ...] = ()  # just one of these arguments is given
    at_most_one_of: tuple[str, ...] = ()


class Range(NamedTuple):
    """A part of a task's memory, in bytes; what a RANGE names; None where none is named."""

    addr: int
    length: int


Answer = dict[str, object]  # what a call answers, by name
