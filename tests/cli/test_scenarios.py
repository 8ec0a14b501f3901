"""The example scenarios: they boot, and what their comments claim happens."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from pymigrate.cli.main import cli
from pymigrate.errors import KernelError
from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Nodemask
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load
from pymigrate.scenario.record import Record
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.views.pictures import ps
from tests.conftest import run_scenario

FOLDER = Path(__file__).parents[2] / "scenarios"
FILES = sorted(FOLDER.glob("*.yaml"))
COMMAND = re.compile(r"^# +pymigrate (.*?)(?: +# .*)?$", re.MULTILINE)
BY_NAME = [pytest.param(path, id=path.stem) for path in FILES]


def booted(name: str) -> Machine:
    return build(load(FOLDER / f"{name}.yaml"))


def migrate(machine: Machine, who: str, old: str, new: str) -> int:
    task = machine.task(who)
    return migrate_pages(
        machine, machine.shell_of(0), task, Nodemask.parse(old), Nodemask.parse(new)
    )


def pages(machine: Machine) -> dict[str, dict[int, int]]:
    """The resident pages of each task, on the nodes where it has any."""
    return {row.task: {nid: nr for nid, nr in row.nodes.items() if nr} for row in ps.rows(machine)}


def nodes(record: Record) -> list[dict[str, int]]:
    """The pages by node of each line of a numa_maps step."""
    return [line["nodes"] for line in record["lines"]]


@pytest.mark.parametrize("path", BY_NAME)
def test_scenario_boots_and_begins_with_what_it_teaches(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.match(r"# [A-Z].*[.]\n#\n", text)
    scenario = load(path)
    assert scenario.about
    assert build(scenario).nodes


@pytest.mark.parametrize("path", BY_NAME)
def test_commands_in_the_comment_are_accepted(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(FOLDER.parent)
    monkeypatch.setenv("PYMIGRATE_SCENARIO", f"scenarios/{path.name}")
    monkeypatch.setenv("PYMIGRATE_STATE", str(tmp_path / "state.db"))
    for command in COMMAND.findall(path.read_text(encoding="utf-8")):
        result = CliRunner().invoke(cli, shlex.split(command))
        assert result.exit_code in (0, 1), (command, result.output)
        assert result.exception is None or isinstance(result.exception, SystemExit), command


def test_fork_server_leaves_shared_pages_to_root() -> None:
    records = run_scenario(FOLDER / "fork-server.yaml")
    assert nodes(records[1]) == [{"0": 6144, "1": 2048}]
    assert nodes(records[3]) == [{"0": 6144, "1": 2048}]
    assert records[4]["delta"] == {"pgmigrate_success": 4096}
    assert nodes(records[6]) == [{"1": 8192}]
    assert records[7]["delta"] == {"pgmigrate_success": 6144 + 2048}
    assert records[8]["nodes"] == [[2048, 0], [6144, 1]]


def test_interleave_steps_show_what_a_policy_rules() -> None:
    records = run_scenario(FOLDER / "interleave-steps.yaml")
    assert nodes(records[2]) == [{"0": 2048}]
    assert nodes(records[5]) == [{"0": 2560, "1": 512, "2": 512, "3": 512}]
    assert records[8]["delta"] == {}
    assert nodes(records[10]) == [{"1": 1366, "2": 1365, "3": 1365}]
    assert records[11]["delta"] == {"pgmigrate_success": 2560}
    assert [line["policy"] for line in records[13]["lines"]] == [
        "interleave:1-3",
        "bind:2",
        "interleave:1-3",
    ]
    assert nodes(records[15])[1] == {"3": 1024}


def test_first_touch_steps_show_where_memory_stays() -> None:
    placements = [
        record["nodes"]
        for record in run_scenario(FOLDER / "first-touch-steps.yaml")
        if record["op"] == "placement"
    ]
    assert placements == [
        [[1024, 0], [3072, -1]],
        [[1024, 0], [3072, -1]],
        [[1024, 0], [2048, 1], [1024, -1]],
        [[3, 1], [1020, 0], [2049, 1], [1024, -1]],
        [[3072, 1], [1024, -1]],
    ]


def reached(records: list[Record]) -> list[list[tuple[str, int, int]]]:
    """Each task's local and remote accesses a second, at each step that asks."""
    return [
        [(task["task"], task["local"], task["remote"]) for task in record["tasks"]]
        for record in records
        if record["op"] == "accesses"
    ]


