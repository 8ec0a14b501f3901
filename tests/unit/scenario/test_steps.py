from typing import Any

import pytest

from pymigrate.errors import ScenarioErrors
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.steps.calls import CallStep
from pymigrate.scenario.steps.every import OPS

HEAD = """\
machine: {nodes: {0: {cpus: "0", memory: 256MiB}}}
files: {data: {size: 4MiB}}
tasks: {a: {}, b: {}}
steps:
  - {op: mmap, task: a, as: buf, length: 4MiB}
"""


def step(text: str) -> Any:
    """The step *text* says, after an mmap of buf by task a."""
    return load_text(f"{HEAD}  - {{{text}}}").steps[1]


def given(made: CallStep, keys: str) -> tuple[object, ...]:
    """The values of some keys."""
    return tuple(made.given(key) for key in keys.split())


def value(made: CallStep, name: str) -> Any:
    """What the call takes for its argument *name*."""
    return made.taken(next(each for each in made.call.arguments if each.name == name))


def mistakes(*texts: str) -> list[str]:
    """What is wrong with the steps *texts*, which are on the lines from 6, each from column 5."""
    with pytest.raises(ScenarioErrors) as caught:
        load_text(HEAD + "".join(f"  - {{{text}}}\n" for text in texts), "f")
    return str(caught.value).splitlines()


# Not of the format.
OWN = {
    "accesses",
    "alloc",
    "balance",
    "compact",
    "free",
    "busy",
    "cma_alloc",
    "cma_release",
    "ksm",
    "memory_offline",
    "memory_online",
    "damon",
    "soft_offline",
    "migrate_driver",
    "reclaim",
    "migrate_vma",
    "swap_cache",
}


def test_every_op_of_the_format_has_its_model() -> None:
    ops = """mmap munmap mprotect madvise touch mlock munlock pin unpin fork exit sched_setaffinity
    set_mempolicy mbind set_mempolicy_home_node get_mempolicy migrate_pages move_pages
    cpuset_create cpuset_set cpuset_attach sysctl exec placement numa_maps vmstat"""
    assert [op for op in OPS if op not in OWN] == ops.split()
    assert set(OPS) >= OWN


def test_mmap_has_the_formats_defaults() -> None:
    made = step("op: mmap, task: a, as: x, length: 8KiB")
    assert given(made, "as length prot shared") == (
        "x",
        8192,
        "rw",
        False,
    )
    assert (
        made.given("file"),
        made.given("offset"),
        made.given("populate"),
        made.given("hugetlb"),
    ) == (None, 0, False, False)
    assert made.given("align") == 2097152


def test_part_of_a_region_is_all_of_it_by_default() -> None:
    made = step("op: placement, task: a, at: buf")
    assert (made.at, made.offset, made.length) == ("buf", 0, None)


def test_touch_writes_every_page_once_by_default() -> None:
    made = step("op: touch, task: a, at: buf")
    assert given(made, "write stride seconds") == (True, 4096, None)


def test_set_mempolicy_has_no_nodes_and_no_flags_by_default() -> None:
    made = step("op: set_mempolicy, task: a, mode: local")
    assert (made.given("nodes"), made.given("flags"), value(made, "policy").mode) == (
        Nodemask(),
        (),
        4,
    )


def test_mbind_has_no_nodes_and_no_flags_by_default() -> None:
    made = step("op: mbind, task: a, at: buf, mode: default")
    assert given(made, "nodes mode_flags flags") == (
        Nodemask(),
        (),
        (),
    )


def test_get_mempolicy_asks_for_the_tasks_own_by_default() -> None:
    made = step("op: get_mempolicy, task: a")
    assert (value(made, "flags"), made.given("at"), made.given("offset")) == (0, None, 0)


def test_migrate_pages_moves_the_callers_pages_by_default() -> None:
    made = step("op: migrate_pages, task: b, from: 0, to: '1-2'")
    assert (made.given("target"), value(made, "target")) == (None, "b")
    assert given(made, "from to") == (Nodemask.of(0), Nodemask.of(1, 2))


