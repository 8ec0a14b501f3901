"""The cases that real kernels answered."""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
CASES = HERE / "cases"
RECORDING = re.compile(r"(?P<case>.+?)\.(?P<kernel>\d.*)\.json")


class Recording(NamedTuple):
    """A case, and the kernel whose answer to it there is."""

    case: str
    kernel: str


def recordings() -> list[Recording]:
    """All of them, in the order of their names."""
    matches = map(RECORDING.fullmatch, sorted(path.name for path in CASES.glob("*.json")))
    return [Recording(match["case"], match["kernel"]) for match in matches if match]


@cache
def expected_failures() -> dict[Recording, str]:
    """What each recording that we do not meet yet waits for."""
    lines = (HERE / "expected_failures.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split(maxsplit=2) for line in lines if line.strip() and line[0] != "#"]
    return {Recording(case, kernel): reason for case, kernel, reason in rows}


def marks(recording: Recording) -> list[pytest.MarkDecorator]:
    """That a recording must fail, if we do not meet it yet."""
    reason = expected_failures().get(recording)
    return [pytest.mark.xfail(strict=True, reason=reason)] if reason else []
