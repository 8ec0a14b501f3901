"""Programs of all steps, on memory that is always ample."""

from typing import Any

from tests.oracle.draw.calls import Calling
from tests.oracle.draw.program import Part, Rows, machine, size

PAIRS = [[10, 15, 30, 40], [15, 10, 40, 30], [30, 40, 10, 15], [40, 30, 15, 10]]
_GAP: dict[str, Any] = {
    "nodes": {
        0: {"cpus": "0", "memory": "256MiB"},
        2: {"cpus": "1", "memory": "256MiB"},
        3: {"cpus": "2", "memory": "256MiB"},
    }
}


class Anything(Calling):
    """Small regions of every kind, forks, policies, cpusets, pins, THPs and hugetlb."""

    machines = (
        (5, machine(512, 512)),
        (3, machine(512, 512, 512)),
        (5, machine(512, 512, 512, 512)),
        (2, machine(512, 512, 512, 512, distances=PAIRS)),
        (1, machine(512, 0, 512)),
        (1, _GAP),
    )

    def begin(self) -> None:
        """Two regions."""
        self.machine = dict(self.machine)
        self.thp = self.chance(0.35)
        self.huge = not self.thp and self.chance(0.25)
        if self.thp:
            self.machine["thp"] = self.pick(["always", "always", "madvise"])
        if self.huge:
            self.machine["hugetlb"] = {nid: self.rng.randint(2, 5) for nid in self.memory}
        if self.chance(0.35):
            self.files["f"] = {"size": "256KiB", "fs": "tmpfs"}
        if self.chance(0.2):
            self.files["d"] = {"size": size(self.pick([7, 16, 64])), "fs": "ext4"}
        self.new_tasks("a" if self.chance(0.6) else "ab", users=self.chance(0.25))
        self.map_one()
        self.map_one()

    def table(self) -> Rows:
        """All calls, and the machine's steps."""
        rows = [*self.calls(), (self.map_one, 10), (self.drop_caches, 1)]
        if self.chance(0.2):
            rows.append((self.cpuset, 14))
        if self.chance(0.1):
            rows.append((self.merge, 4))
        if self.huge:
            rows.append((self.pool, 2))
        if self.thp:
            rows.append((self.switch_thp, 1))
        return rows

    def map_one(self) -> None:
        """Map a region, most often with a policy, and access it."""
        task = self.task()
        kind = self.pick(self._kinds())
        region = self.map(task, kind, self._length(kind), **self._how(kind))
        if self.machine.get("thp") == "madvise" and kind == "thp" and self.chance(0.7):
            self.add("madvise", task, at=region.name, advice="hugepage")
        if self.chance(0.45):
            mode, nodes, flags = self.policy(region)
            more: Part = {"mode_flags": flags} if flags else {}
            self.add("mbind", task, at=region.name, mode=mode, nodes=nodes, **more)
        if self.chance(0.92):
            self.touch(task, region)

    def _kinds(self) -> list[str]:
        kinds = ["anon"] * 12 + ["shared"] * 4 + ["secret"] * self.chance(0.3)
        kinds += ["file"] * 6 * ("f" in self.files) + ["disk"] * 6 * ("d" in self.files)
        return kinds + ["hugetlb"] * 10 * self.huge + ["thp"] * 14 * self.thp

    def _length(self, kind: str) -> int:
        if kind == "thp":
            return self.pick([1024, 1024, 1536, 600, 2048])
        if kind == "hugetlb":
            return self.pick([512, 1024, 1024, 1536])
        if kind in ("file", "disk"):
            return self.pick([8, 16, 32, 64])
        return self.pick([4, 8, 12, 16, 16, 24, 32, 48])

    def _how(self, kind: str) -> Part:
        how: Part = {}
        if kind == "hugetlb" and self.chance(0.3):
            how["shared"] = True
        if kind in ("file", "disk"):
            how = {"file": "f" if kind == "file" else "d", "shared": self.chance(0.6)}
            if self.chance(0.2):
                how["offset"] = size(self.rng.randint(1, 8))
        if kind in ("anon", "shared") and self.chance(0.1):
            how["populate"] = True
        if kind == "anon" and self.chance(0.1):
            how["align"] = "4KiB"
        return how

    def drop_caches(self) -> None:
        """Drop the page cache, and what shrinkers find.

        Not with a file of a disk: the recorder syncs first, so that what is dirty turns clean.
        """
        if "d" not in self.files:
            self.add("sysctl", name="drop_caches", value=self.pick([1, 3]))

    def merge(self) -> None:
        """Let KSM merge pages."""
        if pair := self.pair("anon"):
            task, region = pair
            where = self.part(region)
            self.add("madvise", task, at=region.name, **where, advice="mergeable")
            self.add("ksm")
            self.look(task, region)

    def pool(self) -> None:
        """Another number of huge pages."""
        value, node = self.rng.randint(0, 6), self.pick(self.memory)
        self.add("sysctl", name="nr_hugepages", value=value, node=node)

    def switch_thp(self) -> None:
        """Whether new memory is huge."""
        self.add("sysctl", name="thp", value=self.pick(["always", "madvise", "never"]))
