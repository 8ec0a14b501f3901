"""numactl and its programs as commands, `exec`, `shims`: which machine, caller and command."""

import os
import signal
import subprocess
import sys

import pytest

from pymigrate.cli import host
from pymigrate.errors import UnsupportedError
from pymigrate.session import Request
from tests.cli.conftest import PYMIGRATE, Outcome, Shell, costly, imported

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="runs sh")

PRIVATE = "numastat -p $$ | awk '/^Private/ {print $2, $3}'"


def sh(shell: Shell, script: str, **environment: str) -> Outcome:
    """Run a script under `pymigrate exec --shims`."""
    return shell.spawn(f"exec --shims -- sh -c '{script}'", env=shell.environment(**environment))


# programs as commands


def test_output_goes_to_its_streams(shell: Shell) -> None:
    assert shell("numactl -m 0 -i 0 true") == Outcome(1, "\n", shell("numactl -m 0 -i 0").stderr)
    assert shell("numastat -p 99") == Outcome(
        0,
        "\nPer-node process memory usage (in MBs) for PID 99 ((null))\n",
        "Can't read /proc/99/numa_maps: No such file or directory\n",
    )


def test_words_behind_the_first_that_is_no_option_are_the_programs(shell: Shell) -> None:
    assert shell("numactl --help").stdout.startswith("Usage: pymigrate numactl ")
    assert shell("numactl -m 0 --help").stderr.startswith("numactl: unrecognized option '--help'\n")
    assert shell(f"numactl --state {shell.state} -s").stdout.startswith("policy: default\n")
    assert shell("numastat -- -x").stdout.startswith("Found no processes containing pattern")


def test_effects_are_kept(shell: Shell) -> None:
    shell.out("memhog 1m")
    assert shell.counted("numa_hit") == [256]
    assert "256" in shell.out("numastat")


def test_machine_for_one_command(shell: Shell) -> None:
    shell.out("memhog --ephemeral 1m")
    assert shell.counted("numa_hit") == [0]


def test_a_system_without_processes_like_linux_runs_no_command(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "fork")
    with pytest.raises(UnsupportedError, match="needs a POSIX system"):
        host.run(["numactl", "-m", "1", "true"], Request(str(shell.scenario), str(shell.state)))
    assert [row["pid"] for row in shell.json("ps")] == [100, 200]


def test_first_command_boots(unbooted: Shell) -> None:
    exit_code, stdout, stderr = unbooted("numactl -H")
    assert (exit_code, stderr) == (0, f"pymigrate: booted {unbooted.scenario}\n")
    assert stdout.startswith("available: 2 nodes (0-1)\n")


def test_user_who_calls(shell: Shell) -> None:
    assert shell("numastat --as 26 -p 100").stderr == ""
    assert shell("numastat --as 27 -p 100").stderr == (
        "Can't read /proc/100/numa_maps: Permission denied\n"
    )


@pytest.mark.parametrize("task", ["a", "100"])
def test_task_that_calls(shell: Shell, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    shell.out("set_mempolicy a bind:1")
    monkeypatch.setenv("PYMIGRATE_TASK", task)
    lines = shell.out("numactl -s").splitlines()
    assert (lines[0], lines[2]) == ("policy: bind", "physcpubind: 0 1 ")


def test_task_that_is_not_there(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYMIGRATE_TASK", "nobody")
    assert shell("numactl -s") == Outcome(
        1, "", "pymigrate: No such process: there is no process called nobody\n"
    )


# the command of numactl


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        ("sh -c 'exit 3'", Outcome(3)),
        ("sh -c 'kill -9 $$'", Outcome(137)),
        ("-- echo -n hello", Outcome(0, "hello")),
        (
            "nosuchcommand",
            Outcome(1, "", "numactl: execution of `nosuchcommand': No such file or directory\n\n"),
        ),
        (
            "./machine.yaml",
            Outcome(1, "", "numactl: execution of `./machine.yaml': Permission denied\n\n"),
        ),
    ],
)
def test_exit_code_is_the_commands(shell: Shell, command: str, outcome: Outcome) -> None:
    assert shell.spawn(f"numactl -m 0 {command}") == outcome


