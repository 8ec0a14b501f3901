"""numactl on shared memory and files."""

import pytest

from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.state.machine import Machine, find_file
from pymigrate.tools.numactl import USAGE
from pymigrate.tools.program import Exit
from tests.conftest import new_file
from tests.unit.tools.conftest import Run

MADE = "numactl: Creating shared memory segment key id 0 mode 0600 length {}MB\n"


@pytest.fixture
def file(machine: Machine) -> str:
    """A file of 8 MiB without pages and policies."""
    space = new_file(machine, "8MiB")
    space.name = "/dev/shm/data"
    return space.name


@pytest.fixture
def key(machine: Machine) -> str:
    """A key file."""
    new_file(machine, "0").name = "key"
    return "key"


def dumped(run: Run, file: str, option: str = "-d") -> str:
    return run(f"numactl -L 8m -f {file} {option}").stdout


# segments


def test_segment_is_made_with_its_key_file(run: Run) -> None:
    assert run("numactl -L 20m -S key") == Exit(
        0, "", "numactl: Creating shm key file key mode 0600\n" + MADE.format(20)
    )
    assert run("numactl -S key") == Exit(0)


def test_segment_holds_what_lies_before_the_offset(run: Run, key: str) -> None:
    assert run(f"numactl -L 20m -o 4m -S {key}").stderr == MADE.format(24)


def test_segment_that_is_there_is_taken_whole(run: Run, key: str) -> None:
    run(f"numactl -L 4m -S {key}")
    outcome = run(f"numactl -S {key} -m 1 -d")
    assert outcome == Exit(0, "0000000000000000-0000000000400000: bind : 1 \n")


def test_segments_of_a_key_are_told_apart_by_number(run: Run, key: str) -> None:
    run(f"numactl -L 4m -S {key}")
    assert run(f"numactl -I 5 -M 644 -L 1m -S {key}").stderr == (
        "numactl: Creating shared memory segment key id 5 mode 0644 length 1MB\n"
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("-S key", "need a --length to create a sysv shared memory segment"),
        ("-L 6k -S key", "policy region not page aligned"),
        ("-u -L 2m -S key", "cannot create shared memory segment: Cannot allocate memory"),
    ],
)
def test_segments_that_cannot_be(run: Run, key: str, words: str, line: str) -> None:
    outcome = run(f"numactl {words}")
    assert (outcome.exit, outcome.stdout) == (1, "")
    assert outcome.stderr.splitlines()[-1] == f"numactl: {line}"


def test_segment_that_is_too_small(run: Run, key: str) -> None:
    run(f"numactl -L 4m -S {key}")
    assert run(f"numactl -L 8m -S {key}").stderr == "numactl: shmat: Invalid argument\n"


def test_segment_of_huge_pages(machine: Machine, run: Run, key: str) -> None:
    set_nr_hugepages(machine, 2, 1)
    run(f"numactl -u -L 4m -S {key}")
    outcome = run(f"numactl -u -S {key} -T -D")
    assert outcome.stdout == "0000000000000000-0000000000400000: 1\n"


# files


def test_file_is_made(machine: Machine, run: Run) -> None:
    assert run("numactl -L 2m -f /dev/shm/new") == Exit(0)
    space = find_file(machine, "/dev/shm/new")
    assert space is not None
    assert (space.fs, space.size) == ("tmpfs", 2 << 20)


def test_file_that_is_too_short_grows(machine: Machine, run: Run, file: str) -> None:
    run(f"numactl -L 8m -o 4m -f {file}")
    space = find_file(machine, file)
    assert space is not None
    assert space.size == 12 << 20


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("-f /dev/shm/data", "policy region length not specified before --file"),
        ("-L 5 -f /dev/shm/data", "policy region not page aligned"),
        ("-L 2m -o 1k -f /dev/shm/data", "shm mmap: Invalid argument"),
        ("-f /dev/shm/new", "need a --length to create a shared file"),
        ("-L 1m -f /nowhere/new", "cannot create file /nowhere/new: No such file or directory"),
        (
            "-L 2m -o 2m -f /dev/shm/data -T",
            "region offset 0x200000 beyond its length 0x200000 at --touch",
        ),
        ("-L 2m -f /dev/shm/data -V", "Need a policy first to verify"),
        ("-L 2m -f /dev/shm/data -l -V", "Need a mask to verify"),
        ("-d", "Cannot do --dump without shared memory.\n"),
        ("-D", "Cannot do --dump-nodes without shared memory.\n"),
    ],
)
def test_refusals(run: Run, file: str, words: str, line: str) -> None:
    assert run(f"numactl {words}") == Exit(1, "", f"numactl: {line}\n")


