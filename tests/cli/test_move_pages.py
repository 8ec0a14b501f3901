import json

import pytest

from tests.cli.conftest import Outcome, Shell


def test_move(shell: Shell) -> None:
    assert shell("move_pages a heap+8KiB:8KiB 10005000 0x10006000 --to 1") == Outcome(
        0,
        "          ADDRESS STATUS\n10002000-10004000 1\n10005000-10007000 1\n4 pages on node 1\n",
    )
    assert shell.maps("a")[0] == (
        "default heap anon=8 dirty=8 active=0 N0=3 N1=5 kernelpagesize_kB=4"
    )
    assert shell.counted("pgmigrate_success") == [3]


def test_statuses_have_names(shell: Shell) -> None:
    shell.out("task mmap a empty 4KiB")
    shell.out("task touch a empty --read")
    shell.out("task mmap a absent 4KiB")
    text = shell("move_pages a heap+0:4096 buf+0:4096 0x0 empty absent --to 1").stdout
    assert text == (
        "         ADDRESS STATUS\n"
        "        10000000 1\n"
        "    200004000000 -EACCES mapped by several processes\n"
        "               0 -EFAULT not mapped, or the zero page\n"
        "    200004600000 -EFAULT not mapped, or the zero page\n"
        "    200004800000 -ENOENT not present\n"
        "1 page -EACCES mapped by several processes\n"
        "2 pages -EFAULT not mapped, or the zero page\n"
        "1 page -ENOENT not present\n"
        "1 page on node 1\n"
    )


def test_quiet_prints_errors_alone(shell: Shell) -> None:
    assert shell("move_pages a heap --to 1 -q") == Outcome(0)
    assert shell("move_pages a heap --to 7 -q") == Outcome(1, "", "move_pages: No such device\n")


def test_move_all_moves_shared_pages(shell: Shell) -> None:
    assert shell.out("move_pages a buf --move-all --to 1").endswith("4 pages on node 1\n")
    assert shell.maps("b")[0] == (
        "default file=/dev/zero\\040(deleted) dirty=4 mapmax=2 active=0 N1=4 kernelpagesize_kB=4"
    )


def test_pinned_pages_are_counted(shell: Shell) -> None:
    shell.out("task pin a heap+0:4KiB")
    assert shell("move_pages a heap+0:8KiB --to 1").stdout.endswith(
        "1 page was not moved, or not come to\n"
    )
    assert shell.counted("pgmigrate_success", "pgmigrate_fail") == [1, 1]


def test_pages_that_stayed(shell: Shell) -> None:
    shell.out("task pin a heap+0:4KiB")
    line = "move_pages a buf+0:4KiB heap+0:8KiB 0x0 --to 1"
    assert shell(line).stderr == (
        "pymigrate: 2 pages of process 100 stayed: 1 mapped more than once, 1 pinned;"
        " `pymigrate explain --last` says more\n"
    )
    assert shell(f"{line} -v").stderr == (
        "pymigrate: 1 page of process 100 stayed: mapped more than once (--move-all would move"
        " them; it needs CAP_SYS_NICE): 1 of buf on node 0\n"
        "pymigrate: 1 page of process 100 stayed: pinned: 1 of heap on node 0\n"
        "pymigrate: estimated 12 us: other 12 us\n"
    )
    assert shell(f"{line} --strict -q").exit == 4
    assert shell("move_pages a heap --query --strict").exit == 0


@pytest.mark.parametrize(
    ("node", "why"),
    [("7", "node 7 does not exist"), ("0", "node 0 is not allowed to process 100 by its cpuset")],
)
def test_the_node_that_ended_the_call_is_named(shell: Shell, node: str, why: str) -> None:
    shell.out("cpuset create right --cpus 2-3 --mems 1")
    shell.out("cpuset attach right a")
    assert shell(f"move_pages a heap --to {node}").stderr.endswith(f": {why}\n")


