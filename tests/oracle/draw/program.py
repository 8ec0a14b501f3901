"""What all kinds of random programs have in common: who maps what, and parts of it.

The program keeps a rough model of its tasks and regions, so that most steps do something; about
one in ten is refused. What no two runs of a kernel answer alike is left out: where a task's own
interleaving stands, counts that follow from the LRU's per-CPU batches, the node of a zero page.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.oracle.program import Case

T = TypeVar("T")
Part = dict[str, Any]
Rows = list[tuple[Callable[[], None], int]]

KIB, MIB, PAGE = 1 << 10, 1 << 20, 1 << 12
HUGE = 512  # pages
BAD_NODES = ["", "9", "0,9", "1,40", "63"]
NAMES = "abcdefghijkl"


@dataclass
class Region:
    """A region of the program; children have their parents'."""

    name: str
    nr: int
    kind: str  # anon, thp, shared, file, disk, hugetlb, secret
    tasks: set[str] = field(default_factory=set)

    @property
    def is_huge(self) -> bool:
        """Whether huge pages are in it."""
        return self.kind in ("thp", "hugetlb")


def size(pages: int) -> str:
    """So many pages, as a scenario has it."""
    length = pages * PAGE
    return f"{length // MIB}MiB" if length and not length % MIB else f"{length // KIB}KiB"


