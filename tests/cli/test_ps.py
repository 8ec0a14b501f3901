import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pymigrate.cli.main import cli

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


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "machine.yaml"
    path.write_text(SCENARIO, encoding="utf-8")
    return str(path)


def test_output(scenario: str) -> None:
    result = CliRunner().invoke(cli, ["--ephemeral", "--scenario", scenario, "ps"])
    assert (result.exit_code, result.output) == (
        0,
        " PID UID TASK CPUS  RSS   N0  N1 POLICY                  COMM\n"
        "  80  33 web  0-1  6144 1024 512 weighted interleave:0-1 nginx\n"
        "1000   0 log  1    6144 1024 512 default                 log\n",
    )


def test_json(scenario: str) -> None:
    result = CliRunner().invoke(cli, ["--ephemeral", "--scenario", scenario, "ps", "--json"])
    assert json.loads(result.output)["rows"][1] == {
        "pid": 1000,
        "uid": 0,
        "task": "log",
        "cpus": "1",
        "policy": "default",
        "comm": "log",
        "rss_kB": 6144,
        "nodes": {"0": 1024, "1": 512},
    }


def test_help_says_the_units() -> None:
    result = CliRunner().invoke(cli, ["ps", "--help"])
    assert "RSS is in kB" in result.output
    assert "base pages (4 kB)" in result.output
