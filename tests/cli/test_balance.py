"""``pymigrate balance``."""

from tests.cli.conftest import Outcome, Shell

SCENARIO = """\
machine:
  nodes:
    0: {cpus: "0-1", memory: 64MiB}
    1: {cpus: "2-3", memory: 64MiB}
  numa_balancing: 1
tasks:
  a:
    pid: 100
    cpus: "2"
    memory:
      - {as: heap, kind: heap, size: 4MiB, pages: [[1024, 0]]}
    access:
      - {region: heap, rate: 100000, writes: 1}
  b:
    pid: 200
    cpus: "0"
    memory:
      - {as: buf, size: 1MiB, pages: [[256, 0]]}
    access:
      - {region: buf, rate: 1000}
  idle: {pid: 300}
"""
HEAD = "PID TASK NODE SCANS UPDATES FAULTS LOCAL MIGRATED PREFERRED PERIOD\n"


def test_time_goes_on_where_it_stood(shell: Shell) -> None:
    shell("balance --seconds 1.5")
    value = shell.json("balance --seconds 3")
    assert value["now"] == 4500
    assert [scan["time"] for scan in value["scans"] if scan["pid"] == 100] == [3012]


def test_json(shell: Shell) -> None:
    value = shell.json("balance --seconds 1.2")
    counts = {"pte_updates": 1024, "huge_pte_updates": 0, "period": 2000}
    counts |= {"hint_faults": 1024, "hint_faults_local": 0, "pages_migrated": 1024}
    whose = {"pid": 100, "task": "a", "node": 1}
    assert value["balanced"][0] == {**whose, "scans": 1, "preferred": None, **counts}
    assert value["scans"][0] == {"time": 1004, "pid": 100, **counts}
    assert value["counted"]["numa_hint_faults"] == 1024
    assert value["ended"] == []


def test_trace_has_a_call_of_the_engine_for_each_fault(shell: Shell) -> None:
    out = shell.out("balance --seconds 1.1 --trace")
    assert out.count("mode=MIGRATE_ASYNC reason=numa_misplaced") == 2 * 1024


def test_dry_run_leaves_the_time_where_it_was(shell: Shell) -> None:
    assert "numa_hint_faults +1024" in shell.out("balance --seconds 2 --dry-run")
    assert shell.json("balance --seconds 1")["now"] == 1000


def test_switched_off(shell: Shell) -> None:
    shell.out("sysctl numa_balancing=0")
    assert shell("balance --seconds 5") == Outcome(
        0,
        f"{HEAD}"
        "100 a       1     0       0      0     0        0         - 1000ms\n"
        "200 b       0     0       0      0     0        0         - 1000ms\n",
        "pymigrate: numa_balancing is 0, so that nothing was scanned;"
        " `pymigrate sysctl numa_balancing=1`\n",
    )


def test_signal_ends_the_use_of_a_region(shell: Shell) -> None:
    ended = "pymigrate: SIGSEGV has ended the accesses of a to heap\n"
    shell.out("task mprotect a heap r")
    assert shell("balance --seconds 2").stderr == ended
    value = shell("balance --seconds 2 --json")
    assert '"signal": "SIGSEGV"' in value.stdout
    assert value.stderr == ended


def test_without_declared_accesses(unbooted: Shell) -> None:
    unbooted.boot("machine: {nodes: {0: {cpus: '0', memory: 64MiB}}}\ntasks: {a: {}}\n")
    assert unbooted("balance --seconds 5") == Outcome(
        0,
        HEAD,
        "pymigrate: no task declares its accesses (`access:` in the scenario), so that none has"
        " run\n",
    )


def test_step(shell: Shell) -> None:
    steps = "steps:\n  - {op: balance, seconds: 2}\n  - {op: placement, task: a, at: heap}\n"
    shell.write("steps.yaml", SCENARIO + steps)
    assert shell.out("run steps.yaml") == (
        "   1 balance now=2000\n"
        "       a on node 1: 1 scan, 1024 faults, 0 of them local, 1024 pages migrated\n"
        "       b on node 0: 1 scan, 0 faults, 0 of them local, 0 pages migrated\n"
        "   2 placement nodes=[[1024, 1]]\n"
    )


def test_a_heatmap_is_drawn_after_the_answer(shell: Shell) -> None:
    plain = shell.out("balance --seconds 3 --dry-run").partition("\n100 ")[0]
    drawn = shell.out("balance --seconds 3 --heatmap")
    assert drawn.splitlines()[0] == plain.splitlines()[0]
    assert "   heat  " in drawn
    assert "\n0.000 s  " in drawn
    assert "\n3.000 s  " in drawn


def test_a_heatmap_for_machines(shell: Shell) -> None:
    for row in shell.json("balance --seconds 3 --heatmap")["heatmap"]:
        assert {len(moment["cells"]) for moment in row["moments"]} == {len(row["heat"])}
        assert row["moments"][-1]["time"] == 3000
