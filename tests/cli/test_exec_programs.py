"""Programs that nobody here wrote, on the simulated machine: they print the scenario's figures."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Shell
from tests.cli.traced import PROGRAMS, WHOSE, WHY, exec_, needs, out, out_as

if WHY:
    pytest.skip(WHY, allow_module_level=True)

has_libnuma = pytest.mark.skipif(
    not Path("/usr/include/numa.h").exists(), reason="not installed: libnuma-dev"
)


def boot(shell: Shell, name: str) -> None:
    """Boot a built-in scenario."""
    shell.boot((ROOT / "scenarios" / f"{name}.yaml").read_text())


def squeezed(text: str) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in text.splitlines() if line.strip()]


# numactl's programs


@needs("numactl")
def test_numactl_tells_of_the_policy(shell: Shell) -> None:
    lines = out(shell, "numactl -m 1 -N 1 numactl -s").splitlines()
    assert lines[:6] == [
        "policy: bind",
        "preferred node: 1",
        "physcpubind: 2 3 ",
        "cpubind: 1 ",
        "nodebind: 1 ",
        "membind: 1 ",
    ]
    assert "policy: interleave" in out(shell, "numactl -i all numactl -s")
    assert "physcpubind: 3 \ncpubind: 1 " in out(shell, "numactl -C 3 numactl -s")


@needs("numactl")
def test_numactl_tells_of_the_hardware(shell: Shell) -> None:
    lines = out(shell, "numactl -H").splitlines()
    assert lines[:3] == ["available: 2 nodes (0-1)", "node 0 cpus: 0 1", "node 0 size: 64 MB"]
    assert lines[4:6] == ["node 1 cpus: 2 3", "node 1 size: 64 MB"]
    assert [line.split() for line in lines[-2:]] == [["0:", "10", "20"], ["1:", "20", "10"]]
    boot(shell, "four-node-two-socket")
    assert "available: 4 nodes (0-3)" in out(shell, "numactl -H")


@needs("numactl")
def test_numactl_refuses_nodes_that_are_not_there(shell: Shell) -> None:
    outcome = exec_(shell, "numactl -m 2 echo started")
    assert (outcome.exit, "started" in outcome.stdout) == (1, False)
    assert "node argument 2 is out of range" in outcome.stderr


@needs("numactl")
def test_memory_of_a_program_under_numactl(shell: Shell) -> None:
    out(shell, f"numactl -m 1 {sys.executable} -I -S -c 'x = bytearray(4 << 20)'")
    rows = shell.out("numastat").splitlines()
    assert int(rows[1].split()[2]) >= 1024


@needs("numastat")
def test_numastat(shell: Shell) -> None:
    shell.out("numactl --membind=1 memhog 8m")
    rows = {row[0]: row[1:] for row in squeezed(out(shell, "numastat"))}
    assert next(iter(rows)) == "node0"
    assert int(rows["numa_hit"][1]) >= 2048
    assert rows["numa_miss"] == ["0", "0"]
    rows = {row[0]: row[1:] for row in squeezed(out(shell, "numastat -p alpha 2>/dev/null"))}
    assert rows["Heap"] == ["0.02", "0.01", "0.03"]
    assert rows["Total"] == ["0.10", "0.01", "0.11"]
    rows = {row[0]: row[1:] for row in squeezed(out(shell, "numastat -m 2>/dev/null"))}
    assert rows["MemTotal"] == ["64.00", "64.00", "128.00"]
    assert rows["Shmem"] == ["0.02", "0.00", "0.02"]


@needs("memhog")
def test_memhog(shell: Shell) -> None:
    assert out(shell, "memhog 8m membind 1") == ".\n"
    assert shell.counted("numa_miss") == [0]
    outcome = exec_(shell, "memhog 80m membind 1")  # of 64 MiB
    assert outcome.exit == 128 + 9
    assert "is killed: the simulated machine has no memory" in outcome.stderr
    assert shell.counted("oom_kill") == [1]


@needs("migspeed")
def test_migspeed(shell: Shell) -> None:
    lines = out(shell, "migspeed -p 1000 0 1").splitlines()
    assert re.match(r"[0-9a-f]+ bind:0 anon=1000 dirty=1000 .*N0=1000 ", lines[0])
    assert re.match(r"[0-9a-f]+ bind:1 anon=1000 dirty=1000 .*N1=1000 ", lines[1])
    assert lines[2].startswith("3.9 Mbyte migrated in ")
    assert shell.counted("pgmigrate_success") == [1000]


@needs("migratepages", "numastat")
def test_migratepages(shell: Shell) -> None:
    rows = squeezed(out(shell, "migratepages 100 0 1; numastat -p 100 2>/dev/null | tail -n 1"))
    assert rows == [["Total", "0.00", "0.11", "0.11"]]
    assert shell.counted("pgmigrate_success", "pgmigrate_fail") == [26, 0]


@needs("numademo")
def test_numademo(shell: Shell) -> None:
    boot(shell, "two-node")
    text = out(shell, "numademo -t -s 4m memset 2>&1")
    assert "2 nodes available" in text
    assert "memory on node 1" in text


# scripts and small programs, as whoever


@pytest.mark.parametrize("whose", WHOSE)
@needs("bash", "numactl", "numastat", "migratepages", "pidof")
def test_script_of_an_administrator(shell: Shell, whose: str) -> None:
    boot(shell, "two-node")
    program = ["bash", str(PROGRAMS / "migrate.sh"), "postgres", "0", "1"]
    assert out_as(shell, whose, program).splitlines() == [
        "need 115 MB, node 1 has 927 MB free",
        "moved 29187 pages by /proc/vmstat",
        "left on 0: 0",
    ]


@pytest.mark.parametrize("whose", WHOSE)
@needs("numactl", "ps")
def test_numactl_becomes_its_command(shell: Shell, whose: str) -> None:
    assert out_as(shell, whose, ["sh", str(PROGRAMS / "exec_pid.sh")]).splitlines() == [
        "children: 0",
        "after STOP: T (stopped)",
        "after TERM: 143 gone",
        "after KILL: 137 gone",
        "after CONT: 5 gone",
    ]


@pytest.mark.parametrize("whose", WHOSE)
@needs("memhog", "numactl", "numastat")
def test_memory_of_a_program_that_runs_is_seen(shell: Shell, whose: str) -> None:
    lines = out_as(shell, whose, ["sh", str(PROGRAMS / "memhog_r.sh")]).splitlines()
    assert lines[1::2] == ["goes on", "goes on"]
    assert lines[4:] == ["137"]
    for line in lines[0:4:2]:
        _, node0, node1, total = line.split()
        assert float(node0) >= 0.5  # half of it, and of its libraries
        assert float(node1) >= 0.5
        assert float(total) < 8


@pytest.mark.parametrize("whose", WHOSE)
@needs("gcc")
@has_libnuma
def test_threads_of_a_program_with_libnuma(shell: Shell, whose: str) -> None:
    boot(shell, "four-node-two-socket")
    build = ["gcc", "-o", "policies", str(PROGRAMS / "policies.c"), "-lnuma", "-lpthread"]
    subprocess.run(build, cwd=shell.folder, check=True)
    expected = [f"thread {i}: policy 2 node {i}" for i in range(4)]
    assert out_as(shell, whose, ["./policies"]).splitlines() == [*expected, "main: policy 0"]


@pytest.mark.parametrize("whose", WHOSE)
@pytest.mark.skipif(
    not list(Path("/usr/lib").glob("**/libnuma.so.1")), reason="not installed: libnuma1"
)
def test_python_with_libnuma(shell: Shell, whose: str) -> None:
    program = [sys.executable, "-I", "-S", str(PROGRAMS / "libnuma.py")]
    if whose == "nobody":
        program[0] = "/usr/bin/python3"
    assert out_as(shell, whose, program).splitlines() == [
        "available 0 highest node 1",
        "CPUs 4 distance 20",
        "allocated on 1",
        "moved 0 [0, 1, -14]",
        "refused -1",
        "errno 19",
    ]


@needs("awk", "bash")
def test_programs_that_the_host_lacks_are_ours(shell: Shell, tmp_path: Path) -> None:
    boot(shell, "two-node")
    (tmp_path / "bin").mkdir()
    for name in ("awk", "bash", "cat", "grep", "kill", "sh", "sleep"):
        found = shutil.which(name) or pytest.skip(f"not installed: {name}")
        (tmp_path / "bin" / name).symlink_to(found)
    env = shell.environment(PATH=str(tmp_path / "bin"), TMPDIR=str(tmp_path))
    script = f"""
        bash {PROGRAMS / "migrate.sh"} postgres 0 1
        numactl -m 1 -C 5 sh -c 'numactl -s | grep -e policy -e physcpubind; cat /proc/$$/comm'
        numactl -m 1 cat /proc/self/numa_maps | grep -c 'bind:1 heap anon=[0-9]* .*N1='
        numactl -N 1 sh -c 'exit 7'; echo $?; numactl nosuch 2> /dev/null; echo $?
        numactl -i all sleep 600 & until grep -q sleep /proc/$!/comm; do sleep 0.05; done
        kill $!; wait $!; echo $?; memhog 4m
    """
    shell.write("script.sh", script)
    outcome = shell.spawn("exec -- sh script.sh", env=env)
    assert outcome.stdout.splitlines() == [
        "need 115 MB, node 1 has 927 MB free",
        "moved 29187 pages by /proc/vmstat",
        "left on 0: 0",
        *["policy: bind", "physcpubind: 5 ", "sh", "1", "7", "1", "143", "."],
    ]
    assert [path.name for path in tmp_path.glob("pymigrate-*")] == []


# programs that look at the machine


@needs("lscpu", "nproc", "taskset")
def test_programs_that_look_at_cpus(shell: Shell) -> None:
    script = "nproc; nproc --all; taskset -c 3 nproc; taskset -pc 200; taskset -p 100"
    assert out(shell, script).splitlines() == [
        *["4", "4", "1", "pid 200's current affinity list: 2,3"],
        "pid 100's current affinity mask: 3",
    ]
    rows = dict(line.split(":", 1) for line in out(shell, "LC_ALL=C lscpu").splitlines())
    names = ["CPU(s)", "Socket(s)", "NUMA node(s)", "NUMA node0 CPU(s)", "NUMA node1 CPU(s)"]
    assert [rows[name].strip() for name in names] == ["4", "2", "2", "0,1", "2,3"]


@needs("taskset")
def test_taskset_changes_where_tasks_may_run(shell: Shell) -> None:
    script = """
        taskset -c 2-3 sh -c 'nproc; taskset -pc 1 $$ > /dev/null; nproc
            grep list: /proc/self/status'
        taskset -pc 0 200
    """
    lines = out(shell, script).splitlines()
    assert lines[:2] == ["2", "1"]
    assert lines[2:4] == ["Cpus_allowed_list:\t1", "Mems_allowed_list:\t0-1"]
    assert lines[4:] == [
        "pid 200's current affinity list: 2,3",
        "pid 200's new affinity list: 0",
    ]
    assert " 0 " in shell.out("ps").splitlines()[2]


@needs("lstopo-no-graphics")
def test_lstopo(shell: Shell) -> None:
    lines = out(shell, "lstopo-no-graphics --no-io --of console -p").splitlines()
    nodes = [line.strip() for line in lines if "NUMANode" in line]
    assert nodes == ["NUMANode P#0 (64MB)", "NUMANode P#1 (64MB)"]
    assert [word for line in lines for word in re.findall(r" PU P#(\d)", line)] == list("0123")
    boot(shell, "four-node-two-socket")
    assert out(shell, "lstopo-no-graphics --no-io --of console").count("NUMANode") == 4


@needs("hwloc-bind")
def test_hwloc_bind(shell: Shell) -> None:
    script = """
        hwloc-bind --cpubind node:1 --membind node:1 -- \\
            sh -c 'hwloc-bind --get; hwloc-bind --get --membind; nproc'
        hwloc-bind --get --pid 200
    """
    assert out(shell, script) == "0x0000000c\n0x0000000c (bind)\n2\n0x0000000c\n"


@needs("bash", "dash", "busybox")
@pytest.mark.parametrize("name", ["bash", "dash", "busybox sh"])
def test_shells_read_files(shell: Shell, name: str) -> None:
    script = """
        while read -r name value; do
            [ "$name" != thp_fault_alloc ] || echo "$name $value"
        done < /proc/vmstat
        read -r nodes < /sys/devices/system/node/has_cpu; echo "$nodes"
        for file in /proc/[12]00/cpuset; do read -r group < "$file"; echo "$file $group"; done
        while read -r _ policy rest; do printf '%s\\n' "$policy $rest"; done < /proc/100/numa_maps
    """
    shell.write("read.sh", script)
    assert out(shell, f"{name} read.sh").splitlines() == [
        "thp_fault_alloc 0",
        "0-1",
        "/proc/100/cpuset /",
        "/proc/200/cpuset /",
        *(line.split(" ", 1)[1] for line in shell.out("numa_maps 100").splitlines()),
    ]


@needs("bash", "busybox")
def test_tools_of_shells(shell: Shell) -> None:
    script = "bash -c 'mapfile -t x < /sys/devices/system/node/online; echo ${x[0]} ${#x[@]}'"
    assert out(shell, script) == "0-1 1\n"
    script = """
        busybox cat /proc/meminfo | busybox head -n 1; busybox nproc; busybox pidof beta
        busybox awk '/N0=/ {n++} END {print n}' /proc/100/numa_maps
    """
    assert out(shell, script) == "MemTotal:         131072 kB\n4\n200\n3\n"


@needs("free", "ps", "top")
def test_programs_of_procps(shell: Shell) -> None:
    rows = squeezed(out(shell, "free -k"))
    assert (rows[1][1], rows[1][4], rows[2][1:]) == ("131072", "16", ["0", "0", "0"])
    rows = squeezed(out(shell, "ps -e -o pid,uid,psr,rss,comm --no-headers"))
    assert rows[:2] == [["100", "26", "0", "112", "alpha"], ["200", "27", "2", "28", "beta"]]
    assert [row[-1] for row in rows[2:]] == ["sh", "ps"]
    rows = squeezed(out(shell, "LC_ALL=C ps -o lstart= -p $$"))
    assert int(rows[0][-1]) > 2000  # the year in which it began
    rows = squeezed(out(shell, "LC_ALL=C top -b -n 3 -d 0.1 -p 100"))
    assert [row[-1] for row in rows if row[0] == "100"] == ["alpha"] * 3
    totals = [row for row in rows if row[:3] == ["MiB", "Mem", ":"]]
    assert [row[3:5] for row in totals] == [["128.0", "total,"]] * 3


@needs("top", "vmstat")
def test_what_goes_on_is_shown_as_it_is_then(shell: Shell) -> None:
    script = """
        : > top.log; LC_ALL=C top -b -n 3 -d 1 >> top.log & p=$!
        until grep -q alpha top.log; do sleep 0.05; done
        kill -KILL 100; wait $p; grep -c alpha top.log; grep -c beta top.log
    """
    assert out(shell, script) == "1\n3\n"
    rows = out(shell, "vmstat -n 1 3").splitlines()
    assert len(rows) == 5
    assert {int(row.split()[3]) > 65536 for row in rows[2:]} == {True}  # kB that are free


@needs("stress-ng")
def test_stress_ng(shell: Shell) -> None:
    outcome = exec_(shell, "stress-ng --numa 1 --numa-ops 2 --verify")
    assert outcome.exit == 0, outcome.stderr
    assert "system has 2 of a maximum 1024 memory NUMA nodes" in outcome.stdout + outcome.stderr
    assert "successful run completed" in outcome.stdout + outcome.stderr
    assert shell.counted("pgmigrate_success")[0] > 0
    assert shell("doctor").exit == 0
