"""Programs that nobody here wrote, on the simulated machine: they print the scenario's figures."""

import re
import sys

import pytest

from tests.cli.conftest import Shell
from tests.cli.traced import WHY, exec_, needs, out

if WHY:
    pytest.skip(WHY, allow_module_level=True)


# programs that nobody here wrote


@needs("numactl")
def test_numactl(shell: Shell) -> None:
    lines = out(shell, "numactl -m 1 -N 1 numactl -s").splitlines()
    assert lines[:6] == [
        "policy: bind",
        "preferred node: 1",
        "physcpubind: 2 3 ",
        "cpubind: 1 ",
        "nodebind: 1 ",
        "membind: 1 ",
    ]
    assert "node 0 size: 64 MB\n" in out(shell, "numactl -H")


@needs("numactl")
def test_memory_of_a_program_under_numactl(shell: Shell) -> None:
    before = shell.out("vmstat")
    out(shell, f"numactl -m 1 {sys.executable} -I -S -c 'x = bytearray(4 << 20)'")
    assert before != shell.out("vmstat")
    rows = shell.out("numastat").splitlines()
    assert int(rows[1].split()[2]) >= 1024


@needs("numactl")
def test_numactl_becomes_its_command(shell: Shell) -> None:
    script = """
        numactl -m 1 sleep 30 & p=$!
        until [ "$(cat /proc/$p/comm)" = sleep ]; do sleep 0.05; done
        kill -TERM $p; wait $p; echo $?; kill -0 $p 2>/dev/null || echo gone
        numactl -m 1 sh -c 'exit 7'; echo $?
    """
    assert exec_(shell, script).stdout == "143\ngone\n7\n"


@needs("memhog", "numactl", "numastat")
def test_memory_of_a_program_that_runs_is_seen(shell: Shell) -> None:
    script = """
        numactl -m 1 memhog -r1000000 4m > /dev/null & p=$!
        until [ "$(cat /proc/$p/comm)" = memhog ]; do sleep 0.05; done; sleep 0.3
        numastat -p $p | tail -n 1; kill -KILL $p
    """
    total = out(shell, script).split()
    assert float(total[2]) >= 4.0  # MB on node 1; files that it maps lie there, or where they were


@needs("migratepages", "numastat")
def test_migratepages(shell: Shell) -> None:
    outcome = out(shell, "migratepages 100 0 1; numastat -p 100 | tail -n 1")
    assert outcome.split()[0] == "Total"
    assert float(outcome.split()[1]) == 0.0


@needs("lscpu", "nproc", "taskset")
def test_programs_that_look_at_cpus(shell: Shell) -> None:
    assert out(shell, "nproc; taskset -c 3 nproc; taskset -pc 200") == (
        "4\n1\npid 200's current affinity list: 2,3\n"
    )
    assert "NUMA node1 CPU(s): 2,3" in re.sub(" +", " ", out(shell, "LC_ALL=C lscpu"))


@needs("lstopo-no-graphics")
def test_lstopo(shell: Shell) -> None:
    text = out(shell, "lstopo-no-graphics --no-io --of console")
    assert text.count("NUMANode") == 2
    assert text.count("PU L#") == 4


@needs("bash", "busybox")
def test_shells(shell: Shell) -> None:
    assert (
        out(shell, "bash -c 'mapfile -t x < /sys/devices/system/node/has_cpu; echo $x'") == "0-1\n"
    )
    assert out(shell, "busybox sh -c 'busybox cat /proc/meminfo | busybox head -n 1'") == (
        "MemTotal:         131072 kB\n"
    )
    assert out(shell, "busybox free -k").split()[7] == "131072"
