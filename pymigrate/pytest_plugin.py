"""A pytest plugin: the fixture `pymigrate_machine`, and the mark that says which machine it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pymigrate.api.machine import Machine

MARK = "numa_scenario"


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line(
        "markers",
        f"{MARK}(scenario=None, *, kernel=None, run=False): the scenario of pymigrate_machine:"
        " a file beside the test or below the root, a built-in one, or YAML text;"
        " kernel and run as of pymigrate.boot()",
    )


@pytest.fixture
def pymigrate_machine(request: pytest.FixtureRequest) -> Machine:
    """A simulated NUMA machine, booted for this test alone: the mark's, or one with two nodes."""
    marker = request.node.get_closest_marker(MARK)
    kwargs = dict(marker.kwargs) if marker else {}
    arguments = list(marker.args) if marker else []
    unknown = kwargs.keys() - {"scenario", "kernel", "run"}
    if unknown or len(arguments) + ("scenario" in kwargs) > 1:
        raise pytest.UsageError(
            f"{request.node.nodeid}: expected {MARK}(scenario, kernel=..., run=...)"
        )
    scenario = arguments[0] if arguments else kwargs.get("scenario")
    return _boot(request, scenario, kwargs.get("kernel"), bool(kwargs.get("run")))


def _boot(request: pytest.FixtureRequest, scenario: object, kernel: object, run: bool) -> Machine:
    from pymigrate.api.boot import boot
    from pymigrate.errors import PymigrateError

    if scenario is not None and not isinstance(scenario, str | Path | dict):
        raise pytest.UsageError(
            f"{request.node.nodeid}: {scenario!r} is no scenario; expected a file, text or mapping"
        )
    if kernel is not None and not isinstance(kernel, str):
        raise pytest.UsageError(f"{request.node.nodeid}: expected kernel as text, not {kernel!r}")
    try:
        return boot(_found(request, scenario), kernel=kernel, run=run)
    except (PymigrateError, ValueError) as error:
        pytest.fail(f"{MARK}: {error}", pytrace=False)


def _found(
    request: pytest.FixtureRequest, scenario: str | Path | dict[str, object] | None
) -> str | Path | dict[str, object] | None:
    """*scenario*, where it names a file, as the file beside the test or below the root."""
    if scenario is None or isinstance(scenario, dict) or "\n" in str(scenario):
        return scenario
    for folder in (request.path.parent, request.config.rootpath):
        if (folder / scenario).exists():
            return folder / scenario
    return scenario
