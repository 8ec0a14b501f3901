"""The machine that most programs of these tests use."""

import pytest

import pymigrate
from pymigrate import Machine

SCENARIO = """\
machine:
  nodes:
    0: {cpus: "0-1", memory: 64MiB}
    1: {cpus: "2-3", memory: 64MiB}
files:
  data: {size: 64KiB, fs: ext4}
tasks:
  a:
    pid: 100
    comm: alpha
    uid: 26
    cpus: "0-1"
    memory:
      - {as: heap, kind: heap, size: 32KiB, address: 0x10000000, pages: [[6, 0], [2, 1]]}
      - {as: buf, kind: shmem, size: 16KiB, pages: [[4, 0]]}
  b:
    pid: 200
    cpus: "2-3"
    memory:
      - {as: buf, shared: a.buf}
"""


@pytest.fixture
def machine() -> Machine:
    return pymigrate.boot(SCENARIO)
