"""Programs on nodes that fill up: page cache gives way, calls fail, tasks are killed."""

from tests.oracle.draw.calls import Calling
from tests.oracle.draw.program import HUGE, MIB, PAGE, Region, Rows, machine, size

MIB_PAGES = MIB // PAGE
FAST = {"read_latency": 100, "write_latency": 100, "read_bandwidth": 10000}
FAST["write_bandwidth"] = 10000
SLOW = {"read_latency": 300, "write_latency": 300, "read_bandwidth": 5000}
SLOW["write_bandwidth"] = 5000


def tiers() -> dict[str, object]:
    """A node with a CPU, and a slower one behind it."""
    found = machine(128, 256, distances=[[10, 30], [30, 10]])
    found["nodes"][0]["hmat"] = FAST
    found["nodes"][1]["hmat"] = SLOW
    del found["nodes"][1]["cpus"]
    return found


class Full(Calling):
    """Regions as large as nodes: what they hold decides what happens to the next one."""

    machines = (
        (4, machine(128, 128)),
        (3, machine(128, 96, 160)),
        (2, tiers()),
    )
    lengths = (6, 8, 12, 16)

    def begin(self) -> None:
        """Something that fills a node, in part or whole."""
        self.machine = dict(self.machine)
        self.thp = self.chance(0.3)
        if self.thp:
            self.machine["thp"] = self.pick(["always", "madvise"])
            # What direct compaction finds depends on where the kernel's own pages lie.
            self.machine["thp_defrag"] = "never"
        self.tiered = "hmat" in self.machine["nodes"][0]
        if self.tiered and self.chance(0.6):
            self.machine["demotion"] = True
        if self.chance(0.6):
            self.files["d"] = {"size": f"{self.pick([50, 90, 110])}MiB", "fs": "ext4"}
        if self.chance(0.3):
            self.files["f"] = {"size": f"{self.pick([30, 60])}MiB", "fs": "tmpfs"}
        self.new_tasks("ab")
        self.fill()
        self.fill()

    def table(self) -> Rows:
        """Few steps, and large ones."""
        rows: Rows = [
            (self.fill, 8),
            (self.migrate, 10),
            (self.move_much, 6),
            (self.mbind_much, 8),
            (self.set_policy, 4),
            (self.drop_caches, 1),
            (self.release, 4),
            (self.run_elsewhere, 3),
            (self.fork, 2),
            (self.exit, 2),
            (self.pool, 2),
        ]
        # Of files among anonymous memory the kernel takes a list more or less, and it may come to
        # split huge pages: both follow from generations that are not modelled.
        is_simple = self.tiered and not self.thp and "d" not in self.files
        return [*rows, (self.reclaim, 8)] if is_simple else rows

    def fill(self) -> None:
        """A region of many MiB, placed by a policy or by where the task runs."""
        task = self.task()
        kinds = ["anon"] * 4 + ["shared"] * 2 + ["disk"] * 4 * ("d" in self.files)
        kinds += ["file"] * 2 * ("f" in self.files) + ["thp"] * 4 * self.thp
        kind = self.pick(kinds)
        mib = self.pick([10, 30, 50, 80, 110])
        if kind in ("disk", "file"):
            name = "d" if kind == "disk" else "f"
            mib = int(self.files[name]["size"][:-3])
            shared = True if kind == "disk" else self.chance(0.7)
            how = {"prot": "r"} if kind == "disk" else {}
            region = self.map(task, kind, mib * MIB_PAGES, file=name, shared=shared, **how)
        else:
            region = self.map(task, kind, mib * MIB_PAGES)
            if kind == "thp" and self.machine["thp"] == "madvise":
                self.add("madvise", task, at=region.name, advice="hugepage")
        if self.chance(0.5) and kind != "disk":
            mode = self.pick(["bind", "bind", "preferred", "preferred-many"])
            self.add("mbind", task, at=region.name, mode=mode, nodes=self.nodes(0))
        self.use(task, region)
        self.add("placement", task, at=region.name)

    def use(self, task: str, region: Region) -> None:
        """Access all of it."""
        how = {"write": False} if region.kind == "disk" else {}
        stride = {"stride": size(HUGE)} if region.kind == "thp" else {}
        self.add("touch", task, at=region.name, **how, **stride)

    def move_much(self) -> None:
        """move_pages(2) of every so many pages."""
        if pair := self.pair("anon", "shared", "thp", "file"):
            task, region = pair
            stride = size(HUGE if region.kind == "thp" else self.pick([2, 16]))
            where = {"stride": stride, "nodes": self.pick(self.memory)}
            self.add("move_pages", task, target=task, at=region.name, **where)
            self.add("placement", task, at=region.name)

    def mbind_much(self) -> None:
        """mbind(2) of a whole region."""
        if pair := self.pair():
            task, region = pair
            mode = self.pick(["bind", "bind", "preferred", "preferred-many", "interleave"])
            if mode == "interleave" and region.kind not in ("anon", "thp"):
                mode = "bind"
            flags = self.pick([["move"], ["move"], ["strict", "move"], ["move_all"], []])
            nodes = self.nodes(0)
            self.add("mbind", task, at=region.name, mode=mode, nodes=nodes, flags=flags)
            self.add("placement", task, at=region.name)

    def release(self) -> None:
        """Give memory back: its second half, or all of it."""
        if pair := self.pair():
            task, region = pair
            half = {"offset": size(region.nr // 2)} if self.chance(0.5) else {}
            self.add(self.pick(["munmap", "madvise"]), task, at=region.name, **half)
            if self.steps[-1]["op"] == "madvise":
                self.steps[-1]["advice"] = "dontneed"

    def drop_caches(self) -> None:
        """Drop the page cache."""
        self.add("sysctl", name="drop_caches", value=1)

    def pool(self) -> None:
        """Huge pages out of what is left."""
        value, node = self.pick([4, 16, 40]), self.pick(self.memory)
        self.add("sysctl", name="nr_hugepages", value=value, node=node)

    def reclaim(self) -> None:
        """Reclaim, as a write to memory.reclaim does."""
        task = self.task()
        self.add("reclaim", task, size=f"{self.pick([4, 8, 16, 32])}MiB")
        self.look(task)
        self.add("vmstat")
