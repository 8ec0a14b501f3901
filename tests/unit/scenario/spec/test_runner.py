"""Steps that only pymigrate has: work on folios, and accesses in the middle of a move."""

from typing import Any

import pytest

from pymigrate.errors import ScenarioErrors, UnsupportedError
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.spec.runner import Runner
from tests.property.invariants import check

HEAD = """
machine:
  nodes:
    0: {cpus: "0", memory: 64MiB}
    1: {cpus: "1", memory: 64MiB}
"""
TASKS = """
tasks:
  a: {cpus: "0", uid: 0}
  b: {cpus: "1", uid: 0}
"""
MOVE = "op: migrate_pages, task: a, from: '0', to: '1'"
MAPPED = f"""{HEAD}{TASKS}
steps:
  - {{op: mmap, task: a, as: buf, length: 16KiB}}
  - {{op: touch, task: a, at: buf}}
"""
DEVICES = MAPPED.replace("tasks:", "  devices: {gpu: {memory: 12KiB}}\ntasks:")


def records(text: str) -> list[dict[str, Any]]:
    """What the steps of a scenario answer."""
    scenario = load_text(text)
    machine = build(scenario)
    found = list(Runner(machine).run(scenario.steps))
    check(machine)
    assert not machine.scope.meanwhile
    return found


def test_work_that_ends_is_waited_for() -> None:
    text = """
  - {op: busy, task: a, at: buf, offset: 4KiB, length: 8KiB, kind: locked, passes: 5}
  - {op: migrate_pages, task: a, from: "0", to: "1"}
  - {op: vmstat}
"""
    *_, moved, counted = records(MAPPED + text)
    assert (moved["ret"], counted["delta"]) == (0, {"pgmigrate_success": 4})


def test_work_that_never_ends_is_said() -> None:
    text = """
  - {op: busy, task: a, at: buf, kind: locked}
  - {op: migrate_pages, task: a, from: "0", to: "1"}
"""
    with pytest.raises(UnsupportedError, match="would wait for ever"):
        records(MAPPED + text)


def test_work_can_be_ended() -> None:
    text = """
  - {op: busy, task: a, at: buf, kind: writeback}
  - {op: numa_maps, task: a, at: buf}
  - {op: busy, task: a, at: buf, kind: none}
  - {op: numa_maps, task: a, at: buf}
"""
    before, _, after = records(MAPPED + text)[3:]
    assert before["lines"][0]["writeback"] == 4
    assert "writeback" not in after["lines"][0]


def test_an_access_to_a_page_that_is_unmapped_waits() -> None:
    text = """
  - {op: fork, task: a, as: c}
  - {op: migrate_pages, task: a, from: "0", to: "1", meanwhile: {task: c, at: buf, offset: 4KiB}}
  - {op: placement, task: a, at: buf}
  - {op: placement, task: c, at: buf}
"""
    moved, ours, theirs = records(MAPPED + text)[3:]
    assert moved["meanwhile"] == {"waited": True, "signal": None}
    assert ours["nodes"] == [[4, 1]]
    assert theirs["nodes"] == [[1, 1], [1, 0], [2, 1]]  # its store has copied the page


def test_an_access_to_another_page_does_not_wait() -> None:
    text = """
  - {op: mmap, task: b, as: other, length: 4KiB}
  - {op: move_pages, task: a, at: buf, nodes: 1, meanwhile: {task: b, at: other}}
  - {op: placement, task: b, at: other}
"""
    moved, theirs = records(MAPPED + text)[3:]
    assert moved["meanwhile"] == {"waited": False, "signal": None}
    assert theirs["nodes"] == [[1, 1]]


def test_the_signal_of_an_access_is_told() -> None:
    text = """
  - {op: mmap, task: b, as: other, length: 4KiB, prot: r}
  - {op: mbind, task: a, at: buf, mode: bind, nodes: "1", flags: [move],
     meanwhile: {task: b, at: other}}
"""
    [moved] = records(MAPPED + text)[3:]
    assert (moved["ret"], moved["meanwhile"]) == (0, {"waited": False, "signal": "SIGSEGV"})


