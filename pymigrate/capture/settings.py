"""The settings that a scenario's machine has, and notes of those that it has not."""

from __future__ import annotations

import re

from pymigrate.capture.tree import Tree
from pymigrate.errors import KernelError
from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Nodemask
from pymigrate.uapi import THP, THP_DEFRAG
from pymigrate.views.entries import Dir, File, find, read
from pymigrate.views.tree import tree as simulated

NOT_TAKEN = ": not taken over: "  # in a note: folder, this, and its settings
_MM = "sys/kernel/mm"
_WEIGHTS = f"{_MM}/mempolicy/weighted_interleave"
# Kernels before these have no such file.
_SINCE = {"numa/demotion_enabled": (5, 15), "mempolicy": (6, 9)}
# Where settings are that decide where memory lies and moves.
_FOLDERS = (
    "proc/sys/vm",
    "sys/kernel/debug/sched/numa_balancing",
    f"{_MM}/transparent_hugepage",
    f"{_MM}/numa",
    f"{_MM}/mempolicy",
    f"{_MM}/ksm",
    f"{_MM}/lru_gen",
    f"{_MM}/damon",
    f"{_MM}/swap",
)
_KERNEL = re.compile(r"numa_balancing\w*")  # of proc/sys/kernel
# These count, or follow from others.
_NO_SETTINGS = re.compile(
    r"ksm/(?!run$|merge_across_nodes$|advisor_mode$|use_zero_pages$|max_page_sharing$).*"
    r"|.*/stats(/.*)?|.*khugepaged/(full_scans|pages_collapsed)"
    r"|(nr_hugepages|nr_hugepages_mempolicy|min_free_kbytes|stat_refresh|numa_zonelist_order)"
)


class Settings:
    """Reads the settings; what it takes for granted it notes."""

    def __init__(self, tree: Tree, version: tuple[int, int] | None, notes: list[str]) -> None:
        self.tree, self.version, self.notes = tree, version, notes

    def read(self, memory_nodes: Nodemask) -> dict[str, object]:
        """What the scenario's machine says of them."""
        thp = f"{_MM}/transparent_hugepage"
        found: dict[str, object] = {"thp": self._choice(f"{thp}/enabled", THP, "never")}
        defrag = self._choice(f"{thp}/defrag", THP_DEFRAG, "madvise")
        found |= {"thp_defrag": defrag} if defrag != "madvise" else {}
        balancing = self._balancing()
        found |= {"numa_balancing": balancing} if balancing else {}
        weights = {nid: self._weight(nid) for nid in memory_nodes}
        weights = {nid: weight for nid, weight in weights.items() if weight > 1}
        found |= {"weights": weights} if weights else {}
        demotion = f"{_MM}/numa/demotion_enabled"
        if self._has(demotion, "false", _SINCE["numa/demotion_enabled"]):
            found |= {"demotion": True} if self.tree.text(demotion) in ("true", "1") else {}
        if self._is_since(_SINCE["mempolicy"]):
            self._has(f"{_WEIGHTS}/node{min(memory_nodes)}", "1", _SINCE["mempolicy"])
        return found

    def _is_since(self, since: tuple[int, int]) -> bool:
        return (self.version or (6, 12)) >= since

    def _has(self, name: str, default: str, since: tuple[int, int] = (0, 0)) -> bool:
        """Whether a file is there; if it should be, its default is noted."""
        if self.tree.has(name):
            return True
        if not self.tree.is_live and self._is_since(since):
            self.notes.append(f"there is no {name}: taken for {default}")
        return False

    def _choice(self, name: str, words: tuple[str, ...], default: str) -> str:
        if not self._has(name, default):
            return default
        match = re.search(r"\[([a-z+]+)\]", self.tree.text(name))
        if match is None or match[1] not in words:
            expected = f"one of {', '.join(words)} in brackets"
            raise self.tree.malformed(name, 1, self.tree.text(name), expected)
        return match[1]

    def _balancing(self) -> int:
        name = "proc/sys/kernel/numa_balancing"
        value = self.tree.number(name) if self._has(name, "0") else 0
        if value > 3:
            self.notes.append(f"{name} is {value}: taken for {value & 3}")
        return value & 3

    def _weight(self, nid: int) -> int:
        return self.tree.number(f"{_WEIGHTS}/node{nid}", 1)


def other_settings(tree: Tree, machine: Machine) -> list[str]:
    """Notes of the settings of *tree* that *machine*, as captured, does not have so."""
    root = simulated(machine)
    names = [f"proc/sys/kernel/{n}" for n in tree.names("proc/sys/kernel") if _KERNEL.fullmatch(n)]
    names += [name for folder in _FOLDERS for name in _files(tree, folder)]
    notes: list[str] = []
    unknown: dict[str, list[str]] = {}
    for name in names:
        short = next((name.removeprefix(f"{f}/") for f in _FOLDERS if name.startswith(f)), name)
        if _NO_SETTINGS.fullmatch(short) or _NO_SETTINGS.fullmatch(name.removeprefix(f"{_MM}/")):
            continue
        value = tree.peek(name)
        if value is None:
            continue
        here = _simulated(root, name)
        if here is None:
            folder, _, last = name.rpartition("/")
            unknown.setdefault(folder, []).append(last)
        elif _short(here) != _short(value):
            notes.append(f"{name} is {_short(value)}, here {_short(here)}")
    return notes + [f"{folder}{NOT_TAKEN}{', '.join(f)}" for folder, f in unknown.items()]


def _files(tree: Tree, folder: str) -> list[str]:
    """The files below *folder*."""
    found: list[str] = []
    for name in tree.names(folder):
        path = f"{folder}/{name}"
        found += _files(tree, path) if tree.is_dir(path) else [path]
    return found


def _simulated(root: Dir, name: str) -> str | None:
    """What a file of the simulated machine reads; None if there is none to read."""
    try:
        entry = find(root, name)
        return read(root, name).strip() if isinstance(entry, File) and entry.text else None
    except KernelError:
        return None


def _short(value: str) -> str:
    match = re.search(r"\[([^\]]+)\]", value)
    value = match[1] if match else value.replace("\n", " ").replace("\t", " ")
    return value if 0 < len(value) <= 40 else f"{value[:37]}..." if value else "empty"
