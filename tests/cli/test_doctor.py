"""doctor: a sound state is told apart from each kind of broken one."""

import json

import pytest

from tests.cli.conftest import SCENARIO, Shell, execute


def test_a_sound_state(shell: Shell) -> None:
    shell.out("migratepages a 0 1")
    shell.out("task pin a heap")
    for line in ("doctor", "doctor --reset"):
        with shell.unchanged():
            assert shell.out(line) == f"{shell.state}: nothing is wrong\n"


def test_no_state_yet(unbooted: Shell) -> None:
    assert unbooted.out("doctor") == (
        f"{unbooted.state}: 1 found\nnote: there is no state yet; the first command boots it\n"
    )
    assert not unbooted.state.exists()


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        pytest.param("DELETE FROM vma", "is damaged;", id="rows"),
        pytest.param("UPDATE zone SET nr_free = nr_free + 1", "is damaged;", id="value"),
        pytest.param("DELETE FROM run_map WHERE kind = 'memmap'", "is damaged;", id="map"),
        pytest.param("UPDATE run_map SET data = x'00'", "is damaged;", id="blob"),
        pytest.param("DROP TABLE vma", "is damaged;", id="table"),
        pytest.param("PRAGMA user_version = 9999", "was made by a newer pymigrate;", id="newer"),
        pytest.param("PRAGMA application_id = 1", "is not a state file of pymigrate;", id="other"),
    ],
)
def test_a_broken_state_is_told_and_not_touched(shell: Shell, sql: str, line: str) -> None:
    execute(shell, sql)
    with shell.unchanged():
        exit_code, stdout, stderr = shell("doctor")
    assert (exit_code, stderr) == (3, "")
    assert line in stdout
    assert all(each.startswith("broken: ") for each in stdout.splitlines()[1:])


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        ("DELETE FROM task", "address space 4 belongs to no process"),
        ("UPDATE zone SET nr_free = 7", "pages are free, and 7 are counted"),
    ],
)
def test_what_cannot_be_true_of_a_machine_is_told(shell: Shell, sql: str, line: str) -> None:
    execute(shell, sql, sealed=True)
    with shell.unchanged():
        exit_code, stdout, stderr = shell("doctor")
    assert (exit_code, stderr) == (3, "")
    assert line in stdout


def test_a_first_boot_that_was_interrupted_is_no_fault(unbooted: Shell) -> None:
    unbooted.state.write_bytes(b"")
    assert unbooted.out("doctor") == (
        f"{unbooted.state}: 1 found\nnote: it holds no machine, as when the first boot was"
        " interrupted; the next command boots it\n"
    )


def test_a_file_that_is_garbage(shell: Shell) -> None:
    shell.state.write_bytes(b"garbage" * 1000)
    exit_code, stdout, _ = shell("doctor")
    assert (exit_code, "is not a state file of pymigrate" in stdout) == (3, True)
    assert shell("doctor --reset").exit == 3
    assert shell.state.read_bytes() == b"garbage" * 1000


def test_a_page_of_the_file_is_damaged(shell: Shell) -> None:
    data = bytearray(shell.state.read_bytes())
    data[4096:4160] = bytes(64)
    shell.state.write_bytes(data)
    exit_code, stdout, _ = shell("doctor")
    assert exit_code == 3
    assert "broken: is damaged" in stdout


def test_a_changed_scenario(shell: Shell) -> None:
    shell.write("machine.yaml", SCENARIO.replace("alpha", "gamma"))
    exit_code, stdout, _ = shell("doctor")
    assert exit_code == 3
    assert f"the scenario {shell.scenario} was changed since it was booted" in stdout


def test_a_scenario_that_is_gone_is_no_fault(shell: Shell) -> None:
    shell.scenario.unlink()
    exit_code, stdout, _ = shell("doctor")
    assert exit_code == 0
    assert stdout.splitlines()[1].startswith(f"note: the scenario {shell.scenario} is gone")


def test_reset_boots_the_scenario_afresh(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYMIGRATE_SCENARIO")
    execute(shell, "DELETE FROM task")
    assert shell("doctor --reset").stdout.endswith(f"booted {shell.scenario} afresh\n")
    assert shell("doctor").exit == 0
    assert shell.maps("a")


def test_reset_of_a_damaged_file_needs_the_scenario(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYMIGRATE_SCENARIO")
    execute(shell, "DELETE FROM meta")
    exit_code, _, stderr = shell("doctor --reset")
    assert (exit_code, "name it with --scenario" in stderr) == (3, True)
    assert shell(f"doctor --reset --scenario {shell.scenario}").exit == 0


def test_json(shell: Shell) -> None:
    assert shell.json("doctor") == {"state": str(shell.state), "broken": False, "findings": []}
    execute(shell, "DELETE FROM task", sealed=True)
    answer = json.loads(shell("doctor --json").stdout)
    assert answer["broken"] is True
    assert answer["findings"][0] == {
        "what": "address space 4 belongs to no process",
        "cure": "`pymigrate doctor --reset` starts afresh",
        "is_broken": True,
    }
