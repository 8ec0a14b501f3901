import pytest

from tests.cli.conftest import SCENARIO, Outcome, Shell

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


@pytest.mark.parametrize("name", ["fork-server", "fork-server.yaml"])
def test_a_built_in_scenario_is_booted_by_name(unbooted: Shell, name: str) -> None:
    assert unbooted.out(f"boot {name}") == f"booted {name}: Linux 6.12, 2 nodes, 1GiB, 3 tasks\n"
    assert unbooted.out(f"--scenario {name} ps").splitlines()[1].split()[2] == "parent"


def test_a_file_wins_over_a_built_in_scenario(unbooted: Shell) -> None:
    unbooted.write("fork-server", SCENARIO)
    assert unbooted.out("boot fork-server").endswith("2 nodes, 128MiB, 2 tasks\n")
