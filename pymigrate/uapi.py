"""What programs and the kernel say to each other: numbers of system calls, and words for them.

The numbers are those of linux/mempolicy.h. Those of madvise() are in mm/base/advice.py.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Literal, get_args


class MPOL(IntEnum):
    """Modes of memory policies."""

    DEFAULT = 0
    PREFERRED = 1
    BIND = 2
    INTERLEAVE = 3
    LOCAL = 4
    PREFERRED_MANY = 5
    WEIGHTED_INTERLEAVE = 6


# As the manual pages and numactl call them, and as numa_maps does: mpol_to_str().
MODE_WORDS: Mapping[int, str] = {mode: mode.name.lower().replace("_", "-") for mode in MPOL}
MODE_TEXTS: Mapping[int, str] = {
    MPOL.DEFAULT: "default",
    MPOL.PREFERRED: "prefer",
    MPOL.BIND: "bind",
    MPOL.INTERLEAVE: "interleave",
    MPOL.LOCAL: "local",
    MPOL.PREFERRED_MANY: "prefer (many)",
    MPOL.WEIGHTED_INTERLEAVE: "weighted interleave",
}
MODES: Mapping[str, int] = {word: int(mode) for mode, word in MODE_WORDS.items()}
INTERLEAVING = (MPOL.INTERLEAVE, MPOL.WEIGHTED_INTERLEAVE)

# Mode flags: plain numbers, for an enumeration's "&" takes ten times as long.
STATIC, RELATIVE, BALANCING = 0x8000, 0x4000, 0x2000
# As the manual pages call them, and as numa_maps does.
MODE_FLAGS: Mapping[str, int] = {
    "static": STATIC,
    "relative": RELATIVE,
    "numa_balancing": BALANCING,
}
MODE_FLAG_TEXTS: Mapping[str, int] = {
    "static": STATIC,
    "relative": RELATIVE,
    "balancing": BALANCING,
}

# Flags of mbind() and move_pages(), and of get_mempolicy().
MPOL_MF_STRICT, MPOL_MF_MOVE, MPOL_MF_MOVE_ALL, MPOL_MF_LAZY = 1, 2, 4, 8
MOVE_FLAGS: Mapping[str, int] = {
    "strict": MPOL_MF_STRICT,
    "move": MPOL_MF_MOVE,
    "move_all": MPOL_MF_MOVE_ALL,
    "lazy": MPOL_MF_LAZY,
}
MPOL_F_NODE, MPOL_F_ADDR, MPOL_F_MEMS_ALLOWED = 1, 2, 4
GET_FLAGS: Mapping[str, int] = {
    "node": MPOL_F_NODE,
    "addr": MPOL_F_ADDR,
    "mems_allowed": MPOL_F_MEMS_ALLOWED,
}

MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP = 1, 2, 4
MREMAP_FLAGS: Mapping[str, int] = {
    "maymove": MREMAP_MAYMOVE,
    "fixed": MREMAP_FIXED,
    "dontunmap": MREMAP_DONTUNMAP,
}

MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
MCL_FLAGS: Mapping[str, int] = {
    "current": MCL_CURRENT,
    "future": MCL_FUTURE,
    "onfault": MCL_ONFAULT,
}

# What the files enabled and defrag of /sys/kernel/mm/transparent_hugepage hold.
Thp = Literal["always", "madvise", "never"]
ThpDefrag = Literal["always", "defer", "defer+madvise", "madvise", "never"]
THP: tuple[str, ...] = get_args(Thp)
THP_DEFRAG: tuple[str, ...] = get_args(ThpDefrag)


def words_of(bits: int, words: Mapping[str, int]) -> list[str]:
    """Those of *words* whose bits are among *bits*.

    >>> words_of(BALANCING | STATIC, MODE_FLAGS)
    ['static', 'numa_balancing']
    """
    return [word for word, bit in words.items() if bits & bit]
