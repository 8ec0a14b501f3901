import pytest

from tests.cli.conftest import SCENARIO, Outcome, Shell

SHARED = """\
mapped more than once (only a caller with CAP_SYS_NICE moves such pages):
  shows in -EACCES of move_pages; nothing in migrate_pages and mbind, which pass them over
  cure: call as root; for move_pages and mbind with --move-all
"""
COUNTED = (
    "pgmigrate_fail; migrate_pages and move_pages return how many, mbind --strict fails with EIO"
)
FILES = """\
  /ram: {size: 16KiB, fs: ramfs, dirty: true}
  /nfs: {size: 16KiB, fs: nfs, dirty: true}
tasks:
  c:
    pid: 300
    memory:
      - {as: ram, kind: file, file: /ram, size: 16KiB, pages: [[4, 0]]}
      - {as: nfs, kind: file, file: /nfs, size: 16KiB, pages: [[4, 0]]}
      - {as: lib, kind: file, file: /lib/c.so, prot: rx, size: 64KiB, pages: [[16, 0]]}
"""


def lines(shell: Shell, line: str) -> list[str]:
    """The runs that `explain` lists, without what the reasons mean."""
    found = []
    for text in shell.out(f"explain {line}").splitlines():
        if text.endswith(":"):
            break
        found.append(text)
    return found


def test_pins_with_the_sum_of_references(shell: Shell) -> None:
    shell.out("task pin a heap+4KiB:8KiB")
    shell.out("task pin a lib+0:4KiB --kind short")
    assert lines(shell, "a") == [
        "heap: 1 page (N0=1) would move",
        "heap+4KiB: 2 pages (N0=2) would stay: pinned; refcount 1026, expected 2 (1 mapping"
        " + 1 isolation): 1 pin of 1024 too many; found in step 4, because they are exclusive,"
        " held by process 100",
        "heap+12KiB: 5 pages (N0=3 N1=2) would move",
        "buf: 4 pages (N0=4) would move; mapped more than once, so that move_pages and mbind need"
        " --move-all",
        "lib: 1 page (N0=1) would stay: held by another reference; refcount 4, expected 3"
        " (1 mapping + 1 page cache + 1 isolation): 1 reference too many; found in step 6,"
        " held by process 100",
        "lib+4KiB: 15 pages (N0=15) would move",
    ]
    assert shell("migratepages a 0 1 -q") == Outcome(0)
    assert shell.counted("pgmigrate_fail") == [3]


def test_file_systems_that_do_not_move_a_page(shell: Shell) -> None:
    head, _, _ = SCENARIO.partition("tasks:")
    shell.boot(head + FILES)
    text = shell.out("explain c")
    assert text.splitlines()[:3] == [
        "ram: 4 pages (N0=4) would stay: dirty, in a filesystem without migrate_folio and"
        " writepage in its a_ops (EINVAL)",
        "nfs: 4 pages (N0=4) would stay: with a request to the NFS server under way, so that its"
        " a_ops refuse with EBUSY",
        "lib: 16 pages (N0=16) would move",
    ]
    assert f"  shows in {COUNTED}\n" in text
    assert shell("migratepages c 0 1").stderr == (
        "pymigrate: 8 pages of process 300 stayed: 4 dirty and without a way to be written out,"
        " 4 with a request to the server; `pymigrate explain --last` says more\n"
    )


def test_what_is_not_there_and_what_is_no_reason(shell: Shell) -> None:
    shell.out("set_mempolicy b bind:1")
    shell.out("task mlock b stack+120KiB:12KiB")
    assert lines(shell, "b stack --to 0") == [
        "stack: 3 pages (N1=3) would move; policy bind:1 decides where new pages go and"
        " does not keep these",
        "stack+12KiB: 27 pages are not present",
        "stack+120KiB: 3 pages (N1=3) would move; locked in memory, which keeps them from reclaim"
        " and not from migration; policy bind:1 decides where new pages go and does not keep these",
    ]
    shell.out("task mmap b new 8KiB")
    shell.out("task touch b new --read")
    assert lines(shell, "b new") == [
        "new: 2 pages are the zero page, which all processes have in common"
    ]


def test_pages_of_the_target_node(shell: Shell) -> None:
    assert lines(shell, "a heap --to 1") == [
        "heap: 6 pages (N0=6) would move",
        "heap+24KiB: 2 pages (N1=2) are there already",
    ]


@pytest.mark.parametrize(
    ("args", "first"),
    [
        (
            "a --as 27",
            "uid 27 may not inspect process 100 of uid 26 (ptrace access; CAP_SYS_PTRACE would"
            " allow it)",
        ),
        ("a --to 0", "node 0 is not allowed to process 100 by its cpuset right"),
    ],
)
def test_refusals(shell: Shell, args: str, first: str) -> None:
    shell.out("cpuset create right --cpus 2-3 --mems 1")
    shell.out("cpuset attach right a")
    text = shell.out(f"explain {args}")
    assert text.startswith(f"all pages of process 100 stay: {first}\n")
    assert " would move\n" not in text
    assert f"\n{first}:\n  shows in E" in text


def test_a_node_that_does_not_exist_is_refused_as_by_move_pages(shell: Shell) -> None:
    refused = "No such device: node 7 does not exist\n"
    assert shell("explain a --to 7") == Outcome(1, "", f"pymigrate: {refused}")
    assert shell("move_pages a heap --to 7").stderr == f"move_pages: {refused}"


def test_json(shell: Shell) -> None:
    shell.out("task pin a heap+0:4KiB")
    answer = shell.json("explain a heap")
    assert (answer["pid"], answer["refused"]) == (100, [])
    assert [(run["mapping"], run["pages"], run["moves"]) for run in answer["runs"]] == [
        ("heap", 1, False),
        ("heap+4KiB", 7, True),
    ]
    assert answer["runs"][0]["address"] == "0x10000000"
    assert answer["runs"][0]["shows"] == COUNTED


def test_last(shell: Shell) -> None:
    assert shell("explain --last") == Outcome(0, "no command has moved pages yet\n")
    shell.out("migratepages a 0 1")
    assert shell("explain --last") == Outcome(0, "migrate_pages left no page behind\n")
    shell("migratepages a 1 0 --as 26")
    assert shell("explain --last") == Outcome(
        0,
        "4 pages of process 100 stayed: mapped more than once (only a caller with CAP_SYS_NICE"
        " moves such pages): 4 of buf on node 1\n" + SHARED,
    )
    shell.out("task touch a heap")
    shell("migratepages a 1 0 --dry-run")
    answer = shell.json("explain --last")
    assert (answer["call"], [row["nr"] for row in answer["stayed"]]) == ("migrate_pages", [4])