def test_task_goes_with_the_command(shell: Shell) -> None:
    before = shell.out("numastat -m")
    assert shell.spawn("numactl -m 1 sh -c 'pidof sh | wc -w'") == Outcome(0, "1\n")
    assert shell.out("ps").count("\n") == 3
    assert shell.out("numastat -m") == before
    assert shell.counted("numa_hit") == [4096]


@pytest.mark.parametrize(
    ("line", "environment", "mb"),
    [
        (f'numactl -m 1 sh -c "{PRIVATE}"', {}, "0.00 16.00"),
        (f'numactl --size 2MiB -m 1 sh -c "{PRIVATE}"', {"PYMIGRATE_SIZE": "1MiB"}, "0.00 2.00"),
        (f'numactl -m 1 sh -c "{PRIVATE}"', {"PYMIGRATE_SIZE": "1MiB"}, "0.00 1.00"),
        (f'numactl --size 0 -m 1 sh -c "{PRIVATE}"', {}, "0.00 0.00"),
    ],
)
def test_memory_that_the_task_touches(
    shell: Shell, line: str, environment: dict[str, str], mb: str
) -> None:
    env = shell.environment(**environment)
    assert shell.spawn(line, env=env) == Outcome(0, f"{mb}\n")


def test_size_that_is_none(shell: Shell) -> None:
    env = shell.environment(PYMIGRATE_SIZE="much")
    assert shell.spawn("exec --shims -- numactl true", env=env) == Outcome(
        2,
        "",
        "pymigrate: PYMIGRATE_SIZE: 'much' is not a size; expected one such as 4096, 4KiB,"
        " 64MiB, 1GiB\n",
    )


def test_command_is_not_run_where_its_memory_is_not_to_be_had(shell: Shell) -> None:
    outcome = shell.spawn("numactl --size 70MiB -m 1 echo started")
    assert outcome == Outcome(137)
    assert "numactl" not in shell.out("ps")


def test_programs_in_a_command_inherit_its_policy_and_cpus(shell: Shell) -> None:
    script = 'numactl -m 1 -N 1 sh -c "numactl -l numactl -s | head -n 1; numactl -s"'
    lines = sh(shell, script).stdout.splitlines()
    assert lines[:4] == ["policy: local", "policy: bind", "preferred node: 1", "physcpubind: 2 3 "]


def test_command_that_is_a_program_has_no_further_task(shell: Shell) -> None:
    assert shell.out("numactl -m 1 memhog 1m") == ".\n"
    assert shell.counted("numa_hit") == [256]


def test_task_is_called_as_the_numactl_that_was_started(shell: Shell) -> None:
    script = (
        "numactl sleep 30 & p=$!; until pidof sleep; do sleep 0.05; done; echo $p; kill $p;"
        " wait $p; echo $?"
    )
    pid, same, status = sh(shell, script).stdout.split()
    assert (pid, status) == (same, "143")


def test_signal_reaches_the_command(shell: Shell) -> None:
    line = 'numactl sh -c "trap \\"exit 5\\" TERM; echo up; while :; do sleep 0.05; done"'
    with shell.start(line) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 5
    assert shell.out("ps").count("\n") == 3


def test_machine_that_was_booted_anew_meanwhile(shell: Shell) -> None:
    assert shell.spawn(f"numactl sh -c '{' '.join(PYMIGRATE)} boot; numactl -s | head -n 1'") == (
        Outcome(
            0, f"booted {shell.scenario}: Linux 6.12, 2 nodes, 128MiB, 2 tasks\npolicy: default\n"
        )
    )


