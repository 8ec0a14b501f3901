"""Each recorded trace: the migration events of every step, line by line."""

import re
from pathlib import Path

import pytest

from pymigrate.mm.state.scope import Watch
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load
from pymigrate.scenario.spec.runner import Runner
from tests.conformance.recordings import CASES, Recording, marks

RUN = re.compile(r"(.*addr=.*\+)(\d+)\.\.(\d+)(?:/(\d+))?(,.*)?")
KERNEL = "6.12"


def read_trace(path: Path) -> dict[int, list[str]]:
    """The lines of each step that emitted some, one page a line."""
    steps: dict[int, list[str]] = {}
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# step "):
            lines = steps.setdefault(int(line.split()[2]), [])
        elif line.strip() and not line.startswith("#"):
            lines += expand(line.strip())
    return steps


def expand(line: str) -> list[str]:
    """A run of pages written out."""
    match = RUN.fullmatch(line)
    if match is None:
        return [line]
    first, last, step = int(match[2]), int(match[3]), int(match[4] or 1)
    pages = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
    return [f"{match[1]}{page}{match[5] or ''}" for page in pages]


def traces() -> list[object]:
    """All of them; those of cases that we do not meet yet fail."""
    paths = {path.name.split(".")[0]: path for path in sorted(CASES.glob(f"*.{KERNEL}.trace"))}
    return [
        pytest.param(path, id=case, marks=marks(Recording(case, KERNEL)))
        for case, path in paths.items()
    ]


@pytest.mark.parametrize("path", traces())
def test_trace(path: Path) -> None:
    scenario = load(CASES / f"{path.name.split('.')[0]}.yaml")
    machine = build(scenario, KERNEL)
    machine.watch = Watch([])
    ours = {
        number: record["trace"]
        for number, record in enumerate(Runner(machine).run(scenario.steps), 1)
        if "trace" in record
    }
    assert ours == read_trace(path)


def test_a_run_of_pages_is_written_out_in_both_directions() -> None:
    assert expand("set: addr=a+2..0, x") == [f"set: addr=a+{page}, x" for page in (2, 1, 0)]
    assert expand("set: addr=a+1..5/2") == ["set: addr=a+1", "set: addr=a+3", "set: addr=a+5"]