def test_move_pages_asks_about_every_page_with_move_by_default() -> None:
    made = step("op: move_pages, task: a, at: buf")
    assert (
        value(made, "target"),
        made.given("nodes"),
        made.given("pages"),
        made.given("stride"),
    ) == ("a", None, None, 4096)
    assert value(made, "flags") == 2


@pytest.mark.parametrize(
    ("written", "nodes"), [("-1", -1), ("99999", 99999), ("[0, -1]", (0, -1)), ("null", None)]
)
def test_move_pages_takes_any_number_for_a_node(written: str, nodes: object) -> None:
    made = step(f"op: move_pages, task: a, at: buf, pages: [3, 3], nodes: {written}")
    assert made.given("pages") == (3, 3)
    assert made.given("nodes") == nodes


def test_move_pages_needs_a_node_for_each_page() -> None:
    assert mistakes("op: move_pages, task: a, at: buf, pages: [1, 2], nodes: [0]") == [
        "f:6:62: 1 nodes; expected 2, one for each page"
    ]


def test_cpuset_does_not_migrate_by_default() -> None:
    made = step("op: cpuset_create, cpuset: c, cpus: '0-1', mems: 1")
    assert given(made, "task memory_migrate") == (None, False)
    assert given(made, "cpus mems") == (Cpumask.of(0, 1), Nodemask.of(1))


def test_cpuset_set_leaves_what_it_does_not_name() -> None:
    text = f"{HEAD}  - {{op: cpuset_create, cpuset: c, cpus: 0, mems: 0}}\n"
    made = load_text(text + "  - {op: cpuset_set, cpuset: c, mems: 1}").steps[2]
    assert given(made, "cpus mems memory_migrate") == (
        None,
        Nodemask.of(1),
        None,
    )


@pytest.mark.parametrize(
    ("written", "wanted"), [("1", 1), ("true", True), ("madvise", "madvise")], ids=str
)
def test_sysctl_writes_numbers_booleans_and_words(written: str, wanted: object) -> None:
    made = step(f"op: sysctl, name: thp, value: {written}")
    assert made.given("value") is wanted or made.given("value") == wanted
    assert made.given("node") is None


def test_exec_is_roots_by_default() -> None:
    made = step('op: exec, argv: [migratepages, $a, "0", "1"]')
    assert (made.task, made.argv) == (None, ("migratepages", "$a", "0", "1"))


@pytest.mark.parametrize(
    ("mode", "flags", "number"),
    [
        ("default", "", 0),
        ("preferred", "", 1),
        ("bind", "", 2),
        ("interleave", "static", 0x8003),
        ("local", "", 4),
        ("preferred-many", "relative", 0x4005),
        ("weighted-interleave", "", 6),
        ("bind", "static, numa_balancing", 0xA002),
        ("99", "4096", 99 | 4096),
    ],
)
def test_mode_number_is_the_modes_with_its_flags(mode: str, flags: str, number: int) -> None:
    bound = step(f"op: mbind, task: a, at: buf, mode: {mode}, mode_flags: [{flags}]")
    made = step(f"op: set_mempolicy, task: a, mode: {mode}, flags: [{flags}]")
    assert (value(bound, "policy").mode, value(made, "policy").mode) == (number, number)


@pytest.mark.parametrize(
    ("flags", "bits"), [("strict", 1), ("move", 2), ("move_all", 4), ("lazy", 8), ("move, 64", 66)]
)
def test_flag_bits_of_mbind_and_move_pages_are_the_kernels(flags: str, bits: int) -> None:
    bound = step(f"op: mbind, task: a, at: buf, mode: bind, flags: [{flags}]")
    moved = step(f"op: move_pages, task: a, at: buf, flags: [{flags}]")
    assert (value(bound, "flags"), value(moved, "flags")) == (bits, bits)


@pytest.mark.parametrize(("flags", "bits"), [("node, addr", 3), ("mems_allowed", 4), ("8", 8)])
def test_flag_bits_of_get_mempolicy_are_the_kernels(flags: str, bits: int) -> None:
    made = step(f"op: get_mempolicy, task: a, flags: [{flags}]")
    assert value(made, "flags") == bits


@pytest.mark.parametrize(
    ("advice", "number"), [("dontneed", 4), ("pageout", 21), ("collapse", 25), ("77", 77)]
)
def test_advice_number_is_the_kernels(advice: str, number: int) -> None:
    made = step(f"op: madvise, task: a, at: buf, advice: {advice}")
    assert value(made, "advice") == number


