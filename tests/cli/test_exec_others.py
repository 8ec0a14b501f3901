"""Real programs on the simulated machine: other commands, signals, and sudden ends."""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pymigrate import load
from tests.cli.conftest import ROOT, Shell
from tests.cli.traced import MEMORY, NOBODY, WHY, exec_, needs, out, out_as, python

if WHY:
    pytest.skip(WHY, allow_module_level=True)


# hosts of other kinds

OTHER_HOSTS = {
    "before 6.7": """
import fcntl
def refuse(*_): raise OSError(25, "Inappropriate ioctl for device")
fcntl.ioctl = refuse
""",
    "Yama": """
import builtins, io
real = builtins.open
def other(path, *args, **kwargs):
    if path == "/proc/sys/kernel/yama/ptrace_scope": return io.StringIO("3")
    return real(path, *args, **kwargs)
builtins.open = other
""",
}


def other_host(shell: Shell, name: str) -> dict[str, str]:
    """The environment of a pymigrate that finds itself on another host."""
    folder = shell.folder / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(OTHER_HOSTS[name])
    return shell.environment(PYTHONPATH=os.pathsep.join([str(folder), str(ROOT)]))


def test_kernel_that_cannot_scan_pages(shell: Shell) -> None:
    program = f"""{MEMORY}
touch(0, 3)
area[3 * 4096]
call(SET, 2, mask(2), 64)
touch(4, 4)
print(places(0, 9), flush=True)
if not os.fork():
    touch(0, 1)
    print(places(0, 2), flush=True)
    os._exit(0)
os.wait()
for line in open("/proc/self/numa_maps"):
    if int(line.split()[0], 16) == addr: print(*line.split()[1:4])
"""
    shell.write("program.py", program)
    outcome = shell.spawn(
        f"exec -- {sys.executable} -I -S program.py", env=other_host(shell, "before 6.7")
    )
    assert outcome.stderr == ""
    assert outcome.stdout.splitlines() == [
        "[0, 0, 0, -14, 1, 1, 1, 1, -2]",  # the fourth is the zero page
        "[1, 0]",
        "bind:1 anon=7 dirty=7",
    ]


def test_host_that_forbids_it(shell: Shell) -> None:
    outcome = shell.spawn("exec -- echo started", env=other_host(shell, "Yama"))
    assert (outcome.exit, outcome.stdout) == (2, "")
    assert "kernel.yama.ptrace_scope is 3, which forbids it" in outcome.stderr


# who else looks


def test_other_commands_act_on_the_running_program(shell: Shell) -> None:
    program = f"""{MEMORY}
touch(0, 4)
print(os.getpid(), hex(addr)[2:], flush=True)
sys.stdin.readline()
print(places(0, 4), flush=True)
sys.stdin.readline()
"""
    path = shell.write("program.py", program)
    line = f"exec -- {sys.executable} -I -S {path}"
    with shell.start(line, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        pid, addr = process.stdout.readline().split()
        assert process.pid == int(pid)
        [mapping] = [row for row in shell.out(f"numa_maps {pid}").splitlines() if addr in row]
        assert "anon=4 dirty=4" in mapping
        assert "N0=4" in mapping
        assert pid in shell.out("ps")
        assert shell.out(f"migratepages {pid} 0 1") == ""
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "[1, 1, 1, 1]\n"
        refused = shell.err("boot", code=3)
        assert re.fullmatch(r"pymigrate: .*: is in use by `pymigrate exec`, process \d+\n", refused)
        assert shell.spawn("exec -- true").exit == 3
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(timeout=60) == 0
    assert shell.out("ps").count("\n") == 3


def test_command_inside_acts_on_the_same_machine(shell: Shell) -> None:
    pymigrate = f"{sys.executable} -m pymigrate"
    script = f"{pymigrate} migratepages 100 0 1; {pymigrate} exec -- cat /proc/100/numa_maps"
    assert "N1=8" in out(shell, script).splitlines()[0]
    assert "N1=8" in shell.out("numa_maps 100").splitlines()[0]


# signals and sudden ends


def children(pid: int) -> list[int]:
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, check=False
    )
    return [int(word) for word in found.stdout.split()]


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def wait_until_gone(*pids: int) -> None:
    for _ in range(600):
        if not any(is_alive(pid) for pid in pids):
            return
        time.sleep(0.1)
    pytest.fail(f"{pids} are still there")


def tracer_of(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"TracerPid:\t(\d+)", text)[0])


LOOP = "echo up; while :; do /bin/true; cat /proc/self/numa_maps > /dev/null; done"


MOMENTS = [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, 30))]


