"""What each part of a migration takes, for estimates of its time.

The defaults follow published figures: about 0.8 million base pages and 5250 THPs a second between
two sockets, of which the copy is a quarter for base pages.
"""

from pymigrate.records import NamedTuple


class Costs(NamedTuple):
    """What each part of a migration costs: microseconds, and 10^9 bytes a second."""

    unmap_us: float = 0.45  # a base page: isolate it, find its entries, replace them
    remap_us: float = 0.45  # a base page: move its place in index and LRU, restore its entries
    thp_unmap_us: float = 2.0  # a huge page that is mapped whole, or of the hugetlb pool
    thp_remap_us: float = 2.0
    pte_unmap_us: float = 0.2  # an entry for a page of a large folio, or a further one of any
    pte_remap_us: float = 0.2
    flush_us: float = 1.0  # a flush of the TLB
    flush_cpu_us: float = 0.5  # each further CPU that it must reach
    copy_local_gbps: float = 12.0  # within a node
    copy_remote_gbps: float = 11.0  # at distance 20; less in proportion farther away
    alloc_us: float = 0.2  # the destination of an attempt that failed
    attempt_us: float = 1.0  # its unmapping and mapping again
    split_us: float = 100.0  # a THP
    hint_fault_us: float = 1.0  # NUMA balancing's