@pytest.mark.parametrize(
    ("state", "ret", "line"),
    [
        ("fs: ramfs, dirty: true", 4, {"dirty": 4, "nodes": {"0": 4}}),
        ("fs: ramfs", 0, {"nodes": {"1": 4}}),
        ("fs: ext4, dirty: true", 0, {"dirty": 4, "nodes": {"1": 4}}),
        ("fs: ext4, writeback: 3", 0, {"nodes": {"1": 4}}),
        ("fs: nfs, dirty: true", 4, {"dirty": 4, "nodes": {"0": 4}}),
    ],
)
def test_a_files_state_at_boot(state: str, ret: int, line: dict[str, Any]) -> None:
    text = f"""
files:
  data: {{size: 16KiB, {state}}}
tasks:
  a:
    cpus: "0"
    uid: 0
    memory:
      - {{as: map, kind: file, file: data, map: shared, size: 16KiB, pages: [[4, 0]]}}
steps:
  - {{op: migrate_pages, task: a, from: "0", to: "1"}}
  - {{op: numa_maps, task: a, at: map}}
"""
    moved, shown = records(HEAD + text)
    assert moved["ret"] == ret
    assert {key: shown["lines"][0].get(key) for key in line} == line


def test_pages_go_to_a_device_and_come_back() -> None:
    text = """
  - {op: migrate_vma, task: a, at: buf, to: gpu}
  - {op: placement, task: a, at: buf}
  - {op: touch, task: a, at: buf, length: 4KiB, write: false}
  - {op: migrate_vma, task: a, at: buf, to: ram}
  - {op: placement, task: a, at: buf}
  - {op: vmstat}
"""
    there, where, _, back, again, counted = records(DEVICES + text)[2:]
    done = {"op": "migrate_vma", "ret": 0, "errno": None}
    assert there == done | {"collected": 4, "migrated": 3}
    assert where["nodes"] == [[3, -1], [1, 0]]
    assert back == done | {"collected": 2, "migrated": 2}
    assert again["nodes"] == [[4, 0]]
    assert counted["delta"] == {}


NO_PART = "the range is not a part of one mapping"


@pytest.mark.parametrize(
    ("what", "errno", "why"),
    [
        pytest.param("length: 0, to: gpu", "EINVAL", NO_PART, id="nothing"),
        pytest.param("length: 20KiB, to: gpu", "EINVAL", NO_PART, id="beyond the mapping"),
        pytest.param("to: npu", "ENODEV", "there is no device called npu", id="no such device"),
    ],
)
def test_migrate_vma_that_fails(what: str, errno: str, why: str) -> None:
    text = f"  - {{op: migrate_vma, task: a, at: buf, {what}}}\n"
    refused = {"op": "migrate_vma", "ret": -1, "errno": errno, "why": why}
    assert records(DEVICES + text)[-1] == refused


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (f"{MOVE}, meanwhile: {{task: q, at: buf}}", "task 'q'"),
        (f"{MOVE}, meanwhile: {{task: a, at: x}}", "region 'x'"),
        ("op: migrate_driver, driver: d, to: 1", "driver 'd'"),
    ],
)
def test_names_that_mean_nothing_are_told(step: str, message: str) -> None:
    with pytest.raises(ScenarioErrors, match=f"unknown {message}"):
        records(f"{MAPPED}  - {{{step}}}\n")


@pytest.mark.parametrize(
    ("argv", "answer"),
    [
        pytest.param("[memhog, -r2, 11m, interleave, all]", (0, "..\n..\n", ""), id="memhog"),
        pytest.param("[numactl, -m, '1', memhog, 1m]", (0, ".\n", ""), id="numactl"),
        pytest.param("[memhog, 80m, membind, '1']", (137, ".......", ""), id="killed"),
        pytest.param("[pidof, a]", (0, "1000\n", ""), id="pidof"),
        pytest.param("[ps, -o, 'comm=', -p, $b]", (0, "b\n", ""), id="ps"),
        pytest.param(
            "[numactl, -m, '1', ls]",
            (1, "", "numactl: execution of `ls': No such file or directory\n\n"),
            id="nothing else is installed",
        ),
    ],
)
def test_programs_of_numactl(argv: str, answer: tuple[int, str, str]) -> None:
    [record] = records(f"{HEAD}{TASKS}steps:\n  - {{op: exec, argv: {argv}}}\n")
    assert record == {"op": "exec", **dict(zip(("exit", "stdout", "stderr"), answer, strict=True))}


def test_another_program_is_not_simulated() -> None:
    with pytest.raises(UnsupportedError, match="program ls cannot be simulated yet"):
        records(f"{HEAD}{TASKS}steps:\n  - {{op: exec, argv: [ls]}}\n")


