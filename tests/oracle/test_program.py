"""From a case to the lines that the guest's agent carries out, and to QEMU's machine."""

from typing import Any

import pytest

from tests.oracle.hardware import (
    UnrecordableError,
    hardware_of,
    machine_arguments,
    wrong_nodes,
)
from tests.oracle.program import needs_memcg, needs_version_1, program_of

FAR = [[10, 20, 200], [20, 10, 200], [200, 200, 10]]


def machine_of(*memory: str, **more: Any) -> dict[str, Any]:
    nodes = {nid: {"cpus": str(nid), "memory": size} for nid, size in enumerate(memory)}
    return {"nodes": nodes, **more}


def lines_of(*steps: dict[str, object], machine: Any = None, **more: Any) -> list[str]:
    machine = machine or machine_of("64MiB", "64MiB")
    case = {"machine": machine, "tasks": {"a": {"cpus": "0"}}, "steps": list(steps), **more}
    return program_of(case, "x").splitlines()


def test_a_program_has_settings_files_and_tasks_before_its_steps() -> None:
    assert lines_of({"op": "vmstat"}, files={"f": {"size": "4KiB"}}) == [
        "case\tname=x\talarm=60",
        "setting\tname=thp\tvalue=never",
        "setting\tname=thp_defrag\tvalue=madvise",
        "setting\tname=numa_balancing\tvalue=0",
        "setting\tname=demotion_enabled\tvalue=0",
        "file\tname=f\tsize=4096\tfs=tmpfs",
        "spawn\tname=a\tcpus=0\tuid=0\thome=1",
        "vmstat",
        "end",
    ]


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (
            {"op": "mbind", "mode": "bind", "nodes": "0-1", "mode_flags": ["static"]},
            "mbind\tnodes=0,1\tmode=32770\tflags=0",
        ),
        ({"op": "mbind", "mode": 77, "nodes": None}, "mbind\tmode=77\tno_nodes=1\tflags=0"),
        ({"op": "madvise", "advice": "collapse"}, "madvise\tadvice=25"),
        ({"op": "move_pages", "nodes": [1, -1]}, "move_pages\tnodes=1,-1\tflags=2"),
        ({"op": "move_pages", "pages": [3, 0], "nodes": None}, "move_pages\tpages=3,0\tflags=2"),
        ({"op": "mprotect", "prot": "none", "offset": "4KiB"}, "mprotect\toffset=4096\tprot="),
        ({"op": "reclaim", "size": "1MiB", "cpuset": "c"}, "reclaim\tcpuset=c\tsize=1048576"),
        ({"op": "exec", "argv": ["migratepages", "$a"]}, "exec\targv=migratepages\x1f$a"),
        ({"op": "compact"}, "compact\tname=compact_memory\tvalue=1"),
    ],
    ids=lambda value: value["op"] if isinstance(value, dict) else "",
)
def test_a_step_is_a_line(step: dict[str, object], line: str) -> None:
    assert lines_of(step)[-2] == line


@pytest.mark.parametrize(
    "step",
    [
        pytest.param({"op": "damon"}, id="a step that no kernel takes"),
        pytest.param({"op": "mbind", "mode": "bind", "nodes": "2"}, id="the service node"),
        pytest.param({"op": "move_pages", "nodes": 2}, id="the service node again"),
        pytest.param({"op": "mbind", "mode": "bind", "nodes": "1024"}, id="far beyond"),
        pytest.param({"op": "mbind", "mode": "odd", "nodes": "0"}, id="an unknown word"),
        pytest.param({"op": "touch", "meanwhile": {}}, id="an unknown key"),
        pytest.param({"op": "memory_offline", "node": 0}, id="a node that holds the kernel's"),
        pytest.param({"op": "reclaim", "size": 1, "target": "a"}, id="a task's memory"),
    ],
)
def test_what_cannot_be_recorded_is_refused(step: dict[str, object]) -> None:
    with pytest.raises(UnrecordableError):
        lines_of(step)


