"""The machine as programs use it: the answers of its methods, and how it refuses."""

from pathlib import Path

import pytest

import pymigrate
from pymigrate import KernelError, Machine, MovePagesError
from pymigrate.api.results import Group, Placed, Policy, Region
from tests.unit.api.conftest import SCENARIO

HEAP = 0x10000000


def nodes(machine: Machine, who: int | str, place: str) -> list[tuple[int, int | None]]:
    return [tuple(run) for run in machine.placement(who, place)]


def test_boot_takes_the_name_of_a_built_in_scenario() -> None:
    assert pymigrate.boot("two-node").tasks == {"db": 4321, "backup": 4400}


def test_boot_without_a_scenario_is_the_built_in_machine() -> None:
    assert pymigrate.boot().numa_maps_text("db") == pymigrate.boot("two-node").numa_maps_text("db")


def test_boot_takes_a_file(tmp_path: Path) -> None:
    path = tmp_path / "machine.yaml"
    path.write_text(SCENARIO)
    assert pymigrate.boot(path).tasks == {"a": 100, "b": 200}


def test_boot_takes_a_mapping() -> None:
    machine = pymigrate.boot({"machine": {"nodes": {0: {"cpus": "0", "memory": "64MiB"}}}})
    assert machine.nodes[0].memory == 64 << 20


def test_boot_runs_steps_when_asked() -> None:
    text = SCENARIO + 'steps:\n  - {op: migrate_pages, task: a, from: "0", to: "1"}\n'
    assert pymigrate.boot(text).placement("a", "heap") == [Placed(6, 0), Placed(2, 1)]
    assert pymigrate.boot(text, run=True).placement("a", "heap") == [Placed(8, 1)]


def test_boot_takes_another_kernel() -> None:
    assert pymigrate.boot(SCENARIO, kernel="6.1").kernel == "6.1"
    with pytest.raises(ValueError, match=r"'5\.0' is no kernel; expected '6\.12', '6\.1'"):
        pymigrate.boot(SCENARIO, kernel="5.0")


def test_boot_says_where_a_mistake_is() -> None:
    with pytest.raises(pymigrate.ScenarioError, match=r"<text>:9:5: unknown key 'pidd'"):
        pymigrate.boot(SCENARIO.replace("pid: 100", "pidd: 100"))


def test_boot_of_no_file_says_so() -> None:
    with pytest.raises(pymigrate.ScenarioError, match=r"nothere\.yaml: cannot be read"):
        pymigrate.boot("nothere.yaml")


def test_what_there_is(machine: Machine) -> None:
    assert machine.tasks == {"a": 100, "b": 200}
    assert machine.nodes[1].cpus == (2, 3)
    assert machine.nodes[1].distances == {0: 20, 1: 10}
    assert machine.nodes[0].memory - machine.nodes[0].free == 10 * 4096
    assert machine.regions("a")["heap"] == Region("heap", HEAP, 32768)
    assert repr(machine) == "<Machine: Linux 6.12, 2 nodes, 2 tasks>"


@pytest.mark.parametrize("who", [100, "100", "a", "alpha"])
def test_a_task_is_named_by_pid_name_or_comm(machine: Machine, who: int | str) -> None:
    assert machine.mems_allowed(who) == (0, 1)


@pytest.mark.parametrize("new", [1, "1", [1], {1}])
def test_migrate_pages_takes_nodes_in_each_spelling(machine: Machine, new: object) -> None:
    answer = machine.migrate_pages("a", 0, new)  # type: ignore[arg-type]
    assert (answer.ret, answer.moved, answer.stayed) == (0, 10, ())
    assert nodes(machine, "a", "heap") == [(8, 1)]


def test_migrate_pages_says_what_stayed(machine: Machine) -> None:
    answer = machine.migrate_pages("a", 0, 1, uid=26)
    assert (answer.ret, answer.moved) == (0, 6)
    [left] = answer.stayed
    assert (left.pid, left.region, left.node, left.pages) == (100, "buf", 0, 4)
    assert left.why.startswith("mapped more than once")
    assert machine.stayed() == answer.stayed


