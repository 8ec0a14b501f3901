from random import Random

import pytest

from pymigrate.errors import ScenarioErrors
from pymigrate.mm.base.memmap import nid_of
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.spec.models import RandomPages, RegionSpec, TaskSpec

HEAD = """\
machine:
  nodes: {0: {cpus: "0-1", memory: 1MiB}, 1: {memory: 1MiB}, 2: {cpus: "2", memory: 0}}
files: {lib: {size: 64KiB, fs: ext4}, huge: {size: 2MiB, fs: hugetlbfs}}
tasks:
"""


def tasks(*texts: str) -> dict[str, TaskSpec]:
    """The tasks that *texts*, each one line, say."""
    return load_text(HEAD + "".join(f"  {text}\n" for text in texts)).tasks


def region(text: str) -> RegionSpec:
    """The region of a task a that *text* says."""
    return tasks(f"a: {{memory: [{{as: x, {text}}}]}}")["a"].memory[0]


def mistakes(*texts: str) -> list[str]:
    """What is wrong with tasks *texts*, which are on the lines from 5, each from column 3."""
    with pytest.raises(ScenarioErrors) as caught:
        load_text(HEAD + "".join(f"  {text}\n" for text in texts), "f")
    return str(caught.value).splitlines()


def test_task_is_roots_on_all_cpus_without_memory_by_default() -> None:
    task = tasks("a: {}")["a"]
    assert (task.pid, task.comm, task.uid) == (1000, "a", 0)
    assert task.cpus == Cpumask.of(0, 1, 2)
    assert task.mempolicy is None
    assert task.memory == ()


def test_pids_count_from_1000_past_those_that_are_taken() -> None:
    made = tasks("a: {}", "b: {pid: 1001}", "c: {}", "d: {pid: 7}", "e: {}")
    assert [task.pid for task in made.values()] == [1000, 1001, 1002, 7, 1003]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("a: {pid: 7}", "b: {pid: 7}"), "6:12: pid 7 is that of task 'a'; expected another"),
        (
            ("a: {comm: abcdefghijklmnop}",),
            "5:13: wrong value 'abcdefghijklmnop'; expected at most 15 characters",
        ),
        (("a: {cpus: '2-3'}",), "5:13: the machine has no CPU 3; expected some of 0-2"),
        (("a: {cpus: ''}",), "5:13: no CPU; expected some of 0-2"),
        (("a: {mempolicy: 'bind:5'}",), "5:18: the machine has no node 5; expected some of 0-2"),
        (("a: {mempolicy: 'bind:2'}",), "5:18: no node of 2 has memory; expected some of 0-1"),
        (
            ("1x: {}",),
            "5:3: wrong key '1x'; expected a name: a letter or _, then letters, digits, _ and -",
        ),
    ],
)
def test_wrong_task_is_reported_at_its_place(texts: tuple[str, ...], message: str) -> None:
    assert mistakes(*texts) == [f"f:{message}"]


@pytest.mark.parametrize(
    ("texts", "messages"),
    [
        pytest.param(
            (
                "a: {memory: [{as: x, size: 512KiB, pages: [[128, 0]]}]}",
                "b: {memory: [{as: x, size: 1MiB, pages: [[129, 0]]}]}",
            ),
            [
                "f:6:43: 129 pages do not fit into node 0;"
                " expected at most the 128 that earlier regions leave"
            ],
            id="the second overflows a node",
        ),
        pytest.param(
            ("a: {memory: [{as: x, size: 4KiB}, {as: x, size: 4KiB}]}",),
            ["f:5:42: task 'a' has a region 'x' already; expected another name"],
            id="one name",
        ),
        pytest.param(
            (
                "a: {memory: [{as: x, size: 8KiB, address: 0x10000},"
                " {as: y, size: 1, address: 0x11000}]}",
            ),
            ["f:5:81: it overlaps region 'x'; expected free addresses"],
            id="overlap",
        ),
        pytest.param(
            (
                "a: {memory: [{as: x, kind: anon, size: 8KiB}]}",
                "b: {memory: [{as: y, shared: a.x, kind: shmem, size: 1MiB, pages: []}]}",
            ),
            [
                "f:6:43: wrong kind; expected anon, that of the region that it shares",
                "f:6:56: wrong size; expected at most 8KiB, that of the region that it shares",
                "f:6:62: a region that shares another has no key 'pages'; expected it there",
            ],
            id="shared, and contradicting",
        ),
    ],
)
def test_regions_that_do_not_go_together_are_reported(
    texts: tuple[str, ...], messages: list[str]
) -> None:
    assert mistakes(*texts) == messages