@pytest.mark.parametrize("who", ["tracer", "program", "terminal"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment(shell: Shell, who: str, moment: int) -> None:
    """The tracer or the program by SIGKILL, or all that a terminal's ^C reaches."""
    path = shell.write("loop.sh", LOOP)
    with shell.start(f"exec -- sh {path}", start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        tracer = tracer_of(process.pid)
        private = Path(f"{shell.state}.tasks").read_text().split("\0")[1]
        time.sleep(0.007 * moment)
        below = children(process.pid)
        if who == "terminal":
            os.killpg(process.pid, signal.SIGINT)
        else:
            os.kill(tracer if who == "tracer" else process.pid, signal.SIGKILL)
        assert process.wait(timeout=60) == -(signal.SIGINT if who == "terminal" else signal.SIGKILL)
        wait_until_gone(tracer, process.pid, *below)
    assert set(load(shell.state).tasks.values()) == {100, 200}
    assert shell.out("ps").count("\n") == 3
    assert shell("doctor").exit == 0
    assert not Path(private).exists()
    left = {path.name for path in shell.folder.iterdir()} - {"loop.sh"}
    assert left == {"machine.yaml", "state.db"}


def test_exec_after_one_that_was_killed(shell: Shell) -> None:
    with shell.start("exec -- sh -c 'echo up; sleep 600'") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        [row] = [row for row in shell.out("ps").splitlines() if str(process.pid) in row]
        assert (row.split()[2], row.split()[-1]) == ("sh", "sh")
        os.kill(tracer_of(process.pid), signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert shell.spawn("exec -- true").exit == 0
    assert shell.out("ps").count("\n") == 3
    assert shell("doctor").exit == 0


def test_signal_reaches_the_command(shell: Shell) -> None:
    path = shell.write("trap.sh", 'trap "exit 5" TERM; echo up; while :; do sleep 0.05; done')
    with shell.start(f"exec -- sh {path}") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 5


def test_job_control(shell: Shell) -> None:
    pty = pytest.importorskip("pty")
    bash = shutil.which("bash") or pytest.skip("bash is not installed")
    environment = shell.environment(PS1="$ ", TERM="dumb")
    pid, terminal = pty.fork()
    if not pid:
        os.execve(bash, ["bash", "--norc", "--noprofile", "-i"], environment)

    def talk(text: str, answer: str) -> None:
        """Type *text*, and wait for what the terminal shows then."""
        os.write(terminal, text.encode())
        shown = ""
        while not re.search(answer, shown):
            assert select.select([terminal], [], [], 60)[0], f"no {answer!r} in {shown!r}"
            shown += os.read(terminal, 65536).decode(errors="replace")

    command = f"{sys.executable} -m pymigrate exec -- sh -c 'echo u''p; exec cat'"
    talk(f"{command}\n", r"[\r\n]up\r")
    talk("one\n", r"one\r\none")
    talk("\x1a", "Stopped")
    talk("fg\n", r"exec cat'\r\n")
    talk("two\n", r"two\r\ntwo")
    talk("\x03", r"\$ $")
    talk("echo code $?\n", r"code 130")
    talk("exit\n", "exit")
    os.close(terminal)
    os.waitpid(pid, 0)


def test_stopped_and_continued(shell: Shell) -> None:
    script = """
        state() { cut -d' ' -f3 /proc/$p/stat; }
        sh -c 'trap "exit 3" TERM; echo up > up; while :; do sleep 0.05; done' & p=$!
        until [ -s up ]; do sleep 0.05; done
        kill -STOP $p; until [ "$(state)" = T ]; do sleep 0.05; done; grep State /proc/$p/status
        kill -CONT $p; until [ "$(state)" != T ]; do sleep 0.05; done
        kill -TERM $p; wait $p; echo $?
    """
    assert out(shell, script) == "State:\tT (stopped)\n3\n"


SHORT = """
    i=0; while [ $i -lt 25 ]; do
        for j in 1 2 3 4 5 6 7 8; do sh -c 'exit $0' $j & done; wait; i=$((i+1))
    done; ls /proc | grep -c '^[0-9]'
"""


@pytest.mark.parametrize(
    "round_", [0, 1, *(pytest.param(i, marks=pytest.mark.slow) for i in range(2, 100))]
)
def test_short_processes_leave_nothing(shell: Shell, round_: int) -> None:
    assert int(out(shell, SHORT)) <= 5, round_  # the two of the scenario, the shell's, ls and grep
    assert shell.out("ps").count("\n") == 3
    assert shell("doctor").exit == 0


def test_killed_as_it_makes_a_process(shell: Shell) -> None:
    script = """
        i=0; while [ $i -lt 20 ]; do
            for j in 1 2 3; do sh -c 'while :; do /bin/true; done' & eval p$j=$!; done
            sleep 0.02; kill -9 $p1 $p2 $p3; wait; i=$((i+1))
        done 2> /dev/null; echo done
    """
    assert exec_(shell, script).stdout == "done\n"  # no child was left to hold the output
    assert shell.out("ps").count("\n") == 3
    assert shell("doctor").exit == 0


@pytest.mark.skipif(
    not os.access("/proc/sys/kernel/ns_last_pid", os.W_OK), reason="numbers cannot be chosen"
)
def test_process_with_the_number_of_a_task_is_made_again(shell: Shell) -> None:
    before = shell.out("ps")
    script = """
        trap 'echo ended >> ended' CHLD
        i=0; while [ $i -lt 5 ]; do
            echo 99 > /proc/sys/kernel/ns_last_pid; sh -c 'exit 7'; echo $?
            echo 99 > /proc/sys/kernel/ns_last_pid; (exit 8); echo $?
            echo 99 > /proc/sys/kernel/ns_last_pid; sh -c 'exit 9' & wait $!; echo $?
            i=$((i+1))
        done
    """
    assert out(shell, script) == "7\n8\n9\n" * 5
    assert shell.out("ps") == before


@pytest.mark.skipif(
    not os.access("/proc/sys/kernel/ns_last_pid", os.W_OK), reason="numbers cannot be chosen"
)
def test_thread_with_the_number_of_a_task_is_made_again(shell: Shell) -> None:
    program = """
import os, signal, subprocess, sys, threading
found = []
for _ in range(5):
    def choose():
        with open("/proc/sys/kernel/ns_last_pid", "w") as file:
            file.write("99")
    choose()
    thread = threading.Thread(target=lambda: found.append(threading.get_native_id()))
    thread.start()
    thread.join(10)
    choose()
    assert subprocess.run(["/bin/sh", "-c", "exit 3"]).returncode == 3
    choose()
    pid = os.fork()
    if not pid:
        os._exit(4)
    assert os.waitpid(-1, 0) == (pid, 4 << 8) and pid != 100
print(len(found), 100 in found)
"""
    assert python(shell, program) == "5 False\n"


def test_call_is_never_interrupted_by_a_stop(shell: Shell) -> None:
    program = """
import os, signal
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, True)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
bad = 0
for _ in range(3000):
    fd = libc.open(b"/dev/null", 0)
    bad += fd < 0
    libc.close(fd)
signal.setitimer(signal.ITIMER_REAL, 0)
print(bad)
"""
    assert python(shell, program) == "0\n"


@needs("gcc")
@pytest.mark.parametrize(
    ("word", "printed"),
    [
        ("thread", "2 1\n"),  # exec by another thread than the leader takes that one's policy
        ("leader", "2\n0\n(program)\n"),  # whose policy numa_maps shows, and who has ended
        ("shared", "2 0\n"),
        ("spawn", "3 1\n"),
        ("cpu", "2 2 1\n"),
    ],
)
def test_threads_and_processes_of_c(shell: Shell, word: str, printed: str) -> None:
    source = Path(__file__).parent / "programs" / "threads.c"
    build = ["gcc", "-o", "program", str(source), "-lpthread"]
    subprocess.run(build, cwd=shell.folder, check=True)
    assert out(shell, f"./program {word}") == printed


@needs("setpriv")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_program_that_cannot_be_traced_any_more_is_killed(shell: Shell) -> None:
    command = [sys.executable, "-m", "pymigrate", "exec", "--", "setpriv", "--reuid=65534"]
    done = subprocess.run(
        [
            "setpriv",
            "--bounding-set=-sys_ptrace",
            *command,
            "--clear-groups",
            "cat",
            "/proc/vmstat",
        ],
        env=shell.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
    assert "it cannot be traced any more, because its user has changed" in done.stderr


@needs("setpriv")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_program_that_gives_up_root(shell: Shell) -> None:
    script = """
        setpriv --reuid=65534 --clear-groups sh -c 'id -u; cat /proc/sys/vm/nr_hugepages
            cat /proc/100/numa_maps || echo refused; echo 1 > /proc/sys/vm/nr_hugepages'
    """
    outcome = exec_(shell, script)
    assert outcome.stdout == "65534\n0\nrefused\n"
    assert outcome.stderr.count("Permission denied") == 2


def test_ordinary_user_is_root_of_the_simulated_machine(shell: Shell) -> None:
    script = "id -u; head -n 1 /proc/100/numa_maps | wc -l; echo 1 > /proc/sys/vm/nr_hugepages"
    assert out_as(shell, "nobody", ["sh", "-c", script]) == f"{NOBODY}\n1\n"


def test_program_in_another_root_has_no_simulated_files(shell: Shell) -> None:
    if os.geteuid():
        pytest.skip("only root can change its root")
    program = """
import os
os.chroot("/usr")
try: open("/../proc/vmstat")
except OSError as error: print(error.errno)
"""
    path = shell.write("program.py", program)
    outcome = shell.spawn(f"exec -- {sys.executable} -I -S {path}")
    assert (outcome.exit, outcome.stdout) == (0, "38\n")
    assert "cannot have simulated files: it has changed its root" in outcome.stderr