def test_a_task_may_be_the_caller(machine: Machine) -> None:
    assert machine.migrate_pages("a", 0, 1, caller="a").moved == 6
    assert machine.migrate_pages("a", 0, 1, caller="b").moved == 4


def test_a_refusal_is_a_kernel_error(machine: Machine) -> None:
    with pytest.raises(KernelError) as refusal:
        machine.migrate_pages("a", 0, 1, uid=1000)
    assert refusal.value.name == "EPERM"
    assert refusal.value.errno == 1
    assert refusal.value.strerror == str(refusal.value) == "Operation not permitted"
    assert refusal.value.why.startswith("uid 1000 may not inspect process 100 of uid 26")
    assert refusal.value.__notes__ == [f"EPERM: {refusal.value.why}"]


def test_move_pages_tells_the_node_of_each_page(machine: Machine) -> None:
    pages = machine.move_pages("a", "heap+16KiB:16KiB", None).pages
    assert [page.node for page in pages] == [0, 0, 1, 1]
    assert pages[0].address == HEAP + 0x4000


def test_move_pages_moves_each_page_to_its_node(machine: Machine) -> None:
    answer = machine.move_pages("a", [HEAP, HEAP + 0x7000], [1, 0])
    assert (answer.ret, answer.moved) == (0, 2)
    assert nodes(machine, "a", "heap") == [(1, 1), (5, 0), (1, 1), (1, 0)]


def test_move_pages_names_the_errno_of_a_page(machine: Machine) -> None:
    answer = machine.move_pages("a", "buf+0:4KiB", 1)
    assert [(page.node, page.errno) for page in answer.pages] == [(None, "EACCES")]
    assert answer.stayed[0].pages == 1
    assert machine.move_pages("a", "buf+0:4KiB", 1, move_all=True).pages[0].node == 1


def test_move_pages_that_fails_keeps_what_was_written(machine: Machine) -> None:
    with pytest.raises(MovePagesError) as failure:
        machine.move_pages("a", [HEAP, HEAP + 4096], [1, 9])
    assert failure.value.name == "ENODEV"
    assert failure.value.why == "node 9 does not exist"
    assert [page.node for page in failure.value.pages] == [1, None]


def test_move_pages_wants_a_node_for_each_page(machine: Machine) -> None:
    with pytest.raises(ValueError, match="1 nodes for 2 pages; expected one for each"):
        machine.move_pages("a", [HEAP, HEAP + 4096], [1])


def test_mbind_moves_what_lies_elsewhere(machine: Machine) -> None:
    assert machine.mbind("a", "heap", "bind:1", move=True).moved == 6
    policy = machine.get_mempolicy("a", "heap")
    assert policy == Policy("bind", (1,), (), "bind:1")
    assert str(policy) == "bind:1"
    assert nodes(machine, "a", "heap") == [(8, 1)]


def test_mbind_move_all_needs_the_capability(machine: Machine) -> None:
    with pytest.raises(KernelError, match="Operation not permitted"):
        machine.mbind("a", "buf", "bind:1", move_all=True)
    assert machine.mbind("a", "buf", "bind:1", move_all=True, uid=0).moved == 4


def test_mbind_strict_fails_and_the_pages_that_stayed_are_told(machine: Machine) -> None:
    machine.pin("a", "heap+0:4KiB")
    with pytest.raises(KernelError) as refusal:
        machine.mbind("a", "heap", "bind:1", move=True, strict=True)
    assert refusal.value.name == "EIO"
    assert [(left.region, left.pages, left.why) for left in machine.stayed()] == [
        ("heap", 1, "pinned")
    ]


def test_a_policy_says_where_new_pages_go(machine: Machine) -> None:
    machine.set_mempolicy("a", "interleave:0-1")
    assert str(machine.get_mempolicy("a")) == "interleave:0-1"
    region = machine.mmap("a", "new", "16KiB")
    assert machine.touch("a", region) is None
    assert machine.placement("a", region) == [Placed(1, n) for n in (0, 1, 0, 1)]
    assert machine.node_of("a", region.address + 4096) == 1


