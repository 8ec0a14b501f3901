import pytest

from tests.cli.conftest import Outcome, Shell

A = """\
10000000 default heap anon=8 dirty=8 active=0 N0=6 N1=2 kernelpagesize_kB=4
200004000000 default file=/dev/zero\\040(deleted) dirty=4 mapmax=2 active=0 N0=4 kernelpagesize_kB=4
200004200000 default file=/lib/c.so mapped=16 active=0 N0=16 kernelpagesize_kB=4
"""
B = """\
200004400000 default file=/dev/zero\\040(deleted) dirty=4 mapmax=2 active=0 N0=4 kernelpagesize_kB=4
7ffffffde000 default stack anon=3 dirty=3 active=0 N1=3 kernelpagesize_kB=4
"""


@pytest.mark.parametrize(
    ("who", "text"), [("100", A), ("a", A), ("alpha", A), ("200", B), ("beta", B)]
)
def test_output(shell: Shell, who: str, text: str) -> None:
    assert shell(f"numa_maps {who}") == Outcome(0, text)


def test_mapping_without_pages_ends_after_its_name(shell: Shell) -> None:
    shell.out("task mmap a empty 4KiB")
    assert shell.out("numa_maps a") == f"{A}200004600000 default\n"


def test_json(shell: Shell) -> None:
    assert shell.json("numa_maps 100")[:1] == [
        {
            "start": "0x10000000",
            "policy": "default",
            "file": None,
            "kind": "heap",
            "pages": 8,
            "anon": 8,
            "dirty": 8,
            "active": 0,
            "nodes": {"0": 6, "1": 2},
            "kernelpagesize_kB": 4,
        }
    ]


@pytest.mark.parametrize("who", ["7", "nobody", "''", "4294967297"])
def test_unknown_process(shell: Shell, who: str) -> None:
    assert shell.err(f"numa_maps {who}", 1).startswith("pymigrate: No such process")


def test_only_the_owner_and_root_may_read(shell: Shell) -> None:
    assert shell("numa_maps 100 --as 26") == Outcome(0, A)
    assert shell("numa_maps 100 --as 27") == Outcome(
        1,
        "",
        "pymigrate: Permission denied: uid 27 may not inspect process 100 of uid 26"
        " (ptrace access; CAP_SYS_PTRACE would allow it)\n",
    )
