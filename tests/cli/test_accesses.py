"""``pymigrate accesses``."""

from tests.cli.conftest import Shell

SCENARIO = """\
machine:
  nodes:
    0: {cpus: "0-1", memory: 64MiB}
    1: {cpus: "2-3", memory: 64MiB}
    2: {memory: 64MiB}
  distances: [[10, 20, 40], [20, 10, 30], [40, 30, 10]]
tasks:
  a:
    pid: 100
    cpus: "2-3"
    memory:
      - {as: heap, kind: heap, size: 64KiB, pages: [[4, 0], [4, 1], [4, 2], [4, -1]]}
    access:
      - {region: heap, rate: 1600, writes: 0.5}
  b:
    pid: 200
    memory:
      - {as: buf, size: 40KiB}
    access:
      - {region: buf, rate: 100, hot: 0.2, hot_rate: 0.5, hot_at: 16KiB}
  idle: {pid: 300}
"""


def test_one_process_as_json(shell: Shell) -> None:
    assert shell.json("accesses a") == [
        {
            "pid": 100,
            "task": "a",
            "node": 1,
            "local": 400,
            "remote": 800,
            "absent": 400,
            "distance": 20,
            "nodes": {"0": 400, "1": 400, "2": 400},
        }
    ]


def test_log_has_the_hottest_remote_pages_first_for_move_pages_to_read(shell: Shell) -> None:
    shell.out("migratepages b 0 1")
    hot, cold = shell.out("accesses b --log").splitlines()[:2], shell.json("accesses b --log")[2]
    start = int(hot[0].split()[0], 16) - 4 * 4096
    assert hot == [f"{start + 0x4000:x} 0", f"{start + 0x5000:x} 0"]
    assert cold == {"address": f"{start:#x}", "node": 0, "rate": 6.25}
    shell.write("log", shell.out("accesses b --log --top 2"))
    shell.out("move_pages b --from-file log")
    assert shell.json("accesses b")[0]["nodes"] == {"0": 50, "1": 50}


def test_the_hottest_of_300_gib_that_take_turns_are_found_at_once(shell: Shell) -> None:
    shell.boot(
        """
machine:
  nodes:
    0: {cpus: "0", memory: 256GiB}
    1: {cpus: "1", memory: 256GiB}
tasks:
  a:
    memory:
      - {as: heap, size: 300GiB, policy: "interleave:0-1"}
    access:
      - {region: heap, rate: 1000, hot: 0.5, hot_rate: 0.75, hot_at: 150GiB}
"""
    )
    [row] = shell.json("accesses")
    assert (row["local"], row["remote"]) == (500, 500)
    start = int(shell.out("numa_maps a").split()[0], 16) + (150 << 30)
    assert shell.out("accesses a --log --top 2") == f"{start + 4096:x} 0\n{start + 3 * 4096:x} 0\n"


def test_region_that_is_never_there_is_a_mistake(shell: Shell) -> None:
    shell.write("bad.yaml", SCENARIO.replace("region: buf", "region: bu"))
    assert shell.err("boot bad.yaml") == (
        "pymigrate: bad.yaml:20:18: unknown region 'bu'; expected buf; nearest valid region 'buf'\n"
    )
