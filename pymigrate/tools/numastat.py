"""The program numastat: the nodes' counters, their memory, and that of processes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pymigrate.errors import KernelError
from pymigrate.nodemask import Nodemask
from pymigrate.tools.getopt import Parsed, getopt_long, option_table
from pymigrate.tools.program import Exit, Output, StoppedError
from pymigrate.tools.strtoul import atoi
from pymigrate.tools.system import System
from pymigrate.tools.vtab import RULE, Cell, Row, Table
from pymigrate.units import HPAGE_SIZE, PAGE_SIZE

VERSION, DATE = "2.0.19", "Nov 12 2024"

_OPTIONS = option_table("help,? ,c ,m ,n ,v ,V ,z ,p: ,s::")
_MEGABYTE = 1 << 20
_CATEGORIES = ("huge", "heap", "stack")  # how a token begins that says what a mapping is
_PRIVATE = len(_CATEGORIES)
_WIDTH, _SQUEEZED, _LABEL_LIMIT = 16, 4, 24
_SCREEN, _LEAST_SCREEN, _WIDEST_SCREEN = 80, 32, 10_000_000
_PAGES = re.compile(r"N([0-9]+)=([0-9]+)")
_PAGE_SIZE = re.compile(r"kernelpagesize_kB=([0-9]+)")


def run(argv: Sequence[str], system: System) -> Exit:
    """What the program prints and how it exits.

    Mirrors main(), numastat.c.
    """
    parsed = getopt_long(argv, _OPTIONS, permute="POSIXLY_CORRECT" not in system.environ)
    out = Output()
    return out.exit(lambda: _Numastat(argv[0], system, out).main(parsed, len(argv) == 1))


class _Numastat:
    """One run of the program."""

    def __init__(self, name: str, system: System, out: Output) -> None:
        self.stdout, self.stderr = out.stdout, out.stderr
        self.name, self.system = name, system
        self.nodes: Nodemask = system.libnuma.nodes
        self.pids: set[int] = set()
        self.given: set[str] = set()  # options without an argument
        self.sort_node = -1

    def main(self, parsed: Parsed, is_compatible: bool) -> None:
        """Take the options and operands in their order, and print what was asked for."""
        for name, value in parsed.options:
            if name == "p":
                self._add_processes(value or "")
            elif name == "V":
                raise StoppedError(0, f"{self.name} version: {VERSION}: {DATE}\n")
            elif name == "?":
                self._usage()
            else:
                self.given.add(name)
                if name == "s" and value and _is_digits(value):
                    self.sort_node = atoi(value)
        if parsed.error:
            self.stderr.append(f"{parsed.error}\n")
            self._usage()
        for operand in parsed.operands:
            self._add_processes(operand)
        if is_compatible:
            self._show_compatible()
        else:
            self._show()

    def _show(self) -> None:
        if self.pids:
            self._show_processes(sorted(self.pids))
        if "m" in self.given:
            self.stdout.append("\nPer-node system memory usage (in MBs):\n")
            rows = {nid: self.system.node_meminfo(nid) for nid in self.nodes}
            self._show_system({nid: _in_megabytes(row) for nid, row in rows.items()})
        if "n" in self.given or not (self.pids or "m" in self.given):
            self.stdout.append("\nPer-node numastat info (in MBs):\n")
            counters = {nid: self.system.node_numastat(nid) for nid in self.nodes}
            self._show_system(
                {
                    nid: {name.title(): nr * PAGE_SIZE / _MEGABYTE for name, nr in row.items()}
                    for nid, row in counters.items()
                }
            )

    def _usage(self) -> None:
        text = (
            f"Usage: {self.name} [-c] [-m] [-n] [-p <PID>|<pattern>] [-s[<node>]] [-v] [-V] [-z]"
            " [ <PID>|<pattern>... ]\n"
            "-c to minimize column widths\n"
            "-m to show meminfo-like system-wide memory usage\n"
            "-n to show the numastat statistics info\n"
            "-p <PID>|<pattern> to show process info\n"
            "-s[<node>] to sort data by total column or <node>\n"
            "-v to make some reports more verbose\n"
            f"-V to show the {self.name} code version\n"
            "-z to skip rows and columns of zeros\n"
        )
        raise StoppedError(1, stderr=text)

    def _add_processes(self, who: str) -> None:
        """Note a PID, or those of all processes whose name or command line has *who* in it."""
        if _is_digits(who):
            self.pids.add(atoi(who))
            return
        found = [p.pid for p in self.system.processes() if who in f"{p.comm} {p.args} "]
        self.pids.update(found)
        if not found:
            self.stdout.append(f'Found no processes containing pattern: "{who}"\n')

    def _show_compatible(self) -> None:
        """The counters in pages, as the program once printed them."""
        rows = {nid: self.system.node_numastat(nid) for nid in self.nodes}
        table = Table([Row("", [f"node{nid}" for nid in self.nodes])])
        for name in rows[self.nodes.first]:
            table.rows.append(Row(name, [row[name] for row in rows.values()]))
        self._print(table)

    def _show_system(self, columns: dict[int, dict[str, float]]) -> None:
        """A table of what the nodes have, and of the sums."""
        table = self._table(Row("", []))
        for name in columns[self.nodes.first]:
            values = [column[name] for column in columns.values()]
            table.rows.append(Row(name, [*values, sum(values)]))
        if "c" in self.given:
            self._squeeze(table)
        self._sort(table)
        self._print(table)

    def _show_processes(self, pids: list[int]) -> None:
        if len(pids) == 1 or "v" in self.given:
            for pid in pids:
                self._show_process(pid)
            return
        self.stdout.append("\nPer-node process memory usage (in MBs)\n")
        table = self._table(Row("PID", []))
        table.header[1].label = RULE
        total = [0.0] * table.nr_columns
        memory = None
        for pid in pids:
            memory = self._memory_of(pid)
            sums = _sums(memory or [], table.nr_columns)
            total = [a + b for a, b in zip(total, sums, strict=True)]
            table.rows.append(Row(f"{pid} ({self._comm(pid)})", [*sums]))
        if memory is not None:  # the last one's
            self._print_with_total(table, total)

    def _show_process(self, pid: int) -> None:
        """A table of the kinds of memory of one process."""
        self.stdout.append(
            f"\nPer-node process memory usage (in MBs) for PID {pid} ({self._comm(pid)})\n"
        )
        memory = self._memory_of(pid)
        if memory is None:
            return
        table = self._table(Row("", []))
        for i, label in enumerate(("Huge", "Heap", "Stack", "Private")):
            mine = [part for part in memory if part[0] == i]
            table.rows.append(Row(label, [*_sums(mine, table.nr_columns)]))
        self._print_with_total(table, _sums(memory, table.nr_columns))

    def _print_with_total(self, table: Table, total: list[float]) -> None:
        table.rows.append(Row(RULE, [RULE] * table.nr_columns, is_rule=True))
        table.rows.append(Row("Total", [*total]))
        if "c" in self.given:
            self._squeeze(table)
        else:
            table.fit(0, _WIDTH, _LABEL_LIMIT)
        self._sort(table)
        self._print(table)

    def _memory_of(self, pid: int) -> list[tuple[int, int, float]] | None:
        """(category, column, MB) of each mapping and node; None if it cannot be read."""
        try:
            lines = self.system.numa_maps(pid)
        except KernelError as error:
            self.stderr.append(f"Can't read /proc/{pid}/numa_maps: {error}\n")
            return None
        order = list(self.nodes)
        memory = []
        for line in lines:
            tokens = line.split()
            category = _category(tokens)
            sizes = [match[1] for token in tokens if (match := _PAGE_SIZE.fullmatch(token))]
            size = int(sizes[0]) << 10 if sizes else PAGE_SIZE
            for token in tokens:
                if match := _PAGES.fullmatch(token):
                    value = int(match[2]) * size / _MEGABYTE
                    memory.append((category, order.index(int(match[1])), value))
        return memory

    def _comm(self, pid: int) -> str:
        process = self.system.find(pid)
        return process.comm if process else "(null)"

    def _table(self, head: Row) -> Table:
        head.values = [*(f"Node {nid}" for nid in self.nodes), "Total"]
        rules: list[Cell] = [RULE] * len(head.values)
        return Table([head, Row("", rules)], places=0 if "c" in self.given else 2)

    def _squeeze(self, table: Table) -> None:
        for column in range(table.nr_columns + 1):
            table.fit(column, _SQUEEZED, _WIDTH)

    def _sort(self, table: Table) -> None:
        if "s" in self.given:
            has_node = 0 <= self.sort_node < len(self.nodes)
            table.sort(self.sort_node if has_node else table.nr_columns - 1)

    def _print(self, table: Table) -> None:
        self.stdout.append(table.format(self._screen_width(), zeros="z" not in self.given))

    def _screen_width(self) -> int:
        """Mirrors get_screen_width(), numastat.c; there is a terminal if COLUMNS says how wide."""
        text = self.system.environ.get("NUMASTAT_WIDTH")
        if text is None:
            return max(self.system.terminal_width or _WIDEST_SCREEN, _LEAST_SCREEN)
        width = atoi(text)
        return max(width if 1 <= width <= _WIDEST_SCREEN else _SCREEN, _LEAST_SCREEN)


def _in_megabytes(meminfo: Mapping[str, int]) -> dict[str, float]:
    """kB, and for hugetlb pages, as MB."""
    return {
        name: value * (HPAGE_SIZE if name.startswith("HugePages_") else 1024) / _MEGABYTE
        for name, value in meminfo.items()
    }


def _category(tokens: list[str]) -> int:
    """Where a mapping counts: the first token that begins with a category's name says it."""
    for token in tokens:
        for i, word in enumerate(_CATEGORIES):
            if token.startswith(word):
                return i
    return _PRIVATE


def _sums(memory: list[tuple[int, int, float]], nr_columns: int) -> list[float]:
    """The MB of each node, and of all of them."""
    sums = [0.0] * nr_columns
    for _, column, value in memory:
        sums[column] += value
        sums[-1] += value
    return sums


def _is_digits(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit())
