"""What madvise() can be told: the numbers of asm-generic/mman-common.h, and words for them."""

from collections.abc import Mapping
from enum import IntEnum


class Madv(IntEnum):
    """Advice, of which syscalls/madvise.py follows some."""

    NORMAL = 0
    RANDOM = 1
    SEQUENTIAL = 2
    WILLNEED = 3
    DONTNEED = 4
    FREE = 8
    REMOVE = 9
    DONTFORK = 10
    DOFORK = 11
    MERGEABLE = 12
    UNMERGEABLE = 13
    HUGEPAGE = 14
    NOHUGEPAGE = 15
    DONTDUMP = 16
    DODUMP = 17
    WIPEONFORK = 18
    KEEPONFORK = 19
    COLD = 20
    PAGEOUT = 21
    POPULATE_READ = 22
    POPULATE_WRITE = 23
    DONTNEED_LOCKED = 24
    COLLAPSE = 25
    HWPOISON = 100
    SOFT_OFFLINE = 101


ADVICE: Mapping[str, int] = {advice.name.lower(): int(advice) for advice in Madv}
