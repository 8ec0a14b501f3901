"""`pymigrate offline` and `pymigrate online`."""

import pytest

from tests.cli.conftest import Shell

SCENARIO = """\
machine:
  nodes:
    0: {cpus: "0", memory: 256MiB}
    1: {cpus: "1", memory: 256MiB}
tasks:
  job: {cpus: "1", memory: [{as: heap, kind: anon, size: 1MiB}]}
"""


def test_node_goes_and_comes(shell: Shell) -> None:
    assert shell("offline 1") == (0, "memory2-3: offline\n", "")
    assert shell("numa_maps job").stdout.endswith(" N0=256 kernelpagesize_kB=4\n")
    assert shell("offline").stdout.endswith("memory2-3  node 1  DMA32    offline\n")
    assert shell("online 1 --blocks 3") == (0, "memory3: online\n", "")
    assert shell("online 1") == (0, "memory2: online\n", "")


def test_zone_that_is_written(shell: Shell) -> None:
    shell.out("offline 1")
    shell.out("online 1 --blocks 2 --online-type online_movable")
    shell.out("online 1 --online-type online")
    assert [line.split() for line in shell.out("online").splitlines()[-2:]] == [
        ["memory2", "node", "1", "Movable", "online"],
        ["memory3", "node", "1", "Normal", "online"],
    ]
    assert shell("online 1 --online-type normal").exit == 2
    assert shell("online --online-type online").exit == 2


def test_block_in_several_zones_stays(shell: Shell) -> None:
    exit_code, stdout, _ = shell("offline 0 --blocks 0")
    assert (exit_code, stdout) == (1, "memory0: Invalid argument: it lies in several zones\n")


def test_json_has_each_block(shell: Shell) -> None:
    answer = shell.json("offline 1")
    assert (answer["ret"], answer["errno"]) == (0, None)
    assert answer["blocks"] == [{"block": 2, "errno": None}, {"block": 3, "errno": None}]


def test_dry_run_changes_nothing(shell: Shell) -> None:
    assert shell("offline 1 --dry-run").exit == 0
    assert shell("online").stdout.endswith("memory2-3  node 1  DMA32    online\n")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("offline 7", "No such file or directory: node 7 has no memory blocks\n"),
        (
            "online 1 --blocks 1",
            "No such file or directory: memory block 1 is not of node 1, but 2-3\n",
        ),
        (
            "offline 1 --as 1000",
            "Permission denied: only root may take memory away, or give it back\n",
        ),
    ],
)
def test_refused(shell: Shell, command: str, message: str) -> None:
    assert shell.err(command, 1) == f"{command.split()[0]}: {message}"
