"""What automatic NUMA balancing remembers, of tasks, address spaces, VMAs, groups and nodes."""

from pymigrate.records import NamedTuple, field, record

SCAN_DELAY = 1000  # ms
TICK = 4  # ms: HZ is 250
_GOLDEN_RATIO_32 = 0x61C88647


class NumaKnobs(NamedTuple):
    """The settings of /sys/kernel/debug/sched/numa_balancing, and the limit of promotion."""

    scan_delay_ms: int = SCAN_DELAY
    scan_period_min_ms: int = 1000
    scan_period_max_ms: int = 60000
    scan_size_mb: int = 256
    hot_threshold_ms: int = 1000
    promote_rate_limit_mbps: int = 65536


class NumaTask(NamedTuple):
    """What balancing remembers of a task; times in ms.

    The fields are those of struct task_struct, without "numa_": the scan period, node_stamp, ...
    """

    period: int = SCAN_DELAY
    stamp: int = 0  # of its CPU time: when it was last to scan
    runtime: int = 0  # its CPU time, in microseconds
    preferred: int = -1
    seq: int = 0  # the round of scans after which it was last placed
    local: int = 0  # pages of hint faults since its period was last adapted
    remote: int = 0
    failed: int = 0
    retry: int = 0  # before that time it is not placed again
    placed_at: int = 0  # the time when it was last placed, and its CPU time then
    placed_runtime: int = 0
    group: int = 0  # the number of its NumaGroup; 0: none
    scans: int = 0  # that it has made
    migrated: int = 0  # base pages that came to it


class NumaMm(NamedTuple):
    """What balancing remembers of an address space."""

    next_scan: int = SCAN_DELAY  # ms of the machine's time
    seq: int = 0
    offset: int = 0  # pages


class NumaVma(NamedTuple):
    """What balancing remembers of a VMA that a scan has met. Mirrors struct vma_numab_state."""

    start_seq: int  # the round of scans in which it was first met
    prev_seq: int  # the last one in which all of it was scanned
    next_scan: int  # ms
    reset: int  # ms; when the marks of tasks that have faulted grow old
    faulted: int = 0  # bits of the tasks that have since the last reset, see bit_of()
    faulted_before: int = 0

    @staticmethod
    def bit_of(pid: int) -> int:
        """The bit of a task; tasks may share one. Mirrors hash_32() for 64 bits."""
        return 1 << (pid * _GOLDEN_RATIO_32 % (1 << 32) >> 26)


class Faults(NamedTuple):
    """Pages of hint faults on a node: where the memory was, and where the CPU was.

    They decay from round to round; what came in this round stands in the buffers.
    """

    mem: int = 0
    cpu: int = 0
    mem_buffer: int = 0
    cpu_buffer: int = 0


FaultTable = dict[tuple[int, int], Faults]  # by node and whether they are private


@record
class NumaGroup:
    """Tasks that were seen to share memory. Mirrors struct numa_group."""

    gid: int  # groups made later have higher numbers
    nr_tasks: int = 1
    active_nodes: int = 1
    max_faults_cpu: int = 0
    faults: FaultTable = field(default_factory=dict)
    leader: int = 0  # the pid of the task that it began with, which /proc shows as its number

    def mem(self, nid: int) -> int:
        """The faults of memory on a node. Mirrors group_faults()."""
        return sum(self.faults.get((nid, private), Faults()).mem for private in (0, 1))

    def cpu(self, nid: int) -> int:
        """The faults of CPUs on a node. Mirrors group_faults_cpu()."""
        return sum(self.faults.get((nid, private), Faults()).cpu for private in (0, 1))

    def total(self, private: int) -> int:
        """The faults of private, or of shared memory. Mirrors group_faults_priv()."""
        return sum(faults.mem for (_, kind), faults in self.faults.items() if kind == private)


class Promotion(NamedTuple):
    """What a node remembers of pages that may be promoted to it (nbp_* of pg_data_t)."""

    threshold: int = 0  # ms; 0: the default
    threshold_start: int = 0  # ms
    threshold_candidates: int = 0  # how many there had been then
    rate_start: int = 0
    rate_candidates: int = 0