def test_a_home_node_comes_first(machine: Machine) -> None:
    region = machine.mmap("a", "new", "8KiB")
    machine.mbind("a", region, "bind:0-1")
    machine.set_mempolicy_home_node("a", region, 1)
    machine.touch("a", region)
    assert machine.placement("a", region) == [Placed(2, 1)]


def test_memory_calls(machine: Machine) -> None:
    region = machine.mmap("a", "new", "16KiB", populate=True)
    machine.madvise("a", "new+8KiB", "dontneed")
    machine.mlock("a", "new+0:4KiB")
    machine.munlock("a", "new+0:4KiB")
    machine.mprotect("a", region, "r")
    assert machine.touch("a", region) == "SIGSEGV"
    assert machine.touch("a", region, write=False, length="4KiB") is None
    machine.munmap("a", region)
    assert all(line.address != region.address for line in machine.numa_maps("a"))


def test_mmap_of_a_file_and_of_what_is_mapped(machine: Machine) -> None:
    machine.mmap("a", "map", "64KiB", file="data", prot="r")
    assert machine.numa_maps("a")[-1].file == "/data"
    with pytest.raises(ValueError, match="'map' is mapped already"):
        machine.mmap("a", "map", "4KiB")
    with pytest.raises(ValueError, match="there is no file 'nothere'"):
        machine.mmap("a", "other", "4KiB", file="nothere")


def test_fork_exit_and_affinity(machine: Machine) -> None:
    pid = machine.fork("a", "child")
    assert machine.tasks["child"] == pid == 1000
    machine.sched_setaffinity("child", [2])
    machine.touch("child", "heap+0:4KiB")
    assert nodes(machine, "child", "heap+0:4KiB") == [(1, 1)]
    with pytest.raises(ValueError, match="a task is called 'child' already"):
        machine.fork("a", "child")
    machine.exit("child")
    assert machine.tasks == {"a": 100, "b": 200}


def test_a_held_page_stays_until_it_is_let_go(machine: Machine) -> None:
    machine.pin("a", "heap+0:4KiB", kind="short")
    assert machine.migrate_pages("a", 0, 1).stayed[0].why == "held by another reference"
    machine.unpin("a", "heap+0:4KiB", kind="short")
    assert machine.migrate_pages("a", 0, 1).stayed == ()


def test_cpusets_take_memory_with_them(machine: Machine) -> None:
    machine.cpuset_create("batch", "0-3", 0)
    assert machine.cpuset_attach("batch", "a").moved == 2
    assert machine.cpuset_set("batch", mems="1").moved == 12
    assert machine.cpusets["batch"] == Group((0, 1, 2, 3), (1,), True, (100,))
    assert machine.cpuset_attach("/", "a").stayed == ()


def test_settings(machine: Machine) -> None:
    machine.set_sysctl("nr_hugepages", 2, node=1)
    assert machine.sysctl("nr_hugepages") == "2"
    with pytest.raises(KernelError, match="Permission denied"):
        machine.set_sysctl("thp", "always", uid=26)


def test_numa_maps_has_what_its_text_says(machine: Machine) -> None:
    heap = machine.numa_maps("a")[0]
    assert (heap.address, heap.kind, heap.nodes, heap.anon) == (HEAP, "heap", {0: 6, 1: 2}, 8)
    assert machine.numa_maps_text("a").startswith(
        "10000000 default heap anon=8 dirty=8 active=0 N0=6 N1=2 kernelpagesize_kB=4\n"
    )
    with pytest.raises(KernelError) as refusal:
        machine.numa_maps("a", uid=27)
    assert refusal.value.name == "EACCES"


def test_vmstat_counts(machine: Machine) -> None:
    before = machine.vmstat()
    machine.migrate_pages("a", 0, 1)
    assert machine.vmstat()["pgmigrate_success"] - before["pgmigrate_success"] == 10