@pytest.mark.parametrize(
    ("text", "mode", "flags", "nodes"),
    [
        ("default", 0, 0, ""),
        ("local", 4, 0, ""),
        ("prefer:1", 1, 0, "1"),
        ("bind:0", 2, 0, "0"),
        ("prefer (many):0-1", 5, 0, "0-1"),
        ("interleave=static:0-1", 3, 0x8000, "0-1"),
        ("weighted interleave:0-1", 6, 0, "0-1"),
        ("bind=static|balancing:0", 2, 0xA000, "0"),
        ("interleave=relative:0-7", 3, 0x4000, "0-7"),
    ],
)
def test_policy_is_read_as_numa_maps_prints_it(
    text: str, mode: int, flags: int, nodes: str
) -> None:
    policy = tasks(f"a: {{mempolicy: '{text}'}}")["a"].mempolicy
    assert policy is not None
    assert (policy.mode_number, policy.flag_bits, str(policy.nodes)) == (mode, flags, nodes)
    assert policy.home_node is None


def test_policy_may_be_a_mapping_with_a_home_node() -> None:
    policy = region(
        "size: 4KiB, policy: {mode: bind, nodes: 0-1, flags: [static], home_node: 1}"
    ).policy
    assert policy is not None
    assert (policy.mode_number, policy.flag_bits) == (2, 0x8000)
    assert (policy.nodes, policy.home_node) == (Nodemask.of(0, 1), 1)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("'bind'", "bind without nodes; expected some, as in bind:0-1"),
        ("'local:0'", "local has no nodes; expected none, not 0"),
        (
            "'bind=static|relative:0'",
            "a policy is not both static and relative; expected one of them",
        ),
        (
            "'interleave=balancing:0'",
            "interleave cannot be balancing; expected bind or preferred-many",
        ),
        (
            "'bind=statc:0'",
            "unknown flag 'statc'; expected static, relative or balancing; "
            "nearest valid flag 'static'",
        ),
        (
            "{mode: interleave, nodes: 0, home_node: 0}",
            "only bind and preferred-many have a home node; expected none here",
        ),
        ("{mode: 9}", "no such policy; expected a mode of 0 to 6 and known mode flags"),
    ],
)
def test_policy_that_the_kernel_has_not_is_refused(policy: str, message: str) -> None:
    assert mistakes(f"a: {{mempolicy: {policy}}}") == [f"f:5:18: {message}"]


def test_region_is_anonymous_writable_and_touched_by_default() -> None:
    made = region("size: 8KiB")
    assert (made.kind, made.prot, made.pages, made.nr_pages) == ("anon", "rw", None, 2)
    assert (made.locked, made.is_dirty, made.is_shared) == (False, True, False)
    assert (made.policy, made.address, made.origin) == (None, None, None)


def test_file_region_is_private_clean_and_read_only_by_default() -> None:
    made = region("kind: file, file: lib, size: 8KiB")
    assert (made.map, made.prot, made.is_dirty, made.is_shared) == ("private", "r", False, False)


def test_pages_are_runs_of_count_and_node() -> None:
    assert region("size: 16KiB, pages: [[2, 0], [1, -1]]").pages == ((2, 0), (1, -1))


def test_pages_may_be_random() -> None:
    pages = region("size: 16KiB, pages: {random: 0-1, seed: 7}").pages
    assert isinstance(pages, RandomPages)
    assert (pages.random, pages.seed) == (Nodemask.of(0, 1), 7)


@pytest.mark.parametrize("written", ["0x7f0000000000", '"0x7f0000000000"', '"7f0000000000"'])
def test_address_is_a_number_or_hexadecimal_text(written: str) -> None:
    assert region(f"size: 4KiB, address: {written}").address == 0x7F0000000000


def test_sharing_region_takes_what_it_does_not_say_from_the_other() -> None:
    made = tasks(
        "a: {memory: [{as: f, kind: file, file: lib, map: shared, size: 8KiB, pages: [[2, 1]]}]}",
        "b: {memory: [{as: g, shared: a.f}]}",
    )["b"].memory[0]
    assert (made.kind, made.file, made.size, made.map) == ("file", "lib", 8192, "shared")
    assert made.origin == ("a", "f")
    assert made.pages is None


