from pathlib import Path

import pytest

from tests.cli.conftest import SCENARIO, Outcome, Shell, body

STEPS = f"""\
{SCENARIO}
steps:
  - {{op: migrate_pages, task: a, from: "0", to: "1"}}
"""


def test_output(unbooted: Shell) -> None:
    text = f"booted {unbooted.scenario}: Linux 6.12, 2 nodes, 128MiB, 2 tasks\n"
    assert unbooted("boot") == Outcome(0, text)


def test_scenario_as_argument_wins(unbooted: Shell) -> None:
    other = 'machine: {nodes: {0: {cpus: "0", memory: 64MiB}}}\nkernel: "6.1"\n'
    unbooted.write("other.yaml", other)
    text = "booted other.yaml: Linux 6.1, 1 node, 64MiB, 0 tasks\n"
    assert unbooted("boot other.yaml") == Outcome(0, text)


def test_starts_afresh(shell: Shell) -> None:
    shell.out("migratepages a 0 1")
    shell.boot()
    assert shell.counted("pgmigrate_success", "pgfree") == [0, 0]


def test_replaces_a_machine_of_another_scenario(shell: Shell) -> None:
    shell.write("other.yaml", SCENARIO)
    shell.out("boot other.yaml")
    assert shell("--scenario other.yaml numa_maps a").exit == 0
    assert shell("numa_maps a").exit == 3


def test_steps(unbooted: Shell) -> None:
    unbooted.boot(STEPS)
    assert unbooted.counted("pgmigrate_success") == [0]
    unbooted.out("boot --run")
    assert unbooted.counted("pgmigrate_success") == [22]  # uid 26 moves no shared page


def test_json(unbooted: Shell) -> None:
    assert unbooted.json("boot") == {
        "scenario": str(unbooted.scenario),
        "kernel": "6.12",
        "nodes": 2,
        "memory": 128 << 20,
        "tasks": 2,
    }


def test_wrong_scenario_leaves_what_was_booted(shell: Shell) -> None:
    shell.write("machine.yaml", "machne: {}\ntasks: []\n")
    with shell.unchanged():
        assert shell.err("boot") == (
            f"pymigrate: {shell.scenario}:1:1: missing key 'machine'; expected the machine\n"
            f"pymigrate: {shell.scenario}:1:1: unknown key 'machne'; expected about, kernel,"
            " machine, files, tasks, cpusets, drivers or steps; nearest valid key 'machine'\n"
            f"pymigrate: {shell.scenario}:2:8: wrong value an empty list; expected a mapping\n"
        )


@pytest.mark.parametrize(
    ("name", "why"), [("none.yaml", "No such file or directory"), (".", "Is a directory")]
)
def test_scenario_that_cannot_be_read(unbooted: Shell, name: str, why: str) -> None:
    expected = f"pymigrate: {name}: cannot be read: {why}; expected a file\n"
    assert unbooted.err(f"boot {name}") == expected
    assert not unbooted.state.exists()


def test_ephemeral_keeps_nothing(unbooted: Shell) -> None:
    assert unbooted("boot --ephemeral").exit == 0
    assert not unbooted.state.exists()


def test_check_says_whether_it_boots_and_keeps_nothing(shell: Shell) -> None:
    before = Path(shell.state).read_bytes()
    good = shell.write("good.yaml", "machine: {nodes: {0: {memory: 64MiB, cpus: 0}}}\n")
    assert shell.out(f"boot --check {good}") == (
        f"can boot {good}: Linux 6.12, 1 node, 64MiB, 0 tasks\n"
    )
    full = shell.write(
        "full.yaml",
        "machine: {nodes: {0: {memory: 64MiB, cpus: 0}}}\n"
        "tasks: [{name: a, regions: [{as: heap, kind: heap, size: 1GiB, pages: [[262144, 0]]}]}]\n",
    )
    outcome = shell(f"boot --check {full}")
    assert outcome.exit == 2
    assert outcome.stderr.startswith(f"pymigrate: {full}:2")
    assert Path(shell.state).read_bytes() == before


@pytest.mark.parametrize("name", ["fork-server", "fork-server.yaml"])
def test_a_built_in_scenario_is_booted_by_name(unbooted: Shell, name: str) -> None:
    assert unbooted.out(f"boot {name}") == f"booted {name}: Linux 6.12, 2 nodes, 1GiB, 3 tasks\n"
    assert unbooted.out(f"--scenario {name} ps").splitlines()[1].split()[2] == "parent"


