"""`pymigrate hard_offline`."""

from tests.cli.conftest import Shell


def test_bad_page_kills_who_uses_it(shell: Shell) -> None:
    assert shell("hard_offline a heap+8KiB") == (0, "HardwareCorrupted: 4 kB\n", "")
    assert shell("task touch a heap+0:8KiB").exit == 0
    assert shell("task touch a heap") == (0, "SIGBUS\n", "")


def test_page_at_a_physical_address(shell: Shell) -> None:
    assert shell("hard_offline --address 0x3000000") == (0, "HardwareCorrupted: 4 kB\n", "")
    assert shell.err("hard_offline --address 0x3000000", 1).startswith(
        "hard_offline: Memory page has hardware error: the page was taken for bad before\n"
    )


def test_node_counts_what_became_of_it(shell: Shell) -> None:
    assert shell("task madvise a heap+0:4KiB hwpoison").exit == 0
    failures = "sys/devices/system/node/node0/memory_failure"
    names = "total ignored failed delayed recovered".split()
    assert [shell(f"cat {failures}/{name}").stdout for name in names] == [
        "1\n",
        *["0\n"] * 3,
        "1\n",
    ]
