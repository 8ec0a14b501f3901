import pytest

from tests.cli.conftest import Outcome, Shell

TIERED = """\
machine:
  nodes:
    0: {cpus: "0", memory: 64MiB}
    1: {memory: 64MiB, adistance: 2880}
  demotion: true
tasks:
  a: {pid: 100, memory: [{as: heap, size: 4MiB, pages: [[1024, 0]]}]}
  b: {pid: 200, memory: [{as: heap, size: 4MiB, pages: [[1024, 0]]}]}
"""


@pytest.fixture
def tiered(shell: Shell) -> Shell:
    shell.boot(TIERED)
    return shell


def on_nodes(shell: Shell, task: str) -> str:
    return " ".join(word for word in shell.maps(task)[0].split() if word.startswith("N"))


def test_pages_are_demoted(tiered: Shell) -> None:
    assert tiered("reclaim 1MiB") == Outcome(0, "256 pages reclaimed\n")
    assert on_nodes(tiered, "a") == "N0=768 N1=256"
    assert tiered.counted("pgdemote_direct", "pgmigrate_success") == [256, 256]


def test_only_what_one_task_maps(tiered: Shell) -> None:
    assert tiered("reclaim 2MiB --target b") == Outcome(0, "512 pages reclaimed\n")
    assert on_nodes(tiered, "a") == "N0=1024"
    assert on_nodes(tiered, "b") == "N0=512 N1=512"


def test_only_what_the_tasks_of_a_cpuset_map(tiered: Shell) -> None:
    tiered.out("cpuset create batch --cpus 0 --mems 0")
    tiered.out("cpuset attach batch b")
    assert tiered("reclaim 4MiB --cpuset batch") == Outcome(0, "1024 pages reclaimed\n")
    assert on_nodes(tiered, "b") == "N1=1024"
    assert tiered("reclaim 4MiB --cpuset /") == Outcome(0, "1024 pages reclaimed\n")
    assert on_nodes(tiered, "a") == "N1=1024"


def test_what_is_there_is_reclaimed_before_it_fails(tiered: Shell) -> None:
    outcome = tiered("reclaim 16MiB --verbose")
    assert (outcome.exit, outcome.stdout) == (1, "")
    assert outcome.stderr.splitlines()[:2] == [
        "reclaim: Resource temporarily unavailable",
        "pymigrate: 2048 of 4096 pages were reclaimed",
    ]
    assert on_nodes(tiered, "a") == "N1=1024"


@pytest.mark.parametrize(
    ("line", "exit_code", "error"),
    [
        ("reclaim lots", 2, "'lots' is not a size"),
        ("reclaim 4KiB --node 7", 1, "reclaim: No such file or directory: there is no node 7"),
        ("reclaim 4KiB --target c", 1, "reclaim: No such process"),
        ("reclaim 4KiB --cpuset c", 1, "reclaim: No such file or directory: there is no cpuset c"),
        ("reclaim 4KiB --target a --cpuset /", 2, "--target and --cpuset exclude each other."),
        ("reclaim 4KiB --as 5", 1, "reclaim: Permission denied"),
    ],
)
def test_refused(tiered: Shell, line: str, exit_code: int, error: str) -> None:
    before = tiered.state.read_bytes()
    outcome = tiered(line)
    assert outcome.exit == exit_code
    assert error in outcome.stderr
    assert tiered.state.read_bytes() == before


def test_json_and_dry_run(tiered: Shell) -> None:
    assert tiered.json("reclaim 256KiB")["reclaimed"] == 64
    assert tiered.out("reclaim 256KiB --target b --dry-run") == (
        "64 pages reclaimed\n"
        "200 heap: N0 1024 -> 960, N1 0 -> 64 pages\n"
        "numa_hit +64\n"
        "numa_other +64\n"
        "pgdemote_direct +64\n"
        "pgalloc_dma32 +64\n"
        "pgfree +64\n"
        "pgscan_anon +64\n"
        "pgsteal_anon +64\n"
        "pgmigrate_success +64\n"
    )


def test_trace_tells_the_mode_and_the_reason(tiered: Shell) -> None:
    lines = tiered.out("reclaim 256KiB --trace").splitlines()
    assert sum("mode=MIGRATE_ASYNC reason=demotion" in line for line in lines) == 2
    assert sum("set_migration_pte: " in line for line in lines) == 64