def test_a_file_wins_over_a_built_in_scenario(unbooted: Shell) -> None:
    unbooted.write("fork-server", SCENARIO)
    assert unbooted.out("boot fork-server").endswith("2 nodes, 128MiB, 2 tasks\n")


@pytest.fixture
def at_home(unbooted: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell that names neither a scenario nor a state."""
    monkeypatch.delenv("PYMIGRATE_SCENARIO")
    monkeypatch.delenv("PYMIGRATE_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(unbooted.folder / "xdg"))
    return unbooted


def test_what_was_booted_last_is_meant_where_nothing_is_named(at_home: Shell) -> None:
    at_home.out("boot full-target")
    assert at_home.json("ps")[0]["task"] == "job"
    at_home.out("boot machine.yaml")
    assert [row["task"] for row in at_home.json("ps")] == ["a", "b"]
    at_home("ps --scenario fork-server")  # boots by itself, and changes nothing of that
    assert [row["task"] for row in at_home.json("ps")] == ["a", "b"]


def test_boot_alone_goes_back_to_the_built_in_machine(at_home: Shell) -> None:
    at_home.out("boot full-target")
    assert "two-node.yaml: Linux" in at_home.out("boot")
    assert at_home.json("ps")[0]["task"] == "db"


def test_state_that_is_gone_is_no_longer_meant(at_home: Shell) -> None:
    at_home.out("boot full-target")
    for path in (at_home.folder / "xdg" / "pymigrate").glob("full-target-*.db"):
        path.unlink()
    assert body(at_home("ps --json").stdout)[0]["task"] == "db"


def test_scenario_and_state_win_over_what_was_booted_last(at_home: Shell) -> None:
    at_home.out("boot full-target")
    at_home.out("boot machine.yaml --state other.db")
    assert at_home.json("ps")[0]["task"] == "job"
    assert at_home.json("ps --state other.db")[0]["task"] == "a"
    assert body(at_home("ps --json --scenario fork-server").stdout)[0]["task"] == "parent"


def test_a_machine_in_one_line(at_home: Shell) -> None:
    assert at_home.out("boot --nodes 2x1GiB:2,512MiB@cxl") == (
        "booted a machine of 2x1GiB:2,512MiB@cxl: Linux 6.12, 3 nodes, 2560MiB, 1 task\n"
    )
    [row] = at_home.json("ps")
    assert (row["task"], row["cpus"], row["nodes"]) == ("app", "0-1", {"0": 16384, "1": 0, "2": 0})
    at_home.out("migratepages app 0 2")
    assert at_home.json("ps")[0]["nodes"]["2"] == 16384
    assert at_home.json("tiers")["nodes"]["0"]["preferred"] == "2"


def test_a_machine_in_one_line_that_means_nothing(unbooted: Shell) -> None:
    assert unbooted.err("boot --nodes 2x1GiB@cxl").splitlines()[0] == (
        "pymigrate: Invalid value for '--nodes': '2x1GiB@cxl' has no node with CPUs;"
        " expected such as 2x64GiB or 4x384GiB:16,2x512GiB@cxl"
    )
    assert "exclude each other" in unbooted.err("boot machine.yaml --nodes 1GiB")


def test_a_scenario_on_stdin(at_home: Shell) -> None:
    with open(at_home.scenario, encoding="utf-8") as scenario:
        done = at_home.spawn("boot -", stdin=scenario)
    assert done.stdout == "booted stdin: Linux 6.12, 2 nodes, 128MiB, 2 tasks\n"


def test_init_writes_what_can_be_booted(unbooted: Shell) -> None:
    out = unbooted.out("init new.yaml --nodes 2x64MiB")
    assert out == "wrote new.yaml; `pymigrate boot new.yaml` boots it\n"
    assert "2 nodes, 128MiB, 1 task" in unbooted.out("boot new.yaml")
    assert "new.yaml' exists; --force replaces it" in unbooted.err("init new.yaml")
    unbooted.out("init new.yaml --force")
    assert "2 nodes, 2GiB, 1 task" in unbooted.out("boot new.yaml")


def test_programs_work_on_a_scenario_that_is_named(at_home: Shell) -> None:
    done = at_home.spawn("--scenario full-target --ephemeral exec --shims -- pidof job")
    assert (done.exit, done.stdout) == (0, "1000\n")
