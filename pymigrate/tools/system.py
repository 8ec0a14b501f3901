"""What a program finds on the machine that it runs on: files of /sys and /proc, system calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.tools.program import Libnuma
from pymigrate.uapi import MODE_WORDS


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


class System(Protocol):
    """The machine, as the process sees it that the program runs in.

    Whatever a system call refuses is a KernelError.
    """

    @property
    def libnuma(self) -> Libnuma:
        """What libnuma finds at the start."""

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment's variables."""

    @property
    def terminal_width(self) -> int:
        """The columns of the terminal that stdout is; 0 if it is none."""

    # /sys/devices/system/node

    def node_cpus(self, nid: int) -> Cpumask:
        """The online CPUs of a node: cpumap."""

    def distance(self, nid: int, other: int) -> int:
        """The distance from a node to another; 0 if it is not known."""

    def node_meminfo(self, nid: int) -> Mapping[str, int]:
        """The rows of a node's meminfo in kB, those of hugetlb in pages."""

    def node_numastat(self, nid: int) -> Mapping[str, int]:
        """The rows of a node's numastat."""

    def weight(self, nid: int) -> int:
        """A node's weight in weighted interleave."""

    # /proc

    def processes(self) -> list[Process]:
        """All processes but the program's own, by pid."""

    def find(self, pid: int) -> Process | None:
        """The process that a PID argument means."""

    def memory_of(self, pid: int) -> tuple[int, int]:
        """The kB that a process has mapped, and those that are resident."""

    def numa_maps(self, pid: int) -> list[str]:
        """The lines of /proc/PID/numa_maps."""

    def own_numa_maps(self) -> list[str]:
        """The lines of /proc/self/numa_maps."""

    # system calls of the process

    def migrate_pages(self, pid: int, old: Nodemask, new: Nodemask) -> int:
        """migrate_pages(2)."""

    def set_mempolicy(self, policy: Policy) -> None:
        """set_mempolicy(2)."""

    def get_mempolicy(self) -> Policy:
        """The policy of the process."""

    def interleave_next(self) -> int:
        """The node that the next page goes to if the policy interleaves, else 0."""

    def affinity(self) -> Cpumask:
        """sched_getaffinity(2)."""

    def sched_setaffinity(self, cpus: Cpumask) -> None:
        """sched_setaffinity(2)."""

    def mmap(self, length: int, shared: Shared | None = None, offset: int = 0) -> Region:
        """Map anonymous memory, or a file or segment from *offset*."""

    def mbind(self, region: Region, policy: Policy, flags: int = 0) -> float:
        """mbind(2); returns the seconds that it is estimated to take."""

    def no_hugepage(self, region: Region) -> None:
        """madvise(2) with MADV_NOHUGEPAGE."""

    def touch(self, region: Region, write: bool = True) -> str | None:
        """Access each page; returns the signal that came, if one came."""

    def policies(self, region: Region) -> list[Run]:
        """The policy of each page."""

    def places(self, region: Region) -> list[Run]:
        """The policy and the node of each page; absent ones are faulted in for reading."""

    # files and segments

    def open(self, path: str) -> Shared:
        """A file that is there."""

    def create(self, path: str) -> Shared:
        """A file, made empty if it is not there."""

    def truncate(self, shared: Shared, size: int) -> Shared:
        """The file, made as long as *size*."""

    def shmget(self, key: str, number: int, huge: bool, size: int, create: bool = False) -> Shared:
        """The segment of a key file and a number; it is made if *create* says so."""
