from tests.cli.conftest import Shell

SCENARIO = """\
machine:
  nodes:
    0: {cpus: "0-1", memory: 64MiB}
    1: {memory: 64MiB}
tasks:
  web:
    pid: 80
    comm: nginx
    uid: 33
    mempolicy: "weighted interleave:0-1"
    memory:
      - {as: cache, kind: shmem, size: 8MiB, pages: [[1024, 0], [512, 1]]}
  log:
    cpus: "1"
    memory:
      - {as: cache, shared: web.cache}
"""


def test_json(shell: Shell) -> None:
    assert shell.json("ps")[1] == {
        "pid": 1000,
        "uid": 0,
        "task": "log",
        "cpus": "1",
        "policy": "default",
        "comm": "log",
        "rss_kB": 6144,
        "nodes": {"0": 1024, "1": 512},
    }


def test_help_says_the_units(unbooted: Shell) -> None:
    text = unbooted.out("ps --help")
    assert "RSS is in kB" in text
    assert "base pages (4 kB)" in text
