import struct

from tests.cli.conftest import Outcome, Shell


def test_a_file_of_a_process(shell: Shell) -> None:
    assert shell.out("cat proc/200/comm") == "beta\n"
    assert shell.out("cat proc/100/statm") == "28 28 20 0 0 8 0\n"


def test_a_path_may_begin_with_a_slash(shell: Shell) -> None:
    assert shell.out("cat /sys/devices/system/node/node1/distance") == "20 10\n"


def test_several_files_are_printed_one_behind_the_other(shell: Shell) -> None:
    nodes = "sys/devices/system/node"
    assert shell.out(f"cat {nodes}/online {nodes}/has_cpu") == "0-1\n0-1\n"


def test_a_directory_is_listed(shell: Shell) -> None:
    assert shell.out("cat sys/devices/system/node/") == (
        "has_cpu\nhas_generic_initiator\nhas_memory\nhas_normal_memory\nnode0/\nnode1/\nonline\n"
        "possible\n"
    )


def test_numa_maps_is_that_of_the_command(shell: Shell) -> None:
    assert shell.out("cat proc/100/numa_maps") == shell.out("numa_maps 100")


def test_what_is_missing_is_said_and_the_others_are_printed(shell: Shell) -> None:
    assert shell("cat proc/7/maps proc/200/comm proc/stat/x") == Outcome(
        1,
        "beta\n",
        "cat: proc/7/maps: No such file or directory\ncat: proc/stat/x: Not a directory\n",
    )


def test_what_can_only_be_written_is_refused(shell: Shell) -> None:
    path = "proc/sys/vm/compact_memory"
    assert shell(f"cat {path}") == Outcome(1, "", f"cat: {path}: Permission denied\n")


def test_a_part_of_a_file_of_numbers(shell: Shell) -> None:
    address = int(shell.json("page a heap")["address"], 16)
    pfn = int(shell.json("page a heap+4KiB")["pfn"], 16)
    offset = (address >> 12) * 8
    line = f"cat proc/100/pagemap --offset {offset} --length 16"
    with shell.start(line, encoding=None) as process:
        stdout, _ = process.communicate(timeout=60)
    first, second = struct.unpack("=2Q", stdout)
    assert second & ((1 << 55) - 1) == pfn
    assert first >> 55 == second >> 55 == 0x103
    assert shell.out("cat proc/version --offset 6 --length 7") == "version"
    assert "cat: proc/100/pagemap: Invalid argument" in shell.err(
        "cat proc/100/pagemap --length 4", 1
    )
