"""What ships, and what is booted."""

from pathlib import Path

from tests.cli.conftest import ROOT, Shell, body

SHIPPED = sorted(path.stem for path in (ROOT / "scenarios").glob("*.yaml"))


def test_scenarios_lists_what_ships_with_a_sentence_each(unbooted: Shell) -> None:
    lines = unbooted.out("scenarios").splitlines()
    assert [line.split()[0] for line in lines] == SHIPPED
    assert all(len(line.split()) > 3 for line in lines)


def test_scenarios_prints_one(unbooted: Shell) -> None:
    text = unbooted.out("scenarios full-target")
    assert text == (ROOT / "scenarios" / "full-target.yaml").read_text(encoding="utf-8")


def test_name_that_does_not_ship_is_answered_with_the_nearest(unbooted: Shell) -> None:
    for command in ("boot full_targt", "scenarios full_targt"):
        exit_code, _, stderr = unbooted(command)
        assert exit_code == 2
        assert "no scenario full_targt that ships; nearest is full-target" in stderr


def test_path_that_is_not_there_is_no_name(unbooted: Shell, tmp_path: Path) -> None:
    exit_code, _, stderr = unbooted(f"boot {tmp_path}/nothing.yaml")
    assert exit_code == 2
    assert "No such file or directory" in stderr


def test_status_boots_nothing(unbooted: Shell) -> None:
    assert "nothing is booted yet" in unbooted.out("status")
    assert not unbooted.state.exists()


def test_status_tells_what_has_happened(shell: Shell) -> None:
    shell.out("migratepages a 0 1")
    found = body(shell.out("status --json"))
    assert found["booted"] is True
    assert found["last"] == "migrate_pages"
    assert found["moved"] > 0
    assert f"{found['moved']} pages so far" in shell.out("status")
