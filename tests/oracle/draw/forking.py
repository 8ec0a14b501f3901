"""Programs of families: forks of forks, and what moves their memory by itself."""

from tests.oracle.draw.calls import Calling
from tests.oracle.draw.program import HUGE, Rows, machine, size

FAR = [[10, 20, 20, 200], [20, 10, 20, 200], [20, 20, 10, 200], [200, 200, 200, 10]]


def movable() -> dict[str, object]:
    """Three nodes whose memory can go offline, and the service node."""
    found = machine(256, 256, 384, 512, distances=FAR)
    for nid in range(3):
        found["nodes"][nid]["movable"] = found["nodes"][nid]["memory"]
    return found


class Forking(Calling):
    """Forks, copy-on-write, compaction; memory blocks or pages that go offline."""

    machines = ((3, machine(256, 256)), (3, machine(256, 256, 256)), (4, movable()))
    lengths = (10, 16, 24, 36)
    most_tasks = 5

    def begin(self) -> None:
        """A region, and a child."""
        self.machine = dict(self.machine)
        self.thp = self.chance(0.5)
        if self.thp:
            self.machine["thp"] = self.pick(["always", "always", "madvise"])
        self.huge = self.chance(0.15)
        if self.huge:
            self.machine["hugetlb"] = {nid: self.rng.randint(2, 5) for nid in self.memory}
        if self.chance(0.35):
            self.files["f"] = {"size": "256KiB", "fs": "tmpfs"}
        self.new_tasks("a")
        self.map_one()
        self.fork()

    def table(self) -> Rows:
        """The calls, with more forks, and what empties memory."""
        rows = [*self.calls(), (self.map_one, 8), (self.fork, 14), (self.compact, 8)]
        if self.service:
            return [*rows, (self.offline, 9), (self.online, 7)]
        return [*rows, (self.soft_offline, 12)]

    def map_one(self) -> None:
        """Map a region, and access it."""
        task = self.task()
        kinds = ["anon"] * 8 + ["shared"] * 3 + ["thp"] * 10 * self.thp
        kinds += ["hugetlb"] * 5 * self.huge + ["file"] * 3 * ("f" in self.files)
        kind = self.pick(kinds)
        if kind == "file":
            shared = self.chance(0.5)
            region = self.map(task, kind, self.pick([16, 48, 64]), file="f", shared=shared)
        elif kind == "thp":
            region = self.map(task, kind, self.pick([HUGE, 2 * HUGE, 600]))
            if self.machine["thp"] == "madvise":
                self.add("madvise", task, at=region.name, advice="hugepage")
        else:
            nr = self.pick([HUGE, 2 * HUGE]) if kind == "hugetlb" else self.pick([2, 8, 16, 40])
            region = self.map(task, kind, nr)
        if self.chance(0.3):
            mode, nodes, _ = self.policy(region)
            self.add("mbind", task, at=region.name, mode=mode, nodes=nodes)
        self.touch(task, region)
        if self.chance(0.3):
            self.touch(task, region, whole=0.2)

    def compact(self) -> None:
        """Compact all nodes."""
        self.add("sysctl", name="compact_memory", value=1)
        self.look(self.task())

    def offline(self) -> None:
        """Take a node's memory away, all of it or its first block."""
        nid = self.pick(self.memory)
        self.add("memory_offline", node=nid)
        self.look(self.task())

    def online(self) -> None:
        """Give a node's memory back."""
        self.add("memory_online", node=self.pick(self.memory))

    def soft_offline(self) -> None:
        """Take a few pages out of use."""
        pair = self.pair("anon", "shared", "thp", "hugetlb", "file")
        if not pair or self.uid[pair[0]]:
            return
        task, region = pair
        first = self.rng.randrange(region.nr)
        nr = min(self.pick([1, 1, 2, 5]), region.nr - first)
        where = {"offset": size(first)} if first else {}
        self.add("soft_offline", task, at=region.name, **where, length=size(nr))
        self.look(task, region)