def test_cpuset_takes_its_memory_along_but_for_cgroup_v1() -> None:
    path = FOLDER / "cpuset-steps.yaml"
    there = [("first", 750000, 250000), ("second", 0, 1000000)]
    at_home = [("first", 750000, 250000), ("second", 1000000, 0)]
    nowhere = [("first", 0, 1000000), ("second", 0, 1000000)]
    assert reached(run_scenario(path)) == [at_home, nowhere, there, at_home]
    assert reached(run_scenario(path, "6.1")) == [at_home, nowhere, there, nowhere]


def test_hungry_job_evicts_pages_of_the_database_to_the_next_tier() -> None:
    records = run_scenario(FOLDER / "hungry-job-steps.yaml")
    assert records[6]["delta"] == {"pgmigrate_success": 17536, "pgdemote_kswapd": 17536}
    assert records[3]["nodes"] == [[17536, 1], [64384, 0]]
    assert reached(records)[1] == [("db", 392968.75, 1607031.25), ("job", 8000000, 0)]
    assert reached(records)[3] == [("db", 2000000, 0)]


def test_profilers_log_brings_nine_tenths_of_the_gain() -> None:
    records = run_scenario(FOLDER / "profiler-steps.yaml")
    assert reached(records) == [
        [("web", 0, 3000000)],
        [("web", 2700000, 300000)],
        [("web", 3000000, 0)],
    ]
    assert records[1]["status"] == [[1638, 1]]


def test_huge_pages_move_whole_or_are_split() -> None:
    records = run_scenario(FOLDER / "huge-pages-steps.yaml")
    assert records[5]["ret"] == 1
    assert records[6]["nodes"] == [[1024, 1], [512, 0]]
    assert records[12]["delta"]["thp_migration_split"] == 1
    assert sum(nr for nr, node in records[10]["nodes"] if node == -1) == 512 - 32


def test_full_target_fails_half_way() -> None:
    machine = booted("full-target")
    with pytest.raises(KernelError) as failure:
        migrate(machine, "job", "0", "1")
    assert failure.value.name == "ENOMEM"
    left, moved = pages(machine)["job"].values()
    assert left + moved == 51200
    assert moved > 30720  # all of input, and a part of output
    assert migrate(machine, "job", "1", "0") == 0
    assert pages(machine)["job"] == {0: 51200}


def test_cxl_comes_and_goes() -> None:
    machine = booted("cxl-memory-only")
    assert pages(machine)["cache"] == {0: 106496, 2: 237568}
    assert migrate(machine, "cache", "2", "0") == 0
    assert pages(machine)["cache"] == {0: 344064}
    assert migrate(machine, "cache", "0", "2") == 0
    assert pages(machine) == {"cache": {2: 344064}, "tail": {1: 8192}}


def test_two_sockets_place_by_policy_and_distance() -> None:
    machine = booted("four-node-two-socket")
    placed = pages(machine)
    assert placed["web"] == {0: 57348, 1: 32768, 2: 32768, 3: 32768}
    assert placed["db"] == {0: 102400, 2: 65536}
    assert set(placed["batch"]) == {2, 3}
    with pytest.raises(KernelError):
        migrate(machine, "web", "0-1", "2-3")
    assert 0 not in pages(machine)["web"]


def test_one_tib_moves_in_one_go() -> None:
    machine = booted("one-tib")
    quarter = 100 << 18
    assert migrate(machine, "store", "3", "2") == 0
    assert pages(machine)["store"] == {0: quarter, 1: quarter, 2: 2 * quarter}
    assert migrate(machine, "index", "0", "3") == 0
    assert pages(machine)["index"] == {3: quarter}