def test_policy_of_a_task_rules_the_programs_that_it_runs() -> None:
    steps = """
steps:
  - {op: set_mempolicy, task: a, mode: bind, nodes: "1"}
  - {op: exec, argv: [memhog, 1m], task: a}
  - {op: exec, argv: [numastat], task: a}
"""
    stdout = records(HEAD + TASKS + steps)[-1]["stdout"]
    assert stdout.splitlines()[1].split() == ["numa_hit", "0", "256"]


@pytest.mark.parametrize(
    ("steps", "answers"),
    [
        pytest.param(
            """
  - {op: mmap, task: a, as: b, length: 128TiB}
  - {op: touch, task: a, at: b}
  - {op: migrate_pages, task: a, from: "0", to: "1"}
""",
            [{"ret": -1, "errno": "ENOMEM"}, {"signal": "SIGSEGV"}, {"ret": 0, "errno": None}],
            id="a region that could not be mapped",
        ),
        pytest.param(
            """
  - {op: mmap, task: a, as: m, length: 160MiB}
  - {op: touch, task: a, at: m}
  - {op: mmap, task: a, as: n, length: 64KiB}
  - {op: placement, task: a, at: n}
""",
            [
                {"ret": 0, "errno": None},
                {"signal": "SIGKILL"},
                {"ret": -1, "errno": "ESRCH"},
                {"ret": -1, "errno": "ESRCH"},
            ],
            id="a task that was killed",
        ),
    ],
)
def test_what_is_not_there_is_answered_as_the_kernel_would(
    steps: str, answers: list[dict[str, Any]]
) -> None:
    found = records(f"{HEAD}{TASKS}\nsteps:{steps}")
    assert [
        {key: r[key] for key in want} for r, want in zip(found, answers, strict=True)
    ] == answers


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("nodes: [1, 1]", "2 nodes for 4 pages; expected one for each page"),
        ("offset: 8KiB, nodes: [1]", "1 nodes for 2 pages; expected one for each page"),
        ("length: 1TiB, nodes: 0", "268435456 pages; expected at most 2097152"),
    ],
)
def test_there_is_a_node_for_each_page_and_not_too_many_pages(step: str, message: str) -> None:
    with pytest.raises(ScenarioErrors, match=message):
        records(f"{MAPPED}  - {{op: move_pages, task: a, at: buf, {step}}}\n")


def test_memory_that_a_task_touched_every_second_page_of_first_can_be_taken_away() -> None:
    machine = HEAD.replace("64MiB", "256MiB")
    *_, taken, placed = records(f"""{machine}{TASKS}
steps:
  - {{op: mmap, task: b, as: m, length: 16KiB, shared: true}}
  - {{op: touch, task: b, at: m, stride: 8KiB}}
  - {{op: touch, task: b, at: m}}
  - {{op: memory_offline, node: 1}}
  - {{op: placement, task: b, at: m}}
""")
    assert (taken["ret"], placed["nodes"]) == (0, [[4, 0]])


def test_pages_that_a_fork_shares_in_part_are_compacted_each_for_itself() -> None:
    *_, placed = records(f"""{HEAD}{TASKS}
steps:
  - {{op: mmap, task: a, as: m, length: 20KiB, align: 4KiB}}
  - {{op: touch, task: a, at: m}}
  - {{op: fork, task: a, as: c}}
  - {{op: touch, task: a, at: m}}
  - {{op: compact, node: 0}}
  - {{op: placement, task: a, at: m}}
""")
    assert placed["nodes"] == [[5, 0]]


def test_drivers_pages_that_one_run_has_moved_are_found_by_the_next() -> None:
    *_, grown = records("""
machine: {nodes: {0: {cpus: "0", memory: 8MiB}, 1: {cpus: "1", memory: 8MiB}, 2: {memory: 16MiB}}}
drivers:
  odd: {kind: scripted, node: 0, pages: 3, isolate: [false, true], migrate: [EAGAIN, success]}
  zs: {kind: zsmalloc, node: 0, pages: 4}
tasks: {a: {cpus: "0"}, b: {cpus: "1"}}
steps:
  - {op: mmap, task: a, as: r1, length: 4KiB}
  - {op: touch, task: a, at: r1}
  - {op: mmap, task: b, as: r2, length: 400KiB}
  - {op: touch, task: b, at: r2}
  - {op: alloc, name: k, count: 9, this_node: true}
  - {op: soft_offline, address: 2457600}
  - {op: cpuset_create, cpuset: c, cpus: "0", mems: "0"}
  - {op: pin, task: a, at: r1, kind: short}
  - {op: cpuset_attach, cpuset: c, task: b}
  - {op: sysctl, name: nr_hugepages, value: 6}
""")
    assert grown["ret"] == 0
