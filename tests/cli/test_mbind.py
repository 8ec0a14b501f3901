import pytest

from tests.cli.conftest import Outcome, Shell

HEAP = "heap anon=8 dirty=8 active=0"


def test_policy_without_a_move(shell: Shell) -> None:
    assert shell("mbind a heap 32KiB bind:1") == Outcome(0)
    assert shell.maps("a")[0] == f"bind:1 {HEAP} N0=6 N1=2 kernelpagesize_kB=4"


def test_move(shell: Shell) -> None:
    assert shell("mbind a heap 32KiB bind:1 --move") == Outcome(0)
    assert shell.maps("a")[0] == f"bind:1 {HEAP} N1=8 kernelpagesize_kB=4"
    assert shell.counted("pgmigrate_success") == [6]


def test_length_is_that_of_the_region(shell: Shell) -> None:
    assert shell("mbind a heap+16KiB bind:1 --move") == Outcome(0)
    assert shell("mbind a heap+0:4KiB interleave:0-1") == Outcome(0)
    assert shell.maps("a")[:3] == [
        "interleave:0-1 heap anon=1 dirty=1 active=0 N0=1 kernelpagesize_kB=4",
        "default heap anon=3 dirty=3 active=0 N0=3 kernelpagesize_kB=4",
        "bind:1 heap anon=4 dirty=4 active=0 N1=4 kernelpagesize_kB=4",
    ]


def test_verbose_names_shared_pages_that_stayed(shell: Shell) -> None:
    assert shell("mbind a buf bind:1 --move -v").stderr == (
        "pymigrate: 4 pages of process 100 stayed: mapped more than once (--move-all would move"
        " them; it needs CAP_SYS_NICE): 4 of buf on node 0\n"
    )
    assert shell("mbind a buf bind:1 --move -q") == Outcome(0)
    assert shell("mbind a heap local --move -v").stderr == (
        "pymigrate: 8 pages moved, none stayed\n"
        "pymigrate: estimated 11 us: unmap 3.6 us, flush 1 us, copy 2.79 us, remap 3.6 us\n"
    )


def test_part_of_a_mapping(shell: Shell) -> None:
    assert shell("mbind a heap+8KiB 4096 interleave=static:0-1") == Outcome(0)
    assert shell.out("numa_maps a").splitlines()[:3] == [
        "10000000 default heap anon=2 dirty=2 active=0 N0=2 kernelpagesize_kB=4",
        "10002000 interleave=static:0-1 heap anon=1 dirty=1 active=0 N0=1 kernelpagesize_kB=4",
        "10003000 default heap anon=5 dirty=5 active=0 N0=3 N1=2 kernelpagesize_kB=4",
    ]
    assert shell("mbind a 10002000 4096 default") == Outcome(0)
    assert shell.maps("a")[0] == f"default {HEAP} N0=6 N1=2 kernelpagesize_kB=4"


@pytest.mark.parametrize(
    ("mode", "printed"),
    [
        ("default", "default"),
        ("prefer:1", "prefer:1"),
        ("preferred", "local"),
        ("interleave:0,1", "interleave:0-1"),
        ("'prefer (many):0-1'", "prefer (many):0-1"),
        ("bind=balancing:0-1", "bind=balancing:0-1"),
    ],
)
def test_modes(shell: Shell, mode: str, printed: str) -> None:
    assert shell(f"mbind a heap 32KiB {mode}") == Outcome(0)
    assert shell.maps("a")[0].startswith(f"{printed} heap ")


def test_move_leaves_shared_pages_and_move_all_takes_them(shell: Shell) -> None:
    assert shell("mbind a buf 16KiB bind:1 --move").stderr == (
        "pymigrate: 4 pages of process 100 stayed: 4 mapped more than once;"
        " `pymigrate explain --last` says more\n"
    )
    assert " N0=4 " in shell.maps("a")[1]
    shell.out("mbind a buf 16KiB bind:1 --move-all")
    assert " N1=4 " in shell.maps("a")[1]


def test_strict_with_a_pinned_page_keeps_the_policy(shell: Shell) -> None:
    shell.out("task pin a heap+0:4KiB")
    assert shell("mbind a heap 32KiB bind:1 --move --strict") == Outcome(
        1,
        "",
        "mbind: Input/output error: a misplaced page stayed where it was\n"
        "pymigrate: 1 page of process 100 stayed: 1 pinned;"
        " `pymigrate explain --last` says more\n",
    )
    assert shell.maps("a")[0] == f"bind:1 {HEAP} N0=1 N1=7 kernelpagesize_kB=4"


def test_json(shell: Shell) -> None:
    assert shell.json("mbind a heap 32KiB bind:0") == {"ret": 0, "errno": None}
    assert shell("mbind a heap 1MiB bind:0 --json").stdout == (
        '{\n  "schema": 1,\n  "ret": -1,\n  "errno": "EFAULT",\n'
        '  "why": "the range has a hole"\n}\n'
    )
