import pytest

from tests.cli.conftest import Outcome, Shell

NONE_7 = Outcome(1, "", "migrate_pages: No such process: there is no process 7\n")
NO_TARGET = "none of the new nodes has memory and is allowed to the caller"
OTHERS = (
    "uid 27 may not inspect process 100 of uid 26 (ptrace access; CAP_SYS_PTRACE would allow it)"
)
NOBODY = Outcome(1, "", "migrate_pages: No such process: there is no process called nobody\n")
HEAP = "default heap anon=8 dirty=8 active=0 {} kernelpagesize_kB=4"


def test_success_is_silent_and_moves_shared_pages_for_root(shell: Shell) -> None:
    assert shell("migratepages 100 0 1") == Outcome(0)
    assert shell.maps("100") == [
        "default heap anon=8 dirty=8 active=0 N1=8 kernelpagesize_kB=4",
        "default file=/dev/zero\\040(deleted) dirty=4 mapmax=2 active=0 N1=4 kernelpagesize_kB=4",
        "default file=/lib/c.so mapped=16 active=0 N1=16 kernelpagesize_kB=4",
    ]
    assert shell.counted("pgmigrate_success", "pgmigrate_fail", "pgfree") == [26, 0, 26]


@pytest.mark.parametrize("pid", ["100", "0144", "0x64", "' +100'", "4294967396", "a", "alpha"])
def test_pid_is_a_number_as_c_reads_it_or_a_name(shell: Shell, pid: str) -> None:
    assert shell(f"migratepages {pid} 0 1") == Outcome(0)
    assert shell.counted("pgmigrate_success") == [26]


@pytest.mark.parametrize(
    ("nodes", "placed"), [("all 0", "N0=8"), ("!+1 !+0", "N1=8"), ("'' 1", "N0=6 N1=2")]
)
def test_node_strings(shell: Shell, nodes: str, placed: str) -> None:
    assert shell(f"migratepages 100 {nodes}") == Outcome(0)
    assert shell.maps("100")[0] == HEAP.format(placed)


@pytest.mark.parametrize(
    ("args", "invalid", "warning"),
    [
        ("0 9", "9", "libnuma: Warning: node argument 9 is out of range\n\n"),
        ("x 1", "x", "libnuma: Warning: unparseable node description `x'\n\n"),
        ("1x 1", "1x", ""),
    ],
)
def test_wrong_nodes_are_answered_as_numactl_does(
    shell: Shell, args: str, invalid: str, warning: str
) -> None:
    with shell.unchanged():
        assert shell(f"migratepages 100 {args}") == Outcome(1, f"<{invalid}> is invalid\n", warning)


@pytest.mark.parametrize(
    ("args", "outcome"),
    [
        ("7 0 1", NONE_7),
        ("nobody 0 1", NOBODY),
        ("nobody 0 1 -v", NOBODY),
        ("7 0 1 -q", Outcome(1, "", "migrate_pages: No such process\n")),
        ("-- -1 0 1", Outcome(1, "", NONE_7.stderr.replace("7", "-1"))),
        ("100 0 ''", Outcome(1, "", f"migrate_pages: Invalid argument: {NO_TARGET}\n")),
        ("100 0 1 --as 27", Outcome(1, "", f"migrate_pages: Operation not permitted: {OTHERS}\n")),
    ],
    ids=["pid", "name", "verbose", "quiet", "negative", "no target", "of another user"],
)
def test_refusals(shell: Shell, args: str, outcome: Outcome) -> None:
    assert shell(f"migratepages {args}") == outcome


def test_nodes_are_looked_at_before_the_process(shell: Shell) -> None:
    assert shell("migratepages 7 9 1").stdout == "<9> is invalid\n"


def test_verbose_says_that_all_moved(shell: Shell) -> None:
    assert shell("migratepages 100 0 1 -v").stderr == (
        "pymigrate: 26 pages moved, none stayed\n"
        "pymigrate: estimated 36.2 us: unmap 12.5 us, flush 1.5 us, copy 9.68 us, remap 12.5 us\n"
    )
    assert shell("migratepages 100 0 1 -v").stderr == "pymigrate: no page had to move\n"


def test_a_line_says_how_many_stayed_and_quiet_does_not(shell: Shell) -> None:
    shell.out("task pin a heap+0:4KiB")
    assert shell("migratepages 100 0 1 --as 26") == Outcome(
        0,
        "",
        "pymigrate: 5 pages of process 100 stayed: 1 pinned, 4 mapped more than once;"
        " `pymigrate explain --last` says more\n",
    )
    assert shell("migratepages 100 0 1 --as 26 -q") == Outcome(0)
    assert shell("migratepages 100 0 1 -q") == Outcome(0)


def test_machine_that_is_kept_nowhere_remembers_nothing(shell: Shell) -> None:
    assert shell("--ephemeral migratepages 100 0 1 --as 26").stderr == (
        "pymigrate: 4 pages of process 100 stayed: 4 mapped more than once\n"
    )


def test_strict_makes_it_a_failure(shell: Shell) -> None:
    shell.out("task pin a heap+0:4KiB")
    assert shell("migratepages 100 0 1 --strict -q") == Outcome(4)
    shell.out("task unpin a heap+0:4KiB")
    assert shell("migratepages 100 0 1 --strict") == Outcome(0)


def test_verbose_names_pinned_pages(shell: Shell) -> None:
    shell.out("task pin 100 heap+4KiB:8KiB")
    assert shell("migratepages 100 0 1 -v") == Outcome(
        0,
        "",
        "pymigrate: 2 pages of process 100 stayed: pinned: 2 of heap on node 0\n"
        "pymigrate: estimated 57.6 us: unmap 11.6 us, flush 1.5 us, copy 8.94 us, remap 11.6 us,"
        " other 24 us\n",
    )
    assert shell.counted("pgmigrate_success", "pgmigrate_fail") == [24, 2]


def test_json(shell: Shell) -> None:
    assert shell.json("migratepages 100 0 1") == {
        "ret": 0,
        "errno": None,
        "estimated": {
            "total_us": 36.181,
            "unmap_us": 12.5,
            "flush_us": 1.5,
            "copy_us": 9.681,
            "remap_us": 12.5,
            "other_us": 0.0,
        },
    }
    refused = shell("migratepages 7 0 1 --json")
    assert refused == Outcome(
        1,
        '{\n  "schema": 1,\n  "ret": -1,\n  "errno": "ESRCH",\n'
        '  "why": "there is no process 7"\n}\n',
        NONE_7.stderr,
    )


def test_json_of_a_dry_run(shell: Shell) -> None:
    answer = shell.json("migratepages 100 0 1 --as 26 --dry-run")
    assert answer.pop("estimated")["unmap_us"] == 9.9
    assert (answer["ret"], answer["errno"], answer["other"]) == (0, None, [])
    assert answer["changes"] == [
        {"pid": 100, "mapping": "heap", "before": {"0": 6, "1": 2}, "after": {"1": 8}},
        {"pid": 100, "mapping": "lib", "before": {"0": 16}, "after": {"1": 16}},
    ]
    assert answer["counters"]["pgmigrate_success"] == 22
    [left] = answer["stayed"]
    assert left.pop("why").startswith("mapped more than once")
    assert left == {"pid": 100, "mapping": "buf", "node": 0, "nr": 4}
