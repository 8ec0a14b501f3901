"""Programs that nobody here wrote read the exported tree of one machine.

A test whose program is not installed is skipped; `.ci/run` installs them all.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from pymigrate.cli.main import cli

# Node 2 has no memory, node 3 no CPUs and slow memory.
SCENARIO = """\
machine:
  nodes:
    0:
      cpus: "0-2"
      memory: 256MiB
      hmat: &dram
        {read_latency: 80, write_latency: 80, read_bandwidth: 100000, write_bandwidth: 90000}
    1: {cpus: "3-5", memory: 192MiB, hmat: *dram}
    2: {cpus: "6-7", memory: 0}
    3:
      cpus: ""
      memory: 128MiB
      hmat: {read_latency: 250, write_latency: 300, read_bandwidth: 30000, write_bandwidth: 20000}
  distances: [[10, 21, 31, 17], [21, 10, 31, 28], [31, 31, 10, 31], [17, 28, 31, 10]]
  hugetlb: {0: 4, 1: 2}
files:
  /lib/c.so: {size: 2MiB, fs: ext4}
tasks:
  app:
    pid: 4321
    comm: mapper
    uid: 26
    cpus: "0-2"
    memory:
      - {as: heap, kind: heap, size: 32MiB, pages: [[6144, 0], [2048, 1]]}
      - {as: shm, kind: shmem, size: 8MiB, pages: [[1024, 0], [1024, 1]]}
      - {as: lib, kind: file, file: /lib/c.so, prot: rx, size: 2MiB, pages: [[512, 1]]}
      - {as: stack, kind: stack, size: 132KiB, pages: [[3, 0], [30, -1]]}
  worker:
    pid: 4400
    uid: 26
    cpus: "3-5"
    memory:
      - {as: shm, shared: app.shm}
"""


def program(name: str, package: str) -> str:
    """Where *name* is; the test is skipped if it is not installed."""
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed (apt-get install {package})")
    return found


def run(args: list[str], **environment: str) -> str:
    """What a program prints on stdout when it succeeds."""
    done = subprocess.run(
        args,
        env={**os.environ, "LC_ALL": "C", **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs our commands on the machine, whose process 4321 has left node 0 for node 3."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / "machine.yaml").write_text(SCENARIO, encoding="utf-8")
    before = ["--scenario", str(folder / "machine.yaml"), "--state", str(folder / "machine.db")]

    def command(*args: str) -> str:
        result = CliRunner().invoke(cli, [*before, *args])
        assert result.exit_code == 0, result.output
        return result.stdout

    command("migratepages", "4321", "0", "3")
    return command


@pytest.fixture(scope="session")
def exported(simulated: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its tree."""
    tree = tmp_path_factory.mktemp("exported") / "tree"
    simulated("export", "--blocks", str(tree))
    return tree


@pytest.fixture
def inside(exported: Path) -> Callable[..., str]:
    """Runs a program that sees the tree as its /proc and /sys.

    In a mount namespace, for which root is needed, or a user namespace.
    """
    unshare = [program("unshare", "util-linux"), "--mount"]
    if os.geteuid():
        unshare.append("--map-root-user")
    bind = 'mount --bind "$0/sys" /sys && mount --bind "$0/proc" /proc && exec "$@"'
    enter = [*unshare, "sh", "-c", bind, str(exported)]
    probe = subprocess.run([*enter, "true"], capture_output=True, encoding="utf-8", check=False)
    if probe.returncode:
        pytest.skip(f"no mount namespace can be had here: {probe.stderr.strip()}")
    return lambda *args: run([*enter, *args])
