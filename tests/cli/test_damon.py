from tests.cli.conftest import Outcome, Shell


def test_memory_of_a_node(shell: Shell) -> None:
    assert shell("damon migrate_cold --to 1 --node 0") == Outcome(0, "26 pages migrated\n")
    assert shell.counted("pgmigrate_success") == [26]


def test_part_of_a_process(shell: Shell) -> None:
    line = "damon migrate_hot --to 1 --task a --at heap+8KiB:8KiB"
    assert shell(line) == Outcome(0, "2 pages migrated\n")
    assert shell.maps("a")[0].split()[5:7] == ["N0=4", "N1=4"]


def test_whole_process_with_quota_and_filter(shell: Shell) -> None:
    line = "damon migrate_hot --to 1 --task a --exclude anon --quota 16KiB"
    assert shell(line) == Outcome(0, "4 pages migrated\n")


def test_trace_and_json(shell: Shell) -> None:
    shown = shell.json("damon migrate_cold --to 1 --task a --at heap --trace")
    assert shown["migrated"] == 6
    text = shown["trace"][0]
    assert "mode=MIGRATE_ASYNC reason=damon" in text["text"]
