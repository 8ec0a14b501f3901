"""What automatic NUMA balancing remembers of tasks and address spaces."""

from typing import NamedTuple

SCAN_DELAY = 1000  # ms


class NumaTask(NamedTuple):
    """What balancing remembers of a task; times in ms."""

    period: int = SCAN_DELAY
    stamp: int = 0  # of its CPU time, when it last asked for a scan
    cpu_time: int = 0
    preferred: int = -1
    placed: int = 0  # the scan after which it was last placed
    local: int = 0  # pages of hint faults since then
    remote: int = 0
    failed: int = 0


class NumaMm(NamedTuple):
    """What balancing remembers of an address space."""

    next_scan: int = SCAN_DELAY  # ms of the machine's time
    seq: int = 0
    offset: int = 0  # pages
