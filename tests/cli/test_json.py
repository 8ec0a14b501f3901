"""--json is stable: each object has its schema, and pymigrate/docs/json.md names each key."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Shell, body

DOCUMENT = (Path(__file__).parents[2] / "pymigrate/docs/json.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([^`\s]+)`", DOCUMENT))
COMMANDS = [
    "boot",
    "numa_maps a",
    "ps",
    "show",
    "show --zone 0",
    "buddyinfo",
    "pagetypeinfo",
    "extfrag",
    "compact 0",
    "cpuset list",
    "accesses",
    "accesses a --log",
    "explain a --to 1 --as 1000",
    "explain --last",
    "plan a --to 1 --as 26",
    "tiers --sysfs",
    "balance --seconds 2",
    "migratepages a 0 1 --as 26 --trace --steps",
    "migratepages a 0 1 --as 26 --dry-run",
    "mbind a heap bind:0 --dry-run",
    "move_pages a heap --query",
    "get_mempolicy a",
    "get_mempolicy a heap --node",
    "set_mempolicy a bind:1",
    "sysctl thp",
    "sysctl",
    "offline",
    "check stayed==0",
    "scenarios",
    "scenarios two-node",
    "status",
    "page a heap",
    "vmstat --explain pgfree",
    "vmstat --by reason",
    "vmstat --by task",
    "vmstat --by command",
    "cma list",
    "hard_offline a heap",
    "soft_offline a heap",
    "offline 1",
    "task mmap a new 4KiB",
    "task touch b stack+128KiB --read",
    "task fork a child",
    "placement a heap",
    "ksm",
    "alloc blocks --order 1",
    "reclaim 0",
    "migratepages a 0 1 --meanwhile b stack read",
]
# What names its keys itself: files, counters, settings, nodes.
VALUES = {"counters", "files", "values", "before", "after", "distances", "summary", "tiers"}
VALUES |= {"free", "pageblocks"}  # by migratetype


def keys_of(value: object) -> set[str]:
    """The keys at all depths, but not those that are data themselves."""
    if isinstance(value, list):
        return {key for item in value for key in keys_of(item)}
    if not isinstance(value, dict):
        return set()
    inner = [
        keys_of(item)
        for key, item in value.items()
        if key not in VALUES or not isinstance(item, dict)
    ]
    return {key for key in value if not key.isdigit()}.union(*inner)


@pytest.mark.parametrize("line", COMMANDS)
def test_each_object_begins_with_its_schema(shell: Shell, line: str) -> None:
    value = json.loads(shell(f"{line} --json").stdout)
    assert (next(iter(value)), value["schema"]) == ("schema", 1)


@pytest.mark.parametrize("line", COMMANDS)
def test_each_key_is_documented(shell: Shell, line: str) -> None:
    shell("migratepages a 0 1 --as 26 -q")  # so that there are pages that stayed
    found = keys_of(json.loads(shell(f"{line} --json").stdout))
    assert found - NAMED == set()


def test_vmstat_has_its_counters_beside_the_schema(shell: Shell) -> None:
    value = json.loads(shell.out("vmstat --migration --json"))
    assert list(value)[:2] == ["schema", "numa_pte_updates"]


@pytest.mark.parametrize(
    ("line", "exit_code", "errno", "why"),
    [
        pytest.param("numa_maps none", 1, "ESRCH", "there is no process called none", id="task"),
        pytest.param("explain 7", 1, "ESRCH", "there is no process 7", id="pid"),
        pytest.param("explain a --to 7", 1, "ENODEV", "node 7 does not exist", id="node"),
        pytest.param("move_pages a heap --to 7", 1, "ENODEV", "node 7 does not exist", id="call"),
        pytest.param("offline 7", 1, "ENOENT", "node 7 has no memory blocks", id="blocks"),
        pytest.param("task unpin a heap", 1, "EINVAL", "no pin of this range is held", id="row"),
        pytest.param("migratepages a 0 9", 1, None, "<9> is invalid", id="numactl's"),
        pytest.param("ps --nothing", 2, None, "No such option '--nothing'.", id="usage"),
        pytest.param("cpuset none", 2, None, "No such command 'none'.", id="command"),
        pytest.param("trace qqq", 2, None, "No such command 'qqq'.", id="traced command"),
        pytest.param(
            "run no.yaml",
            2,
            None,
            "no.yaml: cannot be read: No such file or directory; expected a file",
            id="scenario",
        ),
    ],
)
def test_what_fails_prints_an_object_too(
    shell: Shell, line: str, exit_code: int, errno: str | None, why: str
) -> None:
    failed, plain = shell(f"{line} --json"), shell(line)
    assert (failed.exit, failed.stderr) == (exit_code, plain.stderr)
    value = body(failed.stdout)
    assert (value["ret"], value["errno"], value["why"]) == (-1, errno, why)


def test_a_command_without_json_prints_none(shell: Shell) -> None:
    assert shell("cat /proc/none --json").stdout == ""