# exec


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        (
            "-- sh -c 'for p in migratepages pidof; do basename $(command -v $p); done'",
            Outcome(0, "migratepages\npidof\n"),
        ),
        ("-- sh -c 'exit 9'", Outcome(9)),
        ("echo --state -h", Outcome(0, "--state -h\n")),
    ],
    ids=["finds the programs", "passes the exit code on", "leaves the command's options alone"],
)
def test_exec(shell: Shell, command: str, outcome: Outcome) -> None:
    assert shell.spawn(f"exec --shims {command}") == outcome


def test_exec_boots(unbooted: Shell) -> None:
    outcome = sh(unbooted, "numastat | head -n 1")
    assert outcome == Outcome(
        0,
        "                           node0           node1\n",
        f"pymigrate: booted {unbooted.scenario}\n",
    )


def test_exec_on_a_machine_for_one_command(shell: Shell) -> None:
    script = "memhog 1m; numastat | grep numa_hit"
    outcome = shell.spawn(f"exec --shims --ephemeral -- sh -c '{script}'")
    assert outcome.stdout == ".\nnuma_hit                     256               0\n"
    assert shell.counted("numa_hit") == [0]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("nosuchcommand", "nosuchcommand: No such file or directory"),
        ("./machine.yaml", "./machine.yaml: Permission denied"),
    ],
)
def test_exec_of_what_is_no_command(shell: Shell, command: str, message: str) -> None:
    assert shell.err(f"exec --shims {command}").startswith(f"pymigrate: {message}\n")


def test_wrong_scenario_is_told_before_the_command_starts(unbooted: Shell) -> None:
    unbooted.write("machine.yaml", "machine: 5")
    exit_code, stdout, stderr = sh(unbooted, "echo started")
    assert (exit_code, stdout) == (2, "")
    assert stderr.startswith(f"pymigrate: {unbooted.scenario}:1:1")


def test_command_of_numactl_is_the_process_that_a_shell_knows(shell: Shell) -> None:
    script = """
        numactl --membind=1 sleep 60 & p=$!
        until ps | grep -q sleep; do sleep 0.05; done
        ps | grep -c sleep
        kill -KILL $p; wait $p; echo $?
        ps | grep -c sleep
    """
    outcome = sh(shell, script)
    assert outcome.stdout == "1\n137\n0\n", outcome
    assert not [path for path in shell.folder.iterdir() if path.name.endswith(".real")]


def test_memhog_is_there_while_it_repeats(shell: Shell) -> None:
    script = """
        memhog -r1000000 2m > log 2>&1 & p=$!
        until [ $(wc -l < log) -ge 3 ]; do sleep 0.05; done
        numastat -p $p | grep -c ^Total
        kill -TERM $p; wait $p; echo $?
        numastat -p $p 2>&1 | grep -c "No such"
    """
    outcome = sh(shell, script)
    assert outcome.stdout.split()[:2] == ["1", "143"], outcome
    assert "memhog" not in shell.out("ps")


def test_what_was_a_task_of_the_machine_before_is_forgotten(shell: Shell) -> None:
    script = f"""
        numactl --membind=1 sleep 60 & p=$!
        until ps | grep -q sleep; do sleep 0.05; done
        {" ".join(PYMIGRATE)} boot > /dev/null
        kill $p; wait $p; echo $?
        ps | grep -c sleep
    """
    assert sh(shell, script).stdout == "143\n0\n"


# shims


