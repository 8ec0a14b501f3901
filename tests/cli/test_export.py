"""A tree on disk: what is written, what is removed, and what is left alone."""

import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymigrate.cli.tree_writer import TreeWriter
from pymigrate.views.entries import dir_of, file_of
from tests.cli.conftest import Shell

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and signals are POSIX's")


def written(shell: Shell) -> tuple[int, int]:
    """How many files an export to `tree` writes and removes."""
    match = re.fullmatch(r"tree: (\d+) files written, (\d+) removed\n", shell.out("export tree -v"))
    assert match
    return int(match[1]), int(match[2])


def test_each_file_is_what_cat_prints(shell: Shell) -> None:
    shell.out("export tree")
    for path in ("proc/100/smaps", "proc/meminfo", "sys/devices/system/node/node1/cpumap"):
        assert (shell.folder / "tree" / path).read_text() == shell.out(f"cat {path}")


def test_numbers_of_pages_are_written_if_they_are_asked_for_and_have_holes(shell: Shell) -> None:
    shell.out("export tree")
    folder = shell.folder / "tree/proc"
    assert not (folder / "kpageflags").exists()
    shell.out("export tree --pages")
    address = int(shell.json("page a heap")["address"], 16)
    with open(folder / "100/pagemap", "rb") as file:
        file.seek((address >> 12) * 8)
        [entry] = struct.unpack("=Q", file.read(8))
    pfn = entry & (1 << 55) - 1
    assert pfn == int(shell.json("page a heap")["pfn"], 16)
    counts = (folder / "kpagecount").read_bytes()
    assert struct.unpack_from("=Q", counts, pfn * 8) == (1,)
    assert (folder / "100/pagemap").stat().st_blocks * 512 < 8 << 20
    shell.out("export tree")
    assert not (folder / "kpageflags").exists()


def test_memory_blocks_are_written_if_they_are_asked_for(shell: Shell) -> None:
    shell.boot("machine: {nodes: {0: {cpus: '0', memory: 256MiB}}}\n")
    folder = shell.folder / "tree/sys/devices/system/memory"
    shell.out("export tree")
    assert [path.name for path in folder.iterdir()] == ["block_size_bytes"]
    shell.out("export tree --blocks")
    assert (folder / "memory1/state").read_text() == "online\n"
    assert (folder / "../node/node0/memory1/state").read_text() == "online\n"
    shell.out("export tree")
    assert not (folder / "memory1").exists()


def test_links_are_relative_and_lead_somewhere(shell: Shell) -> None:
    shell.out("export tree")
    link = shell.folder / "tree/sys/devices/system/node/node1/cpu2"
    assert os.readlink(link) == "../../cpu/cpu2"
    assert (link / "topology/core_id").read_text() == "0\n"


def test_only_what_has_changed_is_written_again(shell: Shell) -> None:
    first, _ = written(shell)
    assert first > 100
    assert written(shell) == (0, 0)
    shell.out("migratepages a 0 1 -q")
    files, removed = written(shell)
    assert 0 < files < 20
    assert not removed


def test_what_no_longer_exists_is_removed(shell: Shell) -> None:
    shell.out("export tree")
    shell.out("task exit b")
    assert written(shell)[1] == 19
    assert not (shell.folder / "tree/proc/200").exists()
    assert (shell.folder / "tree/proc/100/comm").exists()


def test_another_machine_takes_the_place_of_the_last(shell: Shell) -> None:
    shell.out("export tree")
    shell.boot("machine: {nodes: {0: {cpus: '0', memory: 16MiB}}}\n")
    shell.out("export tree")
    nodes = shell.folder / "tree/sys/devices/system/node"
    assert sorted(path.name for path in nodes.glob("node*")) == ["node0"]


@pytest.mark.parametrize("name", ["mine", "proc/100/mine", "proc/empty/"])
def test_a_directory_with_foreign_files_is_refused(shell: Shell, name: str) -> None:
    shell.out("export tree")
    foreign = shell.folder / "tree" / name
    if name.endswith("/"):
        foreign.mkdir()
    else:
        foreign.write_text("precious")
    shell.out("migratepages a 0 1 -q")
    before = (shell.folder / "tree/proc/100/numa_maps").read_text()
    stderr = shell.err("export tree")
    assert f"tree holds '{name.rstrip('/')}', which `pymigrate export` has not written" in stderr
    assert foreign.exists()
    assert (shell.folder / "tree/proc/100/numa_maps").read_text() == before


def test_a_directory_that_was_never_exported_to_must_be_empty(shell: Shell) -> None:
    (shell.folder / "tree").mkdir()
    assert written(shell)[0] > 100
    (shell.folder / "home/proc").mkdir(parents=True)
    assert "home holds 'proc'" in shell.err("export home")
    assert not (shell.folder / "home/.pymigrate").exists()


def test_a_link_that_leads_out_is_not_followed(shell: Shell) -> None:
    shell.out("export tree")
    outside, inside = shell.folder / "outside", shell.folder / "tree/proc/100"
    inside.rename(outside)
    inside.symlink_to(outside)
    shell.out("migratepages a 0 1 -q")
    before = (outside / "numa_maps").read_text()
    assert shell.err("export tree", 1) == (
        "pymigrate: tree/proc/100 is a link; expected a directory, as it was written\n"
    )
    assert (outside / "numa_maps").read_text() == before


