import pytest

from tests.cli.conftest import Outcome, Shell

NEW = "200004600000"  # where the next region is mapped


def on_nodes(shell: Shell, what: str, who: str = "a") -> list[str]:
    """The summary of move_pages --query."""
    lines = shell.out(f"move_pages {who} {what} --query").splitlines()
    return [line for line in lines if line.split()[1].startswith("page")]


def test_mmap_prints_the_address(shell: Shell) -> None:
    assert shell("task mmap a new 16KiB") == Outcome(0, f"0x{NEW}\n")
    assert shell.out("numa_maps a").splitlines()[3] == f"{NEW} default"
    assert on_nodes(shell, "new") == ["4 pages -ENOENT not present"]
    assert shell.json("task mmap a more 4KiB") == {
        "ret": 0,
        "errno": None,
        "address": "0x200004800000",
    }


def test_mmap_populate(shell: Shell) -> None:
    shell.out("task mmap a new 16KiB --populate")
    assert on_nodes(shell, "new") == ["4 pages on node 0"]
    assert shell.counted("pgalloc_dma32") == [4]


def test_mmap_of_a_file(shell: Shell) -> None:
    shell.out("task mmap a again 16KiB --file /lib/c.so --prot r --offset 8KiB --populate")
    assert shell.maps("a")[3] == (
        "default file=/lib/c.so mapped=4 mapmax=2 active=0 N0=4 kernelpagesize_kB=4"
    )


def test_mmap_shared(shell: Shell) -> None:
    shell.out("task mmap a new 8KiB --shared --align 4KiB --populate")
    assert shell.maps("a")[3] == (
        "default file=/dev/zero\\040(deleted) mapped=2 active=0 N0=2 kernelpagesize_kB=4"
    )


def test_munmap(shell: Shell) -> None:
    assert shell("task munmap a heap+8KiB:8KiB") == Outcome(0)
    assert shell.out("numa_maps a").splitlines()[:2] == [
        "10000000 default heap anon=2 dirty=2 active=0 N0=2 kernelpagesize_kB=4",
        "10004000 default heap anon=4 dirty=4 active=0 N0=2 N1=2 kernelpagesize_kB=4",
    ]
    assert shell.counted("pgfree") == [2]


def test_mprotect_and_signals(shell: Shell) -> None:
    assert shell("task mprotect a heap r") == Outcome(0)
    assert shell("task touch a heap") == Outcome(0, "SIGSEGV\n")
    assert shell("task touch a heap --read") == Outcome(0)
    assert shell.json("task touch a heap")["signal"] == "SIGSEGV"
    assert shell("task mprotect a heap rw") == Outcome(0)
    assert shell("task touch a heap") == Outcome(0)
    assert shell.json("task touch a heap")["signal"] is None


def test_touch_strides(shell: Shell) -> None:
    shell.out("task mmap a new 32KiB")
    assert shell("task touch a new --stride 8KiB") == Outcome(0)
    assert on_nodes(shell, "new") == ["4 pages -ENOENT not present", "4 pages on node 0"]


@pytest.mark.parametrize(
    ("advice", "left"),
    [
        ("dontneed", ["8 pages -ENOENT not present"]),
        ("populate_write", ["6 pages on node 0", "2 pages on node 1"]),
    ],
)
def test_madvise(shell: Shell, advice: str, left: list[str]) -> None:
    assert shell(f"task madvise a heap {advice}") == Outcome(0)
    assert on_nodes(shell, "heap") == left


def test_mlock(shell: Shell) -> None:
    shell.out("task mmap a new 16KiB")
    assert shell("task mlock a new") == Outcome(0)
    assert on_nodes(shell, "new") == ["4 pages on node 0"]
    assert shell.counted("nr_mlock", "nr_unevictable") == [4, 4]
    assert shell("task munlock a new") == Outcome(0)
    assert shell.counted("nr_mlock", "nr_unevictable") == [0, 0]


def test_fork_and_exit(shell: Shell) -> None:
    assert shell("task fork a child") == Outcome(0, "1000\n")
    assert shell.maps("child")[0] == (
        "default heap anon=8 dirty=8 mapmax=2 active=0 N0=6 N1=2 kernelpagesize_kB=4"
    )
    assert shell.json("task fork 1000 grandchild")["pid"] == 1001
    assert shell("task exit child") == Outcome(0)
    assert shell("task exit 1001") == Outcome(0)
    assert shell("task exit child") == Outcome(
        1, "", "exit: No such process: there is no process called child\n"
    )
    assert shell.maps("a")[0] == (
        "default heap anon=8 dirty=8 active=0 N0=6 N1=2 kernelpagesize_kB=4"
    )


def test_start_makes_a_process(shell: Shell) -> None:
    assert shell("task start worker --comm postgres --as 1000") == Outcome(0, "1000\n")
    assert shell.json("ps")[-1] | {"comm": "postgres"} == shell.json("ps")[-1]
    assert shell.maps("worker") == []
    assert shell("task mmap worker buffer 16KiB").exit == 0
    assert shell("task touch worker buffer") == Outcome(0)
    assert on_nodes(shell, "buffer", "worker") == ["4 pages on node 0"]
    assert "Uid:\t1000\t1000\t1000\t1000\n" in shell.out("cat proc/1000/status")
    assert shell.json("task start other") == {"ret": 0, "errno": None, "pid": 1001}
    assert "a task is called worker already\n" in shell("task start worker").stderr
    assert shell("task exit worker") == Outcome(0)


def test_clone_makes_a_thread(shell: Shell) -> None:
    assert shell("task clone a worker") == Outcome(0, "1000\n")
    assert shell.maps("worker") == shell.maps("a")
    assert "worker" not in shell.out("ps")
    shell.out("task mmap worker new 16KiB")
    assert "new" in shell.out("explain a --to 1")
    assert shell.out("cat /proc/100/task/1000/status").splitlines()[3:6] == [
        "Tgid:\t100",
        "Ngid:\t0",
        "Pid:\t1000",
    ]
    assert "Threads:\t2\n" in shell.out("cat /proc/100/status")
    assert shell("task exit a") == Outcome(0)
    assert shell("task exit worker").exit == 1


def test_pin_holds_pages_until_unpin(shell: Shell) -> None:
    assert shell("task pin a heap+0:8KiB") == Outcome(0)
    shell.out("migratepages a 0 1 -q")
    assert on_nodes(shell, "heap") == ["2 pages on node 0", "6 pages on node 1"]
    assert shell("task unpin a heap+0:8KiB") == Outcome(0)
    shell.out("migratepages a 0 1")
    assert on_nodes(shell, "heap") == ["8 pages on node 1"]
    assert shell.counted("nr_foll_pin_acquired", "nr_foll_pin_released") == [2, 2]
