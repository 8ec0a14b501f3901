"""Real programs on the simulated machine: how they begin and end, and the files that they see."""

import os
import signal
import subprocess
import sys

import pytest

from tests.cli.conftest import Outcome, Shell
from tests.cli.traced import WHY, exec_, out, python

if WHY:
    pytest.skip(WHY, allow_module_level=True)


# how it begins and ends


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        ("true", Outcome(0)),
        ("-- sh -c 'exit 9'", Outcome(9)),
        ("-- sh -c 'kill -TERM $$'", Outcome(-signal.SIGTERM)),
        ("echo --state -h", Outcome(0, "--state -h\n")),
        (
            "nosuchcommand",
            Outcome(127, "", "pymigrate: nosuchcommand: No such file or directory\n"),
        ),
        ("./machine.yaml", Outcome(126, "", "pymigrate: ./machine.yaml: Permission denied\n")),
    ],
)
def test_exit(shell: Shell, command: str, outcome: Outcome) -> None:
    assert shell.spawn(f"exec {command}") == outcome


def test_script_that_does_not_say_whose_it_is(shell: Shell) -> None:
    path = shell.write("plain", "echo $1\n")
    path.chmod(0o755)
    assert shell.spawn("exec -- ./plain word") == Outcome(0, "word\n")


def test_it_boots(unbooted: Shell) -> None:
    assert unbooted.spawn("exec -- true") == Outcome(
        0, "", f"pymigrate: booted {unbooted.scenario}\n"
    )


