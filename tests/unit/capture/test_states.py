"""What a captured process needs of the scenario format."""

import pytest

import pymigrate
from pymigrate import ScenarioError

HEAD = """\
machine:
  nodes: {0: {cpus: "0", memory: 64MiB}, 1: {cpus: "1", memory: 64MiB}}
files: {lib: {size: 64KiB, fs: ext4}}
cpusets: {night: {cpus: "1", mems: "1"}}
tasks:
  a:
"""


def lines(*regions: str) -> list[str]:
    memory = "".join(f"      - {{{region}}}\n" for region in regions)
    machine = pymigrate.boot(f"{HEAD}    memory:\n{memory}")
    return [line.partition(" ")[2] for line in machine.numa_maps_text("a").splitlines()]


def test_pages_of_a_file_may_be_copies() -> None:
    region = "as: x, kind: file, file: lib, size: 32KiB, prot: rw, pages: [[4, 0], [2, 1]]"
    assert lines(f"{region}, states: [[3, anon], [1, clean], [2, dirty]]") == [
        "default file=/lib anon=3 dirty=5 mapped=6 active=0 N0=4 N1=2 kernelpagesize_kB=4"
    ]


def test_anonymous_pages_may_be_clean() -> None:
    region = "as: x, size: 32KiB, pages: [[4, 0], [2, 1]], states: [[2, dirty], [4, clean]]"
    assert lines(region) == ["default anon=6 dirty=2 active=0 N0=4 N1=2 kernelpagesize_kB=4"]


def test_what_states_do_not_reach_is_as_dirty_says() -> None:
    region = "as: x, size: 32KiB, pages: [[6, 0]], states: [[2, clean]]"
    assert lines(region) == ["default anon=6 dirty=4 active=0 N0=6 kernelpagesize_kB=4"]


def test_regions_with_addresses_stay_apart() -> None:
    one = "as: x, size: 8KiB, address: 0x10000000"
    two = "as: y, size: 8KiB, address: 0x10002000"
    assert len(lines(one, two)) == 2


def test_a_heap_may_have_several_mappings() -> None:
    one = "as: x, kind: heap, size: 8KiB, address: 0x10000000"
    two = "as: y, kind: heap, size: 8KiB, address: 0x10002000, prot: r, pages: [[1, 0]]"
    assert [line.split()[1] for line in lines(one, two)] == ["heap", "heap"]


def test_memory_is_mapped_behind_regions_with_addresses() -> None:
    machine = pymigrate.boot(
        f"{HEAD}    memory: [{{as: x, size: 4MiB, address: 0x200004000000}}]\n"
    )
    assert machine.mmap("a", "y", "4KiB").address == 0x200004600000


def test_a_task_begins_in_its_cpuset() -> None:
    machine = pymigrate.boot(f"{HEAD}    cpuset: night\n    mempolicy: bind:1\n")
    assert machine.mems_allowed("a") == (1,)
    assert machine.ps()[0][3:5] == ("1", "bind:1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cpuset: nigth", "unknown cpuset 'nigth'; expected night; nearest valid cpuset 'night'"),
        ("memory: [{as: x, size: 4KiB, pages: [[1, 0]], states: [[1, anon]]}]", "only a private"),
        ("memory: [{as: x, size: 4KiB, pages: [[1, 0]], states: [[2, dirty]]}]", "2 pages; expec"),
        ("memory: [{as: x, size: 4KiB, states: [[1, dirty]]}]", "no states here; expected them"),
        ("memory: [{as: x, size: 4KiB, pages: [[1, 0]], states: [[1, wet]]}]", "wrong value 'wet'"),
    ],
)
def test_mistakes_are_told(text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        pymigrate.boot(f"{HEAD}    {text}\n")


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ('{cpus: "5", mems: "1"}', "no CPU 5; expected some of 0-1"),
        ('{cpus: "1", mems: "2"}', "no memory on node 2; expected some of 0-1"),
    ],
)
def test_mistakes_of_cpusets_are_told(group: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        pymigrate.boot(HEAD.replace('{cpus: "1", mems: "1"}', group) + "    uid: 1\n")
