"""The kinds of value that a scenario's keys hold: how they are written, and what they become."""

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from pymigrate.claims.parse import Claim, parse
from pymigrate.mm.base.advice import ADVICE
from pymigrate.mm.state.task import TASK_COMM_LEN
from pymigrate.nodemask import Bitmap, Cpumask, Nodemask
from pymigrate.uapi import MODE_FLAGS, MODES
from pymigrate.units import PAGE_SIZE, format_size, parse_size

MAX_SIZE = 1 << 47  # x86-64's user address space
MAX_ADDRESS = (1 << 47) - PAGE_SIZE
MAX_INT = 1 << 63
B = TypeVar("B", bound=Bitmap)


class Model(BaseModel):
    """A mapping of the scenario file: unknown keys are mistakes, and nothing changes later."""

    # Building a model's validator takes longer than using it, so it waits until one is used.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, strict=True)


_LONGEST, _MOST = 64, 64  # of what is compared: that takes its time


def nearest(word: str, valid: Iterable[object], noun: str) -> str:
    """``"; nearest valid NOUN 'x'"`` for the one of *valid* that is most like *word*, if any is."""
    names = (name for name in valid if isinstance(name, str))  # keys are not yet checked
    found = get_close_matches(word[:_LONGEST], islice(names, _MOST), n=1, cutoff=0.5)
    return f"; nearest valid {noun} {found[0]!r}" if found else ""


def listed(words: Iterable[object], joint: str = "or") -> str:
    """*words* as a sentence has them, on one line whatever they hold.

    >>> listed(["a", "b", "c"])
    'a, b or c'
    >>> listed(["a", "b\\nc"])
    "a or 'b\\\\nc'"
    """
    *head, last = (text if (text := str(word)).isprintable() else repr(word) for word in words)
    return f"{', '.join(head)} {joint} {last}" if head else last


