import json

import pytest

from tests.cli.conftest import SCENARIO, Outcome, Shell

STEPS = (
    SCENARIO
    + """\
steps:
  - {op: migrate_pages, task: a, from: "0", to: "1"}
  - {op: numa_maps, task: b, at: buf}
  - {op: migrate_pages, task: a, from: "1", to: "9"}
"""
)
# What Linux 6.1 has not.
WEIGHTED = (
    SCENARIO
    + """\
steps:
  - {op: set_mempolicy, task: a, mode: weighted-interleave, nodes: "0-1"}
"""
)


@pytest.fixture
def steps(shell: Shell) -> Shell:
    shell.write("steps.yaml", STEPS)
    return shell


WHY = "nodes 9 are not allowed to process 100 (CAP_SYS_NICE would drop them)"


def test_output(steps: Shell) -> None:
    assert steps("run steps.yaml") == Outcome(
        0,
        "   1 migrate_pages ret=0\n"
        '   2 numa_maps lines=[{"policy": "default", "start": 0, "file": "/dev/zero (deleted)",'
        ' "dirty": 4, "mapmax": 2, "active": 0, "nodes": {"0": 4}, "kernelpagesize_kB": 4}]\n'
        f"   3 migrate_pages ret=-1 errno=EPERM: {WHY}\n",
    )


def test_json(steps: Shell) -> None:
    first, maps, last = steps.json("run steps.yaml")
    assert first.pop("estimated")["unmap_us"] == 9.9
    assert first == {"op": "migrate_pages", "ret": 0, "errno": None}
    assert maps["lines"][0]["nodes"] == {"0": 4}
    assert last == {"op": "migrate_pages", "ret": -1, "errno": "EPERM", "why": WHY}


@pytest.mark.parametrize(
    ("option", "record"),
    [
        ("", "   1 set_mempolicy ret=0\n"),
        ("--kernel 6.1", "   1 set_mempolicy ret=-1 errno=EINVAL: 6 is not a policy mode\n"),
        ("--kernel 7.2", "   1 set_mempolicy ret=0\n"),
    ],
)
def test_kernel(shell: Shell, option: str, record: str) -> None:
    shell.write("steps.yaml", WEIGHTED)
    assert shell(f"run steps.yaml {option}") == Outcome(0, record)


def test_kernel_wins_over_the_scenarios(shell: Shell) -> None:
    text = f'kernel: "6.1"\n{WEIGHTED}'
    shell.write("steps.yaml", text)
    assert shell.json("run steps.yaml")[0]["errno"] == "EINVAL"
    assert shell.json("run steps.yaml --kernel 6.12")[0]["errno"] is None


def test_scenario_without_steps(shell: Shell) -> None:
    assert shell("run machine.yaml") == Outcome(0, "", "pymigrate: machine.yaml has no steps\n")
    assert json.loads(shell.out("run machine.yaml --json")) == []


def test_many_steps_show_no_progress_bar_in_a_pipe(shell: Shell) -> None:
    step = '  - {op: migrate_pages, task: a, from: "0", to: "1"}\n'
    shell.write("steps.yaml", f"{SCENARIO}steps:\n{step * 250}")
    exit_code, stdout, stderr = shell.spawn("run steps.yaml")
    assert (exit_code, stderr) == (0, "")
    assert stdout.count("\n") == 250


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("{op: migrate_pages, task: a}", "missing key 'from'"),
        ("{op: migrate_page, task: a}", "migrate_pages"),
        ("{op: numa_maps, task: nobody, at: heap}", "nobody"),
        ("[]", "wrong value an empty list; expected a mapping"),
    ],
)
def test_wrong_step_is_reported_where_it_is(shell: Shell, step: str, message: str) -> None:
    shell.write("steps.yaml", f"{SCENARIO}steps:\n  - {step}\n")
    stderr = shell.err("run steps.yaml")
    assert stderr.startswith("pymigrate: steps.yaml:26:")
    assert message in stderr


def test_texts_of_several_lines_stay_on_the_line_of_their_record(shell: Shell) -> None:
    shell.write("s.yaml", f"{SCENARIO}steps:\n  - {{op: exec, argv: [numactl, --what]}}\n")
    lines = shell("run s.yaml").stdout.splitlines()
    assert len(lines) == 1
    assert "\\n" in lines[0]


def test_calls_of_a_driver_read_as_calls(shell: Shell) -> None:
    steps = "steps: [{op: migrate_driver, driver: zs, to: 1}]\n"
    drivers = "drivers: {zs: {kind: zsmalloc, node: 0, pages: 1}}\n"
    shell.write("s.yaml", SCENARIO + drivers + steps)
    assert "calls=isolate_page(0) true, migrate_page(0) 0 " in shell.out("run s.yaml")
