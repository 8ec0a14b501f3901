"""`pymigrate offline` and `pymigrate online`."""

import json
from pathlib import Path

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


@pytest.fixture
def two(unbooted: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    path = tmp_path / "two.yaml"
    path.write_text(SCENARIO)
    monkeypatch.setenv("PYMIGRATE_SCENARIO", str(path))
    assert unbooted("boot").exit == 0
    return unbooted


def test_blocks_are_listed(two: Shell) -> None:
    assert two("offline") == (
        0,
        "memory0    node 0  none     online\n"
        "memory1    node 0  DMA32    online\n"
        "memory2-3  node 1  DMA32    online\n",
        "",
    )


def test_node_goes_and_comes(two: Shell) -> None:
    assert two("offline 1") == (0, "memory2-3: offline\n", "")
    assert two("numa_maps job").stdout.endswith(" N0=256 kernelpagesize_kB=4\n")
    assert two("offline").stdout.endswith("memory2-3  node 1  DMA32    offline\n")
    assert two("online 1 --blocks 3") == (0, "memory3: online\n", "")
    assert two("online 1") == (0, "memory2: online\n", "")


def test_what_holds_a_page_is_said(two: Shell) -> None:
    two("task pin job heap+4KiB:8KiB")
    assert two("offline 1") == (
        1,
        "memory2: Interrupted system call: pinned by job (2 pages)\nmemory3: offline\n",
        "offline: Interrupted system call\n",
    )


def test_block_in_several_zones_stays(two: Shell) -> None:
    exit_code, stdout, _ = two("offline 0 --blocks 0")
    assert (exit_code, stdout) == (1, "memory0: Invalid argument: it lies in several zones\n")


def test_json_has_each_block(two: Shell) -> None:
    answer = json.loads(two("offline 1 --json").stdout)
    assert (answer["ret"], answer["errno"]) == (0, None)
    assert answer["blocks"] == [{"block": 2, "errno": None}, {"block": 3, "errno": None}]


def test_dry_run_changes_nothing(two: Shell) -> None:
    assert two("offline 1 --dry-run").exit == 0
    assert two("online").stdout.endswith("memory2-3  node 1  DMA32    online\n")


def test_trace_shows_the_engine(two: Shell) -> None:
    text = two("offline 1 --blocks 2 --trace").stdout
    assert "mm_migrate_pages_start: mode=MIGRATE_SYNC reason=memory_hotplug\n" in text


@pytest.mark.parametrize(
    ("command", "exit_code", "message"),
    [
        ("offline 7", 1, "offline: No such file or directory: node 7 has no memory blocks\n"),
        (
            "online 1 --blocks 1",
            1,
            "online: No such file or directory: memory block 1 is not of node 1, but 2-3\n",
        ),
        ("offline 1 --as 1000", 1, "offline: Permission denied\n"),
    ],
)
def test_refused(two: Shell, command: str, exit_code: int, message: str) -> None:
    assert two(command) == (exit_code, "", message)


@pytest.mark.parametrize("command", ["offline 1 --blocks x", "offline --block 1", "offline -1"])
def test_wrong_use(two: Shell, command: str) -> None:
    exit_code, stdout, stderr = two(command)
    assert (exit_code, stdout) == (2, "")
    assert stderr
