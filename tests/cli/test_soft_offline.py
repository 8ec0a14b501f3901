"""`pymigrate soft_offline`."""

from tests.cli.conftest import Shell


def test_page_of_a_task(shell: Shell) -> None:
    assert shell("soft_offline a heap+8KiB") == (0, "HardwareCorrupted: 4 kB\n", "")
    assert shell("soft_offline a heap+8KiB:8KiB") == (0, "HardwareCorrupted: 12 kB\n", "")


def test_page_at_a_physical_address(shell: Shell) -> None:
    assert shell("soft_offline --address 0x3000000") == (0, "HardwareCorrupted: 4 kB\n", "")
    assert shell("soft_offline --address 0x3000000") == (0, "HardwareCorrupted: 4 kB\n", "")


def test_pinned_page_stays(shell: Shell) -> None:
    shell("task pin a heap+0:4KiB")
    assert shell.err("soft_offline a heap", 1) == (
        "soft_offline: Device or resource busy: what it holds did not move: it is pinned\n"
    )


def test_madvise_does_the_same(shell: Shell) -> None:
    assert shell("task madvise a heap+0:4KiB soft_offline").exit == 0
    assert "HardwareCorrupted:     4 kB" in shell("cat proc/meminfo").stdout
