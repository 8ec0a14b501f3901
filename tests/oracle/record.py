"""`make record`: what a kernel answers to cases, written next to them."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.oracle import cases as files
from tests.oracle.answers import Record, merge, records_of, same, service_seen
from tests.oracle.asking import Asking, Run
from tests.oracle.events import trace_of
from tests.oracle.guest import Guest
from tests.oracle.hardware import UnrecordableError, hardware_of
from tests.oracle.kernels import REFERENCE, kernel
from tests.oracle.program import Case, needs_version_1, program_of

RUNS = 3


class Answer(NamedTuple):
    """What a kernel answered to a case; `why` is what went wrong, if anything did."""

    records: Sequence[Record] = ()
    release: str = ""
    trace: Sequence[str] | None = None
    why: str = ""


def ask(series: str, cases: dict[str, Case], trace: bool = False) -> dict[str, Answer]:
    """The answers of a kernel to cases by their names, each from three runs in two boots."""
    asking = Asking(Guest(kernel(series), _say), cases, trace)
    runs = asking.thrice()
    return {
        name: _answer(case, runs[name], asking.failed.get(name, "it was not answered"), trace)
        for name, case in cases.items()
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _answer(case: Case, runs: Sequence[Run], why: str, trace: bool) -> Answer:
    found = [records_of(run.lines, case) for run in runs]
    if len(found) < RUNS or any(len(records) != len(case["steps"]) for records in found):
        return Answer(why=why)
    if needs_version_1(case) and any(run.has_cgroup2 for run in runs):
        return Answer(why="only kernel 6.1 has cpusets without memory_migrate")
    releases = {run.release for run in runs}
    assert len(releases) == 1, "one kernel answers"
    records = merge(found)
    hardware = hardware_of(case["machine"])
    if not hardware.names_service and service_seen(records, hardware.service):
        return Answer(why="a page lies on the service node, which the case does not name")
    events = [trace_of(run.lines, case) for run in runs] if trace else []
    if trace and any(lines != events[0] for lines in events):
        return Answer(why="the events of its runs differ")
    return Answer(records, releases.pop(), events[0] if trace else None)


def record(paths: Sequence[Path], series: str, *, trace: bool, again: bool, show: bool) -> int:
    """Record cases; returns the exit status: 1 if some could not be, or are of another release.

    *again*: also cases that have an answer. *show*: print the answers, and write nothing.
    """
    kernel(series)  # what is missing is said first
    cases, bad = _readable(paths, series, again or show or trace)
    if not cases:
        _say("nothing to record" if not bad else "no case can be recorded")
        return int(bool(bad))
    answers = ask(series, {str(at): case for at, case in enumerate(cases.values())}, trace)
    failed = len(bad)
    for path, answer in zip(cases, answers.values(), strict=True):
        why = answer.why or ("" if show else _written(path, series, answer))
        if why:
            failed += 1
            _say(f"{path.stem}: {why}")
            continue
        _tell(path, cases[path], answer, show)
    _say(f"{len(cases) + len(bad) - failed} of {len(cases) + len(bad)} cases recorded")
    return int(failed > 0)


def _readable(
    paths: Iterable[Path], series: str, again: bool
) -> tuple[dict[Path, Case], list[Path]]:
    """The cases that are to be recorded, and those that cannot be."""
    cases: dict[Path, Case] = {}
    bad = []
    for path in paths:
        if not again and files.answer_path(path, series).exists():
            _say(f"{path.stem}: it has an answer of {series}")
            continue
        try:
            case = files.read(path)
            program_of(case, path.stem)
        except (OSError, UnrecordableError) as error:
            _say(f"{path}: {error}")
            bad.append(path)
        else:
            cases[path] = case
    return cases, bad


def _written(path: Path, series: str, answer: Answer) -> str:
    """Write an answer; or why it is not written: records of several releases are never mixed."""
    if answer.release != REFERENCE[series]:
        return f"answered by {answer.release}, the recorded cases are of {REFERENCE[series]}"
    old = files.releases(path.parent, series)
    others = [release for release in old if release != answer.release]
    if others:
        return f"answered by {answer.release}, but {old[others[0]][0]} here is of {others[0]}"
    target = files.answer_path(path, series)
    if answer.trace is None:
        files.write_answer(target, series, answer.release, answer.records)
    elif not target.exists() or not same(files.read_answer(target), answer.records):
        return f"the answers with events are not those of {target.name}"
    elif answer.trace:
        text = "\n".join(answer.trace) + "\n"
        files.trace_path(path, series).write_text(text, encoding="utf-8")
    return ""


def _tell(path: Path, case: Case, answer: Answer, show: bool) -> None:
    unstable = [
        f"step {at} ({record['op']}) {name}"
        for at, record in enumerate(answer.records, 1)
        for name in record.get("unstable", ())
    ]
    if unstable:
        _say(f"{path.stem}: not the same in all runs: {', '.join(unstable)}")
    if show:
        print(f"# {path.stem}, Linux {answer.release}")
        for step, record in zip(case["steps"], answer.records, strict=True):
            print(f"- {step}\n    {record}")
        for line in answer.trace or ():
            print(line)
