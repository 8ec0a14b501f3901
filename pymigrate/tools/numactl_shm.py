"""What numactl does to shared memory: segments and files, their policies, where their pages are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NoReturn, TypeVar

from pymigrate.errors import KernelError
from pymigrate.tools import files
from pymigrate.tools.numactl_show import printmask
from pymigrate.tools.program import SIGNALLED, Output, Policy, Region, Run, Shared, StoppedError
from pymigrate.tools.system import System
from pymigrate.uapi import INTERLEAVING, MPOL
from pymigrate.units import PAGE_SIZE

T = TypeVar("T")
_MEGABYTE = 1 << 20
_STRICT = (MPOL.PREFERRED, MPOL.BIND, MPOL.PREFERRED_MANY)


class SharedMemory:
    """The memory that --shm or --file names, and what is wanted of it; *region* once it is mapped.

    What is printed goes to *out*; what cannot be done raises StoppedError.
    """

    def __init__(self, system: System, out: Output) -> None:
        self.system, self.stdout, self.stderr = system, out.stdout, out.stderr
        self.length = self.offset = self.number = 0
        self.mode = 0o600
        self.is_huge = False
        self.region: Region | None = None
        self.page_size = PAGE_SIZE
        self.status = 0

    def attach_segment(self, path: str) -> None:
        """Map a segment of System V's, which is made if need be. Mirrors attach_sysvshm()."""
        self._make_key_file(path)
        shared = self._find_segment(path)
        self.length = self.length or shared.size
        self.page_size = shared.page_size
        self._check_region("--shm", self.offset)
        self._map(shared, "shmat")

    def attach_file(self, path: str) -> None:
        """Map a file, which is made or extended if need be. Mirrors attach_shared()."""
        try:
            shared = files.open_file(self.system.machine, path)
        except KernelError:
            shared = self._make_file(path)
        self.page_size = shared.page_size
        if self.length and self.length + self.offset > shared.size:
            shared = files.truncate(self.system.machine, shared, self.length + self.offset)
        self._check_region("--file")
        self._map(shared, "shm mmap")

    def touch(self, option: str) -> None:
        """Fault the pages in. Mirrors check_shmbeyond() and numa_police_memory()."""
        assert self.region
        if self.offset >= self.length:
            self._complain(
                f"region offset {self.offset:#x} beyond its length {self.length:#x} at {option}"
            )
        signal = self.system.touch(self.region)
        if signal:
            raise StoppedError(SIGNALLED[signal])

    def dump(self) -> None:
        """Print the ranges that have a policy. Mirrors dump_shm()."""
        assert self.region
        runs = self.system.policies(self.region)
        for policy, start, end in _joined((run.policy, run) for run in runs):
            if policy.mode != MPOL.DEFAULT:
                self._print_range(start, end, f"{policy.name} {printmask('', policy.nodes)}")

    def dump_nodes(self) -> None:
        """Print on which node each range lies. Mirrors dump_shm_nodes()."""
        for node, start, end in _joined((run.node, run) for run in self._places()):
            self._print_range(start, end, f"{node}\n")

    def verify(self, policy: Policy) -> None:
        """Print the pages that do not lie as *policy* asks. Mirrors verify_shm()."""
        runs = self._places()
        expected = runs[0].node
        for run in runs:
            is_right = run.policy == policy and run.node in policy.nodes
            if is_right and policy.mode not in INTERLEAVING:
                continue
            for addr in range(run.start, run.start + run.length, self.page_size):
                if run.policy.mode != policy.mode:
                    wanted = Policy(policy.mode, policy.nodes).name
                    self._warn(addr, f"wrong policy {run.policy.name}, expected {wanted}\n")
                    return
                if run.policy.nodes != policy.nodes:
                    masks = printmask("expected", policy.nodes) + printmask(
                        "real", run.policy.nodes
                    )
                    self._warn(addr, f"mismatched node mask\n{masks}")
                if policy.mode in INTERLEAVING:
                    if not self._verify_turn(addr, run, expected):
                        return
                    expected = run.policy.nodes.next_in(expected)
                elif policy.mode in _STRICT and run.node not in run.policy.nodes:
                    mask = printmask("expected", run.policy.nodes)
                    self._warn(addr, f"unexpected node {run.node}\n{mask}")

    def _verify_turn(self, addr: int, run: Run, expected: int) -> bool:
        if run.node not in run.policy.nodes:
            self._warn(addr, f"interleave node out of range {run.node}\n")
        if run.node != expected:
            self._warn(addr, f"expected interleave node {expected}, got {run.node}\n")
        return run.node == expected

    def _warn(self, addr: int, text: str) -> None:
        assert self.region
        offset = addr - self.region.start
        self.stdout.append(f"numactl verify {addr:x}({offset:x}): {text}")
        self.status = 1

    def _places(self) -> list[Run]:
        assert self.region
        return self.system.places(self.region)

    def _print_range(self, start: int, end: int, text: str) -> None:
        assert self.region
        shift = self.offset - self.region.start
        self.stdout.append(f"{start + shift:016x}-{end + shift:016x}: {text}")

    def _make_key_file(self, path: str) -> None:
        """Mirrors sysvkey()."""
        try:
            files.open_file(self.system.machine, path)
        except KernelError:
            self.stderr.append(f"numactl: Creating shm key file {path} mode {self.mode:04o}\n")
            try:
                files.create(self.system.machine, path)
            except KernelError as error:
                self._complain(f"cannot create key for shm {path}\n: {error}")

    def _find_segment(self, path: str) -> Shared:
        size = self.length + self.offset if self.length else 0
        try:
            return files.shmget(self.system.machine, path, self.number, self.is_huge, size)
        except KernelError as error:
            if error.name != "ENOENT":
                self._complain("shmat: Invalid argument")  # of a segment that it has not got
        if not self.length:
            self._complain("need a --length to create a sysv shared memory segment")
        self.stderr.append(
            f"numactl: Creating shared memory segment {path} id {self.number}"
            f" mode {self.mode:04o} length {size / _MEGABYTE:.0f}MB\n"
        )
        try:
            return files.shmget(
                self.system.machine, path, self.number, self.is_huge, size, create=True
            )
        except KernelError as error:
            self._complain(f"cannot create shared memory segment: {error}")

    def _make_file(self, path: str) -> Shared:
        if not self.length:
            self._complain("need a --length to create a shared file")
        try:
            return files.create(self.system.machine, path)
        except KernelError as error:
            self._complain(f"cannot create file {path}: {error}")

    def _check_region(self, option: str, start: int = 0) -> None:
        if start % self.page_size or self.length % self.page_size:
            self._complain("policy region not page aligned")
        if not self.length:
            self._complain(f"policy region length not specified before {option}")

    def _map(self, shared: Shared, what: str) -> None:
        try:
            self.region = self.system.mmap(self.length, shared, self.offset)
        except KernelError as error:
            self._complain(f"{what}: {error}")

    def _complain(self, message: str) -> NoReturn:
        raise StoppedError(1, stderr=f"numactl: {message}\n")


def _joined(runs: Iterable[tuple[T, Run]]) -> Iterator[tuple[T, int, int]]:
    """The ranges [start, end) whose keys are equal."""
    for key, same in groupby(runs, lambda pair: pair[0]):
        parts = [run for _, run in same]
        yield key, parts[0].start, parts[-1].start + parts[-1].length
