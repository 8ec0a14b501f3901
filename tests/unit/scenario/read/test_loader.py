from pathlib import Path
from typing import Any

import pytest
import yaml

from pymigrate.errors import ScenarioError, ScenarioErrors
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.scenario.read.loader import load, load_text
from pymigrate.scenario.spec.models import Scenario

MACHINE = """\
machine:
  nodes:
    0: {cpus: "0", memory: 256MiB}
    1: {cpus: "1", memory: 256MiB}
"""


def loaded(rest: str = "") -> Scenario:
    """The scenario of the two-node machine, on lines 1 to 4, and *rest*, from line 5."""
    return load_text(MACHINE + rest, "f.yaml")


def mistakes(text: str) -> list[str]:
    """What the loader reports about *text*."""
    with pytest.raises(ScenarioErrors) as caught:
        load_text(text, "f.yaml")
    return str(caught.value).splitlines()


def test_machine_has_the_formats_defaults() -> None:
    machine = loaded().machine
    assert machine.matrix == ((10, 20), (20, 10))
    assert machine.thp == "never"
    assert machine.hugetlb == {}
    assert machine.numa_balancing == 0
    assert machine.demotion is False
    assert loaded().kernel == "6.12"


def test_sizes_and_cpus_become_numbers_and_masks() -> None:
    machine = loaded().machine
    assert machine.nodes[1].memory == 268435456
    assert machine.nodes[1].cpus == Cpumask.of(1)
    assert machine.cpus == Cpumask.of(0, 1)
    assert machine.memory_nodes == Nodemask.of(0, 1)


def test_file_is_in_tmpfs_by_default() -> None:
    assert loaded("files: {data: {size: 4KiB}}").files["data"].fs == "tmpfs"


@pytest.mark.parametrize("written", ["6.1", '"6.1"'])
def test_kernel_may_be_written_as_a_number(written: str) -> None:
    assert loaded(f"kernel: {written}").kernel == "6.1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "kernel: 6.10",
            "5:9: wrong value '6.10'; expected 6.12, 6.1 or 7.2; nearest valid value '6.1'",
            id="kernel with a zero at its end",
        ),
        pytest.param(
            "machin: 1",
            "5:1: unknown key 'machin'; expected about, kernel, machine, files, tasks, cpusets,"
            " drivers or steps; nearest valid key 'machine'",
            id="unknown key",
        ),
        pytest.param(
            "tasks: {a: {memry: []}}",
            "5:13: unknown key 'memry'; expected pid, comm, uid, cpus, capabilities, dumpable,"
            " mempolicy, memory, cpuset or access; nearest valid key 'memory'",
            id="unknown key of a nested mapping",
        ),
        pytest.param(
            "files:\n  data: {fs: ext4}",
            "6:9: missing key 'size'; expected its size",
            id="missing key",
        ),
        pytest.param(
            "about: x\nabout: y", "6:1: duplicate key 'about'; expected it once", id="duplicate key"
        ),
        pytest.param(
            "tasks: {no: {}}",
            "5:9: YAML reads key no as false; expected it in quotes",
            id="name that YAML reads as a boolean",
        ),
        pytest.param(
            "  devices: {ram: {memory: 4KiB}}",
            "5:13: ram is no device; expected another name",
            id="name of a device",
        ),
        pytest.param(
            "  devices: {gpu: {memory: 4097}}",
            "5:27: 4097; expected a multiple of 4KiB, at most 16TiB",
            id="half a page of a device",
        ),
        pytest.param(
            "  devices: {gpu: {memory: 0}}",
            "5:27: 0; expected a multiple of 4KiB, at most 16TiB",
            id="device without memory",
        ),
    ],
)
def test_a_mistake_is_reported_at_its_place(text: str, message: str) -> None:
    assert mistakes(MACHINE + text) == [f"f.yaml:{message}"]


def test_all_mistakes_are_reported_in_the_files_order() -> None:
    text = MACHINE + (
        "files: {data: {size: lots}}\n"
        "tasks: {a: {uid: -1}, b: {cpus: 7}}\n"
        "steps:\n"
        "  - {op: vmstta}\n"
        "  - {op: touch, task: c, at: nothing}\n"
        "kernal: 1\n"
    )
    places = [line.split(": ")[0].removeprefix("f.yaml:") for line in mistakes(text)]
    assert places == "5:22 6:18 6:33 8:10 9:23 9:30 10:1".split()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.yaml:1:1: the file is empty; expected a scenario with key 'machine'"),
        ("- 1", "f.yaml:1:1: wrong value a list; expected a mapping"),
        ("tasks: {}", "f.yaml:1:1: missing key 'machine'; expected the machine"),
        (
            "machine: &m {nodes: *m}",
            "f.yaml:1:10: an alias inside of what it stands for; expected no cycle",
        ),
        ("machine: *x", "f.yaml:1:10: not YAML: found undefined alias; expected valid YAML"),
        ("[" * 100000, "f.yaml:1:33: nested more than 32 deep; expected a scenario"),
        ("{a: " * 100000, "f.yaml:1:129: nested more than 32 deep; expected a scenario"),
        ("- " * 100000, "f.yaml:1:65: nested more than 32 deep; expected a scenario"),
        ("é: " + "[" * 100000, "f.yaml:1:35: nested more than 32 deep; expected a scenario"),
        (
            "a: \x07",
            "f.yaml:1:4: not YAML: control characters are not allowed; "
            "expected text without control characters",
        ),
        ("a: \ud800", "f.yaml:1:4: half of a surrogate pair; expected text"),
    ],
    ids=lambda text: text[:12],
)
def test_text_that_holds_no_scenario_is_one_clear_line(text: str, message: str) -> None:
    assert message in mistakes(text)


