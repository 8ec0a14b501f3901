import pytest

from tests.cli.conftest import Outcome, Shell

NEW = "200004600000"  # where the next region is mapped


def on_nodes(shell: Shell, what: str) -> list[str]:
    """The summary of move_pages --query."""
    lines = shell.out(f"move_pages a {what} --query").splitlines()
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
        ("free", ["6 pages on node 0", "2 pages on node 1"]),
        ("cold", ["6 pages on node 0", "2 pages on node 1"]),
        ("dontfork", ["6 pages on node 0", "2 pages on node 1"]),
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


def test_exit_frees_memory(shell: Shell) -> None:
    assert shell("task exit b") == Outcome(0)
    assert shell.counted("pgfree") == [3]
    assert shell("numa_maps 200").exit == 1


def test_copy_on_write_lands_where_the_child_runs(shell: Shell) -> None:
    shell.out("task fork a child")
    shell.out("task sched_setaffinity child 2")
    assert shell("task touch child heap") == Outcome(0)
    assert shell.maps("child")[0] == ("default heap anon=8 dirty=8 N1=8 kernelpagesize_kB=4")


def test_pin_holds_pages_until_unpin(shell: Shell) -> None:
    assert shell("task pin a heap+0:8KiB") == Outcome(0)
    shell.out("migratepages a 0 1 -q")
    assert on_nodes(shell, "heap") == ["2 pages on node 0", "6 pages on node 1"]
    assert shell("task unpin a heap+0:8KiB") == Outcome(0)
    shell.out("migratepages a 0 1")
    assert on_nodes(shell, "heap") == ["8 pages on node 1"]
    assert shell.counted("nr_foll_pin_acquired", "nr_foll_pin_released") == [2, 2]


def test_dry_run_keeps_nothing(shell: Shell) -> None:
    before = shell.state.read_bytes()
    assert shell("task munmap a heap --dry-run") == Outcome(
        0,
        "100 heap: N0 6 -> 0, N1 2 -> 0 pages\n100 heap: 32KiB rw no policy -> none\npgfree +8\n",
    )
    assert shell("task fork a child --dry-run").stdout.startswith("1000\n")
    assert shell.state.read_bytes() == before


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("task mmap a new 8KiB", ["0x200004600000", "100 new: none -> 8KiB rw no policy"]),
        ("task mprotect a heap r", ["100 heap: 32KiB rw no policy -> 32KiB r no policy"]),
        ("task madvise a lib random", ["100 lib: 64KiB rx no policy -> 64KiB rx random no policy"]),
        ("task sched_setaffinity a 1", ["100 CPUs: 0-1 -> 1"]),
        ("task pin a heap+4KiB:8KiB", ["100 heap+4KiB pinned: none -> 8KiB"]),
        ("sysctl weighted_interleave/node1=4", ["weighted_interleave/node1: 1 -> 4"]),
        (
            "mbind a heap+16KiB bind:1",
            [
                "100 heap: 32KiB rw no policy -> 16KiB rw no policy",
                "100 heap+16KiB: none -> 16KiB rw bind:1",
            ],
        ),
    ],
)
def test_dry_run_names_what_else_changes(shell: Shell, line: str, lines: list[str]) -> None:
    assert shell.out(f"{line} --dry-run").splitlines()[: len(lines)] == lines


@pytest.mark.parametrize(
    ("line", "errno"),
    [
        ("munmap a heap+1:4096", "munmap: Invalid argument"),
        ("mprotect a heap+0:1MiB r", "mprotect: Cannot allocate memory"),
        ("mprotect a heap q", "mprotect: Invalid argument"),
        ("madvise a heap+0:1MiB dontneed", "madvise: Cannot allocate memory"),
        ("madvise a heap+1:4096 cold", "madvise: Invalid argument"),
        ("mlock a heap+0:1MiB", "mlock: Cannot allocate memory"),
        ("unpin a heap", "unpin: Invalid argument"),
        ("pin a 0x5000+0:4096", "pin: Bad address"),
        ("mmap a new 0", "mmap: Invalid argument"),
        ("sched_setaffinity a 99", "sched_setaffinity: Invalid argument"),
        ("sched_setaffinity a 1 --as 27", "sched_setaffinity: Operation not permitted"),
        ("touch 7 heap", "touch: No such process: there is no process 7"),
        ("fork 7 child", "fork: No such process: there is no process 7"),
    ],
)
def test_refusals(shell: Shell, line: str, errno: str) -> None:
    assert shell(f"task {line}") == Outcome(1, "", f"{errno}\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("munmap a 0x10000000", "'0x10000000' has no length; expected LENGTH after it"),
        ("munmap a hep", "'hep' is neither an address nor a region of process 100; expected 0x..."),
        ("madvise a heap willneed", "'willneed' is not one of 'normal', 'random', 'sequential'"),
        ("mmap a new 4XiB", "'4XiB' is not a size; expected one such as 4096, 4KiB"),
        ("mmap a new 4KiB --file /none", "there is no file '/none'"),
        ("fork a b", "a task is called b already"),
        ("sched_setaffinity a x", "'x' is not a list of CPUs; expected one such as 0-3,5"),
        ("mpa a heap", "No such command 'mpa'."),
    ],
)
def test_usage_errors(shell: Shell, line: str, message: str) -> None:
    exit_code, stdout, stderr = shell(f"task {line}")
    assert (exit_code, stdout) == (2, "")
    assert message in stderr
