"""The pytest plugin, as another project's tests use it."""

import pytest

from tests.cli.conftest import Project
from tests.cli.traced import WHY

SMALL = """\
machine:
  nodes:
    0: {cpus: "0", memory: 64MiB}
    1: {memory: 64MiB}
"""


def test_without_a_mark_it_is_the_built_in_machine(project: Project) -> None:
    project.run(
        "def test(pymigrate_machine):\n"
        "    assert pymigrate_machine.migrate_pages('db', 0, 1).moved == 29187\n"
    )


def test_each_test_has_a_machine_of_its_own(project: Project) -> None:
    test = "    assert pymigrate_machine.migrate_pages('db', 0, 1).moved == 29187\n"
    out = project.run(
        f"def test_a(pymigrate_machine):\n{test}\ndef test_b(pymigrate_machine):\n{test}"
    )
    assert out.splitlines()[-1].startswith("2 passed")


@pytest.mark.parametrize("folder", [".", "tests"])
def test_a_file_lies_beside_the_test_or_in_the_root(project: Project, folder: str) -> None:
    (project.folder / "tests").mkdir()
    (project.folder / "small.yaml").write_text(SMALL)
    code = (
        "import pytest\n\n"
        "@pytest.mark.numa_scenario('small.yaml', kernel='6.1')\n"
        "def test(pymigrate_machine):\n"
        "    assert pymigrate_machine.kernel == '6.1'\n"
        "    assert pymigrate_machine.nodes[1].cpus == ()\n"
    )
    (project.folder / folder / "test_other.py").write_text(code)
    assert project.run("").splitlines()[-1].startswith("1 passed")


def test_a_mark_holds_text_or_a_mapping(project: Project) -> None:
    project.run(
        "import pytest\n\n"
        f"TEXT = {SMALL!r}\n\n"
        "@pytest.mark.numa_scenario(TEXT)\n"
        "def test_text(pymigrate_machine):\n"
        "    assert list(pymigrate_machine.nodes) == [0, 1]\n\n"
        "@pytest.mark.numa_scenario({'machine': {'nodes': {3: {'cpus': '0', 'memory': '8MiB'}}}})\n"
        "def test_mapping(pymigrate_machine):\n"
        "    assert list(pymigrate_machine.nodes) == [3]\n"
    )


def test_a_mark_asks_for_the_steps(project: Project) -> None:
    project.run(
        "import pytest\n\n"
        "@pytest.mark.numa_scenario('first-touch-steps', run=True)\n"
        "def test(pymigrate_machine):\n"
        "    assert pymigrate_machine.vmstat()['pgmigrate_success'] > 0\n"
    )


@pytest.mark.skipif(bool(WHY), reason=WHY or "it can")
def test_a_program_runs_on_the_machine(project: Project) -> None:
    project.run(
        "import pytest\n\n"
        f"@pytest.mark.numa_scenario({SMALL!r})\n"
        "def test(pymigrate_machine):\n"
        "    done = pymigrate_machine.run(['cat', '/sys/devices/system/node/has_cpu'])\n"
        "    assert (done.returncode, done.stdout) == (0, '0\\n')\n"
    )


def test_the_mark_is_listed(project: Project) -> None:
    assert "@pytest.mark.numa_scenario(scenario=None, *, kernel=None" in project.run(
        "", "--markers"
    )


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        pytest.param("'nothere.yaml'", "numa_scenario: nothere.yaml: cannot be read", id="file"),
        pytest.param("'machine:\\n  nods: 1\\n'", "<text>:2:3: unknown key 'nods'", id="text"),
        pytest.param("kernel='5.0'", "numa_scenario: '5.0' is no kernel", id="kernel"),
        pytest.param("7", "7 is no scenario; expected a file, text or mapping", id="type"),
        pytest.param("kernel=7", "expected kernel as text, not 7", id="kernel's type"),
        pytest.param("'a', 'b'", "expected numa_scenario(scenario, kernel=..., run=...)", id="two"),
        pytest.param("krnel='6.1'", "expected numa_scenario(scenario, kernel=...", id="keyword"),
    ],
)
def test_a_wrong_mark_fails_the_test_in_a_line(project: Project, mark: str, message: str) -> None:
    out = project.run(
        f"import pytest\n\n@pytest.mark.numa_scenario({mark})\n"
        "def test(pymigrate_machine):\n    pass\n",
        code=1,
    )
    assert message in out
    assert "Traceback" not in out