def test_alias_stands_for_what_it_names() -> None:
    machine = load_text(
        "machine: {nodes: {0: &n {cpus: 0, memory: 1GiB}}}\ntasks: {a: &a {}, b: *a}"
    )
    assert list(machine.tasks) == ["a", "b"]


def test_number_of_too_many_digits_is_a_mistake_and_no_traceback() -> None:
    (line,) = mistakes("machine: {nodes: {0: {cpus: 0, memory: " + "9" * 5000 + "}}}")
    assert line.startswith("f.yaml:1:40: '9999")


def test_file_that_cannot_be_read_is_a_scenario_error(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"cannot be read: No such file or directory"):
        load(tmp_path / "none.yaml")


def test_file_that_is_not_utf8_is_reported_at_the_first_bad_byte(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"a: 1\nb: \xff")
    with pytest.raises(ScenarioError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:2:4: not UTF-8; expected UTF-8 text"


def test_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MACHINE.encode())
    assert len(load(path).machine.nodes) == 2


@pytest.mark.parametrize(
    ("nodes", "rest", "message"),
    [
        ("0: {cpus: 0, memory: 0}", "", "1:18: no node has memory; expected at least one"),
        ("0: {memory: 1GiB}", "", "1:18: no node has CPUs; expected at least one"),
        (
            "0: {cpus: 0, memory: 5000}",
            "",
            "1:40: 5000; expected a multiple of 4KiB, at most 16TiB",
        ),
        (
            "0: {cpus: 0, memory: 17TiB}",
            "",
            "1:40: 17TiB; expected a multiple of 4KiB, at most 16TiB",
        ),
        (
            "0: {cpus: 0, memory: 1GiB}, 1: {cpus: 0, memory: 0}",
            "",
            "1:57: CPU 0 is on node 0 already; expected it on one node",
        ),
        ("1024: {cpus: 0, memory: 1GiB}", "", "1:19: wrong key 1024; expected at most 1023"),
        (
            "0: {cpus: 0, memory: 1GiB}",
            ", distances: [[11]]",
            "1:61: wrong distance 11; expected 10 from a node to itself",
        ),
        (
            "0: {cpus: 0, memory: 1GiB}",
            ", distances: [[10], [20]]",
            "1:59: 2 rows; expected 1, one for each node",
        ),
        (
            "0: {cpus: 0, memory: 1GiB}",
            ", hugetlb: {0: 513}",
            "1:61: 513 pages of 2MiB do not fit into node 0; expected at most 512",
        ),
        (
            "0: {cpus: 0, memory: 1GiB}",
            ", hugetlb: {3: 1}",
            "1:58: the machine has no node 3; expected some of 0",
        ),
    ],
)
def test_impossible_machine_is_refused(nodes: str, rest: str, message: str) -> None:
    assert f"f.yaml:{message}" in mistakes(f"machine: {{nodes: {{{nodes}}}{rest}}}")


def test_twenty_thousand_mistakes_have_their_places() -> None:
    keys = "".join(f"key{i}: 1\n" for i in range(20_000))
    with pytest.raises(ScenarioErrors) as caught:
        load_text(f"machine: {{nodes: {{0: {{cpus: '0', memory: 64MiB}}}}}}\n{keys}")
    assert [error.line for error in caught.value.errors] == list(range(2, 20_002))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "machine: {nodes: {0: {cpus: '0', memory: 64GiB, fragmentation: [{stride: 2}]}}}",
            "1:65: free memory is in 8388608 pieces; expected at most 1048576, as a larger"
            " `stride` makes them",
        ),
        (
            "machine: {nodes: {0: {cpus: '0', memory: 4TiB}}}\n"
            "tasks: {t: {memory: [{as: a, kind: anon, size: 1TiB, pages: {random: '0'}}]}}",
            "2:61: 268435456 pages at random; expected at most 4194304",
        ),
        (
            "machine: {nodes: {0: {cpus: '0', memory: 4TiB}}}\n"
            "drivers: {d: {kind: zsmalloc, node: 0, pages: 262145}}",
            "2:47: wrong value 262145; expected at most 262144",
        ),
    ],
)
def test_what_is_kept_page_by_page_has_limits(text: str, message: str) -> None:
    with pytest.raises(ScenarioErrors) as caught:
        load_text(text, "m.yaml")
    assert str(caught.value) == f"m.yaml:{message}"


@pytest.mark.parametrize(
    "pattern", ["{stride: 512}", "{stride: 4, run: 4}", "{stride: 1, blocks: 50}"]
)
def test_large_machines_may_be_fragmented_coarsely(pattern: str) -> None:
    load_text(f"machine: {{nodes: {{0: {{cpus: '0', memory: 1TiB, fragmentation: [{pattern}]}}}}}}")


def test_where_things_stand_is_looked_up_for_mistakes_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    composed = []
    compose = yaml.compose

    def composing(text: str, **kwargs: Any) -> object:
        composed.append(text)
        return compose(text, **kwargs)

    monkeypatch.setattr(yaml, "compose", composing)
    loaded("tasks: {a: {memory: [{as: heap, size: 4KiB}]}}")
    assert composed == []
    mistakes(MACHINE + "tasks: {a: {memory: [{as: heap, size: lots}]}}\nkernal: 1")
    assert len(composed) == 1
