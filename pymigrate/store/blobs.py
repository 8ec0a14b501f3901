"""The blobs of the store: run maps as words in columns, and policies as text."""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import accumulate, chain
from operator import sub
from typing import Any

from pymigrate.errors import StoreError
from pymigrate.mm.base.memmap import Frame, FrameRun
from pymigrate.mm.base.pageblock import BlockRun, MigrateType
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.state.address_space import PolicyRun
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.nodemask import Nodemask
from pymigrate.reading import MAX_RECORD, inflate
from pymigrate.records import NamedTuple
from pymigrate.uapi import MPOL


class Codec(NamedTuple):
    """How a field is kept in a column: what makes a column's value of it, and the other way."""

    write: Callable[[Any], Any]  # of the field's type
    read: Callable[[Any], Any]


def policy_text(policy: Mempolicy) -> str:
    """A policy as text."""
    mode, flags, nodes, origin, home_node = policy
    return f"{int(mode)} {int(flags)} {nodes:x} {origin:x} {home_node}"


@lru_cache(maxsize=256)  # most VMAs that have a policy share it with others
def policy_of(text: str) -> Mempolicy:
    """The policy that policy_text() wrote."""
    mode, flags, nodes, origin, home_node = text.split()
    return Mempolicy(
        MPOL(int(mode)), int(flags), Nodemask(nodes, 16), Nodemask(origin, 16), int(home_node)
    )


# Run maps. Each is words in columns: the number of runs, how far each starts behind the one before,
# the pages of each, and what else there is.


def _encode_ptes(runs: list[PteRun]) -> bytes:
    lanes = [run[2] for run in runs]
    modes = [order | flags << 8 for _, _, _, order, flags in runs]
    return pack(chain(_spans(runs), modes, map(len, lanes), chain.from_iterable(lanes)))


def _decode_ptes(blob: bytes) -> list[PteRun]:
    words = unpack(blob)
    nr, starts, sizes = _read_spans(words)
    modes, ends = words[1 + 2 * nr : 1 + 3 * nr], accumulate(words[1 + 3 * nr : 1 + 4 * nr])
    lanes, at = [], 1 + 4 * nr
    for end in ends:
        end += 1 + 4 * nr
        lanes.append(tuple(words[at:end]))
        at = end
    _check(at == len(words))
    orders, flags = [mode & 255 for mode in modes], [mode >> 8 for mode in modes]
    return list(map(PteRun._make, zip(starts, sizes, lanes, orders, flags, strict=True)))


PTES = Codec(_encode_ptes, lambda blob: tuple(_decode_ptes(blob)))  # runs that are no map


def _encode_frames(runs: list[FrameRun]) -> bytes:
    """The frames that differ follow behind; a run has the number of one."""
    numbers: dict[Frame, int] = {}
    which = [numbers.setdefault(run.frame, len(numbers)) for run in runs]
    return pack(chain(_spans(runs), which, chain.from_iterable(numbers)))


def _decode_frames(blob: bytes) -> list[FrameRun]:
    words = unpack(blob)
    nr, starts, sizes = _read_spans(words)
    width, first = len(Frame._fields), 1 + 3 * nr
    frames = [Frame._make(words[i : i + width]) for i in range(first, len(words), width)]
    which = [frames[i] for i in words[1 + 2 * nr : first]]
    return list(map(FrameRun._make, zip(starts, sizes, which, strict=True)))


def _encode_extents(runs: list[Extent]) -> bytes:
    return pack(_spans(runs))


def _decode_extents(blob: bytes) -> list[Extent]:
    words = unpack(blob)
    nr, starts, sizes = _read_spans(words)
    _check(len(words) == 1 + 2 * nr)
    return list(map(Extent._make, zip(starts, sizes, strict=True)))


def _encode_policies(runs: list[PolicyRun]) -> bytes:
    """Lines of text, for masks of nodes are longer than a word."""
    lines = [f"{run.start} {run.nr} {policy_text(run.policy)}" for run in runs]
    return zlib.compress("\n".join(lines).encode(), 1)


def _decode_policies(blob: bytes) -> list[PolicyRun]:
    runs = []
    for line in inflate(blob).decode().splitlines():
        start, nr, text = line.split(maxsplit=2)
        runs.append(PolicyRun(int(start), int(nr), policy_of(text)))
    return runs


def _encode_blocks(runs: list[BlockRun]) -> bytes:
    return pack([*_spans(runs), *[run.migratetype << 1 | run.skip for run in runs]])


def _decode_blocks(blob: bytes) -> list[BlockRun]:
    words = unpack(blob)
    nr, starts, sizes = _read_spans(words)
    _check(len(words) == 1 + 3 * nr)
    return [
        BlockRun(start, size, MigrateType(kind >> 1), bool(kind & 1))
        for start, size, kind in zip(starts, sizes, words[1 + 2 * nr :], strict=True)
    ]


KINDS = {  # of run maps: a list of runs of the kind's type, as a blob
    "free": Codec(_encode_extents, _decode_extents),
    "pageblocks": Codec(_encode_blocks, _decode_blocks),
    "offline": Codec(_encode_extents, _decode_extents),
    "foreign": Codec(_encode_extents, _decode_extents),
    "memmap": Codec(_encode_frames, _decode_frames),
    "page_table": Codec(_encode_ptes, _decode_ptes),
    "tables": Codec(_encode_extents, _decode_extents),
    "resv": Codec(_encode_extents, _decode_extents),
    "space_resv": Codec(_encode_extents, _decode_extents),
    "device_free": Codec(_encode_extents, _decode_extents),
    "device_memmap": Codec(_encode_frames, _decode_frames),
    "pool": Codec(_encode_extents, _decode_extents),
    "stable_tree": Codec(_encode_ptes, _decode_ptes),
    "pages": Codec(_encode_ptes, _decode_ptes),
    "policies": Codec(_encode_policies, _decode_policies),
}


def _spans(runs: list[Any]) -> Iterable[int]:  # runs of any type, which begin with start and nr
    """The first columns: number, starts, sizes."""
    starts = [run[0] for run in runs]
    steps = map(sub, starts, chain((0,), starts))
    return chain((len(runs),), steps, [run[1] for run in runs])


def _read_spans(words: array[int]) -> tuple[int, Iterable[int], array[int]]:
    nr = words[0]
    return nr, accumulate(words[1 : 1 + nr]), words[1 + nr : 1 + 2 * nr]


def pack(numbers: Iterable[int]) -> bytes:
    """64-bit words, compressed. Raises StoreError for more than unpack() reads.

    The lowest bytes of all words come first, then the next ones: the high bytes of frames are
    much alike, so that this takes two thirds of the room and of the time.
    """
    words = array("q", numbers)
    if sys.byteorder == "big":
        words.byteswap()
    data = memoryview(words).cast("B")
    if len(data) > MAX_RECORD:
        raise StoreError("the machine has grown too large to be kept")
    compress = zlib.compressobj(1)
    parts = [compress.compress(data[i::8].tobytes()) for i in range(8)]
    return b"".join([*parts, compress.flush()])


def unpack(blob: bytes) -> array[int]:
    """The words that pack() compressed. Raises ValueError for other bytes."""
    planes = inflate(blob)
    data, nr = bytearray(len(planes)), len(planes) // 8
    for i in range(8):
        data[i::8] = planes[i * nr : (i + 1) * nr]
    del planes  # of much memory it takes as much as all words
    words = array("q")
    words.frombytes(data)
    if sys.byteorder == "big":
        words.byteswap()
    return words


def _check(is_well: bool) -> None:
    if not is_well:
        raise ValueError("the columns of a blob do not fit")