def shown(value: object) -> str:
    """*value* as a message shows it: short, whatever it holds."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list | tuple):
        return ("a" if value else "an empty") + (" mapping" if isinstance(value, dict) else " list")
    if isinstance(value, int) and abs(value) > MAX_INT * 2:
        return "a number of more than 64 bits"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:56]}...'"


def combined(flags: Iterable[str | int], numbers: Mapping[str, int]) -> int:
    """The bits of *flags*, each a name in *numbers* or a number that stands for itself."""
    bits = 0
    for flag in flags:
        bits |= number_of(flag, numbers)
    return bits


def number_of(word: str | int, numbers: Mapping[str, int]) -> int:
    """What *word* stands for: its number in *numbers*, or itself."""
    return numbers[word] if isinstance(word, str) else word


def _wrong(value: object, expected: str) -> ValueError:
    return ValueError(f"wrong value {shown(value)}; expected {expected}")


def _size(value: object) -> int:
    expected = "a size such as 4096, 4KiB or 64MiB"
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _wrong(value, expected)
    try:
        size = parse_size(value)
    except ValueError:
        raise _wrong(value, expected) from None
    if size > MAX_SIZE:
        raise _wrong(value, f"at most {format_size(MAX_SIZE)}")
    return size


def _stride(value: object) -> int:
    size = _size(value)
    if not size:
        raise _wrong(value, "a size above 0")
    return size


def _claims(value: object) -> tuple[Claim, ...]:
    claims = [value] if isinstance(value, str) else value
    if not isinstance(claims, list | tuple) or not all(isinstance(claim, str) for claim in claims):
        raise _wrong(value, "a claim such as 'ret == 0', or a list of them")
    return tuple(parse(claim) for claim in claims)


def _alignment(value: object) -> int:
    size = _size(value)
    if size < PAGE_SIZE or size & (size - 1):
        raise _wrong(value, "a power of two of at least 4KiB")
    return size


def _address(value: object) -> int:
    expected = "an address, page-aligned and below 128TiB, such as 0x200004000000"
    address = _number(value, expected)
    if address % PAGE_SIZE or not 0 < address <= MAX_ADDRESS:
        raise _wrong(value, expected)
    return address


def _physical(value: object) -> int:
    return _number(value, "a physical address such as 0x10000000")


def _number(value: object, expected: str) -> int:
    """A number, in hex where it is text."""
    try:
        address = int(value, 16) if isinstance(value, str) else value
    except ValueError:
        raise _wrong(value, expected) from None
    if isinstance(address, bool) or not isinstance(address, int) or not 0 <= address < MAX_INT:
        raise _wrong(value, expected)
    return address


def _mask(kind: type[B]) -> Callable[[object], B]:
    def check(value: object) -> B:
        if isinstance(value, kind):
            return value
        expected = f"{kind.noun}s as in 0-3,5"
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise _wrong(value, expected)
        if isinstance(value, int) and not 0 <= value < MAX_INT:
            raise _wrong(value, expected)
        if isinstance(value, str) and re.search(r"\d{7}", value):
            raise _wrong(value, expected)
        return kind.parse(str(value))

    return check


def _list(kind: type[B]) -> Callable[[object], str]:
    """A text that names numbers as the kernel takes it; which there are, the machine knows."""
    check = _mask(kind)

    def text(value: object) -> str:
        try:
            check(value)
        except ValueError:
            if not isinstance(value, str) or not kind.is_parselist(value):
                raise
        return str(value)

    return text


def _comm(value: str) -> str:
    """The kernel has room for bytes, not for characters."""
    if len(value.encode(errors="replace")) >= TASK_COMM_LEN:
        raise _wrong(value, f"at most {TASK_COMM_LEN - 1} bytes of UTF-8")
    return value


def _prot(value: object) -> str:
    if value == "none":
        return "none"
    if not isinstance(value, str) or not value or set(value) - set("rwx"):
        raise _wrong(value, "none or some of r, w and x, such as rw")
    return "".join(bit for bit in "rwx" if bit in value)


def _word(numbers: Mapping[str, int], noun: str) -> Callable[[object], str | int]:
    def check(value: object) -> str | int:
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2 * MAX_INT:
            return value
        if isinstance(value, str) and value in numbers:
            return value
        near = nearest(value, numbers, noun) if isinstance(value, str) else ""
        raise ValueError(f"unknown {noun} {shown(value)}; expected {listed(numbers)}{near}")

    return check


def _page_nodes(value: object) -> int | tuple[int, ...] | None:
    if value is None or _is_number(value):
        return value  # type: ignore[return-value]  # _is_number() says that it is one
    if not isinstance(value, tuple) or not all(_is_number(item) for item in value):
        raise ValueError("wrong value; expected one node, a list of nodes, or null")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < MAX_INT


def _setting(value: object) -> int | str:
    if isinstance(value, bool | str) or _is_number(value):
        return value  # type: ignore[return-value]  # _is_number() says that it is one
    raise _wrong(value, "a number, true, false or text")


# Any: pydantic's own name for a JSON Schema is dict[str, Any].
def _word_schema(numbers: Mapping[str, int]) -> dict[str, Any]:
    return {"anyOf": [{"enum": list(numbers)}, {"type": "integer"}]}


def flag_of(numbers: Mapping[str, int]) -> Any:
    """The type of a flag that is named in *numbers*, or a number."""
    check, schema = PlainValidator(_word(numbers, "flag")), WithJsonSchema(_word_schema(numbers))
    return Annotated[str | int, check, schema]


_SIZE_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": r"^\s*[0-9]+\s*([KMGTkmgt]([iI][bB])?|[bB])?\s*$"},
    ]
}
_MASK_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": r"^\s*(\d+(-\d+)?(\s*,\s*\d+(-\d+)?)*)?\s*$"},
    ]
}
_ADDRESS_SCHEMA = {
    "anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^(0x)?[0-9a-fA-F]+$"}]
}

Size = Annotated[int, PlainValidator(_size), WithJsonSchema(_SIZE_SCHEMA)]
Stride = Annotated[int, PlainValidator(_stride), WithJsonSchema(_SIZE_SCHEMA)]
Alignment = Annotated[int, PlainValidator(_alignment), WithJsonSchema(_SIZE_SCHEMA)]
Address = Annotated[int, PlainValidator(_address), WithJsonSchema(_ADDRESS_SCHEMA)]
PhysicalAddress = Annotated[int, PlainValidator(_physical), WithJsonSchema(_ADDRESS_SCHEMA)]
Nodes = Annotated[Nodemask, PlainValidator(_mask(Nodemask)), WithJsonSchema(_MASK_SCHEMA)]
Cpus = Annotated[Cpumask, PlainValidator(_mask(Cpumask)), WithJsonSchema(_MASK_SCHEMA)]
_LIST_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": r"^([\s,]*(all|(\d+|N)(-(\d+|N))?)(:\d+/\d+)?)*[\s,]*$"},
    ]
}
NodeList = Annotated[str, PlainValidator(_list(Nodemask)), WithJsonSchema(_LIST_SCHEMA)]
CpuList = Annotated[str, PlainValidator(_list(Cpumask)), WithJsonSchema(_LIST_SCHEMA)]
Prot = Annotated[
    str, PlainValidator(_prot), WithJsonSchema({"type": "string", "pattern": "^(none|[rwx]+)$"})
]
Mode = Annotated[
    str | int, PlainValidator(_word(MODES, "mode")), WithJsonSchema(_word_schema(MODES))
]
ModeFlag = Annotated[
    str | int,
    PlainValidator(_word(MODE_FLAGS, "mode flag")),
    WithJsonSchema(_word_schema(MODE_FLAGS)),
]
Advice = Annotated[
    str | int, PlainValidator(_word(ADVICE, "advice")), WithJsonSchema(_word_schema(ADVICE))
]
Claims = Annotated[
    tuple[Claim, ...],
    PlainValidator(_claims),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Comm = Annotated[str, AfterValidator(_comm)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$", max_length=64)]
# A path of names: `a/b` lies in `a`.
CpusetName = Annotated[
    str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*(/[A-Za-z_][A-Za-z0-9_-]*)*$", max_length=255)
]
Target = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*(\+[0-9]{1,15}([KMGTkmgt]([iI][bB])?)?)?$",
        max_length=160,
    ),
]
FileName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=255)]
PageNodes = Annotated[
    int | tuple[int, ...] | None,
    PlainValidator(_page_nodes),
    WithJsonSchema({"type": ["integer", "array", "null"], "items": {"type": "integer"}}),
]
Setting = Annotated[
    bool | int | str,
    PlainValidator(_setting),
    WithJsonSchema({"type": ["integer", "boolean", "string"]}),
]
Integer = Annotated[int, Field(ge=-MAX_INT, le=2 * MAX_INT - 1)]
NodeId = Annotated[int, Field(ge=0, le=1023)]
PageNumber = Annotated[int, Field(ge=0, le=MAX_SIZE // PAGE_SIZE)]
