from tests.cli.conftest import Outcome, Shell

SCENARIO = """\
machine:
  nodes:
    0: {cpus: "0", memory: 64MiB}
    1: {memory: 64MiB, adistance: 2880}
  demotion: true
tasks:
  a: {pid: 100, memory: [{as: heap, size: 4MiB, pages: [[1024, 0]]}]}
  b: {pid: 200, memory: [{as: heap, size: 4MiB, pages: [[1024, 0]]}]}
"""


def on_nodes(shell: Shell, task: str) -> str:
    return " ".join(word for word in shell.maps(task)[0].split() if word.startswith("N"))


def test_only_what_one_task_maps(shell: Shell) -> None:
    assert shell("reclaim 2MiB --task b") == Outcome(0, "512 pages reclaimed\n")
    assert on_nodes(shell, "a") == "N0=1024"
    assert on_nodes(shell, "b") == "N0=512 N1=512"


def test_only_what_the_tasks_of_a_cpuset_map(shell: Shell) -> None:
    shell.out("cpuset create batch --cpus 0 --mems 0")
    shell.out("cpuset attach batch b")
    assert shell("reclaim 4MiB --cpuset batch") == Outcome(0, "1024 pages reclaimed\n")
    assert on_nodes(shell, "b") == "N1=1024"
    assert shell("reclaim 4MiB --cpuset /") == Outcome(0, "1024 pages reclaimed\n")
    assert on_nodes(shell, "a") == "N1=1024"


def test_what_is_there_is_reclaimed_before_it_fails(shell: Shell) -> None:
    assert shell.err("reclaim 16MiB", 1) == (
        "reclaim: Resource temporarily unavailable: 2048 of 4096 pages were reclaimed\n"
    )
    assert on_nodes(shell, "a") == "N1=1024"


def test_json_and_dry_run(shell: Shell) -> None:
    assert shell.json("reclaim 256KiB")["reclaimed"] == 64
    assert shell.out("reclaim 256KiB --task b --dry-run") == (
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


def test_trace_tells_the_mode_and_the_reason(shell: Shell) -> None:
    lines = shell.out("reclaim 256KiB --trace").splitlines()
    assert sum("mode=MIGRATE_ASYNC reason=demotion" in line for line in lines) == 2
    assert sum("set_migration_pte: " in line for line in lines) == 64