def test_files_need_no_list_if_declared_memory_says_all_about_them() -> None:
    text = "machine: {nodes: {0: {cpus: 0, memory: 1MiB}}}\n"
    text += "tasks: {a: {memory: [{as: l, kind: file, file: libc, size: 8KiB, offset: 4KiB}]}}"
    file = load_text(text).files["libc"]
    assert (file.size, file.fs) == (12288, "ext4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: anon", "16: size is 0 or missing; expected a size such as 64MiB"),
        (
            "size: 4KiB, kind: haep",
            "42: wrong value 'haep'; expected anon, heap, stack, file, shmem or hugetlb; "
            "nearest valid value 'heap'",
        ),
        ("size: 8KiB, pages: [[3, 0]]", "43: 3 pages; expected at most the 2 that the region has"),
        (
            "size: 8KiB, pages: [[1, 0], [1, 2]]",
            "56: there is no memory on node 2; expected some of 0-1",
        ),
        ("size: 8KiB, pages: [[1]]", "44: too short a list; expected a run [count, node]"),
        (
            "size: 8KiB, pages: {random: '0,7'}",
            "52: there is no memory on node 7; expected some of 0-1",
        ),
        (
            "size: 2MiB, pages: [[257, 1]]",
            "43: 257 pages do not fit into node 1; "
            "expected at most the 256 that earlier regions leave",
        ),
        (
            "size: 4KiB, address: 4097",
            "45: wrong value 4097; expected an address, page-aligned and below 128TiB, "
            "such as 0x200004000000",
        ),
        (
            "size: 4KiB, kind: file",
            "16: missing key 'file'; expected the name of the file that it maps",
        ),
        (
            "size: 4KiB, kind: file, file: lbi",
            "54: unknown file 'lbi'; expected lib or huge; nearest valid file 'lib'",
        ),
        (
            "size: 4KiB, kind: file, file: huge",
            "54: the file is in hugetlbfs; expected hugetlbfs with kind hugetlb, and only there",
        ),
        (
            "size: 4KiB, file: lib",
            "36: kind anon has no key 'file'; expected it with kind file or hugetlb",
        ),
        (
            "size: 128KiB, kind: file, file: lib, pages: [[17, 0]]",
            "68: pages behind the file's end; expected none beyond 64KiB",
        ),
        ("size: 4KiB, kind: hugetlb", "30: wrong size; expected a multiple of 2MiB"),
        (
            "size: 4KiB, shared: b.x",
            "44: unknown region 'b.x'; expected TASK.REGION declared before",
        ),
    ],
)
def test_wrong_region_is_reported_at_its_place(text: str, message: str) -> None:
    assert mistakes(f"a: {{memory: [{{as: x, {text}}}]}}") == [f"f:5:{message}"]


def test_file_page_that_two_tasks_map_is_counted_once() -> None:
    line = "{memory: [{as: l, kind: file, file: lib, size: 64KiB, pages: [[16, 0]]}]}"
    full = "c: {memory: [{as: x, size: 1MiB, pages: [[240, 0]]}]}"
    assert len(tasks(f"a: {line}", f"b: {line}", full)) == 3


def test_windows_of_a_file_that_overlap_need_room_for_each_page_once() -> None:
    window = "{{as: {}, kind: file, file: lib, size: {}KiB, pages: [[{}, 0]]}}"
    twice = f"{window.format('l', 32, 8)}, {window.format('m', 32, 8)}"
    full = "{as: x, size: 1MiB, pages: [[244, 0]]}"
    assert len(tasks(f"a: {{memory: [{full}, {twice}, {window.format('n', 48, 12)}]}}")) == 1
    assert mistakes(f"a: {{memory: [{full}, {twice}, {window.format('n', 52, 13)}]}}") == [
        "f:5:231: 5 pages do not fit into node 0; expected at most the 4 that earlier regions leave"
    ]


@pytest.mark.parametrize("kind", ["anon", "shmem"])
def test_random_pages_lie_as_if_each_was_declared(kind: str) -> None:
    draws = Random(7).choices([0, 1], k=700)
    found = []
    for pages in ("{random: 0-1, seed: 7}", str([[1, nid] for nid in draws])):
        text = HEAD.replace("1MiB", "8MiB")
        text += f"  a: {{memory: [{{as: x, kind: {kind}, size: 2800KiB, pages: {pages}}}]}}\n"
        table = build(load_text(text)).task("a").mm.page_table
        found.append([(run.start, run.pfns(), run.flags) for run in table.runs])
    assert found[0] == found[1]
    assert [nid_of(pfn) for _, pfns, _ in found[0] for pfn in pfns] == draws
