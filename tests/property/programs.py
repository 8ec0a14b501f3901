"""Random programs of any calls: scenarios whose steps are drawn from the table of calls."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import yaml
from hypothesis import strategies as st

from pymigrate.interface.declare import Argument, Call
from pymigrate.interface.table import CALLS, policy_flags_key
from pymigrate.syscalls.madvise import SIMULATED
from pymigrate.uapi import MODE_FLAGS, MODES

T = TypeVar("T")
Step = dict[str, Any]
PAGE, HUGE = 4096, 512  # bytes; pages
_SLOW = {"read_latency": 300, "write_latency": 300, "read_bandwidth": 5, "write_bandwidth": 5}
_FAST = {"read_latency": 100, "write_latency": 100, "read_bandwidth": 10, "write_bandwidth": 10}
MACHINES: dict[str, Step] = {
    "two": {"nodes": {0: {"cpus": "0", "memory": "64MiB"}, 1: {"cpus": "1", "memory": "64MiB"}}},
    "small": {
        "nodes": {
            0: {"cpus": "0", "memory": "4MiB"},
            1: {"cpus": "", "memory": "1MiB"},
            2: {"cpus": "1", "memory": "3MiB"},
            3: {"cpus": "2", "memory": 0},
        },
    },
    "gaps": {
        "nodes": {
            0: {"cpus": "0-1", "memory": "16MiB"},
            2: {"cpus": "2", "memory": "16MiB"},
            5: {"cpus": "3", "memory": "16MiB"},
        },
        "weights": {0: 3, 5: 2},
    },
    "tiers": {
        "nodes": {
            0: {"cpus": "0", "memory": "8MiB", "hmat": _FAST},
            1: {"cpus": "1", "memory": "8MiB", "hmat": _FAST},
            2: {"memory": "16MiB", "hmat": _SLOW},
        },
        "distances": [[10, 20, 30], [20, 10, 40], [30, 40, 10]],
        "demotion": True,
        "numa_balancing": 2,
    },
    "blocks": {
        "nodes": {
            0: {"cpus": "0", "memory": "256MiB", "cma": "128MiB"},
            1: {"cpus": "1", "memory": "256MiB", "movable": "128MiB"},
            2: {"cpus": "", "memory": "128MiB", "cma": "32MiB"},
        },
    },
}
FILES = {
    "t": {"size": "600KiB", "fs": "tmpfs"},
    "d": {"size": "400KiB", "fs": "ext4"},
    "x": {"size": "2MiB", "fs": "xfs", "dirty": True},
    "h": {"size": "4MiB", "fs": "hugetlbfs"},
}
DRIVERS = {
    "zs": {"kind": "zsmalloc", "node": 0, "pages": 4},
    "odd": {
        "kind": "scripted",
        "node": 0,
        "pages": 3,
        "isolate": [False, True],
        "migrate": ["EAGAIN", "success"],
    },
}
SETTINGS: dict[str, list[Any]] = {
    "numa_balancing": [0, 1, 2, 3],
    "demotion_enabled": [True, False],
    "thp": ["always", "madvise", "never"],
    "thp_defrag": ["always", "never", "madvise"],
    "nr_hugepages": [0, 1, 3, 6],
    "drop_caches": [1, 2, 3],
    "compact_memory": [1],
}
OFTEN = ("mmap", "touch", "touch", "migrate_pages", "move_pages", "mbind")
SIZES = [1, 2, 7, 16, 40, 100, 300, HUGE, HUGE, 600, 2 * HUGE + 1]  # pages
MAX_TASKS = 5


class Program:
    """A program that grows step by step; *draw* draws from a strategy."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self.draw = draw
        self.machine = dict(MACHINES[self.pick([*MACHINES])])
        self.machine["thp"] = self.pick(["never", "always", "madvise"])
        self.machine["devices"] = {"gpu": {"memory": "160KiB"}, "npu": {"memory": "4MiB"}}
        self.nids = [*self.machine["nodes"]]
        if self.chance(3):
            self.machine["hugetlb"] = {self.nids[0]: self.pick([1, 2])}
        self.uids = self.pick([[0], [0, 0], [0, 1000]])
        self.tasks = ["a", "b"][: len(self.uids)]
        self.regions: dict[str, dict[str, int]] = {task: {} for task in self.tasks}  # pages
        self.names = {"alloc": 0, "cma_alloc": 0, "cpuset_create": 0}
        self.last_cpuset = ""
        self.threads: dict[str, str] = {}  # with their processes
        self.pins: list[Step] = []
        self.steps: list[Step] = []
        self.files = [*FILES]
        self.made = 0
        self.mmap(self.tasks[0])

    def pick(self, values: Sequence[T]) -> T:
        """One of *values*; the first is the simplest."""
        return values[self.draw(st.integers(0, len(values) - 1))]

    def chance(self, of: int) -> bool:
        """Yes, once in so many times."""
        return bool(self.draw(st.integers(0, of - 1)) == of - 1)

    def name(self, kind: str) -> str:
        """A new name."""
        self.made += 1
        return f"{kind}{self.made}"

    def node(self) -> int:
        """A node; now and then one that does not exist."""
        return 9 if self.chance(20) else self.pick(self.nids)

    def nodes(self) -> str:
        """Some nodes, now and then none."""
        bits = self.draw(st.integers(0 if self.chance(9) else 1, (1 << len(self.nids)) - 1))
        return ",".join(str(nid) for i, nid in enumerate(self.nids) if bits >> i & 1)

    def mmap(self, task: str) -> None:
        """A region of memory, most often one that has been written to."""
        name, nr = self.name("r"), self.pick(SIZES)
        self.steps.append({"op": "mmap", "task": task, "as": name, "length": nr * PAGE})
        self.regions[task][name] = nr
        if not self.chance(4):
            self.steps.append({"op": "touch", "task": task, "at": name})

    def step(self) -> None:
        """One more step: a call whose arguments are drawn by their kinds."""
        call = CALLS[self.pick([*OFTEN, *CALLS])]
        who = self.pick(self.tasks)
        if call.op in ("free", "cma_release", "exit", "fork", "clone", "start", "unpin", "unlink"):
            self.special(call.op, who)
            return
        if not self.regions[who] and any(a.kind.name in ("range", "place") for a in call.arguments):
            self.mmap(who)
        step: Step = {"op": call.op}
        left_out = {*call.one_of, *call.at_most_one_of} - {
            self.pick(call.one_of or call.at_most_one_of or [""])
        }
        for argument in call.arguments:
            given = argument.is_required or argument.name in (*call.one_of, *call.at_most_one_of)
            if argument.name not in left_out and (given or self.is_given(argument, step)):
                step |= self.keys(call, argument, who)
        self.tidy(step)
        self.steps.append(step)
        self.note(step, who)

    def is_given(self, argument: Argument, step: Step) -> bool:
        """Whether an argument that may be left out is given."""
        if argument.kind.name in ("range", "place"):
            return "task" in step and self.chance(2)
        return argument.kind.name not in ("meanwhile", "secretmem", "seconds") and self.chance(3)

    def special(self, op: str, who: str) -> None:
        """What needs something that an earlier step has made."""
        if op in ("fork", "clone") and len(self.tasks) < MAX_TASKS:
            child = self.name("c")
            self.steps.append({"op": op, "task": who, "as": child})
            self.tasks.append(child)
            is_thread = op == "clone"
            self.regions[child] = self.regions[who] if is_thread else dict(self.regions[who])
            if is_thread:
                self.threads[child] = self.threads.get(who, who)
        elif op == "start" and len(self.tasks) < MAX_TASKS:
            self.tasks.append(self.name("c"))
            self.regions[self.tasks[-1]] = {}
            self.steps.append(
                {"op": op, "as": self.tasks[-1]} | ({"task": who} if self.chance(2) else {})
            )
        elif op == "exit" and len(self.tasks) > 2:
            ending = {who, *(t for t, process in self.threads.items() if process == who)}
            if len(ending) < len(self.tasks):
                self.steps.append({"op": op, "task": who})
                self.tasks = [task for task in self.tasks if task not in ending]
                self.pins = [pin for pin in self.pins if pin["task"] not in ending]
        elif op == "unpin" and self.pins:
            pin = self.pins.pop(self.draw(st.integers(0, len(self.pins) - 1)))
            self.steps.append(pin | {"op": op})
        elif op == "unlink" and len(self.files) > 1:
            self.steps.append({"op": op, "task": who, "file": self.files.pop()})
        elif op in ("free", "cma_release"):
            kind = {"free": "alloc", "cma_release": "cma_alloc"}[op]
            if self.names[kind]:
                self.steps.append({"op": op, "name": f"{kind}{self.names[kind]}"})
                self.names[kind] -= 1

    def keys(self, call: Call, argument: Argument, who: str) -> Step:
        """The keys of a step that say what *argument* is."""
        kind, name = argument.kind.name, argument.name
        if kind in ("range", "place"):
            return self.part(who, kind == "range" and not self.chance(3))
        if kind == "policy":
            flags = [self.pick([*MODE_FLAGS])] if self.chance(3) else []
            policy = {"mode": self.pick([*MODES]), "nodes": self.nodes()}
            return policy | {policy_flags_key(call): flags}
        if kind == "new region":
            return {name: self.name("r")}
        if kind == "new cpuset" or (kind == "name" and call.op in self.names):
            outer = f"{self.cpuset()}/" if kind == "new cpuset" and self.chance(3) else ""
            self.names[call.op] += 1
            made = f"{outer}{call.op}{self.names[call.op]}"
            self.last_cpuset = made if kind == "new cpuset" else self.last_cpuset
            return {name: made}
        if kind == "cpuset":
            return {name: self.cpuset()}
        if kind == "setting":
            setting = self.pick([*SETTINGS])
            return {"name": setting, "value": self.pick(SETTINGS[setting])}
        return {} if kind in ("shell", "value") else {name: self.value(call, argument, who)}

    def cpuset(self) -> str:
        """One that there is."""
        if not self.last_cpuset:
            self.names["cpuset_create"] += 1
            self.last_cpuset = "cpuset_create1"
            step = {"op": "cpuset_create", "cpuset": self.last_cpuset, "cpus": "0"}
            self.steps.append(step | {"mems": str(self.nids[0])})
        return self.last_cpuset

    def value(self, call: Call, argument: Argument, who: str) -> Any:
        """The value of a key."""
        kind = argument.kind
        if kind.name in ("caller", "own"):
            return who
        words = [word for word, _ in kind.words]
        draws: dict[str, Callable[[], Any]] = {
            "task": lambda: who if argument.name == "task" else self.pick(self.tasks),
            "pid": lambda: self.pick(self.tasks),
            "target": lambda: self.place(who),
            "size": lambda: self.pick(SIZES) * PAGE if argument.name != "offset" else 3 * PAGE,
            "stride": lambda: self.pick([1, 1, 2, 3]) * PAGE,
            "alignment": lambda: self.pick([PAGE, 64 * 1024, HUGE * PAGE]),
            "nodes": self.nodes,
            "cpus": lambda: self.pick(["0", "1", "0-1"]),
            "node list": lambda: str(self.nodes()),
            "cpu list": lambda: self.pick(["0", "1", "0-1", "all", "0-N:1/2"]),
            "flag": lambda: self.chance(2),
            "prot": lambda: self.pick(["rw", "r", "none", "rwx"]),
            "advice": lambda: self.pick([*SIMULATED]),
            "file": lambda: self.pick(self.files),
            "comm": lambda: "prog",
            "driver": lambda: self.pick([*DRIVERS]),
            "name": lambda: self.pick(["gpu", "npu", "ram"]),
            "numbers": lambda: [self.pick([0, 1, 2, 3]) for _ in range(self.pick([1, 2, 3]))],
            "page nodes": lambda: None if self.chance(5) else self.node(),
            "number": lambda: self.number(argument),
            "seconds": lambda: self.pick([1, 2]),
            "word": lambda: self.pick(words),
            "words": lambda: [self.pick(words)],
            "flags": lambda: [] if self.chance(3) else [self.pick(words)],
            "address": lambda: self.pick([0, 1, 600, 40000]) * PAGE,
        }
        return draws[kind.name]()

    def place(self, who: str) -> str | None:
        """A page in a region of *who*'s, if there is any."""
        if not self.regions.get(who):
            return None
        return f"{self.pick([*self.regions[who]])}+{self.pick([0, 1, HUGE]) * PAGE}"

    def number(self, argument: Argument) -> int:
        """A node, or a small number."""
        if argument.name in ("node", "to"):
            return self.node()
        return min(argument.kind.low + self.pick([0, 1, 2, 8]), argument.kind.high)

    def part(self, who: str, is_cut: bool) -> Step:
        """A region of *who*'s, or a part of it, which may reach beyond its end."""
        at = self.pick([*self.regions[who]][::-1])
        nr = self.regions[who][at]
        if not is_cut:
            return {"at": at}
        start = min(self.pick([0, 1, 3, 64, 300, HUGE, HUGE - 1]), nr - 1)
        size = self.pick([1, 2, 16, 33, nr - start, nr + 3, HUGE])
        return {"at": at, "offset": start * PAGE, "length": size * PAGE}

    def tidy(self, step: Step) -> None:
        """Leave out what a scenario must not say together."""
        if "at" not in step and step["op"] in ("damon", "hard_offline", "soft_offline"):
            step.pop("task", None)
            step |= {"node": self.node()} if step["op"] == "damon" else {"address": 600 * PAGE}
        if "pages" in step and "at" in step:
            step.pop("offset", None)
            step.pop("length", None)

    def note(self, step: Step, who: str) -> None:
        """Remember what later steps can name."""
        if step["op"] == "mmap":
            self.regions[who][step["as"]] = max(step["length"] // PAGE, 1)
        if step["op"] == "pin":
            self.pins.append(step)

    def text(self) -> str:
        """The program as a scenario."""
        tasks = {t: {"cpus": str(i % 2), "uid": uid} for i, (t, uid) in enumerate(self.who())}
        head = yaml.safe_dump(
            {"machine": self.machine, "files": FILES, "drivers": DRIVERS}, width=200
        )
        head += yaml.safe_dump({"tasks": tasks}, width=200)
        return f"{head}steps:\n" + "".join(f"  - {json.dumps(step)}\n" for step in self.steps)

    def who(self) -> list[tuple[str, int]]:
        """The tasks that there are at the beginning, and their users."""
        return list(zip(["a", "b"], self.uids, strict=False))


@st.composite
def programs(draw: Callable[[st.SearchStrategy[Any]], Any], length: int) -> str:
    """A scenario of about *length* steps."""
    program = Program(draw)
    for _ in range(length):
        program.step()
    return program.text()
