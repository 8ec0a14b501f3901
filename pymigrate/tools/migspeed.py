"""The program migspeed: how fast mbind() moves pages from nodes to other nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from pymigrate.errors import KernelError
from pymigrate.nodemask import Nodemask
from pymigrate.tools.getopt import getopt_long, option_table
from pymigrate.tools.nodestring import nodes_of
from pymigrate.tools.numactl_show import printmask
from pymigrate.tools.program import SIGNALLED, Exit, Output, Policy, Region, StoppedError
from pymigrate.tools.strtoul import strtoul
from pymigrate.tools.system import System
from pymigrate.uapi import MPOL, MPOL_MF_MOVE
from pymigrate.units import PAGE_SIZE

_OPTIONS = option_table(",h ,v ,p:")
_DEFAULT_PAGES = 1000
_LEAST_TIME = 1e-6  # seconds, of a call that does nothing


def run(argv: Sequence[str], system: System) -> Exit:
    """What the program prints and how it exits. Mirrors main(), migspeed.c."""
    out = Output()
    return out.exit(lambda: _Migspeed(argv[0], system, out).main(argv))


class _Migspeed:
    """One run of the program."""

    def __init__(self, name: str, system: System, out: Output) -> None:
        self.stdout, self.stderr = out.stdout, out.stderr
        self.name, self.system = name, system
        self.pages, self.verbose = _DEFAULT_PAGES, 0

    def main(self, argv: Sequence[str]) -> None:
        """Take the arguments, and measure."""
        operands = self._options(argv)
        if not operands:
            self._usage()
        if self.verbose > 1:
            self.stdout.append(f"numa_max_node = {max(self.system.libnuma.nodes)}\n")
        old = self._nodes("From", operands[0])
        if len(operands) == 1:
            self._usage()
        new = self._nodes("To", operands[1])
        length = self.pages * PAGE_SIZE
        self._say(f"Allocating {self.pages} pages of {PAGE_SIZE} bytes of memory")
        try:
            memory = self.system.mmap(length + PAGE_SIZE)  # the page behind is dirtied too
        except KernelError:
            raise StoppedError(2, "Out of Memory\n") from None
        region = Region(memory.start, length)
        self._mbind("mbind", region, old)
        self._say("Dirtying memory....")
        signal = self.system.touch(memory)
        if signal:
            self.stdout.clear()  # what was not written yet
            raise StoppedError(SIGNALLED[signal])
        self._say("Starting test")
        self._show_map()
        estimated = self._mbind("memory move", region, new, MPOL_MF_MOVE)
        self._show_map()
        size, seconds = length / (1 << 20), max(estimated, _LEAST_TIME)
        self.stdout.append(
            f"{size:.1f} Mbyte migrated in {seconds:.2f} secs. {size / seconds:.1f} Mbytes/second\n"
        )

    def _options(self, argv: Sequence[str]) -> list[str]:
        permute = "POSIXLY_CORRECT" not in self.system.environ
        parsed = getopt_long(argv, _OPTIONS, permute=permute)
        for name, value in parsed.options:
            if name == "h":
                self._usage()
            elif name == "v":
                self.verbose += 1
            else:
                self.pages, rest = strtoul(value or "")
                if rest or not value:
                    self._usage()
        if parsed.error:
            self.stderr.append(f"{parsed.error}\n")
            self._usage()
        return parsed.operands

    def _nodes(self, name: str, text: str) -> Nodemask:
        nodes = nodes_of(text, self.system.libnuma)
        if self.verbose:
            self.stdout.append(printmask(name, nodes))
        return nodes

    def _mbind(self, name: str, region: Region, nodes: Nodemask, flags: int = 0) -> float:
        try:
            return self.system.mbind(region, Policy(MPOL.BIND, nodes), flags)
        except KernelError as error:
            raise StoppedError(1, stderr=f"{name}: {error}\n") from None

    def _show_map(self) -> None:
        lines = self.system.numa_maps(self.system.task.pid)
        self.stdout += [f"{line}\n" for line in lines if "bind" in line]

    def _say(self, text: str) -> None:
        if self.verbose:
            self.stdout.append(f"{text}\n")

    def _usage(self) -> NoReturn:
        raise StoppedError(
            1,
            f"usage {self.name} [-p pages] [-h] [-v] from-nodes to-nodes\n"
            "      from and to nodes may specified in form N or N-N\n"
            f"      -p pages  number of pages to try (defaults to {self.pages})\n"
            "      -v        verbose\n"
            "      -h        usage\n",
        )