def run_shims(shell: Shell, script: str, **environment: str) -> Outcome:
    """Run a script that finds the shims of the folder `bin`."""
    env = shell.environment(**environment)
    env = {**env, "PATH": f"{shell.folder / 'bin'}:/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-c", script], env=env, cwd="/", capture_output=True, encoding="utf-8", timeout=60
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_shims_work_on_the_machine_of_the_environment(shell: Shell) -> None:
    folder = shell.folder / "bin"
    for _ in range(2):  # they may be written again
        assert shell.out(f"shims {folder}") == f"PATH={folder}:$PATH; export PATH\n"
    names = "memhog migratepages migspeed numactl numastat pgrep pidof ps"
    assert sorted(os.listdir(folder)) == names.split()
    assert run_shims(shell, "ps -e -o comm=") == Outcome(0, "alpha\nbeta\n")
    assert run_shims(shell, "numactl -m 0 true; echo $?") == Outcome(0, "0\n")


def test_shims_know_the_state_that_they_were_written_for(shell: Shell) -> None:
    shell.out(f"shims bin --state {shell.state}")
    assert run_shims(shell, "pidof beta", PYMIGRATE_STATE="") == Outcome(0, "200\n")
    other = str(shell.folder / "other.db")
    outcome = run_shims(shell, "pidof beta", PYMIGRATE_STATE=other)
    assert outcome == Outcome(0, "200\n", f"pymigrate: booted {shell.scenario}\n")
    assert os.path.exists(other)


def test_shims_need_no_python_path(shell: Shell) -> None:
    shell.out("shims bin")
    (shell.folder / "bin" / "signal.py").write_text("raise SystemExit('wrong module')")
    assert run_shims(shell, "cd $HOME/bin && numactl true && pidof alpha", PYTHONPATH="") == (
        Outcome(0, "100\n")
    )


def test_shims_leave_other_programs_alone(shell: Shell) -> None:
    (shell.folder / "bin").mkdir()
    mine = shell.folder / "bin" / "ps"
    mine.write_text("mine")
    expected = "pymigrate: bin/ps is no shim; expected a directory without one\n"
    assert shell.err("shims bin").startswith(expected)
    assert (mine.read_text(), os.listdir(mine.parent)) == ("mine", ["ps"])


def test_shims_follow_no_link(shell: Shell) -> None:
    (shell.folder / "bin").mkdir()
    victim = shell.folder / "victim"
    victim.write_text("precious")
    (shell.folder / "bin/numactl.new").symlink_to(victim)
    expected = f"pymigrate: bin/numactl.new is a link to {victim}; nothing was written\n"
    assert shell.err("shims bin", 1) == expected
    assert victim.read_text() == "precious"


def test_shims_leave_a_file_alone_that_is_called_like_a_new_one(shell: Shell) -> None:
    (shell.folder / "bin").mkdir()
    (shell.folder / "bin/ps.new").write_text("precious")
    assert "bin/ps.new is not what pymigrate writes there" in shell.err("shims bin", 1)
    assert (shell.folder / "bin/ps.new").read_text() == "precious"


def test_state_that_cannot_be_used(shell: Shell) -> None:
    shell.out("shims bin")
    shell.state.write_text("no database at all, but a text of some length")
    outcome = run_shims(shell, "numactl -H")
    assert outcome.exit == 3
    assert outcome.stderr.startswith(f"pymigrate: {shell.state}: is ")


@pytest.mark.parametrize("redirection", [">&-", "> /dev/full", "| true"])
def test_output_that_nobody_takes(shell: Shell, redirection: str) -> None:
    shell.out("shims bin")
    outcome = run_shims(shell, f"numastat {redirection}")
    assert "Traceback" not in outcome.stderr


def test_shims_start_lean(shell: Shell) -> None:
    code = "import sys; sys.argv[0] = 'x'; from pymigrate.cli.shim import main; main()"
    names = imported(shell, "-c", code, "numastat")
    assert not names & {"click", "pydantic", "yaml", "rich", "json", "subprocess", "tempfile"}
    assert not names & {"pymigrate.mm.mbind", "pymigrate.tools.numactl"}


@pytest.mark.parametrize("line", ["numastat", "numactl -s", "memhog 1m"])
def test_commands_are_lean(shell: Shell, line: str) -> None:
    assert costly(shell, line) == set()