def test_json(shell: Shell) -> None:
    answer = shell.json("move_pages a heap+0:8KiB 0x0 --to 1")
    assert answer.pop("estimated")["unmap_us"] == 0.9
    assert answer == {
        "ret": 0,
        "errno": None,
        "pages": [
            {"address": "0x10000000", "status": 1},
            {"address": "0x10001000", "status": 1},
            {"address": "0x0", "status": "-EFAULT"},
        ],
        "summary": {"1": 2, "-EFAULT": 1},
    }


def test_a_node_that_is_not_there_ends_the_call(shell: Shell) -> None:
    shell.write("log", "10000000 1\n10001000 7\n10002000 1\n")
    assert shell("move_pages a --from-file log -v") == Outcome(
        1,
        "          ADDRESS STATUS\n"
        "         10000000 1\n"
        "10001000-10003000 unknown\n"
        "1 page on node 1\n"
        "2 pages unknown\n",
        "move_pages: No such device: node 7 does not exist\n"
        "pymigrate: estimated 2.27 us: unmap 0.45 us, flush 1 us, copy 0.372 us, remap 0.45 us\n",
    )
    assert shell.counted("pgmigrate_success") == [1]


def test_json_of_a_refused_call(shell: Shell) -> None:
    exit_code, stdout, stderr = shell("move_pages a heap+0:4KiB --to 7 --json")
    assert (exit_code, stderr) == (1, "move_pages: No such device: node 7 does not exist\n")
    assert json.loads(stdout) == {
        "schema": 1,
        "ret": -1,
        "errno": "ENODEV",
        "why": "node 7 does not exist",
        "pages": [{"address": "0x10000000", "status": "unknown"}],
        "summary": {"unknown": 1},
    }


def test_log_of_a_profiler(shell: Shell) -> None:
    shell.write("log", "# addresses that node 1 used\n\n10000008 1\n0x10001fff\n10006000 0\n")
    text = shell.out("move_pages a --from-file log --to 1")
    assert text == (
        "          ADDRESS STATUS\n"
        "10000000-10002000 1\n"
        "         10006000 0\n"
        "1 page on node 0\n"
        "2 pages on node 1\n"
    )


def test_log_on_stdin(shell: Shell) -> None:
    with shell.start("move_pages a --from-file - --query", stdin=-1) as process:
        stdout, _ = process.communicate("10000000\n10007000 0\n", timeout=60)
    assert stdout == (
        "         ADDRESS STATUS\n"
        "        10000000 0\n"
        "        10007000 1\n"
        "1 page on node 0\n"
        "1 page on node 1\n"
    )


def test_log_that_is_plain_is_read_as_any_other(shell: Shell) -> None:
    shell.write("log", "10000008 1\n0x10001fff 1\n0010006000 0\n")
    plain = shell.json("move_pages a --from-file log")["pages"]
    shell.write("log", "# as before\n 10000008 1\n0x10001fff 1\n0010006000 0\n")
    assert shell.json("move_pages a --from-file log")["pages"] == plain
    assert [page["address"] for page in plain] == [
        "0x10000000",
        "0x10001000",
        "0x10006000",
    ]


@pytest.mark.parametrize(
    "line", ["zz", "1x2 1", "10000000 x", "10000000 1 2", "-5", "10000000 1.5"]
)
def test_wrong_line_of_a_log(shell: Shell, line: str) -> None:
    shell.write("log", f"10000000 1\n{line}\n")
    with shell.unchanged():
        stderr = shell.err("move_pages a --from-file log --to 1")
    assert f"Invalid value for --from-file: line 2 is '{line}', expected ADDR [NODE]" in stderr


def test_empty_log(shell: Shell) -> None:
    shell.write("log", "# nothing\n")
    stderr = shell.err("move_pages a --from-file log --to 1")
    assert stderr.startswith(
        "pymigrate: no page is named; expected addresses, regions or --from-file\n"
    )
