from typing import Any

import pytest

import pymigrate
from pymigrate.errors import ScenarioErrors
from pymigrate.nodemask import Nodemask
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


def value(made: CallStep, name: str) -> Any:
    """What the call takes for its argument *name*."""
    return made.taken(next(each for each in made.call.arguments if each.name == name))


def mistakes(*texts: str) -> list[str]:
    """What is wrong with the steps *texts*, which are on the lines from 6, each from column 5."""
    with pytest.raises(ScenarioErrors) as caught:
        load_text(HEAD + "".join(f"  - {{{text}}}\n" for text in texts), "f")
    return str(caught.value).splitlines()


# Not of the format.
OWN = set(
    """
    accesses alloc balance busy cma_alloc cma_release compact damon free hard_offline ksm
    memory_offline memory_online migrate_driver migrate_vma reclaim soft_offline start swap_cache
    """.split()
)


def test_every_op_of_the_format_has_its_model() -> None:
    ops = """mmap mremap munmap mprotect madvise touch mlock munlock mlockall munlockall pin unpin
    fork clone exit sched_setaffinity setresuid capset prctl ftruncate punch_hole unlink
    set_mempolicy mbind set_mempolicy_home_node get_mempolicy migrate_pages move_pages
    cpuset_create cpuset_set
    cpuset_remove cpuset_attach sysctl exec placement numa_maps vmstat"""
    assert [op for op in OPS if op not in OWN] == ops.split()
    assert set(OPS) >= OWN


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (
            "op: mmap, task: a, as: x, length: 8KiB",
            {"as": "x", "length": 8192, "prot": "rw", "shared": False, "file": None, "offset": 0}
            | {"populate": False, "hugetlb": False, "align": 2097152},
        ),
        ("op: touch, task: a, at: buf", {"write": True, "stride": 4096, "seconds": None}),
        ("op: set_mempolicy, task: a, mode: local", {"nodes": Nodemask(), "flags": ()}),
        (
            "op: mbind, task: a, at: buf, mode: default",
            {"nodes": Nodemask(), "mode_flags": (), "flags": ()},
        ),
        ("op: get_mempolicy, task: a", {"at": None, "offset": 0}),
        (
            "op: migrate_pages, task: b, from: 0, to: '1-2'",
            {"target": None, "from": Nodemask.of(0), "to": Nodemask.of(1, 2)},
        ),
        ("op: move_pages, task: a, at: buf", {"nodes": None, "pages": None, "stride": 4096}),
        (
            "op: cpuset_create, cpuset: c, cpus: '0-1', mems: 1",
            {"task": None, "memory_migrate": False, "cpus": "0-1", "mems": "1"},
        ),
    ],
)
def test_keys_that_are_not_given_have_the_formats_defaults(
    text: str, keys: dict[str, object]
) -> None:
    made = step(text)
    assert {key: made.given(key) for key in keys} == keys


def test_part_of_a_region_is_all_of_it_by_default() -> None:
    made = step("op: placement, task: a, at: buf")
    assert (made.at, made.offset, made.length) == ("buf", 0, None)


@pytest.mark.parametrize(
    ("text", "name", "taken"),
    [
        ("op: get_mempolicy, task: a", "flags", 0),
        ("op: get_mempolicy, task: a, flags: [node, addr]", "flags", 3),
        ("op: get_mempolicy, task: a, flags: [mems_allowed]", "flags", 4),
        ("op: get_mempolicy, task: a, flags: [8]", "flags", 8),
        ("op: migrate_pages, task: b, from: 0, to: 1", "target", "b"),
        ("op: move_pages, task: a, at: buf", "target", "a"),
        ("op: move_pages, task: a, at: buf", "flags", 2),
        ("op: madvise, task: a, at: buf, advice: dontneed", "advice", 4),
        ("op: madvise, task: a, at: buf, advice: pageout", "advice", 21),
        ("op: madvise, task: a, at: buf, advice: collapse", "advice", 25),
        ("op: madvise, task: a, at: buf, advice: 77", "advice", 77),
    ],
)
def test_words_and_defaults_are_the_kernels_numbers(text: str, name: str, taken: object) -> None:
    assert value(step(text), name) == taken


@pytest.mark.parametrize(
    ("written", "nodes"), [("-1", -1), ("99999", 99999), ("[0, -1]", (0, -1)), ("null", None)]
)
def test_move_pages_takes_any_number_for_a_node(written: str, nodes: object) -> None:
    made = step(f"op: move_pages, task: a, at: buf, pages: [3, 3], nodes: {written}")
    assert made.given("pages") == (3, 3)
    assert made.given("nodes") == nodes


def test_cpuset_set_leaves_what_it_does_not_name() -> None:
    text = f"{HEAD}  - {{op: cpuset_create, cpuset: c, cpus: 0, mems: 0}}\n"
    made = load_text(text + "  - {op: cpuset_set, cpuset: c, mems: 1}").steps[2]
    keys = "cpus", "mems", "memory_migrate"
    assert [made.given(key) for key in keys] == [None, "1", None]


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


@pytest.mark.parametrize(("written", "prot"), [("wr", "rw"), ("none", "none"), ("xr", "rx")])
def test_prot_is_kept_in_one_order(written: str, prot: str) -> None:
    made = step(f"op: mmap, task: a, as: x, length: 1, prot: {written}")
    assert made.given("prot") == prot


def test_unknown_op_is_reported_with_the_nearest_one() -> None:
    (line,) = mistakes("op: migrate_page, task: a")
    assert line.startswith("f:6:10: unknown op 'migrate_page'; expected mmap, mremap,")
    assert line.endswith("; nearest valid op 'migrate_pages'")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("op: mmap, task: a, as: x", "6:5: missing key 'length'; expected the region's length"),
        (
            "op: move_pages, task: a, at: buf, pages: [1, 2], nodes: [0]",
            "6:62: 1 nodes; expected 2, one for each page",
        ),
        (
            "op: touch, task: a, at: buf, wirte: true",
            "6:35: unknown key 'wirte'; expected op, expect, task, at, offset, length, write, "
            "stride or seconds; nearest valid key 'write'",
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
        ("op: fork, task: a, as: b", "6:29: there is a task 'b' already; expected another name"),
    ],
)
def test_wrong_step_is_reported_at_its_place(text: str, message: str) -> None:
    assert mistakes(text) == [f"f:{message}"]


def test_pages_to_a_regions_end_have_a_limit_too() -> None:
    large = "op: mmap, task: a, as: x, length: 16GiB"
    assert mistakes(large, "op: move_pages, task: a, at: x") == [
        "f:7:35: 4194304 pages; expected at most 2097152 in one step"
    ]
    assert "at most" in mistakes(large, "op: move_pages, task: a, at: x, offset: 7GiB")[0]
    step = "op: move_pages, task: a, at: x, offset: 8GiB"
    load_text(f"{HEAD}  - {{{large}}}\n  - {{{step}}}\n")


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


def test_a_touch_of_very_many_single_pages_is_refused() -> None:
    machine = pymigrate.boot("two-node")
    machine.step({"op": "mmap", "task": "db", "as": "large", "length": "4TiB"})
    with pytest.raises(pymigrate.UnsupportedError, match="536870912 accesses with a stride; expe"):
        machine.step({"op": "touch", "task": "db", "at": "large", "stride": "8KiB"})
