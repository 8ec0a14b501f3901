"""How a program comes by a machine."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pymigrate.api.checked import checking
from pymigrate.api.machine import Machine
from pymigrate.mm.base.release import RELEASES
from pymigrate.session import boot_scenario, boot_text, load_state, scenario_path

AnyPath = str | os.PathLike[str]


@checking
def boot(
    scenario: AnyPath | Mapping[str, object] | None = None,
    *,
    kernel: str | None = None,
    run: bool = False,
) -> Machine:
    """A machine of *scenario*, just booted; with *run*, after the scenario's steps.

    *scenario* is a file, the name of a built-in scenario (also without `.yaml`), the text of one
    (of more than one line), or a mapping with what a file would hold; without one it is the
    built-in machine with two nodes. *kernel* overrides the scenario's.

    Raises ScenarioError, with line and column of each mistake.
    """
    if kernel is not None and kernel not in RELEASES:
        *others, last = map(repr, RELEASES)
        raise ValueError(f"{kernel!r} is no kernel; expected {', '.join(others)} or {last}")
    if isinstance(scenario, Mapping):
        from pymigrate.scenario.text.dump import dump

        return Machine(*boot_text(dump(scenario), run, kernel))
    if isinstance(scenario, str) and "\n" in scenario:
        return Machine(*boot_text(scenario, run, kernel))
    path = scenario_path(None if scenario is None else os.fspath(scenario))
    return Machine(*boot_scenario(path, run, kernel))


@checking
def load(path: AnyPath) -> Machine:
    """The machine of a state file, as `Machine.save()` and the commands' `--state` write it.

    What happens to it does not change the file. Raises StoreError.
    """
    return Machine(*load_state(os.fspath(path)))
