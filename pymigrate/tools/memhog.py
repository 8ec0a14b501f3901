"""The program memhog: fills memory, with a policy if one is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

from pymigrate.errors import KernelError
from pymigrate.nodemask import Nodemask
from pymigrate.tools import files
from pymigrate.tools.nodestring import nodes_of
from pymigrate.tools.program import SIGNALLED, Exit, Output, Policy, Region, Shared, StoppedError
from pymigrate.tools.strtoul import atoi, memsize
from pymigrate.tools.system import System
from pymigrate.uapi import MPOL

_POLICIES = {
    "preferred-many": MPOL.PREFERRED_MANY,
    "local": MPOL.LOCAL,
    "interleave": MPOL.INTERLEAVE,
    "membind": MPOL.BIND,
    "preferred": MPOL.PREFERRED,
    "default": MPOL.DEFAULT,
    "weighted-interleave": MPOL.WEIGHTED_INTERLEAVE,
}
_WITHOUT_NODES = (MPOL.DEFAULT, MPOL.LOCAL)
USAGE = f"""\
memhog [-fFILE] [-rNUM] [-H] size[kmg] [policy [nodeset]]
-f mmap is backed by FILE
-rNUM repeat memset NUM times
-H disable transparent hugepages
Policies: {" ".join(_POLICIES)}
"""

_UNIT = 10 << 20


def run(argv: Sequence[str], system: System) -> Exit:
    """What the program prints and how it exits. Mirrors main(), memhog.c."""
    hog = _Memhog(system)
    return hog.part(lambda: hog.main(list(argv[1:])))


class _Memhog:
    """One run of the program."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.repeat, self.has_no_hugepages = 1, False
        self.file: Shared | None = None
        self.region: Region | None = None  # what it fills, once it is mapped

    def part(self, do: Callable[[], None]) -> Exit:
        """A part of its work, after which it may go on: one time of filling the memory."""
        out = Output()
        self.stdout, self.stderr = out.stdout, out.stderr
        outcome = out.exit(do)
        self.repeat -= 1
        is_at_work = not outcome.exit and self.region is not None and self.repeat > 0
        return outcome._replace(again=self.again if is_at_work else None)

    def again(self, system: System) -> Exit:
        """Fill the memory once more."""
        self.system = system
        assert self.region is not None, "it is mapped"
        region = self.region
        return self.part(lambda: self._hog(region))

    def main(self, words: list[str]) -> None:
        """Take the arguments, map the memory and fill it."""
        while words and words[0].startswith("-"):
            self._option(words.pop(0))
        if not words:
            self._usage()
        length = memsize(words[0])
        policy = self._policy([*words[1:3]])
        try:
            region = self.system.mmap(length, self.file)
        except KernelError as error:
            raise StoppedError(1, stderr=f"numactl: mmap: {error}\n") from None
        try:
            self.system.mbind(region, policy)
        except KernelError as error:
            self.stderr.append(f"mbind: {error}\n")
        if self.has_no_hugepages:
            self.system.no_hugepage(region)
        self.region = region
        if self.repeat > 0:
            self._hog(region)

    def _option(self, word: str) -> None:
        if word.startswith("-r"):
            self.repeat = atoi(word[2:])
        elif word.startswith("-H"):
            self.has_no_hugepages = True
        elif word.startswith("-f"):
            try:
                self.file = files.open_file(self.system.machine, word[2:])
            except KernelError as error:
                self.stderr.append(f"{word[2:]}: {error}\n")
        else:
            self._usage()

    def _policy(self, words: list[str]) -> Policy:
        """The policy that a name and nodes mean."""
        if not words:
            return Policy(MPOL.DEFAULT, Nodemask())
        mode = _POLICIES.get(words[0].lstrip("-"))
        if mode is None or (mode not in _WITHOUT_NODES and len(words) == 1):
            self._usage()
        if mode in _WITHOUT_NODES:
            return Policy(mode, Nodemask())
        return Policy(mode, nodes_of(words[1], self.system.libnuma))

    def _hog(self, region: Region) -> None:
        """Fill the memory, with a dot for each part that is begun. Mirrors hog(), memhog.c."""
        for offset in range(0, region.length, _UNIT):
            self.stdout.append(".")
            part = Region(region.start + offset, min(_UNIT, region.length - offset))
            signal = self.system.touch(part)
            if signal:
                raise StoppedError(SIGNALLED[signal])
        self.stdout.append("\n")

    def _usage(self) -> NoReturn:
        raise StoppedError(1, USAGE)
