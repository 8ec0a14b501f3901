"""What a shell is offered: names of the machine that the command would work on."""

import pytest

from tests.cli.conftest import Shell

BOOTED = [
    ("migratepages ", "a b 100 200"),
    ("migratepages a ", "0 1 0-1"),
    ("migratepages 1", "100"),
    ("placement a ", "heap buf lib"),
    ("explain b --to ", "0 1 0-1"),
    ("task touch a h", "heap"),
    ("task madvise a heap mad", ""),
    ("task madvise a heap hu", "hugepage"),
    ("task mmap a --file ", "/lib/c.so"),
    ("mbind a buf bind", "bind:0 bind:1 bind:0-1"),
    ("set_mempolicy a lo", "local"),
    ("sysctl numa_balancing/scan", None),
    ("cat proc/1", "proc/100/"),
    ("cat proc/100/numa", "proc/100/numa_maps"),
    ("cpuset attach ", "/"),
    ("cpuset attach / ", "a b 100 200"),
    ("trace migratepages ", "a b 100 200"),
    ("trace migratepages a ", "0 1 0-1"),
    ("trace mbind a b", "buf"),
    ("trace move_p", "move_pages"),
    ("help balanc", "balancing balance"),
    ("damon migrate_hot --to ", "0 1 0-1"),
]


def offered(shell: Shell, words: str) -> list[str]:
    """What bash is offered behind `pymigrate` and *words*."""
    environment = shell.environment(
        _PYMIGRATE_COMPLETE="bash_complete",
        COMP_WORDS=f"pymigrate {words}",
        COMP_CWORD=str(len(words.split(" "))),
    )
    done = shell.spawn("", env=environment)
    assert (done.exit, done.stderr) == (0, "")
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(("words", "names"), BOOTED)
def test_names_of_the_machine_are_offered(shell: Shell, words: str, names: str | None) -> None:
    found = offered(shell, words)
    last = words.rpartition(" ")[2]
    assert found == names.split() if names is not None else len(found) > 2
    assert all(name.startswith(last) for name in found)


def test_scenarios_and_files_are_offered(unbooted: Shell) -> None:
    assert offered(unbooted, "boot full") == ["full-target", "full"]
    assert offered(unbooted, "--scenario two") == ["two-node", "two"]
    assert offered(unbooted, "run prom") == ["promotion-steps", "prom"]


def test_nothing_is_booted_for_it(unbooted: Shell) -> None:
    assert offered(unbooted, "show ") == ["a", "b", "100", "200"]
    assert not unbooted.state.exists()


def test_a_wrong_scenario_has_no_names(unbooted: Shell) -> None:
    unbooted.scenario.write_text("machine: 1\n")
    assert offered(unbooted, "show ") == []
    assert offered(unbooted, "mbind a h") == []


def test_a_task_that_is_not_there_has_no_regions(shell: Shell) -> None:
    assert offered(shell, "placement c ") == []
    assert offered(shell, "cat nothing/") == []
