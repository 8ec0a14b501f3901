"""`make fuzz-kernel`: random programs on a kernel and here, and what differs, made small."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

from tests.oracle import cases as files
from tests.oracle import ours
from tests.oracle.answers import Record, merge, records_of
from tests.oracle.asking import JOBS, Asking
from tests.oracle.difference import Difference, difference
from tests.oracle.draw import drawn
from tests.oracle.guest import Guest
from tests.oracle.hardware import UnrecordableError
from tests.oracle.kernels import REFERENCE, kernel
from tests.oracle.program import Case, program_of
from tests.oracle.record import ask
from tests.oracle.shrink import drive, shrinking

OF_A_KIND = 2  # so many programs of one kind of difference are shrunk


class Found(NamedTuple):
    """A program on which the two sides differ."""

    name: str
    case: Case
    difference: Difference


class Fuzzing:
    """A kernel, and the programs that it is asked about."""

    def __init__(self, series: str, kind: str) -> None:
        self.guest = Guest(kernel(series), _say)
        self.series = series
        self.kind = kind
        self.releases: set[str] = set()

    def differences(
        self, cases: Mapping[str, Case], runs: int = 1
    ) -> tuple[dict[str, Difference], int]:
        """Where the two sides differ, and how many programs were answered.

        With three *runs* what the kernel does not repeat is not compared.
        """
        asking = Asking(self.guest, cases)
        with ProcessPoolExecutor(JOBS) as pool:
            ours_ = pool.map(self._simulate, cases.values(), repeat(self.series), chunksize=4)
            answers = asking.thrice() if runs > 1 else asking.once()
            return self._compared(cases, asking, dict(zip(answers, ours_, strict=True)))

    def _compared(
        self, cases: Mapping[str, Case], asking: Asking, ours_: Mapping[str, list[Record]]
    ) -> tuple[dict[str, Difference], int]:
        found: dict[str, Difference] = {}
        answered = 0
        for name, runs in asking.runs.items():
            if not runs:
                _say(f"{name}: {asking.failed.get(name, 'no answer')}")
                continue
            answered += 1
            self.releases |= {run.release for run in runs}
            theirs = merge([records_of(run.lines, cases[name]) for run in runs])
            differs = difference(cases[name], theirs, ours_[name])
            if differs:
                found[name] = differs
        return found, answered

    def our_records(self, case: Case) -> list[Record]:
        """Ours of one case."""
        return self._simulate(case, self.series)

    @property
    def _simulate(self) -> Callable[[Case, str], list[Record]]:
        """On memory that fills up, only what does not depend on the kernel's own share counts."""
        return ours.steady_records if self.kind == "full" else ours.records

    def small(self, found: list[Found]) -> list[Case]:
        """The programs, each as small as it gets with a difference of the same kind."""

        def differ(candidates: list[tuple[int, Case]]) -> list[bool]:
            usable = {
                str(at): case
                for at, (_, case) in enumerate(candidates)
                if not ours.invalid(case) and not _unrecordable(case)
            }
            if not usable:
                return [False] * len(candidates)
            _say(f"shrinking: {len(usable)} smaller programs")
            got, _ = self.differences(usable)
            return [
                str(at) in got and _is_alike(got[str(at)], found[owner].difference)
                for at, (owner, _) in enumerate(candidates)
            ]

        return drive([shrinking(_up_to(one.case, one.difference.step)) for one in found], differ)


def fuzz(series: str, kind: str, seed: int, numbers: Iterable[int], folder: Path, most: int) -> int:
    """Draw, ask and compare; write minimal cases to the folder. The exit status: 1 if any differ.

    At most *most* differences are made small, and of each kind only a few.
    """
    begin = time.monotonic()
    fuzzing = Fuzzing(series, kind)
    programs = {f"{kind}-{seed}-{number}": drawn(kind, seed, number) for number in numbers}
    cases = {name: case for name, case in programs.items() if not _refused(name, case)}
    first, answered = fuzzing.differences(cases)
    differences = fuzzing.differences({name: cases[name] for name in first}, 3)[0] if first else {}
    minutes = (time.monotonic() - begin) / 60
    steps = sum(len(case["steps"]) for case in cases.values())
    release = ", ".join(sorted(fuzzing.releases))
    _say(
        f"Linux {release}: {answered} programs of {steps} steps, {len(differences)} differ"
        f" ({len(first)} in a single run); {answered / minutes:.0f} programs a minute"
    )
    if fuzzing.releases - {REFERENCE[series]}:
        _say(f"the recorded cases are of {REFERENCE[series]}, this is another release")
    kinds: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name, one in differences.items():
        kinds.setdefault(one.kind, []).append(name)
    for (op, fields), names in kinds.items():
        _say(f"  {len(names):4}  {op}: {', '.join(fields)}: {' '.join(names)}")
    chosen = _chosen([Found(name, cases[name], one) for name, one in differences.items()], most)
    if chosen:
        _write_small(fuzzing, chosen, folder)
    _say(f"{(time.monotonic() - begin) / 60:.1f} minutes")
    return int(bool(differences))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _up_to(case: Case, step: int) -> Case:
    """The program up to where it differs."""
    return dict(case) | {"steps": case["steps"][:step]}


def _is_alike(one: Difference, other: Difference) -> bool:
    return one.op == other.op and bool({*one.fields} & {*other.fields})


def _unrecordable(case: Case) -> str:
    try:
        program_of(case, "")
    except UnrecordableError as error:
        return str(error)
    return ""


def _refused(name: str, case: Case) -> bool:
    """Whether a drawn program is no case: a fault of the drawing."""
    why = ours.invalid(case) or _unrecordable(case)
    if why:
        _say(f"{name}: {why}")
    return bool(why)


def _chosen(found: list[Found], most: int) -> list[Found]:
    """The shortest programs of each kind of difference, and of all kinds first one."""
    found = sorted(found, key=lambda one: one.difference.step)
    kinds: dict[object, list[Found]] = {}
    for one in found:
        kinds.setdefault(one.difference.kind, []).append(one)
    rows = [row[:OF_A_KIND] for row in kinds.values()]
    return [row[at] for at in range(OF_A_KIND) for row in rows if at < len(row)][:most]


def _write_small(fuzzing: Fuzzing, chosen: list[Found], folder: Path) -> None:
    """Write the minimal cases with the kernel's answers, and what differs.

    Only those whose difference all runs of the kernel show.
    """
    small = fuzzing.small(chosen)
    answers = ask(fuzzing.series, {str(at): case for at, case in enumerate(small)})
    folder.mkdir(parents=True, exist_ok=True)
    for one, case, answer in zip(chosen, small, answers.values(), strict=True):
        differs = difference(case, answer.records, fuzzing.our_records(case))
        if answer.why or differs is None:
            _say(f"{one.name}: {answer.why or 'it does not differ in all runs'}")
            continue
        path = folder / f"{one.name}.yaml"
        path.write_text(files.text_of(case), encoding="utf-8")
        target = files.answer_path(path, fuzzing.series)
        files.write_answer(target, fuzzing.series, answer.release, answer.records)
        text = f"Linux {answer.release}, {differs.text}\n"
        path.with_suffix(".txt").write_text(text, encoding="utf-8")
        _say(f"{path}: {text}")
