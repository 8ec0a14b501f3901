"""The group: help, exit codes, where options may stand, which machine is meant."""

import re

import pytest
from click.testing import CliRunner

from pymigrate import __version__
from pymigrate.cli.main import ENVIRONMENT, EXAMPLES, cli, commands
from pymigrate.cli.main import GROUPS as PURPOSES
from pymigrate.store.store import SCHEMA_VERSION
from tests.cli.conftest import GROUPS, Outcome, Shell

ALL = [*commands(), *(f"{group} {name}" for group, names in GROUPS.items() for name in names)]


def test_help(unbooted: Shell) -> None:
    exit_code, stdout, stderr = unbooted("--help")
    assert (exit_code, stderr) == (0, "")
    head, title, listed = stdout.partition("Start:\n")
    assert head + title == (
        "Usage: pymigrate [OPTIONS] COMMAND [ARGS]...\n"
        "\n"
        "  Simulate NUMA page migration as Linux does it.\n"
        "\n"
        "  Commands work on a simulated machine that a scenario file describes: the one\n"
        "  that was booted last, or else a built-in one with two nodes.\n"
        "\n"
        f"Examples:\n{EXAMPLES}"
        "\n"
        "Options:\n"
        "  --scenario FILE  The scenario (default: $PYMIGRATE_SCENARIO).\n"
        "  --state FILE     The booted machine (default: $PYMIGRATE_STATE).\n"
        "  --ephemeral      Boot a machine for this command alone.\n"
        "  --version        Show the version and exit.\n"
        "  -h, --help       Show this message and exit.\n"
        "\n"
        "Start:\n"
    )
    words = " ".join(listed.split())
    about = commands()
    for names in PURPOSES.values():
        assert " ".join(f"{name} {about[name]}" for name in names.split()) in words
    for name, text in ENVIRONMENT.items():
        assert f"{name} {text}" in words
    assert list(about) == sorted(about)


def test_each_command_has_one_purpose() -> None:
    listed = [name for names in PURPOSES.values() for name in names.split()]
    assert sorted(listed) == list(commands())


def test_no_line_of_the_help_is_cut_off(unbooted: Shell) -> None:
    assert max(map(len, unbooted.out("--help").splitlines())) <= 80


@pytest.mark.parametrize(
    ("word", "hint"), [("version", "--version"), ("list", "scenarios, and ps")]
)
def test_what_people_try_leads_on(unbooted: Shell, word: str, hint: str) -> None:
    assert f"No such command '{word}'. Did you mean {hint}?" in unbooted(word).stderr


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_each_command_has_help(unbooted: Shell, name: str, option: str) -> None:
    exit_code, stdout, stderr = unbooted(f"{name} {option}")
    usage, rest = stdout.split("\n\n", 1)
    assert (exit_code, stderr) == (0, "")
    assert usage.startswith(f"Usage: pymigrate {name} ")
    first = rest.split("\n\n")[0].strip()
    assert first[0].isupper()
    assert first.endswith(".")
    assert "-h, --help" in stdout or name in GROUPS
    assert not unbooted.state.exists()


def test_help_of_ps_says_the_units(unbooted: Shell) -> None:
    text = unbooted.out("ps --help")
    assert "RSS is in kB" in text
    assert "base pages (4 kB)" in text


@pytest.mark.parametrize(("group", "names"), GROUPS.items())
def test_each_subcommand_is_tested(group: str, names: list[str]) -> None:
    result = CliRunner().invoke(cli, [group, "--help"])
    listed = result.stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    assert re.findall(r"^  (\w+)", listed, re.MULTILINE) == names


def test_no_command_is_a_usage_error(unbooted: Shell) -> None:
    assert unbooted("").exit == 2


def test_version(unbooted: Shell) -> None:
    assert unbooted("--version") == Outcome(0, f"pymigrate, version {__version__}\n")


def test_version_for_programs(unbooted: Shell) -> None:
    known = unbooted.json("--version")
    assert (known["version"], set(known["kernels"])) == (__version__, {"6.1", "6.12", "7.2"})
    assert known["state_format"] == SCHEMA_VERSION


@pytest.mark.parametrize(("name", "hint"), [("vmstats", " Did you mean 'vmstat'?"), ("xyz", "")])
def test_unknown_command(unbooted: Shell, name: str, hint: str) -> None:
    assert unbooted.err(name) == (
        f"pymigrate: No such command '{name}'.{hint}\nTry 'pymigrate --help' for help.\n"
    )


def test_options_may_stand_before_the_command_or_after_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYMIGRATE_STATE")
    monkeypatch.delenv("PYMIGRATE_SCENARIO")
    machine = "--state state.db --scenario machine.yaml"
    shell.out(f"{machine} migratepages a 0 1")
    shell.out(f"migratepages a 1 0 {machine}")
    assert shell.out(f"vmstat --migration {machine}").count("pgmigrate_success 54\n") == 1


def test_option_after_the_command_wins_over_one_before_it(shell: Shell) -> None:
    assert shell("--state none/other.db vmstat --state state.db").exit == 0
    assert shell("--state state.db vmstat --state none/other.db").exit == 3


def test_exit_codes_of_a_process_of_its_own(shell: Shell) -> None:
    assert shell.spawn("migratepages a 0 1") == Outcome(0)
    assert shell.spawn("migratepages 7 0 1") == Outcome(
        1, "", "migrate_pages: No such process: there is no process 7\n"
    )
    assert shell.spawn("migratepages a 0 9").exit == 1
    assert shell.spawn("migratepages a 0").exit == 2
    assert shell.spawn("--scenario none.yaml run none.yaml").exit == 2
    assert shell.spawn("--state none/x.db vmstat").exit == 3


def test_first_command_boots_by_itself_and_says_so_once(unbooted: Shell) -> None:
    first = unbooted("vmstat --migration")
    assert first.stderr == f"pymigrate: booted {unbooted.scenario}\n"
    assert unbooted("vmstat --migration") == Outcome(0, first.stdout)


def test_built_in_scenario(unbooted: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYMIGRATE_SCENARIO")
    exit_code, stdout, stderr = unbooted("numa_maps 4321")
    assert exit_code == 0
    assert stdout.count("\n") == 4
    assert stderr.startswith("pymigrate: booted ")
    assert stderr.endswith("two-node.yaml\n")


def test_ephemeral_machine_is_kept_nowhere(unbooted: Shell) -> None:
    assert unbooted("--ephemeral migratepages a 0 1 --json").exit == 0
    assert unbooted("migratepages a 0 1 --ephemeral --json").exit == 0
    assert sorted(path.name for path in unbooted.folder.iterdir()) == ["machine.yaml"]


def test_ephemeral_command_leaves_the_booted_machine(shell: Shell) -> None:
    with shell.unchanged():
        shell.out("--ephemeral migratepages a 0 1")


def test_default_state_is_one_for_each_scenario_in_the_users_state_directory(
    unbooted: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYMIGRATE_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(unbooted.folder / "xdg"))
    unbooted("migratepages a 0 1")
    (unbooted.folder / "other.yaml").write_bytes(unbooted.scenario.read_bytes())
    unbooted("--scenario other.yaml vmstat")
    assert unbooted.counted("pgmigrate_success") == [26]
    assert unbooted.json("vmstat --scenario other.yaml --migration")["pgmigrate_success"] == 0
    names = sorted(path.name for path in (unbooted.folder / "xdg" / "pymigrate").iterdir())
    assert [name.partition("-")[0] for name in names] == ["machine", "other"]