@pytest.mark.parametrize(("written", "prot"), [("wr", "rw"), ("none", "none"), ("xr", "rx")])
def test_prot_is_kept_in_one_order(written: str, prot: str) -> None:
    made = step(f"op: mmap, task: a, as: x, length: 1, prot: {written}")
    assert made.given("prot") == prot


def test_unknown_op_is_reported_with_the_nearest_one() -> None:
    (line,) = mistakes("op: migrate_page, task: a")
    assert line.startswith("f:6:10: unknown op 'migrate_page'; expected mmap, munmap,")
    assert line.endswith("; nearest valid op 'migrate_pages'")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "op: mmap, task: a, as: x",
            "6:5: missing key 'length'; expected the region's length",
        ),
        (
            "op: touch, task: a, at: buf, wirte: true",
            "6:35: unknown key 'wirte'; expected op, task, at, offset, length, write, stride or "
            "seconds; nearest valid key 'write'",
        ),
        ("op: touch, task: a, at: buf, write: 1", "6:42: wrong value 1; expected true or false"),
        (
            "op: touch, task: a, at: buf, length: 4KB",
            "6:43: wrong value '4KB'; expected a size such as 4096, 4KiB or 64MiB",
        ),
        ("op: touch, task: a, at: buf, stride: 0", "6:43: wrong value 0; expected a size above 0"),
        (
            "op: mbind, task: a, at: buf, mode: bnid",
            "6:41: unknown mode 'bnid'; expected default, preferred, bind, interleave, local, "
            "preferred-many or weighted-interleave; nearest valid mode 'bind'",
        ),
        (
            "op: mbind, task: a, at: buf, mode: 2, flags: [mov]",
            "6:52: unknown flag 'mov'; expected strict, move, move_all or lazy; "
            "nearest valid flag 'move'",
        ),
        (
            "op: migrate_pages, task: a, from: 0-, to: 1",
            "6:40: '0-' is not a list of nodes; expected one such as 0-3,5",
        ),
        (
            "op: mprotect, task: a, at: buf, prot: rq",
            "6:44: wrong value 'rq'; expected none or some of r, w and x, such as rw",
        ),
        (
            "op: exec, argv: [migratepages, 1]",
            "6:37: wrong value 1; expected text in quotes, for YAML reads this otherwise",
        ),
        ("op: touch, task: q, at: buf", "6:23: unknown task 'q'; expected a or b"),
        (
            "op: touch, task: a, at: bof",
            "6:30: unknown region 'bof'; expected a.buf or buf; nearest valid region 'buf'",
        ),
        (
            "op: mmap, task: a, as: x, length: 1, file: dat",
            "6:49: unknown file 'dat'; expected data; nearest valid file 'data'",
        ),
        (
            "op: cpuset_attach, task: a, cpuset: c",
            "6:42: unknown cpuset 'c'; expected one that is declared or made before",
        ),
        ("op: exec, argv: [x, $q]", "6:26: unknown task 'q'; expected a or b"),
        (
            "op: fork, task: a, as: b",
            "6:29: there is a task 'b' already; expected another name",
        ),
    ],
)
def test_wrong_step_is_reported_at_its_place(text: str, message: str) -> None:
    assert mistakes(text) == [f"f:{message}"]


def test_region_of_a_wrong_mmap_is_no_mistake_of_later_steps() -> None:
    lines = mistakes("op: mmap, task: a, as: x", "op: touch, task: a, at: x")
    assert lines == ["f:6:5: missing key 'length'; expected the region's length"]


def test_child_is_a_task_only_after_its_fork() -> None:
    lines = mistakes("op: exit, task: c", "op: fork, task: a, as: c", "op: exit, task: c")
    assert lines == ["f:6:22: unknown task 'c'; expected a or b"]


def test_exited_task_may_be_a_target_and_no_caller() -> None:
    gone = "op: migrate_pages, task: a, target: b, from: 0, to: 0"
    lines = mistakes("op: exit, task: b", gone, "op: exit, task: b")
    assert lines == ["f:8:22: task 'b' has exited; expected one that has not"]