@pytest.mark.parametrize(
    ("words", "lines"),
    [("-m 9", ["<9> is invalid"]), ("-L 4m", [""]), ("true", []), ("-m 0 -i 0", [""])],
)
def test_usage_after_the_file(run: Run, file: str, words: str, lines: list[str]) -> None:
    outcome = run(f"numactl -L 2m -f {file} {words}")
    assert (outcome.exit, outcome.stdout.splitlines()) == (1, lines)
    assert outcome.stderr.endswith(USAGE)


# policies


@pytest.mark.parametrize(
    ("before", "words", "policy"),
    [
        ("", "-i 0,1", "interleave : 0 1 "),
        ("", "-w 0,1", "interleave : 0 1 "),
        ("", "-m 0,1", "bind : 0 1 "),
        ("-b", "-m 1", "bind : 1 "),
        ("", "-p 1", "preferred-many : 1 "),
        ("", "-P 1,3", "preferred-many : 1 "),
        ("", "-l", "local : "),
    ],
)
def test_policy_of_a_file_stays(run: Run, file: str, before: str, words: str, policy: str) -> None:
    assert run(f"numactl {before} -L 4m -o 2m -f {file} {words}") == Exit(0)
    assert dumped(run, file) == f"0000000000200000-0000000000600000: {policy}\n"


def test_ranges_are_dumped_one_by_one(run: Run, file: str) -> None:
    for offset, policy in (("0", "-i 0,1"), ("2m", "-m 1"), ("4m", "-m 0")):
        run(f"numactl -L 2m -o {offset} -f {file} {policy}")
    assert dumped(run, file) == (
        "0000000000000000-0000000000200000: interleave : 0 1 \n"
        "0000000000200000-0000000000400000: bind : 1 \n"
        "0000000000400000-0000000000600000: bind : 0 \n"
    )


def test_nodes_are_dumped_with_what_that_faults_in(run: Run, file: str) -> None:
    run(f"numactl -L 2m -o 2m -f {file} -m 1")
    assert dumped(run, file, "-D") == (
        "0000000000000000-0000000000200000: 0\n"
        "0000000000200000-0000000000400000: 1\n"
        "0000000000400000-0000000000800000: 0\n"
    )


def test_strict_refuses_pages_that_are_mapped_elsewhere(run: Run, file: str) -> None:
    assert run(f"numactl -L 4m -f {file} -T -t -m 1") == Exit(
        1, "", "mbind: Input/output error\nsetting membind: Input/output error\n"
    )


def test_strict_does_not_see_pages_that_are_not_mapped(run: Run, file: str) -> None:
    run(f"numactl -L 4m -f {file} -T")
    assert run(f"numactl -L 4m -f {file} -t -m 1") == Exit(0)


def test_kernel_refuses_an_empty_set(run: Run, file: str) -> None:
    assert run(f"numactl -L 4m -f {file} -m ''") == Exit(
        1, "", "mbind: Invalid argument\nsetting membind: Invalid argument\n"
    )


def test_same_option_twice_is_found_after_the_first_preferred(run: Run, file: str) -> None:
    outcome = run(f"numactl -L 4m -f {file} -m 0 -p 1")
    assert (outcome.exit, outcome.stdout) == (1, "\n")
    assert outcome.stderr.startswith("numactl: Conflicting policiesusage: ")
    assert dumped(run, file).endswith("preferred-many : 1 \n")


# --verify


@pytest.mark.parametrize("words", ["-m 1", "-i 0,1,3", "-p 3"])
def test_pages_that_lie_right(run: Run, file: str, words: str) -> None:
    assert run(f"numactl -L 4m -f {file} {words} -V") == Exit(0)


def test_pages_that_lie_elsewhere(run: Run, file: str) -> None:
    run(f"numactl -L 8k -f {file} -T")
    outcome = run(f"numactl -L 16k -f {file} -m 1 -V")
    assert outcome == Exit(
        1,
        "numactl verify 7ffff7bfc000(0): unexpected node 0\nexpected: 1 \n"
        "numactl verify 7ffff7bfd000(1000): unexpected node 0\nexpected: 1 \n",
    )


def test_pages_that_are_out_of_turn(run: Run, file: str) -> None:
    run(f"numactl -L 8k -f {file} -T")
    outcome = run(f"numactl -L 16k -f {file} -i 0,1 -V")
    assert outcome.exit == 1
    assert outcome.stdout == (
        "numactl verify 7ffff7bfd000(1000): expected interleave node 1, got 0\n"
    )


def test_weighted_interleave_is_interleave_there(run: Run, file: str) -> None:
    outcome = run(f"numactl -L 16k -f {file} -w 0,1 -V")
    assert outcome == Exit(
        1, "numactl verify 7ffff7bfc000(0): wrong policy interleave, expected weighted-interleave\n"
    )


def test_mask_is_compared_with_all_that_was_named(run: Run, file: str) -> None:
    outcome = run(f"numactl -L 4k -f {file} -P 0,1 -V")
    assert outcome == Exit(
        1, "numactl verify 7ffff7bff000(0): mismatched node mask\nexpected: 0 1 \nreal: 0 \n"
    )