def test_wrong_scenario_is_told_before_the_command_starts(unbooted: Shell) -> None:
    unbooted.write("machine.yaml", "machine: 5")
    outcome = unbooted.spawn("exec -- echo started")
    assert (outcome.exit, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith(f"pymigrate: {unbooted.scenario}:1:1")


def test_machine_for_one_command(shell: Shell) -> None:
    with shell.unchanged():
        assert (
            shell.spawn("exec --ephemeral -- sh -c 'cat /proc/sys/vm/nr_hugepages'").stdout == "0\n"
        )


def test_process_is_a_task_while_it_runs(shell: Shell) -> None:
    line = out(
        shell, "pid=$$; cat /proc/$$/comm; cat /proc/$$/cpuset; test -d /proc/self && echo yes"
    )
    assert line == "sh\n/\nyes\n"
    assert shell.out("ps").count("\n") == 3  # it is gone with its end


def test_arguments_and_environment_are_passed_on(shell: Shell) -> None:
    env = shell.environment(WORD="a b")
    outcome = shell.spawn('exec -- sh -c \'echo "$WORD" "$0" "$1"\' x \'y z\'', env=env)
    assert outcome == Outcome(0, "a b x y z\n")


@pytest.mark.parametrize("closed", ["<&-", "<&- >&-", "<&- >&- 2>&-"])
def test_streams_may_be_closed(shell: Shell, closed: str) -> None:
    command = f"{sys.executable} -m pymigrate exec -- sh -c 'ls /proc/self/fd > list' {closed}"
    done = subprocess.run(
        ["sh", "-c", command], cwd=shell.folder, env=shell.environment(), check=False
    )
    assert done.returncode == 0
    bare = f"sh -c 'ls /proc/self/fd > bare' {closed}"
    subprocess.run(["sh", "-c", bare], cwd=shell.folder, check=True)
    lists = [(shell.folder / name).read_text() for name in ("list", "bare")]
    assert lists[0] == lists[1]


# files


def test_files_are_the_scenarios(shell: Shell) -> None:
    script = "cat /sys/devices/system/node/online /sys/devices/system/node/node1/cpulist"
    assert out(shell, script) == "0-1\n2-3\n"
    assert out(shell, "grep MemTotal /proc/meminfo") == "MemTotal:         131072 kB\n"
    assert out(shell, "cat /proc/200/numa_maps") == shell.out("numa_maps 200")
    assert out(shell, "cat /proc/100/comm") == "alpha\n"


def test_relative_paths_links_and_directories(shell: Shell) -> None:
    script = """
        cd /sys/devices/system/node; pwd; cat node0/../node1/cpulist; ls -d node*
        cd ..; cat node/node0/cpulist
        ln -s /sys/devices/system/node/node1 here; cd - >/dev/null; /bin/pwd
    """
    expected = "/sys/devices/system/node\n2-3\nnode0\nnode1\n0-1\n/sys/devices/system/node\n"
    assert exec_(shell, script).stdout == expected
    (shell.folder / "link").symlink_to("/sys/devices/system/node/node1")
    assert out(shell, "cat link/cpulist; cat link/../node0/cpulist") == "2-3\n0-1\n"


def test_file_is_the_same_when_it_is_opened_as_before(shell: Shell) -> None:
    program = """
import os
for _ in range(2):
    before = os.stat("/proc/vmstat")
    one, other = os.open("/proc/vmstat", 0), os.open("/proc/vmstat", 0)
    print(os.path.samestat(before, os.fstat(one)), len(os.read(one, 1 << 20)) > 1000)
    print(os.path.samestat(os.fstat(one), os.fstat(other)))
"""
    assert python(shell, program) == "True True\nFalse\n" * 2
    assert out(shell, "cp /proc/vmstat copy; cp /proc/vmstat copy; grep -c numa_hit copy") == "1\n"


def test_directory_is_listed_with_all_its_facts(shell: Shell) -> None:
    lines = out(shell, "ls -la /sys/devices/system/node/node1").splitlines()
    names = {line.split(" -> ")[0].split()[-1]: line.split()[0][:10] for line in lines[1:]}
    assert names["cpu3"] == "lrwxrwxrwx"
    assert names["memory_failure"] == "drwxr-xr-x"
    assert names["cpulist"] == "-r--r--r--"
    assert "cpu1" not in names


def test_other_files_are_the_hosts(shell: Shell) -> None:
    assert out(shell, "cat /proc/sys/kernel/ostype machine.yaml | head -n 1") == "Linux\n"


def test_frames_of_the_host_are_not_to_be_read(shell: Shell) -> None:
    outcome = exec_(shell, "head -c 8 /proc/kpagecgroup")
    assert (outcome.exit, outcome.stdout) == (1, "")
    assert outcome.stderr.count("Permission denied") == 1


def test_processes_of_the_host_are_not_seen(shell: Shell) -> None:
    assert out(shell, "cat /proc/1/comm 2>/dev/null || echo none") == "none\n"
    listed = out(shell, "ls /proc | grep '^[0-9]' | sort -n").split()
    assert listed[:2] == ["100", "200"]
    assert len(listed) <= 7


def test_processes_are_listed_by_pid(shell: Shell) -> None:
    program = """
import os, stat, subprocess
def pids(where): return [int(name) for name in os.listdir(where) if name.isdecimal()]
first = os.open("/proc", os.O_RDONLY)
assert os.path.samestat(os.stat("/proc"), os.fstat(first))
child = subprocess.Popen(["sleep", "600"])
print(pids("/proc") == sorted(pids("/proc")) == [100, 200, os.getpid(), child.pid])
print(pids(first) == [100, 200, os.getpid()], os.listdir("/proc")[-1] == str(child.pid))
os.chdir("/proc")
print(os.getcwd(), open("200/comm").read().strip(), os.readlink("/proc/self/fd/%d" % first))
print(open(os.open("vmstat", os.O_RDONLY, dir_fd=first)).readline().split()[0])
child.kill(); child.wait()
print(pids(".") == [100, 200, os.getpid()], stat.S_ISDIR(os.stat("100", dir_fd=first).st_mode))
"""
    assert python(shell, program).splitlines() == [
        *["True", "True True", "/proc beta /proc", "nr_free_pages", "True True"]
    ]


def test_file_is_read_again_as_it_is_now(shell: Shell) -> None:
    program = """
import os
file = open("/proc/sys/vm/nr_hugepages")
before = file.read()
with open("/proc/sys/vm/nr_hugepages", "w") as other:
    other.write("4")
file.seek(0)
print(before.strip(), file.read().strip(), os.pread(file.fileno(), 9, 0))
"""
    assert python(shell, program) == "0 4 b'4\\n'\n"


def test_writes_act_at_once_and_give_their_errno(shell: Shell) -> None:
    script = """
        echo 3 > /proc/sys/vm/nr_hugepages && cat /proc/sys/vm/nr_hugepages
        echo 1 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages
        cat /proc/sys/vm/nr_hugepages
        echo much > /proc/sys/vm/nr_hugepages || echo $?
        printf 1 | tee /proc/sys/kernel/numa_balancing
        cat /proc/sys/kernel/numa_balancing
    """
    outcome = exec_(shell, script)
    assert outcome.stdout == "3\n3\n1\n11\n"
    assert "Invalid argument" in outcome.stderr or "I/O error" in outcome.stderr
    assert shell.out("sysctl nr_hugepages") == "3\n"


def test_write_that_is_not_simulated_is_refused(shell: Shell) -> None:
    outcome = exec_(shell, "echo 1 > /sys/devices/system/node/online")
    said = "pymigrate: writing to /sys/devices/system/node/online cannot be simulated yet\n"
    assert outcome.exit != 0
    assert said in outcome.stderr


def test_setting_that_only_has_one_value(shell: Shell) -> None:
    script = """
        echo 0 > /proc/sys/vm/zone_reclaim_mode && echo never > \\
            /sys/kernel/mm/transparent_hugepage/shmem_enabled && echo kept
        echo 1 > /proc/sys/vm/zone_reclaim_mode || cat /proc/sys/vm/zone_reclaim_mode
    """
    outcome = exec_(shell, script)
    assert outcome.stdout == "kept\n0\n"
    said = "pymigrate: vm.zone_reclaim_mode is always 0: others are not simulated\n"
    assert said in outcome.stderr


def test_cpuset_is_a_directory(shell: Shell) -> None:
    script = """
        cd /sys/fs/cgroup && grep -q cpuset cgroup.controllers
        echo +cpuset > cgroup.subtree_control; mkdir batch && echo 1 > batch/cpuset.mems
        echo $$ > batch/cgroup.procs; cat /proc/self/cpuset
        grep Mems_allowed_list /proc/self/status
        rmdir batch 2>/dev/null || echo busy
        echo 100 > batch/cgroup.procs; echo $$ > cgroup.procs; cat batch/cgroup.procs
    """
    expected = "/batch\nMems_allowed_list:\t1\nbusy\n100\n"
    assert out(shell, script) == expected
    assert "N1=8" in shell.out("numa_maps 100")


def test_cpusets_lie_in_cpusets(shell: Shell) -> None:
    script = """
        cd /sys/fs/cgroup && mkdir -p outer/inner && ls outer/inner | grep -c cpuset
        mkdir outer/inner 2>/dev/null || echo exists
        mkdir outer/cgroup.procs 2>/dev/null || echo file
        rmdir outer/cgroup.procs 2>/dev/null || echo no directory
        mkdir none/inner 2>/dev/null || echo no parent
        echo +cpuset > outer/cgroup.subtree_control; cat outer/inner/cgroup.controllers
        echo 1 > outer/cpuset.mems; cat outer/inner/cpuset.mems.effective
        (echo 0 > outer/inner/cgroup.procs; cat /proc/self/cgroup; cat outer/cgroup.events
         rmdir outer/inner 2>/dev/null || echo busy
         echo 0 > outer/cpuset.mems; grep Mems_allowed_list /proc/self/status
         echo 0 > cgroup.procs)
        (echo +io > outer/cgroup.subtree_control) 2>/dev/null || echo no controller
        rmdir outer 2>/dev/null || echo not empty
        rmdir outer/inner outer && ls -d outer 2>/dev/null
    """
    lines = exec_(shell, script).stdout.splitlines()
    assert lines == [
        "0",
        "exists",
        "file",
        "no directory",
        "no parent",
        "cpuset",
        "1",
        "0::/outer/inner",
        "populated 1",
        "frozen 0",
        "busy",
        "Mems_allowed_list:\t0",
        "no controller",
        "not empty",
    ]


# who has raised the counters


def test_what_programs_raise_is_theirs_and_of_one_command(shell: Shell) -> None:
    shell.spawn("exec -- sh -c 'sleep 1.2; cat /proc/self/numa_maps; sleep 1.2; true'")
    values = shell.json("vmstat")
    for by in ("task", "command", "reason"):
        sums: dict[str, int] = {}
        for row in shell.json(f"vmstat --by {by}"):
            sums[row["counter"]] = sums.get(row["counter"], 0) + row["nr"]
        assert sums == {name: nr for name, nr in values.items() if name in sums}
    rows = [row for row in shell.json("vmstat --by task") if row["counter"] == "pgfault"]
    assert {row["task"].partition("-")[0] for row in rows} == {"sh", "sleep", "cat"} & {
        row["task"].partition("-")[0] for row in rows
    }
    assert all(row["pid"] for row in rows)
    [row] = [row for row in shell.json("vmstat --by command") if row["counter"] == "pgfault"]
    assert row["number"] == 1
    assert row["command"].startswith("exec -- sh -c")


# numbers of pages


PAGES = """
import ctypes, errno, mmap, os, struct
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
memory = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory[0], memory[8192] = 1, 1
at = ctypes.addressof(ctypes.c_char.from_buffer(memory)) // 4096 * 8
def words(data):
    return [word >> 55 for word in struct.unpack(f"={len(data) // 8}Q", data)]
def refused(call):
    try:
        return call()
    except OSError as error:
        return errno.errorcode[error.errno]
fd = os.open("/proc/self/pagemap", os.O_RDONLY)
first = os.pread(fd, 24, at)
print([hex(word) for word in words(first)])
pfn = struct.unpack("=Q", first[:8])[0] & (1 << 55) - 1
os.lseek(fd, at, os.SEEK_SET)
print(os.read(fd, 8) == first[:8], os.read(fd, 16) == first[8:])
parts = [bytearray(8), bytearray(16)]
print(os.preadv(fd, parts, at), b"".join(parts) == first)
flags, counts = (os.open(f"/proc/kpage{name}", os.O_RDONLY) for name in ("flags", "count"))
[known] = struct.unpack("=Q", os.pread(flags, 8, pfn * 8))
print(known >> 11 & 3, os.pread(counts, 8, pfn * 8)[0])
memory[4096] = 1
print([hex(word) for word in words(os.pread(fd, 24, at))])
print(refused(lambda: os.pread(fd, 4, 0)), refused(lambda: os.open("/proc/kpagecgroup", 0)))
libc.mmap(0, 4096, 1, 1, fd, 0)
print(errno.errorcode[ctypes.get_errno()], os.fstat(fd).st_size)
other = os.open("/proc/100/pagemap", os.O_RDONLY)
print([hex(word) for word in words(os.pread(other, 16, HEAP // 4096 * 8))])
os.close(fd)
print(open("/proc/self/comm").read() != "")
"""


def test_numbers_of_pages_are_the_simulated_machines(shell: Shell) -> None:
    heap = int(shell.json("page a heap")["address"], 16)
    assert python(shell, PAGES.replace("HEAP", str(heap))).splitlines() == [
        "['0x103', '0x1', '0x103']",
        "True True",
        "24 True",
        "3 1",
        "['0x103', '0x103', '0x103']",
        "EINVAL EACCES",
        "ENODEV 0",
        "['0x103', '0x103']",
        "True",
    ]


def test_cat_and_dd_read_numbers_of_pages(shell: Shell) -> None:
    script = "dd if=/proc/kpageflags bs=8 count=3 2>/dev/null | wc -c; cat /proc/kpagecount | wc -c"
    small, whole = map(int, out(shell, script).split())
    assert (small, whole % (32768 * 8)) == (24, 0)
    assert whole > 0


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can be another")
def test_who_is_not_root_sees_no_frame(shell: Shell) -> None:
    program = """
import mmap, os, struct, ctypes
memory = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory[0] = 1
at = ctypes.addressof(ctypes.c_char.from_buffer(memory)) // 4096 * 8
kept = os.open("/proc/self/pagemap", os.O_RDONLY)
if os.fork():
    os.wait()
else:
    os.setresuid(1000, 1000, 1000)
    for path in ("/proc/kpageflags", "/proc/100/pagemap"):
        try:
            os.open(path, os.O_RDONLY)
        except OSError as error:
            print(error.strerror)
    print(struct.unpack("=Q", os.pread(kept, 8, at))[0] & (1 << 55) - 1 > 0)
"""
    assert python(shell, program).splitlines() == ["Permission denied"] * 2 + ["True"]
