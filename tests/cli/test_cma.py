"""`pymigrate cma`."""

import pytest

from tests.cli.conftest import Shell

SCENARIO = """\
machine:
  nodes:
    0: {cpus: "0", memory: 256MiB}
    1: {cpus: "1", memory: 256MiB, cma: 64MiB}
tasks:
  job: {cpus: "1", memory: [{as: heap, kind: anon, size: 160MiB}]}
"""


def test_memory_is_allocated_listed_and_given_back(shell: Shell) -> None:
    assert shell("cma list") == (0, "node 1  0x1c000000  64MiB, 48MiB free\n", "")
    assert shell("cma alloc camera 16MiB") == (0, "0x1c000000\n", "")
    assert shell("cma list").stdout == (
        "node 1  0x1c000000  64MiB, 40MiB free\nnode 1  0x1c000000  16MiB  camera\n"
    )
    assert shell("cma release camera") == (0, "", "")
    assert shell("cma list").stdout == "node 1  0x1c000000  64MiB, 56MiB free\n"


def test_trace_shows_the_engine(shell: Shell) -> None:
    text = shell("cma alloc camera 1MiB --trace").stdout
    assert "mm_migrate_pages_start: mode=MIGRATE_SYNC reason=contig_range\n" in text


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "cma alloc a 65MiB",
            "Cannot allocate memory: no part of the area is free for so many pages",
        ),
        ("cma alloc a 1MiB --node 0", "No such device: no memory is kept for CMA there"),
        ("cma alloc a 0", "Invalid argument: nothing is asked for"),
        ("cma alloc a 1MiB --as 1000", "Permission denied: only root may use CMA's files"),
        ("cma release a", "No such file or directory: nothing is called a"),
    ],
)
def test_refused(shell: Shell, command: str, message: str) -> None:
    assert shell(command) == (1, "", f"cma: {message}\n")


def test_names_are_used_once(shell: Shell) -> None:
    shell("cma alloc a 1MiB")
    assert shell("cma alloc a 1MiB").exit == 1
