"""Prints, where this directory is run by itself, how many recorded cases match in each group."""

import re
from collections import Counter

import pytest

_CASE = re.compile(r"test_recorded_cases\.py::test_case\[(.+)-\d+-[\d.]+\]")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    matches: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for outcome in ("passed", "failed", "xfailed", "xpassed"):
        for report in terminalreporter.stats.get(outcome, ()):
            case = _CASE.search(report.nodeid)
            if case:
                totals[case[1]] += 1
                matches[case[1]] += outcome == "passed"
    if not totals:
        return
    terminalreporter.section("recorded cases that match")
    width = max(map(len, totals))
    for group, nr in sorted(totals.items()):
        terminalreporter.write_line(f"{group:{width}}  {matches[group]:4} / {nr}")
    terminalreporter.write_line(f"{'all':{width}}  {matches.total():4} / {totals.total()}")