class Drawn:
    """A program that grows step by step; kinds of programs add theirs."""

    machines: Sequence[tuple[int, dict[str, Any]]] = ()  # with their weights
    lengths: Sequence[int] = (8, 14, 20, 30, 40)
    most_tasks = 3

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        weights, machines = zip(*self.machines, strict=True)
        self.machine: dict[str, Any] = dict(rng.choices(machines, weights)[0])
        nodes = self.machine["nodes"]
        self.service = "distances" in self.machine and self._names_service()
        self.nids: list[int] = sorted(nodes)[: -1 if self.service else None]
        self.memory = [nid for nid in self.nids if nodes[nid]["memory"]]
        self.cpus = list(range(sum(1 for nid in self.nids if nodes[nid].get("cpus"))))
        self.homes = [nid for nid in self.nids if nodes[nid].get("cpus")]
        self.files: dict[str, Any] = {}
        self.tasks: dict[str, dict[str, Any]] = {}
        self.live: list[str] = []
        self.home: dict[str, int] = {}
        self.uid: dict[str, int] = {}
        self.regions: list[Region] = []
        self.steps: list[dict[str, Any]] = []
        self.pins: list[tuple[str, Part]] = []
        self.cpusets: list[str] = []

    def _names_service(self) -> bool:
        return all(distance == 200 for distance in self.machine["distances"][-1][:-1])

    def case(self) -> Case:
        """The whole program."""
        self.begin()
        length = self.rng.choice(self.lengths)
        rows = self.table()
        while len(self.steps) < length:
            self.rng.choices([row[0] for row in rows], [row[1] for row in rows])[0]()
        self.look_at_all()
        found: dict[str, Any] = {"about": f"a random program of {len(self.steps)} steps"}
        found["machine"] = self.machine
        if self.files:
            found["files"] = self.files
        if self.service:
            last, mems = len(self.cpus) - 1, f"{self.nids[0]}-{self.nids[-1]}"
            found["cpusets"] = {"root_": {"cpus": f"0-{last}", "mems": mems}}
        return found | {"tasks": self.tasks, "steps": self.steps}

    def begin(self) -> None:
        """The files, the tasks, and the first steps."""
        raise NotImplementedError

    def table(self) -> Rows:
        """What may come next, and how often."""
        raise NotImplementedError

    # Choices

    def chance(self, probability: float) -> bool:
        """Yes, that often."""
        return self.rng.random() < probability

    def pick(self, values: Sequence[T]) -> T:
        """One of them."""
        return self.rng.choice(values)

    def nodes(self, bad: float = 0.06) -> str:
        """Some nodes; now and then none, or one that there is not."""
        if self.chance(bad):
            return self.pick(BAD_NODES)
        nr = 1 if self.chance(0.5) else self.rng.randint(1, len(self.nids))
        return ",".join(map(str, sorted(self.rng.sample(self.nids, nr))))

    def source(self, task: str) -> str:
        """Nodes, most likely with the one where the task's pages are."""
        found = self.nodes(0.05)
        if self.chance(0.6) and not any(int(nid) > 8 for nid in found.split(",") if nid):
            found = ",".join(sorted({*filter(None, found.split(",")), str(self.home[task])}))
        return found

    def node(self) -> int:
        """A node; now and then one without memory, or one that there is not."""
        if self.chance(0.04):
            return self.pick([9, -1, 30])
        return self.pick(self.memory if self.chance(0.95) else self.nids)

    def task(self) -> str:
        """A task that lives."""
        return self.pick(self.live)

    def pair(self, *kinds: str) -> tuple[str, Region] | None:
        """A task and a region of its own, of one of the kinds."""
        pairs = [
            (task, region)
            for region in self.regions
            for task in sorted(region.tasks)
            if task in self.live and (not kinds or region.kind in kinds)
        ]
        return self.pick(pairs) if pairs else None

    def part(self, region: Region, whole: float = 0.4) -> Part:
        """Where in the region: often all of it."""
        if self.chance(whole):
            return {}
        unit = 1
        if region.is_huge and self.chance(0.6):
            unit = self.pick([HUGE, HUGE, 64])
        nr = max(1, region.nr // unit)
        first = self.rng.randrange(nr)
        end = self.rng.randint(first + 1, nr)
        found: Part = {"offset": size(first * unit)} if first else {}
        if end < nr or self.chance(0.3):
            found["length"] = size((end - first) * unit)
        return found

    def policy(self, region: Region | None = None) -> tuple[str, str, list[str]]:
        """A mode, its nodes and flags. Only a private region interleaves: by addresses."""
        modes = "default preferred bind local preferred-many bind preferred".split()
        if region is not None and region.kind in ("anon", "thp"):
            modes += ["interleave", "interleave", "weighted-interleave"]
        mode = self.pick(modes)
        nodes = "" if mode in ("default", "local") else self.nodes(0.05)
        if self.chance(0.02):
            nodes = self.nodes()
        flags = []
        if nodes and self.chance(0.2) and not any(int(nid) > 8 for nid in nodes.split(",")):
            flags = [self.pick(["static", "relative"])]
        return mode, nodes, flags

    # Steps

    def add(self, op: str, task: str | None = None, **arguments: Any) -> None:
        """Add a step."""
        caller = {"task": task} if task else {}
        self.steps.append({"op": op, **caller, **arguments})

    def new_tasks(self, names: str, users: bool = False) -> None:
        """The tasks that the program begins with."""
        for name in names:
            cpu = self.pick(self.cpus)
            self.home[name] = self.homes[cpu]
            self.uid[name] = self.pick([0, 1000, 1000, 1001]) if users else 0
            self.tasks[name] = {"cpus": str(cpu), "uid": self.uid[name]}
            if self.service:
                self.tasks[name]["cpuset"] = "root_"
            self.live.append(name)

    def map(self, task: str, kind: str, nr: int, **arguments: Any) -> Region:
        """Map a new region."""
        region = Region(f"r{len(self.regions)}", nr, kind, {task})
        how: Part = {}
        if kind in ("shared", "secret"):
            how["shared"] = True
        if kind == "secret":
            how["secretmem"] = True
        if kind == "hugetlb":
            how["hugetlb"] = True
        self.add("mmap", task, **{"as": region.name}, **how, **arguments, length=size(nr))
        self.regions.append(region)
        return region

    def touch(self, task: str, region: Region, whole: float = 0.7) -> None:
        """Access a part of a region."""
        how = self.part(region, whole)
        if region.kind == "hugetlb":
            how["stride"] = size(HUGE)
        elif region.kind == "thp":
            how["stride"] = size(HUGE if self.chance(0.6) else self.pick([16, 64, 128]))
        elif self.chance(0.12):
            how["stride"] = size(self.pick([2, 3, 4]))
        if self.chance(0.15):
            how["write"] = False
        self.add("touch", task, at=region.name, **how)

    def fork(self) -> None:
        """A child; not of a task whose short pins it would inherit."""
        parent = self.task()
        has_short = any(t == parent and p.get("kind") == "short" for t, p in self.pins)
        left = [name for name in NAMES if name not in self.home]
        if len(self.live) >= self.most_tasks or has_short or not left:
            return
        self.add("fork", parent, **{"as": left[0]})
        self.live.append(left[0])
        self.home[left[0]], self.uid[left[0]] = self.home[parent], self.uid[parent]
        for region in self.regions:
            if parent in region.tasks:
                region.tasks.add(left[0])

    def look(self, task: str, region: Region | None = None) -> None:
        """What became of it, now and then."""
        if task not in self.live:
            return
        mine = [r for r in self.regions if task in r.tasks]
        region = region or (self.pick(mine) if mine else None)
        if region is not None and task in region.tasks and self.chance(0.6):
            self.add(self.pick(["placement", "numa_maps"]), task, at=region.name)
        if self.chance(0.4):
            self.add("vmstat")

    def look_at_all(self) -> None:
        """The end of each program."""
        for task in sorted(self.live):
            for region in [r for r in self.regions if task in r.tasks][-4:]:
                self.add("placement", task, at=region.name)
                self.add("numa_maps", task, at=region.name)
        self.add("vmstat")


def machine(*memory: int, **more: Any) -> dict[str, Any]:
    """A machine with a node for each of *memory*, in MiB, with one CPU each."""
    nodes = {
        nid: {"cpus": str(nid), "memory": f"{mib}MiB" if mib else 0}
        for nid, mib in enumerate(memory)
    }
    return {"nodes": nodes, **more}
