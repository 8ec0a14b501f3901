"""The steps of random programs that any kind may have: calls on memory and on policies."""

from tests.oracle.draw.program import HUGE, Drawn, Part, Rows, size


class Calling(Drawn):
    """A program with all of the calls."""

    def calls(self) -> Rows:
        """The calls, and how often they come."""
        return [
            (self.touch_some, 14),
            (self.fork, 8),
            (self.exit, 3),
            (self.migrate, 16),
            (self.move, 16),
            (self.mbind, 14),
            (self.set_policy, 6),
            (self.get_policy, 4),
            (self.mprotect, 4),
            (self.munmap, 4),
            (self.madvise, 6),
            (self.lock, 3),
            (self.pin, 5),
            (self.run_elsewhere, 4),
            (self.home_node, 2),
        ]

    def touch_some(self) -> None:
        """Access something."""
        if pair := self.pair():
            self.touch(*pair, whole=0.5)

    def exit(self) -> None:
        """Let a task end."""
        if len(self.live) > 1 and self.chance(0.5):
            task = self.task()
            self.add("exit", task)
            self.live.remove(task)

    def other(self, task: str) -> str:
        """Whom a call is about: most often its caller."""
        return self.task() if self.chance(0.35) else task

    def migrate(self) -> None:
        """migrate_pages(2), now and then by a program, which is in no cpuset."""
        task = self.task()
        target = self.other(task)
        source, to = self.source(target), self.nodes(0.04)
        if self.chance(0.08) and source and to and not self.cpusets:
            argv = ["migratepages", f"${target}", source, to]
            self.add("exec", task, argv=argv)
        else:
            self.add("migrate_pages", task, target=target, **{"from": source}, to=to)
        self.look(target)

    def move(self) -> None:
        """move_pages(2)."""
        pair = self.pair()
        if not pair:
            return
        target, region = pair
        task = self.task() if self.chance(0.3) else target
        how = self.part(region)
        if region.is_huge:
            if self.chance(0.6):
                how["stride"] = size(self.pick([HUGE, HUGE, HUGE // 2]))
            else:
                how = {"pages": self._pages(region.nr, 6)}
        elif self.chance(0.2):
            how = {"pages": self._pages(region.nr + 1, 8)}
        nodes = self._targets(region.nr, how)
        if isinstance(nodes, list) and "pages" not in how:
            how = {}
        if self.chance(0.25):
            how["flags"] = ["move_all"]
        self.add("move_pages", task, target=target, at=region.name, **how, nodes=nodes)
        if nodes is not None:
            self.look(target, region)

    def _pages(self, below: int, most: int) -> list[int]:
        return [self.rng.randrange(below) for _ in range(self.rng.randint(1, most))]

    def _targets(self, nr: int, how: Part) -> int | list[int] | None:
        """One node, or one for each page, or a question."""
        choice = self.rng.random()
        if choice < 0.15:
            return None
        if choice < 0.75 or ("pages" not in how and nr > 64):
            return self.node()
        return [self.node() for _ in range(len(how["pages"]) if "pages" in how else nr)]

    def mbind(self) -> None:
        """mbind(2)."""
        if not (pair := self.pair()):
            return
        task, region = pair
        mode, nodes, mode_flags = self.policy(region)
        flags = self.pick(
            [[], ["move"], ["move"], ["move"], ["strict"], ["strict", "move"], ["move_all"]]
        )
        how: Part = {"mode_flags": mode_flags} if mode_flags else {}
        where = self.part(region)
        self.add("mbind", task, at=region.name, **where, mode=mode, nodes=nodes, **how, flags=flags)
        self.look(task, region)

    def set_policy(self) -> None:
        """set_mempolicy(2)."""
        task = self.task()
        mode, nodes, flags = self.policy()
        self.add("set_mempolicy", task, mode=mode, nodes=nodes, flags=flags)
        if self.chance(0.3):
            self.add("get_mempolicy", task)

    def get_policy(self) -> None:
        """get_mempolicy(2) of an address."""
        if pair := self.pair():
            task, region = pair
            where = size(self.rng.randrange(region.nr))
            self.add("get_mempolicy", task, flags=["addr"], at=region.name, offset=where)

    def home_node(self) -> None:
        """set_mempolicy_home_node(2)."""
        if pair := self.pair():
            task, region = pair
            where = self.part(region)
            self.add("set_mempolicy_home_node", task, at=region.name, **where, node=self.node())

    def mprotect(self) -> None:
        """mprotect(2)."""
        if pair := self.pair("anon", "thp", "shared", "file", "hugetlb"):
            task, region = pair
            prot = self.pick(["r", "none", "rw", "rw"])
            self.add("mprotect", task, at=region.name, **self.part(region), prot=prot)

    def munmap(self) -> None:
        """munmap(2), seldom of a whole region."""
        if pair := self.pair():
            task, region = pair
            where = self.part(region)
            if where or self.chance(0.2):
                self.add("munmap", task, at=region.name, **where)

    def madvise(self) -> None:
        """madvise(2)."""
        if pair := self.pair("anon", "thp", "shared", "file", "hugetlb"):
            task, region = pair
            advice = ["dontneed", "dontneed", "populate_write", "populate_read"]
            advice += ["dontfork", "dofork"] if self.chance(0.2) else []
            advice += ["hugepage", "nohugepage", "collapse"] if region.kind == "thp" else []
            where = self.part(region)
            self.add("madvise", task, at=region.name, **where, advice=self.pick(advice))

    def lock(self) -> None:
        """mlock(2) and munlock(2)."""
        if pair := self.pair("anon", "shared", "thp"):
            task, region = pair
            op = self.pick(["mlock", "mlock", "munlock"])
            self.add(op, task, at=region.name, **self.part(region))

    def pin(self) -> None:
        """A pin, or the end of one."""
        if self.pins and self.chance(0.4):
            task, where = self.pins.pop(self.rng.randrange(len(self.pins)))
            if task in self.live:
                self.add("unpin", task, **where)
            return
        if pair := self.pair("anon", "shared", "thp", "hugetlb"):
            task, region = pair
            nr = self.rng.randint(1, min(8, region.nr))
            first = self.rng.randrange(region.nr - nr + 1)
            where = {"at": region.name} | ({"offset": size(first)} if first else {})
            where |= {"length": size(nr), "kind": self.pick(["long", "long", "short"])}
            if (task, where) not in self.pins:
                self.add("pin", task, **where)
                self.pins.append((task, where))

    def run_elsewhere(self) -> None:
        """sched_setaffinity(2)."""
        task, cpu = self.task(), self.pick(self.cpus)
        self.home[task] = self.homes[cpu]
        self.add("sched_setaffinity", task, cpus=str(cpu))

    def cpuset(self) -> None:
        """A cpuset made, changed or entered."""
        if len(self.memory) < len(self.nids) or len(self.nids) != max(self.nids) + 1:
            return
        nids = self.nids
        some = sorted(self.rng.sample(nids, self.rng.randint(1, len(nids))))
        mems = ",".join(map(str, some))
        task = self.task()
        if not self.cpusets or (len(self.cpusets) < 3 and self.chance(0.3)):
            name = f"c{len(self.cpusets)}"
            if self.cpusets and self.chance(0.6):
                name = f"{self.pick(self.cpusets)}/{name}"
                mems = self.pick([mems, ""])
            self.cpusets.append(name)
            cpus = f"0-{len(self.cpus) - 1}"
            self.add("cpuset_create", cpuset=name, cpus=cpus, mems=mems, memory_migrate=True)
            self.add("cpuset_attach", task, cpuset=name)
        elif self.chance(0.05):
            self.add("cpuset_remove", cpuset=self.pick(self.cpusets))
        elif self.chance(0.35):
            self.add("cpuset_attach", task, cpuset=self.pick(self.cpusets))
        else:
            self.add("cpuset_set", cpuset=self.pick(self.cpusets), mems=mems)
        self.look(task)
        if self.chance(0.4):
            self.add("get_mempolicy", self.task(), flags=self.pick([[], ["mems_allowed"]]))
