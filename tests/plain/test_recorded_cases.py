"""The plain model meets every recorded case of the kind that it knows: 6.12's answer."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pymigrate.scenario.read.loader import load_text
from tests.conformance.compare import first_difference
from tests.plain import model

CASES = Path(__file__).parents[1] / "conformance" / "cases"
PLAIN_SYSCTLS = ("drop_caches", "thp", "nr_hugepages")


def is_plain(case: dict[str, Any]) -> bool:
    """Whether a case does without NUMA balancing, demotion, compaction and programs."""
    machine = case["machine"]
    if any(machine.get(key) for key in ("numa_balancing", "demotion")):
        return False
    return not any(
        step["op"] == "exec" or (step["op"] == "sysctl" and step["name"] not in PLAIN_SYSCTLS)
        for step in case["steps"]
    )


def plain_cases() -> list[str]:
    """The names of those with an answer of 6.12."""
    found = []
    for path in sorted(CASES.glob("*.6.12.json")):
        name = path.name.removesuffix(".6.12.json")
        text = (CASES / f"{name}.yaml").read_text(encoding="utf-8")
        if is_plain(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))):
            found.append(name)
    return found


PLAIN = plain_cases()


@pytest.mark.parametrize("case", PLAIN)
def test_case(case: str) -> None:
    """Every record is the kernel's."""
    path = CASES / f"{case}.yaml"
    answer = json.loads((CASES / f"{case}.6.12.json").read_text(encoding="utf-8"))
    ours = model.run(load_text(path.read_text(encoding="utf-8"), str(path)))
    difference = first_difference(answer["records"], ours)
    if difference:
        pytest.fail(f"{case}, {difference}", pytrace=False)


def test_most_cases_are_plain() -> None:
    """The choice does not leave out by accident what it should not."""
    assert len(PLAIN) >= 320
