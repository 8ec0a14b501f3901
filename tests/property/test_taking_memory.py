"""Memory that is taken away, page by page or block by block: no page is lost or doubled."""

from collections.abc import Callable
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from pymigrate.errors import KernelError
from pymigrate.mm.offline.memory_failure import num_poisoned_pages, soft_offline_page
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.scenario.boot.build import boot
from pymigrate.scenario.spec.models import MachineSpec
from pymigrate.syscalls import cma, gup, memory_blocks
from pymigrate.syscalls.process import fork
from tests.conftest import PAGE, new_task, touched
from tests.property.invariants import check, check_pins, sharing, used_frames

NODES = {
    0: {"cpus": "0", "memory": "256MiB", "cma": "128MiB"},
    1: {"cpus": "1", "memory": "256MiB", "movable": "128MiB"},
    2: {"cpus": "", "memory": "128MiB", "cma": "32MiB"},
}
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["map", "map", "fork", "pin", "unpin", "offline", "online", "alloc", "bad"]
        ),
        st.integers(0, 2),  # a node
        st.sampled_from([1, 3, 40, 300, 513, 2000]),  # pages
        st.sampled_from([0, 1, 7, 100, 511, 5000]),  # where
    ),
    min_size=4,
    max_size=12,
)


class Program:
    """A machine, and what was done on it."""

    def __init__(self, thp: str, pools: dict[int, int]) -> None:
        spec = {"nodes": NODES, "thp": thp, "hugetlb": pools}
        self.machine: Machine = boot(MachineSpec.model_validate(spec), "6.12")
        self.tasks: list[Task] = [new_task(self.machine)]
        self.mapped: list[tuple[Task, int, int]] = []
        self.pinned: list[tuple[Task, int, int, bool]] = []

    def map(self, node: int, nr: int, where: int) -> None:
        task = self.tasks[where % len(self.tasks)]
        hugetlb = where == 511 and node == 1
        size = f"{-(-nr // 512) * 2}MiB" if hugetlb else f"{nr * 4}KiB"
        try:
            addr = touched(self.machine, task, size, node, hugetlb=hugetlb)
        except (KernelError, AssertionError):  # the pools have not enough
            return
        self.mapped.append((task, addr, nr))

    def fork(self, node: int, nr: int, where: int) -> None:
        parent = self.tasks[where % len(self.tasks)]
        self.tasks.append(fork(self.machine, parent, f"child{len(self.tasks)}"))

    def pin(self, node: int, nr: int, where: int) -> None:
        if self.mapped:
            task, addr, size = self.mapped[where % len(self.mapped)]
            held = (task, addr, min(nr, size) * PAGE, node > 0)
            gup.pin(self.machine, *held)
            self.pinned.append(held)

    def unpin(self, node: int, nr: int, where: int) -> None:
        if self.pinned:
            gup.unpin(self.machine, *self.pinned.pop(where % len(self.pinned)))

    def offline(self, node: int, nr: int, where: int) -> None:
        self.moving(lambda: memory_blocks.offline(self.machine, self.machine.shell_of(0), node))

    def online(self, node: int, nr: int, where: int) -> None:
        memory_blocks.online(self.machine, self.machine.shell_of(0), node)

    def alloc(self, node: int, nr: int, where: int) -> None:
        name = f"buffer{where % 3}"
        if name in self.machine.contigs:
            cma.release(self.machine, self.machine.shell_of(0), name)
        shell, size = self.machine.shell_of(0), nr * 8 * PAGE
        self.moving(lambda: cma.alloc(self.machine, shell, name, size, node))

    def bad(self, node: int, nr: int, where: int) -> None:
        known = num_poisoned_pages(self.machine)
        runs = self.machine.nodes[node].memmap.runs
        pfn = runs[nr % len(runs)].start if runs else (node << 32) + where
        try:
            soft_offline_page(self.machine, pfn)
        finally:
            assert num_poisoned_pages(self.machine) <= known + 1

    def moving(self, call: Callable[[], object]) -> None:
        """What is mapped stays so, by whom and with what rights, wherever it goes."""
        before = sharing(self.machine)
        try:
            call()
        finally:
            if self.machine.thp == "never":
                assert sharing(self.machine) == before


@settings(max_examples=12)
@given(
    thp=st.sampled_from(["never", "always"]),
    pools=st.sampled_from([{}, {0: 2, 1: 3}]),
    steps=STEPS,
)
def test_whatever_is_taken_away_no_page_is_lost(
    thp: str, pools: dict[int, int], steps: list[tuple[str, int, int, int]]
) -> None:
    program = Program(thp, pools)
    for name, *where in steps:
        with suppress(KernelError):
            getattr(program, name)(*where)
        check(program.machine)
        check_pins(program.machine, used_frames(program.machine))
        assert program.machine.scope.isolated is None
        assert not program.machine.scope.memalloc_pin