def test_memory_blocks_are_told_by_their_place_in_the_node() -> None:
    machine = machine_of("256MiB", "256MiB", "512MiB", distances=FAR)
    for nid in (0, 1):
        machine["nodes"][nid]["movable"] = "256MiB"
    step = {"op": "memory_offline", "node": 1, "blocks": [3]}
    assert lines_of(step, machine=machine)[-2].endswith("state=online_movable\tblocks=1")


@pytest.mark.parametrize(
    ("task", "home"), [({"cpus": "0", "cpuset": "root_"}, "home=1"), ({"cpus": "0"}, "home=0")]
)
def test_a_task_may_use_the_service_node_if_the_case_names_it(
    task: dict[str, str], home: str
) -> None:
    machine = machine_of("256MiB", "256MiB", "512MiB", distances=FAR)
    case = {"machine": machine, "tasks": {"a": task}, "steps": []}
    assert home in program_of(case, "x")


def test_what_a_case_needs_of_the_guest() -> None:
    assert needs_memcg({"steps": [{"op": "reclaim"}]})
    assert needs_version_1({"steps": [{"op": "cpuset_create", "cpuset": "c"}]})
    assert not needs_version_1({"steps": [{"op": "cpuset_create", "memory_migrate": True}]})


def test_the_service_node_is_qemus_first_and_the_guests_last() -> None:
    words = machine_arguments(hardware_of(machine_of("64MiB", "64MiB")))
    assert "576M" in words
    cpus = [word for word in words if word.startswith("cpu,")]
    assert [word.split(",")[1] for word in cpus] == ["node-id=1", "node-id=2", "node-id=0"]
    assert "dist,src=0,dst=1,val=200" in words


def test_a_gap_in_the_numbers_is_a_possible_node() -> None:
    nodes = {0: {"cpus": "0", "memory": "64MiB"}, 2: {"cpus": "1", "memory": "64MiB"}}
    hardware = hardware_of({"nodes": nodes, "distances": [[10, 15], [15, 10]]})
    assert hardware.memory_nodes == [0, 2]
    assert hardware.distances == ((10, 20, 15), (20, 10, 20), (15, 20, 10))


def test_movable_nodes_are_dimms_and_hmat_speeds_are_told() -> None:
    machine = machine_of("256MiB", "256MiB")
    machine["nodes"][0]["movable"] = "256MiB"
    speed = {"read_latency": 300, "write_latency": 300, "read_bandwidth": 5, "write_bandwidth": 5}
    machine["nodes"][1]["hmat"] = speed
    words = " ".join(machine_arguments(hardware_of(machine)))
    assert "pc-dimm,id=dimm0,memdev=memory0,node=1" in words
    assert "target=2,hierarchy=memory,data-type=read-latency,latency=300" in words
    assert "pc,hmat=on" in words


@pytest.mark.parametrize(
    "machine",
    [
        pytest.param({"nodes": {0: {"memory": "64MiB"}}}, id="no CPU"),
        pytest.param({"nodes": {0: {"cpus": "1", "memory": "64MiB"}}}, id="no CPU 0"),
        pytest.param(machine_of("64MiB", seed=1), id="an unknown setting"),
        pytest.param(
            {"nodes": {0: {"cpus": "0", "memory": "64MiB", "movable": "32MiB"}}}, id="half movable"
        ),
    ],
)
def test_a_machine_that_qemu_cannot_be(machine: dict[str, object]) -> None:
    with pytest.raises(UnrecordableError):
        hardware_of(machine)


def test_a_guest_with_other_nodes_is_noticed() -> None:
    hardware = hardware_of(machine_of("512MiB", "512MiB"))
    console = "NODE 0 cpus=0 Node 0 MemTotal: 500000 kB\nNODE 1 cpus={} Node 1 MemTotal: 500000 kB"
    assert wrong_nodes(hardware, console.format(1)) == ""
    assert "node 1" in wrong_nodes(hardware, console.format(0))
