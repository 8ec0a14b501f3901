"""Scenarios under variants, from Python: rows that any executor can make."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

from pymigrate.api.boot import AnyPath
from pymigrate.api.checked import checking
from pymigrate.api.movers import Movers
from pymigrate.comparison import variants as parts
from pymigrate.comparison.outcome import Outcome as Outcome
from pymigrate.comparison.sweep import outcomes
from pymigrate.mm.state.machine import Machine
from pymigrate.plan.plan import Plan
from pymigrate.reading import read_file
from pymigrate.scenario.text.dump import dump
from pymigrate.session import scenario_path


@checking
def compare(
    *scenarios: AnyPath | Mapping[str, object],
    policies: Sequence[str] = (),
    kernels: Sequence[str] = (),
    settings: Sequence[str] = (),
    plans: Sequence[Mapping[str, Any]] = (),
    executor: Executor | None = None,
) -> list[Outcome]:
    """What comes of scenarios under variants: a row for each, in their order.

    *scenarios* are files, names of built-in ones, texts or mappings, as boot() takes them;
    *policies* are `TASK=POLICY`, *kernels* releases, *settings* `KEY.KEY=VALUE`, and *plans* the
    arguments of Machine.plan(), which is asked behind the steps. What is given several times for
    one key varies, and several keys multiply. An *executor* of `concurrent.futures`' interface runs
    many at a time: each variant is a pure function of what is sent to it.

    A row whose `wrong` is not None had no machine. Raises ValueError for what is no policy or
    setting.
    """
    changes = parts.changes_of(policies, kernels, settings)
    asked = {_name(plan): partial(_planned, dict(plan)) for plan in plans}
    texts: dict[str, str] = {}
    for number, scenario in enumerate(scenarios, 1):
        name, text = _read(scenario, number)
        texts[name if len(scenarios) > 1 else ""] = text
    variants = [each for name in texts for each in parts.sweep(changes, name, [*asked])]
    rows = {row.variant: row for row in outcomes(texts, variants, executor, plans=asked)}
    return [rows[variant.name] for variant in variants]


def _read(scenario: AnyPath | Mapping[str, object], number: int) -> tuple[str, str]:
    """What a scenario is called, and its text."""
    if isinstance(scenario, Mapping):
        return f"scenario {number}", dump(scenario)
    if isinstance(scenario, str) and "\n" in scenario:
        return f"scenario {number}", scenario
    path = os.fspath(scenario)
    return path, read_file(scenario_path(path)).decode("utf-8-sig")


def _name(plan: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in plan.items())


def _planned(arguments: dict[str, Any], machine: Machine) -> Plan:
    return Movers(machine).plan(**arguments)
