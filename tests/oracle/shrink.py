"""From a program on which two sides differ to a small one on which they still do.

Asking a kernel takes a boot, in which a hundred programs are as quick as one. So a shrinking hands
out many candidates at once, is told which of them still differ, and goes on from the smallest.
"""

import copy
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

from pymigrate.units import parse_size
from tests.oracle.draw.program import size
from tests.oracle.program import Case, Step

Shrinking = Generator[list[Case], list[bool], Case]
Edit = Callable[[dict[str, Any]], None]

ROUNDS = 6
OPTIONAL = """
    offset length stride write flags mode_flags populate align target pages nodes value
""".split()
LOOKS = ("placement", "numa_maps", "vmstat", "get_mempolicy")
_PAGE = 4096


def shrinking(case: Case) -> Shrinking:
    """Yield candidates, take which of them still differ, and return the smallest that does."""
    best = yield from _round(case, [*_coarse(case)])
    for _ in range(ROUNDS):
        before = cost(best)
        best = yield from _round(best, [*_without_steps(best), *_simpler(best)])
        if cost(best) == before:
            break
    return best


def cost(case: Case) -> tuple[int, int]:
    """How large a case is: its steps, then its words."""
    words = sum(len(step) for step in case["steps"]) + len(case["tasks"])
    words += sum(len(str(value)) for step in case["steps"] for value in step.values())
    return len(case["steps"]), words + len(str(case["machine"])) + len(case.get("files") or {})


def _round(best: Case, edits: Sequence[Edit]) -> Shrinking:
    """Try each edit by itself, then more and more of those that did no harm together."""
    if not edits:
        return best
    verdicts = yield [edited(best, [edit]) for edit in edits]
    good = [edit for edit, differs in zip(edits, verdicts, strict=True) if differs]
    if not good:
        return best
    together = [edited(best, good[:nr]) for nr in range(1, len(good) + 1)]
    verdicts = yield together
    still = [case for case, differs in zip(together, verdicts, strict=True) if differs]
    return min([*still, best], key=cost)


def edited(case: Case, edits: Iterable[Edit]) -> Case:
    """A copy of the case with the edits made, without what it does not use any more."""
    found = copy.deepcopy(dict(case))
    for edit in edits:
        edit(found)
    found["steps"] = [step for step in found["steps"] if step is not None]
    return _without_unused(found)


def _without_unused(case: dict[str, Any]) -> Case:
    """Leave out files and tasks that no step names."""
    used = {str(value) for step in case["steps"] for value in step.values()}
    if "files" in case:
        case["files"] = {name: spec for name, spec in case["files"].items() if name in used}
        if not case["files"]:
            del case["files"]
    tasks = {name: spec for name, spec in case["tasks"].items() if name in used}
    case["tasks"] = tasks or dict(list(case["tasks"].items())[:1])
    case["about"] = f"a random program of {len(case['steps'])} steps"
    return case


def _coarse(case: Case) -> Iterator[Edit]:
    """Edits that take much away: looks, what other regions are for, quarters and eighths."""
    steps = case["steps"][:-1]
    at = case["steps"][-1].get("at")
    yield _remove([i for i, step in enumerate(steps) if step["op"] in LOOKS])
    if at:
        named = [step.get("as") if step["op"] == "mmap" else step.get("at") for step in steps]
        yield _remove([i for i, name in enumerate(named) if name not in (at, None)])
    for parts in (4, 8):
        width = max(1, len(steps) // parts)
        for first in range(0, len(steps), width):
            yield _remove(range(first, min(first + width, len(steps))))


def _without_steps(case: Case) -> Iterator[Edit]:
    """Edits that take steps away, many and then few; the last step is what differs."""
    nr = len(case["steps"]) - 1
    width = max(1, nr // 2)
    while width:
        for first in range(0, nr, width):
            yield _remove(range(first, min(first + width, nr)))
        width //= 2


def _remove(places: Iterable[int]) -> Edit:
    """Steps keep their places until all edits are made."""
    places = list(places)

    def edit(case: dict[str, Any]) -> None:
        for at in places:
            case["steps"][at] = None

    return edit


def _simpler(case: Case) -> Iterator[Edit]:
    """Edits that make single steps, or the machine, plainer."""
    for at, step in enumerate(case["steps"]):
        for key in OPTIONAL:
            if _may_lack(step, key):
                yield _without_key(at, key)
        if step["op"] == "mmap":
            pages = parse_size(step["length"]) // _PAGE
            for nr in sorted({1, 2, 4, 512, pages // 2} & set(range(1, pages))):
                yield _with_value(at, "length", size(nr))
    for key in ("thp", "hugetlb", "demotion"):
        if key in case["machine"]:
            yield _without_setting(key)
    for task, spec in case["tasks"].items():
        if (spec or {}).get("uid"):
            yield _as_root(task)


def _may_lack(step: Step, key: str) -> bool:
    if key not in step:
        return False
    needed = {
        "mmap": {"length"},
        "sysctl": {"value"},
        "mbind": {"nodes"},
        "set_mempolicy": {"nodes"},
        "move_pages": {"nodes"},
    }
    return key not in needed.get(step["op"], set())


def _without_key(at: int, key: str) -> Edit:
    def edit(case: dict[str, Any]) -> None:
        if case["steps"][at] is not None:
            case["steps"][at].pop(key, None)

    return edit


def _with_value(at: int, key: str, value: object) -> Edit:
    def edit(case: dict[str, Any]) -> None:
        if case["steps"][at] is not None:
            case["steps"][at][key] = value

    return edit


def _without_setting(key: str) -> Edit:
    def edit(case: dict[str, Any]) -> None:
        case["machine"].pop(key, None)

    return edit


def _as_root(task: str) -> Edit:
    def edit(case: dict[str, Any]) -> None:
        if task in case["tasks"]:
            case["tasks"][task]["uid"] = 0

    return edit


def drive(
    shrinkings: Sequence[Shrinking], differ: Callable[[list[tuple[int, Case]]], list[bool]]
) -> list[Case]:
    """Run shrinkings side by side; their results.

    *differ* is asked about the candidates of all at once, each with its shrinking's number.
    """
    results: dict[int, Case] = {}
    verdicts: dict[int, list[bool]] = {}
    live = dict(enumerate(shrinkings))
    while live:
        asked: dict[int, list[Case]] = {}
        for at, shrinking_ in list(live.items()):
            try:
                asked[at] = shrinking_.send(verdicts[at]) if at in verdicts else next(shrinking_)
            except StopIteration as stop:
                results[at] = stop.value
                del live[at]
        flat = iter(differ([(at, case) for at, cases in asked.items() for case in cases]))
        verdicts = {at: [next(flat) for _ in cases] for at, cases in asked.items()}
    return [results[at] for at in range(len(shrinkings))]