def test_a_file_that_became_a_link_is_replaced_and_not_followed(shell: Shell) -> None:
    shell.out("export tree")
    outside, inside = shell.folder / "outside", shell.folder / "tree/proc/100/comm"
    outside.write_text("precious")
    inside.unlink()
    inside.symlink_to(outside)
    shell.out("export tree")
    assert inside.read_text() == "alpha\n"
    assert outside.read_text() == "precious"


def test_an_export_that_was_killed_is_taken_up(shell: Shell) -> None:
    shell.out("export tree")
    tree = shell.folder / "tree"
    (tree / ".pymigrate/new").write_text("half")
    (tree / "proc/100/comm").unlink()
    assert written(shell) == (1, 0)


def test_a_file_in_the_place_of_the_directory(shell: Shell) -> None:
    (shell.folder / "tree").write_text("")
    assert shell.err("export tree", 1).startswith("pymigrate: cannot write ")


@pytest.fixture
def watcher(shell: Shell) -> Iterator["subprocess.Popen[str]"]:
    """An export that watches, and has written the first tree."""
    with shell.start("export tree --watch -v") as process:
        assert process.stdout is not None
        assert "files written, 0 removed" in process.stdout.readline()
        yield process
        process.kill()


def test_a_watcher_follows_every_change_until_interrupted(
    shell: Shell, watcher: "subprocess.Popen[str]"
) -> None:
    assert watcher.stdout is not None
    shell.out("migratepages a 0 1 -q")
    assert "0 removed" in watcher.stdout.readline()
    maps = shell.folder / "tree/proc/100/numa_maps"
    assert maps.read_text() == shell.out("numa_maps 100")
    shell.out("task exit b")
    assert "19 removed" in watcher.stdout.readline()
    watcher.send_signal(signal.SIGINT)
    assert watcher.wait(timeout=20) == 130
    assert watcher.stdout.read() == ""


def test_a_reader_never_sees_half_a_file(shell: Shell, watcher: "subprocess.Popen[str]") -> None:
    path = shell.folder / "tree/proc/meminfo"
    lines = len(path.read_text().splitlines())
    shell.out("migratepages a 0 1 -q")
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        assert len(path.read_text().splitlines()) == lines
    assert watcher.poll() is None


def test_the_tree_is_of_the_scenario_alone(shell: Shell, tmp_path: Path) -> None:
    shell.out("export tree --ephemeral")
    assert (tmp_path / "tree/proc/100/comm").read_text() == "alpha\n"


@pytest.mark.parametrize("name", ["..", "a/../../b", ".pymigrate"])
def test_no_name_of_an_entry_leads_out(tmp_path: Path, name: str) -> None:
    writer = TreeWriter(str(tmp_path / "tree"))
    with pytest.raises(AssertionError, match="leads out"):
        writer.write(dir_of({name: dir_of({"file": file_of("x")})}))
    assert [path.name for path in tmp_path.rglob("*")] == ["tree"]


@pytest.mark.parametrize("entry", ["../victim", "/victim", "proc/../../victim", "sys", "mine"])
def test_a_list_of_another_s_making_is_not_believed(shell: Shell, entry: str) -> None:
    (shell.folder / "tree/.pymigrate").mkdir(parents=True)
    (shell.folder / "victim").write_text("precious")
    (shell.folder / "tree/mine").write_text("precious")
    (shell.folder / "tree/.pymigrate/files").write_text(f"proc/1/comm\n{entry}\n")
    stderr = shell.err("export tree", 1)
    assert (
        stderr == "pymigrate: tree/.pymigrate/files lists"
        f" {entry!r}, which `pymigrate export` never writes\n"
    )
    assert (shell.folder / "victim").read_text() == "precious"
    assert sorted(os.listdir(shell.folder / "tree")) == [".pymigrate", "mine"]


@pytest.mark.parametrize("name", [".pymigrate/new", ".pymigrate/files"])
def test_files_of_the_export_itself_that_are_links_are_not_followed(
    shell: Shell, name: str
) -> None:
    (shell.folder / "tree/.pymigrate").mkdir(parents=True)
    (shell.folder / "victim").write_text("precious")
    (shell.folder / "tree" / name).symlink_to(shell.folder / "victim")
    shell("export tree")
    assert (shell.folder / "victim").read_text() == "precious"
    assert not (shell.folder / "victim").is_symlink()


def test_a_link_where_the_export_keeps_its_own_files(shell: Shell) -> None:
    (shell.folder / "tree").mkdir()
    (shell.folder / "outside").mkdir()
    (shell.folder / "tree/.pymigrate").symlink_to(shell.folder / "outside")
    link = f"a link to {shell.folder / 'outside'}"
    assert shell.err("export tree", 1) == (
        f"pymigrate: tree/.pymigrate is {link}; nothing was written\n"
    )
    assert os.listdir(shell.folder / "outside") == []


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(shell: Shell) -> None:
    shell.out("export tree")
    (shell.folder / "tree/proc/100/comm").unlink()
    os.mkfifo(shell.folder / "tree/proc/100/comm")
    shell.out("export tree")
    assert (shell.folder / "tree/proc/100/comm").read_text() == "alpha\n"