def test_files_of_proc_and_sys_are_read_by_their_path(machine: Machine) -> None:
    assert machine.read("sys/devices/system/node/online") == "0-1\n"
    assert machine.read("/proc/vmstat").startswith("nr_free_pages ")
    with pytest.raises(KernelError):
        machine.read("proc/1/maps")


def test_ps_and_show(machine: Machine) -> None:
    assert [(row.pid, row.nodes) for row in machine.ps()] == [
        (100, {0: 10, 1: 2}),
        (200, {0: 4, 1: 0}),
    ]
    assert "heap  32KiB" in machine.show("a")
    assert "200 b" not in machine.show("a")


def test_explain_says_what_would_keep_pages(machine: Machine) -> None:
    explained = machine.explain("a", "buf", to=1, uid=1000)
    assert explained.refused[0].shows == "EPERM of migrate_pages and move_pages"
    [run] = explained.runs
    assert (run.region, run.pages, run.nodes) == ("buf", 4, {0: 4})
    assert run.cure == "call as root; for move_pages and mbind with --move-all"


def test_a_node_that_does_not_exist_is_no_place_to_go(machine: Machine) -> None:
    with pytest.raises(KernelError, match="No such device") as refused:
        machine.explain("a", to=7)
    assert refused.value.why == "node 7 does not exist"


def test_trace_holds_the_events_of_its_block(machine: Machine) -> None:
    with machine.trace() as trace:
        machine.move_pages("a", HEAP, 1)
    assert trace.lines == [
        "mm_migrate_pages_start: mode=MIGRATE_SYNC reason=syscall_or_cpuset",
        "set_migration_pte: addr=heap+0, pte=write,young,dirty order=0 pid=100",
        "remove_migration_pte: addr=heap+0, order=0 pid=100",
        "mm_migrate_pages: nr_succeeded=1 nr_failed=0 nr_thp_succeeded=0 nr_thp_failed=0"
        " nr_thp_split=0 nr_split=0 mode=MIGRATE_SYNC reason=syscall_or_cpuset",
    ]
    assert trace.events[1]["address"] == "0x10000000"
    with machine.trace(steps=True) as trace:
        machine.step({"op": "migrate_pages", "task": "a", "from": "1", "to": "0"})
        machine.move_pages("a", HEAP, 1)
    assert len([line for line in trace.lines if "mm_migrate_pages_start" in line]) == 2
    assert any("copy the contents" in line for line in trace.lines)


def test_a_copy_goes_its_own_way(machine: Machine) -> None:
    twin = machine.copy()
    twin.migrate_pages("a", 0, 1)
    assert nodes(machine, "a", "heap") == [(6, 0), (2, 1)]
    assert nodes(twin, "a", "heap") == [(8, 1)]
    machine.migrate_pages("a", 0, 1)
    assert twin.vmstat() == machine.vmstat()


def test_a_saved_machine_is_loaded_as_it_was(machine: Machine, tmp_path: Path) -> None:
    machine.migrate_pages("a", 0, 1)
    machine.save(tmp_path / "state.db")
    loaded = pymigrate.load(tmp_path / "state.db")
    assert loaded.numa_maps_text("a") == machine.numa_maps_text("a")
    assert loaded.vmstat() == machine.vmstat()
    with pytest.raises(pymigrate.StoreError, match="there is no such file"):
        pymigrate.load(tmp_path / "nothere.db")


def test_names_that_mean_nothing_are_value_errors(machine: Machine) -> None:
    with pytest.raises(ValueError, match="'hep' is neither an address nor a region of process 100"):
        machine.touch("a", "hep")
    with pytest.raises(ValueError, match="268435456 is an address; expected a length with it"):
        machine.touch("a", HEAP)
    with pytest.raises(ValueError, match=r"'bnd' is not a mode.*did you mean 'bind'"):
        machine.set_mempolicy("a", "bnd:0")
    with pytest.raises(ValueError, match="'hugpage' is not an advice"):
        machine.madvise("a", "heap", "hugpage")
    with pytest.raises(ValueError, match="stride of at least a byte"):
        machine.touch("a", "heap", stride=0)
