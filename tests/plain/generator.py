"""Random programs of system calls: scenarios of up to some forty steps, and a look at the outcome.

What recorded cases do not look at (docs/records.md) is left out, or arranged so that it does not
matter: no interleaving task policy where a disk file's page cache is placed by it, no node of a
cursor that has moved on. So is what the plain model lacks: readahead beyond the first 128 KiB.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")
Step = dict[str, Any]
KIB = 1024
PAGE = 4 * KIB
MODES = """
    default preferred preferred bind bind bind interleave interleave local preferred-many
    preferred-many weighted-interleave
""".split()
MACHINES: dict[str, dict[str, Any]] = {
    "two": {"nodes": {0: ("0", 256), 1: ("1", 256)}},
    "two, three CPUs": {"nodes": {0: ("0-1", 256), 1: ("2", 256)}, "weights": {0: 3, 1: 2}},
    "three": {"nodes": {0: ("0", 256), 1: ("1", 256), 2: ("2", 256)}, "weights": {1: 4}},
    "memory only": {"nodes": {0: ("0", 256), 1: ("1", 256), 2: ("", 256)}},
    "CPUs only": {"nodes": {0: ("0", 256), 1: ("1", 0), 2: ("2", 256)}},
    "four": {"nodes": {0: ("0", 256), 1: ("1", 256), 2: ("2", 256), 3: ("3", 256)}},
    "pairs": {
        "nodes": {0: ("0", 256), 1: ("1", 256), 2: ("2", 256), 3: ("3", 256)},
        "distances": [[10, 12, 30, 30], [12, 10, 30, 30], [30, 30, 10, 12], [30, 30, 12, 10]],
    },
    "a tier behind": {
        "nodes": {0: ("0", 256), 1: ("1", 256), 2: ("", 256), 3: ("", 256)},
        "distances": [[10, 21, 17, 28], [21, 10, 28, 17], [17, 28, 10, 28], [28, 17, 28, 10]],
    },
}
FILES: list[dict[str, tuple[int, str]]] = [
    {},
    {"t": (40, "tmpfs")},
    {"s": (9, "tmpfs"), "t": (64, "tmpfs")},
    {"d": (32, "ext4"), "t": (24, "tmpfs")},
    {"d": (7, "ext4")},
]
SIZES = [1, 2, 5, 8, 16, 16, 20, 33, 48]
HUGE = 512  # pages
HUGE_SIZES = [HUGE, HUGE, 2 * HUGE, HUGE + 100, 2 * HUGE + 1, 3 * HUGE]


class Program:
    """A program that grows step by step."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self.draw = draw
        self.steps: list[Step] = []
        self.machine = dict(MACHINES[self.pick(sorted(MACHINES))])
        self.thp = self.pick(["never", "always", "always", "madvise"])
        if self.thp != "never":
            self.machine["thp"] = self.thp
        self.files = dict(self.pick(FILES))
        self.pool = self.chance(3)
        if self.pool:
            sizes = {nid: self.pick([2, 0, 1, 3, 4]) for nid in self.machine["nodes"]}
            has = {nid for nid, (_, size) in self.machine["nodes"].items() if size}
            self.machine["hugetlb"] = {nid: nr for nid, nr in sizes.items() if nid in has}
            self.files |= {"h": (2 * HUGE, "hugetlbfs")} if self.chance(2) else {}
        self.uids = self.pick([[0], [0], [1000], [0, 1000], [1000, 1000], [1000, 0]])
        self.cpus = [cpu for cpus, _ in self.machine["nodes"].values() for cpu in _members(cpus)]
        self.memory = [nid for nid, (_, size) in self.machine["nodes"].items() if size]
        self.tasks = ["a", "b"][: len(self.uids)]
        self.first_cpus = [self.pick(self.cpus) for _ in self.tasks]
        self.gone: list[str] = []
        self.own: dict[str, list[str]] = {task: [] for task in self.tasks}
        self.caller = self.tasks[0]
        self.regions: dict[str, int] = {}
        self.anonymous: list[str] = []
        self.private: set[str] = set()
        self.pooled: set[str] = set()
        self.pins: list[Step] = []
        self.cpusets: list[str] = []
        self.disk = any(fs == "ext4" for _, fs in self.files.values())
        self.frees = self.chance(2)  # MADV_FREE or MADV_PAGEOUT: the one would feed the other
        self.map_region(self.tasks[0])

    def pick(self, values: Sequence[T]) -> T:
        """One of *values*; the first is the simplest."""
        return values[self.draw(st.integers(0, len(values) - 1))]

    def chance(self, of: int) -> bool:
        """Yes, once in so many times."""
        return bool(self.draw(st.integers(0, of - 1)) == of - 1)

    def nodes(self, odd: int = 12) -> str:
        """Some nodes, now and then none, or one that does not exist."""
        bits = self.draw(st.integers(1, (1 << len(self.machine["nodes"])) - 1))
        found = [str(nid) for nid in self.machine["nodes"] if bits >> nid & 1]
        if odd and self.chance(odd):
            found = self.pick([[], ["9"], [*found, "9"]])
        return ",".join(found)

    def step(self, op: str, task: str | None = None, **arguments: Any) -> None:
        """Add a step."""
        self.steps.append({"op": op, **({"task": task} if task else {}), **arguments})

    def task(self) -> str:
        """Who does it."""
        self.caller = self.pick(self.tasks)
        return self.caller

    def region(self, names: Sequence[str] = ()) -> str:
        """What it is done to: most often something that the caller has mapped."""
        if not self.own[self.caller] and self.chance(2):
            self.map_region(self.caller)
        known = [*names] or [*self.regions][::-1]
        own = [name for name in known if name in self.own[self.caller]]
        return self.pick(known if not own or self.chance(8) else own)

    def part(self, at: str, odd: int = 10) -> Step:
        """A part of a region, now and then one that no caller should ask for."""
        nr = self.regions[at]
        if self.chance(3):
            return {"at": at}
        start = self.draw(st.integers(0, max(nr - 1, 0)))
        if nr >= HUGE and self.chance(2):
            start = self.pick([0, HUGE, HUGE // 2, HUGE - 1, HUGE + 1])
            start = min(start, nr - 1)
        size = self.pick([1, 2, 4, max(nr - start, 1), 7, nr // 2 + 1, HUGE])
        part = {"at": at, "offset": start * PAGE, "length": min(size, nr - start) * PAGE}
        if odd and self.chance(odd):
            part |= self.pick([
                {"length": 0},
                {"length": (nr + 3) * PAGE},
                {"offset": start * PAGE + 100},
                {"length": 5000},
                {"length": 600 * PAGE},
                {"offset": (nr + 2) * PAGE},
            ])  # fmt: skip
        return part

    def map_region(self, task: str) -> None:
        """Map something, and most often touch it."""
        name = f"r{len(self.regions)}"
        self.own[task].append(name)
        if self.pool and self.chance(2):
            self.map_hugetlb(task, name)
            return
        huge = self.thp != "never" and not self.chance(4)
        nr = 530 if self.chance(40) else self.pick(HUGE_SIZES if huge else SIZES)
        step: Step = {"as": name, "length": nr * PAGE, **self.kind(huge)}
        if not step.get("shared"):
            self.private.add(name)
            self.anonymous += [] if "file" in step else [name]
        if self.chance(6):
            step["prot"] = self.pick(["r", "r", "none"])
        if self.chance(8):
            step["populate"] = True
        if self.chance(8 if huge else 3):
            step["align"] = 4 * KIB
        if self.chance(40):
            step |= self.pick([{"length": 0}, {"offset": 100}, {"length": 5000}])
        self.regions[name] = -(-step["length"] // PAGE)
        self.step("mmap", task, **step)
        if self.thp == "madvise" and huge and not self.chance(4):
            self.step("madvise", task, **self.part(name), advice="hugepage")
        if not self.chance(4):
            self.touch(task, name)

    def map_hugetlb(self, task: str, name: str) -> None:
        """Map pages of the pool, or a file of them."""
        step: Step = {"as": name, "length": self.pick([1, 2, 3]) * HUGE * PAGE}
        if "h" in self.files and self.chance(3):
            step |= {"file": "h", "length": 2 * HUGE * PAGE, "shared": not self.chance(4)}
            step |= self.pick([{}, {}, {"offset": HUGE * PAGE, "length": HUGE * PAGE}])
        else:
            step |= {"hugetlb": True, "shared": self.chance(3)}
        if self.chance(8):
            step["prot"] = self.pick(["r", "none"])
        if self.chance(6):
            step["populate"] = True
        self.regions[name] = step["length"] // PAGE
        self.pooled.add(name)
        self.step("mmap", task, **step)
        if not self.chance(4):
            self.touch(task, name)

    def kind(self, huge: bool) -> Step:
        """What to map: private memory, shared memory, or a file."""
        kinds = ["anonymous", "anonymous", "anonymous", "shared", "file", "file"]
        kind = "anonymous" if huge and not self.chance(8) else self.pick(kinds)
        files = [name for name, (_, fs) in self.files.items() if fs != "hugetlbfs"]
        if kind == "file" and files:
            step: Step = {"file": self.pick(files), "shared": not self.chance(4)}
            return step | ({"offset": self.pick([3, 1, 16]) * PAGE} if self.chance(4) else {})
        return {"shared": True} if kind == "shared" else {}

    def touch(self, task: str, at: str = "") -> None:
        """Access some of a region."""
        step = self.part(at or self.region(), odd=30)
        if self.chance(4):
            step["write"] = False
        if self.chance(10):
            step["stride"] = self.pick([3 * PAGE, 2 * PAGE, 2 * KIB, 5000])
        if self.regions[step["at"]] >= HUGE and self.chance(2):
            step["stride"] = self.pick([HUGE * PAGE, 16 * PAGE, 100 * PAGE, 511 * PAGE])
        self.step("touch", task, **step)

    def policy(self, key: str) -> Step:
        """A policy; most of them are right."""
        policy: Step = {"mode": self.pick(MODES)}
        if policy["mode"] not in ("default", "local") or self.chance(20):
            policy["nodes"] = self.nodes()
        if self.chance(5):
            policy[key] = [self.pick(["static", "relative", "numa_balancing"])]
        if self.chance(30):
            policy |= self.pick([
                {"mode": 7}, {"mode": 0x8002}, {key: [4096]}, {key: ["static", "relative"]},
                {key: ["static", "numa_balancing"]}, {"nodes": ""},
            ])  # fmt: skip
        return policy

    def set_mempolicy(self, task: str) -> None:
        """Set a task's policy, and perhaps ask for it."""
        policy = self.policy("flags")
        if self.disk and policy["mode"] in ("interleave", "weighted-interleave"):
            policy["mode"] = "bind"
        self.step("set_mempolicy", task, **policy)
        if self.chance(3):
            self.step("get_mempolicy", task, flags=self.pick([[], [], ["mems_allowed"], ["node"]]))

    def mbind(self, task: str, at: str = "") -> None:
        """Set a region's policy; perhaps move what is there, perhaps touch what is not."""
        flags = self.pick([
            [], ["move"], ["move"], ["move_all"], ["strict"], ["strict", "move"],
            ["strict", "move_all"],
        ])  # fmt: skip
        if self.chance(40):
            flags = self.pick([["lazy"], ["lazy", "move"], [16]])
        part = self.part(at or self.region())
        self.step("mbind", task, **part, **self.policy("mode_flags"), flags=flags)
        if self.chance(3):
            self.touch(task, part["at"])
        if self.chance(6):
            self.step("numa_maps", task, at=part["at"])

    def cut_and_mend(self, task: str) -> None:
        """Cut a VMA in the middle, perhaps touch its parts, and make it one again, or nearly."""
        at = self.region()
        middle = self.part(at, odd=0)
        how = self.pick(["mbind", "mprotect", "mlock", "madvise"])
        first, second = {
            "mbind": ({"mode": "bind", "nodes": str(self.memory[0])}, {"mode": "default"}),
            "mprotect": ({"prot": "r"}, {"prot": "rw"}),
            "mlock": ({}, {}),
            "madvise": ({"advice": "hugepage"}, {"advice": "nohugepage"}),
        }[how]
        self.step(how, task, **middle, **first)
        if self.chance(2):
            self.touch(task, at)
        if self.chance(4):
            self.fork(task)
        part = {"at": at} if self.chance(3) else middle
        self.step("munlock" if how == "mlock" else how, task, **part, **second)
        self.step("numa_maps", task, at=at)

    def home_node(self, task: str) -> None:
        """Give a policy a home."""
        node = self.pick([*self.machine["nodes"], 9, -1])
        at = self.region()
        if self.chance(2):
            modes = ["bind", "preferred-many"]
            self.step("mbind", task, at=at, mode=self.pick(modes), nodes=self.nodes(0))
        self.step("set_mempolicy_home_node", task, **self.part(at), node=node)
        self.touch(task, at)

    def get_mempolicy(self, task: str) -> None:
        """Ask for the policy of an address."""
        at = self.region()
        flags = self.pick([["addr"], ["addr"], ["addr", "node"], ["addr", "mems_allowed"], [8], []])
        place = self.part(at)
        place.pop("length", None)
        self.step("get_mempolicy", task, **(place if flags else {}), flags=flags)

    def target(self) -> Step:
        """Whose pages: the caller's, another's, or those of one who is gone."""
        names = [*self.tasks, *(self.gone if self.chance(4) else [])]
        return {"target": self.pick(names)} if self.chance(2) else {}

    def migrate_pages(self, task: str) -> None:
        """Move from nodes to nodes."""
        old, new = self.nodes(), self.nodes()
        self.step("migrate_pages", task, **self.target(), **{"from": old, "to": new})
        if self.chance(3):
            self.step("vmstat")

    def move_pages(self, task: str) -> None:
        """Move single pages."""
        at = self.region()
        part = self.part(at)
        nr = self.regions[at]
        nodes: Any = self.pick([*self.memory, *self.memory, None, 9, -1])
        if self.chance(3):
            pages = self.draw(st.lists(st.integers(0, nr + 1), max_size=8))
            part = {"at": at, "pages": pages}
            if self.chance(2):
                nodes = [self.pick([*self.memory, *self.memory, *self.memory, 9]) for _ in pages]
        if self.chance(8):
            part["stride"] = self.pick([2 * PAGE, 2 * KIB, 3 * PAGE])
        if nr >= HUGE and not isinstance(nodes, list) and self.chance(2):
            part = {"at": at, "stride": self.pick([HUGE, 256, 1]) * PAGE}
        flags = self.pick([["move"], ["move"], ["move"], ["move_all"], [], ["move", "move_all"]])
        if self.chance(40):
            flags = self.pick([["strict"], [64]])
        self.step("move_pages", task, **self.target(), **part, nodes=nodes, flags=flags)

    def fork(self, task: str) -> None:
        """Have a child, and let it or its parent write."""
        pinned = {pin["at"] for pin in self.pins if pin["kind"] == "long"}
        if len(self.tasks) >= 4 or pinned & self.pooled:  # it would need the pool to have room
            return
        child = f"t{len(self.tasks) + len(self.gone)}"
        self.step("fork", task, **{"as": child})
        self.tasks.append(child)
        self.own[child] = [*self.own[task]]
        for _ in range(self.pick([1, 0, 2])):
            self.touch(self.pick([task, child]))

    def exit(self, task: str) -> None:
        """Let a task end."""
        if len(self.tasks) > 1 and not any(pin["task"] == task for pin in self.pins):
            self.step("exit", task)
            self.tasks.remove(task)
            self.gone.append(task)

    def pin(self, task: str) -> None:
        """Hold pages, or let them go."""
        if self.pins and self.chance(3):
            pin = self.pick(self.pins)
            self.pins.remove(pin)
            if pin["task"] in self.tasks:
                self.steps.append(pin | {"op": "unpin"})
            return
        at = self.region()
        start = self.draw(st.integers(0, max(self.regions[at] - 1, 0)))
        length = self.pick([1, 3, 8, HUGE]) * PAGE
        kind = self.pick(["long", "long", "short"])
        self.step("pin", task, at=at, offset=start * PAGE, length=length, kind=kind)
        self.pins.append(self.steps[-1])

    def cpuset(self, task: str) -> None:
        """Make a cpuset, change one, or move a task to one."""
        mems = ",".join(str(nid) for nid in self.memory if self.chance(2)) or str(self.memory[-1])
        what = self.pick(["create", "attach", "set", "attach"])
        if what == "create" or not self.cpusets:
            name = f"c{len(self.cpusets)}"
            cpus = ",".join(str(cpu) for cpu in self.cpus[self.pick([0, 0, 1]) :])
            self.step("cpuset_create", cpuset=name, cpus=cpus, mems=mems, memory_migrate=True)
            self.cpusets.append(name)
        if what == "set":
            self.step("cpuset_set", cpuset=self.pick(self.cpusets), mems=mems)
        else:
            self.drain(task)
            self.step("cpuset_attach", task, cpuset=self.pick(self.cpusets))
        if self.chance(3):
            self.step("get_mempolicy", task, flags=self.pick([[], ["mems_allowed"]]))

    def protect(self, task: str) -> None:
        """Change what a part may be accessed for."""
        self.step("mprotect", task, **self.part(self.region()), prot=self.pick(["rw", "r", "none"]))

    def advise(self, task: str) -> None:
        """Give some advice."""
        advices = ["dontneed", "dontneed", "populate_read", "populate_write", "cold", "random"]
        advices += ["hugepage", "nohugepage", "mergeable", "unmergeable", "normal", "dontfork"]
        advices += ["free", "free"] if self.frees else []
        if self.thp != "never":
            advices += ["dontneed", "cold", "hugepage", "nohugepage"]
        advice: Any = self.pick(advices)
        if self.thp != "never" and self.anonymous and self.chance(4):
            at = self.region(self.anonymous)
            self.step("madvise", task, **self.part(at), advice="collapse")
            return
        if not self.frees and self.anonymous and self.chance(12):
            part = self.part(self.pick(self.anonymous), odd=0)
            self.step("madvise", task, **part, advice="pageout")
            return
        if not self.disk and self.chance(20):
            advice = self.pick(["sequential", 5, 99])
        at = self.region()
        if at in self.pooled and sum(at in own for own in self.own.values()) > 1:
            advice = "normal"  # a reservation that waits for a child to let go of the page
        self.step("madvise", task, **self.part(at), advice=advice)

    def lock(self, task: str) -> None:
        """Lock or unlock a part."""
        self.step(self.pick(["mlock", "mlock", "munlock"]), task, **self.part(self.region()))

    def unmap(self, task: str) -> None:
        """Unmap a part."""
        self.step("munmap", task, **self.part(self.region()))

    def run_elsewhere(self, task: str) -> None:
        """Let a task run on other CPUs."""
        self.drain(task)
        cpus = [self.pick(self.cpus), *([self.pick(self.cpus)] if self.chance(4) else [])]
        self.step("sched_setaffinity", task, cpus=",".join(map(str, sorted(set(cpus)))))

    def drain(self, task: str) -> None:
        """Have new pages put on their LRU lists; until then the CPU that *task* leaves holds them.

        A page that is held so is copied after a fork by who could have it for himself, which the
        plain model does not know.
        """
        self.step("move_pages", task, at="r0", pages=[], nodes=self.memory[0])

    def drop_caches(self, task: str) -> None:
        """Drop the clean page cache, of a file that is read in one go."""
        if all(nr <= 7 or fs != "ext4" for nr, fs in self.files.values()):
            self.step("sysctl", name="drop_caches", value=self.pick([1, 3, 2]))

    def huge_story(self, task: str) -> None:
        """Cut a huge page, share it, or let some of it go, and move what is left."""
        if self.thp == "never":
            return
        if not self.own[task] or self.chance(3):
            self.map_region(task)
        at = self.region()
        for _ in range(self.pick([1, 0, 2])):
            part = self.part(at, odd=0)
            what = self.pick(["dontneed", "munmap", "mprotect", "mlock", "cold", "mbind", "fork"])
            if what in ("dontneed", "cold"):
                self.step("madvise", task, **part, advice=what)
            elif what == "mbind":
                self.step("mbind", task, **part, mode="bind", nodes=str(self.memory[0]))
            elif what == "fork":
                self.fork(task)
            else:
                self.step(what, task, **part, **({"prot": "r"} if what == "mprotect" else {}))
        if self.chance(3):
            self.pin(task)
        self.pick([self.mbind, self.migrate_pages, self.move_pages])(task)
        self.step("numa_maps", task, at=at)
        self.step("vmstat")

    def set_thp(self, task: str) -> None:
        """Turn huge pages on and off."""
        if self.thp != "never":
            self.step("sysctl", name="thp", value=self.pick(["never", "madvise", "always"]))

    def set_pool(self, task: str) -> None:
        """Give a node more huge pages in its pool, or fewer."""
        if self.pool:
            node, value = self.pick(self.memory), self.pick([2, 0, 1, 3, 5])
            self.step("sysctl", name="nr_hugepages", node=node, value=value)

    def look(self) -> None:
        """See where everything is."""
        for task in self.tasks:
            for at in self.regions:
                self.step("placement", task, at=at)
                self.step("numa_maps", task, at=at)
        self.step("vmstat")

    def text(self) -> str:
        """The program as YAML."""
        machine = {key: value for key, value in self.machine.items() if key != "nodes"}
        lines = ["machine:", "  nodes:"]
        lines += [f'    {nid}: {{cpus: "{cpus}", memory: {size}MiB}}'
                  for nid, (cpus, size) in self.machine["nodes"].items()]  # fmt: skip
        lines += [f"  {key}: {value}" for key, value in machine.items()]
        lines += ["files:"] if self.files else []
        lines += [
            f"  {name}: {{size: {nr * PAGE}, fs: {fs}}}" for name, (nr, fs) in self.files.items()
        ]
        lines += ["tasks:"]
        for name, uid, cpu in zip("ab", self.uids, self.first_cpus, strict=False):
            lines.append(f'  {name}: {{cpus: "{cpu}", uid: {uid}}}')
        lines += ["steps:", *(f"  - {json.dumps(step)}" for step in self.steps)]
        return "\n".join([*lines, ""])


ACTIONS: list[Callable[[Program, str], None]] = [
    Program.touch, Program.touch, Program.touch, Program.touch, Program.map_region,
    Program.map_region, Program.mbind, Program.mbind, Program.mbind, Program.mbind,
    Program.migrate_pages, Program.migrate_pages, Program.move_pages, Program.move_pages,
    Program.move_pages, Program.set_mempolicy, Program.set_mempolicy, Program.fork,
    Program.fork, Program.cut_and_mend, Program.cut_and_mend, Program.protect, Program.advise,
    Program.advise, Program.lock, Program.unmap, Program.pin, Program.pin, Program.cpuset,
    Program.run_elsewhere, Program.home_node, Program.get_mempolicy, Program.exit,
    Program.drop_caches, Program.set_thp, Program.set_pool,
    Program.huge_story, Program.huge_story, Program.huge_story, Program.huge_story,
]  # fmt: skip


@st.composite
def programs(draw: Callable[[st.SearchStrategy[Any]], Any], length: int = 40) -> str:
    """The text of a random program."""
    program = Program(draw)
    for _ in range(draw(st.integers(1, length))):
        program.pick(ACTIONS)(program, program.task())
    program.look()
    return program.text()


def _members(cpus: str) -> list[int]:
    """The CPUs of a list such as 0-1."""
    first, _, last = cpus.partition("-")
    return list(range(int(first), int(last or first) + 1)) if cpus else []
