"""What the steps of a scenario expect, as a JUnit report, which CI systems read."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymigrate.scenario.record import Record


def report(name: str, records: Sequence[Record]) -> str:
    """The report of the scenario *name*: a test case for each step that expects something."""
    checked = [(number, record) for number, record in enumerate(records, 1) if "failed" in record]
    failed = sum(bool(record["failed"]) for _, record in checked)
    suite = ElementTree.Element(
        "testsuite", name=name, tests=str(len(checked)), failures=str(failed), errors="0"
    )
    for number, record in checked:
        case = ElementTree.SubElement(
            suite, "testcase", classname=name, name=f"step {number}: {record['op']}"
        )
        if record["failed"]:
            text = "\n".join(record["failed"])
            ElementTree.SubElement(case, "failure", message=text.partition("\n")[0]).text = text
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
