"""Steps that reclaim memory, and that let DAMON move it."""

from pathlib import Path
from typing import Any

import pytest

from pymigrate.errors import ScenarioError
from pymigrate.scenario.read.loader import load
from tests.conftest import run_scenario

MACHINE = """\
machine:
  nodes:
    0: {cpus: "0", memory: 64MiB}
    1: {memory: 64MiB, adistance: 2880}
  demotion: true
tasks: {a: {}, b: {}}
steps:
  - {op: mmap, task: a, as: buf, length: 2MiB}
  - {op: touch, task: a, at: buf}
  - {op: cpuset_create, cpuset: batch, cpus: "0", mems: "0-1"}
  - {op: cpuset_attach, cpuset: batch, task: a}
  - {op: vmstat}
"""


def answers(folder: Path, *steps: str) -> list[dict[str, Any]]:
    """The records of *steps* behind those of MACHINE."""
    path = folder / "case.yaml"
    path.write_text(MACHINE + "".join(f"  - {step}\n" for step in steps), encoding="utf-8")
    return run_scenario(path)[5:]


def mistake(folder: Path, step: str) -> str:
    path = folder / "case.yaml"
    path.write_text(f"{MACHINE}  - {step}\n", encoding="utf-8")
    with pytest.raises(ScenarioError) as failure:
        load(path)
    return str(failure.value).partition("case.yaml:")[2]


def test_reclaim_demotes_what_the_tasks_of_a_cpuset_map(tmp_path: Path) -> None:
    found = answers(
        tmp_path,
        "{op: reclaim, size: 1MiB, cpuset: batch}",
        "{op: reclaim, size: 4KiB, target: b}",
        "{op: reclaim, size: 512KiB, node: 0}",
        "{op: placement, task: a, at: buf}",
        "{op: vmstat}",
    )
    assert [record.get("reclaimed") for record in found[:3]] == [256, None, 128]
    assert found[1]["errno"] == "EAGAIN"
    assert found[3]["nodes"] == [[384, 1], [128, 0]]
    assert found[4]["delta"] == {"pgmigrate_success": 384, "pgdemote_direct": 384}


def test_damon_moves_a_node_or_a_part_of_a_region(tmp_path: Path) -> None:
    found = answers(
        tmp_path,
        "{op: damon, action: migrate_cold, to: 1, task: a, at: buf, length: 64KiB}",
        "{op: damon, action: migrate_hot, to: 1, node: 0, quota: 1MiB, exclude: [file]}",
        "{op: damon, action: migrate_hot, to: 5, node: 0}",
        "{op: vmstat}",
    )
    assert [record.get("migrated") for record in found[:3]] == [16, 256, None]
    assert found[2]["errno"] == "EINVAL"
    assert found[3]["delta"] == {"pgmigrate_success": 272}


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("{op: reclaim, size: 1MiB, cpuset: bath}", "unknown cpuset 'bath'"),
        ("{op: reclaim, size: 1MiB, target: c}", "unknown task 'c'"),
        ("{op: reclaim}", "missing key 'size'"),
        ("{op: damon, action: migrate_cold, to: 1}", "expected either node or task"),
        ("{op: damon, action: migrate_cold, to: 1, node: 0, task: a, at: buf}", "expected either"),
        ("{op: damon, action: migrate_cold, to: 1, task: a, at: bug}", "unknown region 'bug'"),
        ("{op: damon, action: cold, to: 1, node: 0}", "wrong value 'cold'; expected migrate_hot"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, step: str, message: str) -> None:
    assert message in mistake(tmp_path, step)
