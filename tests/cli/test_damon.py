import pytest

from tests.cli.conftest import Outcome, Shell


def test_memory_of_a_node(shell: Shell) -> None:
    assert shell("damon migrate_cold 1 --node 0") == Outcome(0, "26 pages migrated\n")
    assert shell.counted("pgmigrate_success") == [26]


def test_part_of_a_process(shell: Shell) -> None:
    line = "damon migrate_hot 1 --task a --at heap+8KiB:8KiB"
    assert shell(line) == Outcome(0, "2 pages migrated\n")
    assert shell.maps("a")[0].split()[5:7] == ["N0=4", "N1=4"]


def test_whole_process_with_quota_and_filter(shell: Shell) -> None:
    line = "damon migrate_hot 1 --task a --exclude anon --quota 16KiB"
    assert shell(line) == Outcome(0, "4 pages migrated\n")


def test_trace_and_json(shell: Shell) -> None:
    shown = shell.json("damon migrate_cold 1 --task a --at heap --trace")
    assert shown["migrated"] == 6
    text = shown["trace"][0]
    assert "mode=MIGRATE_ASYNC reason=damon" in text["text"]


@pytest.mark.parametrize(
    ("line", "exit_code", "error"),
    [
        ("damon migrate_cold 1", 2, "Expected either --node, or --task."),
        ("damon migrate_cold 1 --node 0 --task a", 2, "Expected either --node, or --task"),
        ("damon migrate_cold 1 --node 0 --at heap", 2, "--at needs --task."),
        ("damon migrate_warm 1 --node 0", 2, "'migrate_warm' is not one of"),
        ("damon migrate_cold 1 --task a --at 0x1000", 2, "has no length"),
        ("damon migrate_cold 1 --task c", 1, "damon: No such process"),
        ("damon migrate_cold 7 --node 0", 1, "damon: Invalid argument"),
        ("damon migrate_cold 1 --node 7 -v", 1, "there is no node 7 with memory"),
        ("damon migrate_cold 1 --node 0 --as 5", 1, "damon: Permission denied"),
    ],
)
def test_refused(shell: Shell, line: str, exit_code: int, error: str) -> None:
    before = shell.state.read_bytes()
    outcome = shell(line)
    assert outcome.exit == exit_code
    assert error in outcome.stderr
    assert shell.state.read_bytes() == before
