"""What an allocation is allowed to do for its pages: the gfp flags that matter here."""

from enum import IntFlag


class Gfp(IntFlag):
    """Flags of an allocation (linux/gfp_types.h); the numbers are the model's own."""

    NONE = 0  # no reclaim, no compaction
    MOVABLE = 1
    DIRECT_RECLAIM = 2  # the caller may reclaim and compact, too
    KSWAPD_RECLAIM = 4  # the threads of the nodes are woken
    NORETRY = 8
    RETRY_MAYFAIL = 16
    FS = 32  # it may call file systems
    THISNODE = 64


KERNEL = Gfp.DIRECT_RECLAIM | Gfp.KSWAPD_RECLAIM | Gfp.FS
NOFS = Gfp.DIRECT_RECLAIM | Gfp.KSWAPD_RECLAIM
NOWAIT = Gfp.KSWAPD_RECLAIM
TRANSHUGE_LIGHT = Gfp.MOVABLE | Gfp.FS
TRANSHUGE = TRANSHUGE_LIGHT | Gfp.DIRECT_RECLAIM
HUGETLB = TRANSHUGE | Gfp.KSWAPD_RECLAIM | Gfp.RETRY_MAYFAIL


def thp_fault(defrag: str, is_madvised: bool) -> Gfp:
    """What the fault of a huge page may do. Mirrors vma_thp_gfp_mask()."""
    if defrag == "always":
        return TRANSHUGE if is_madvised else TRANSHUGE | Gfp.NORETRY
    if is_madvised and defrag in ("madvise", "defer+madvise"):
        return TRANSHUGE
    if defrag in ("defer", "defer+madvise"):
        return TRANSHUGE_LIGHT | Gfp.KSWAPD_RECLAIM
    return TRANSHUGE_LIGHT
