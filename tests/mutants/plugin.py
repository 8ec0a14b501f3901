"""For pytest in a copy of the project: which test runs which lines of mm/, and some tests alone.

The environment names the files: MUTANTS_RECORD what to write, MUTANTS_TESTS the tests to run.
"""

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

RECORD = os.environ.get("MUTANTS_RECORD")
TESTS = os.environ.get("MUTANTS_TESTS")
MM = Path("pymigrate/mm").resolve()

seconds: dict[str, float] = {}
watch = coverage.Coverage(data_file=None, config_file=False, source=[str(MM)], messages=False)
if RECORD:
    watch.start()  # before anything of mm/ is imported


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    start = time.process_time()
    if RECORD:
        watch.switch_context(item.nodeid)
    result = yield
    seconds[item.nodeid] = time.process_time() - start
    return result


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed and RECORD:
        pytest.exit(f"{report.nodeid} fails without any mutant", returncode=1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if TESTS:
        rank = {name: i for i, name in enumerate(json.loads(Path(TESTS).read_text()))}
        items[:] = sorted((i for i in items if i.nodeid in rank), key=lambda i: rank[i.nodeid])


def pytest_sessionfinish() -> None:
    if not RECORD:
        return
    watch.stop()
    data = watch.get_data()
    lines: dict[str, dict[str, list[int]]] = defaultdict(dict)
    for path in data.measured_files():
        name = str(Path(path).relative_to(Path.cwd()))
        for line, tests in data.contexts_by_lineno(path).items():
            for test in tests:
                lines[test].setdefault(name, []).append(line)
    Path(RECORD).write_text(json.dumps({"lines": lines, "seconds": seconds}))
