"""What the page of a report says, without a browser."""

import re
from html.parser import HTMLParser

from pymigrate.comparison.outcome import Outcome
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.plan.goal import to_nodes, without_node
from pymigrate.plan.plan import Plan, make_plan
from pymigrate.report.report import headline, render
from pymigrate.views.pictures.heatmap import Heatmap, Moment
from tests.conftest import hold, new_task, touched, two_nodes

VOID = {"meta", "link"}


class Page(HTMLParser):
    """The names of all elements, and that each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def text_of(page: str) -> str:
    """The words of the page."""
    body = page.partition("<body>")[2]
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def planned(size: str = "4MiB") -> tuple[Machine, Task, int]:
    machine = two_nodes()
    task = new_task(machine)
    return machine, task, touched(machine, task, size)


def plan_of(machine: Machine, task: Task) -> Plan:
    return make_plan(machine, to_nodes(machine, 0, task, Nodemask.of(0), Nodemask.of(1)))


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    machine, task, _ = planned()
    text = render(machine, plan_of(machine, task))
    page = Page(text)

    assert page.open == []
    assert page.tags & {"script", "img", "iframe", "object", "form"} == set()
    assert re.findall(r"https?:|//[a-z]|@import|url\(", text) == []


def test_what_moves_and_that_nothing_stays() -> None:
    machine, task, _ = planned()
    plan = plan_of(machine, task)
    text = text_of(render(machine, plan))

    assert headline(plan) == "4 MiB move, nothing stays that was to move."
    assert "Moves 4 MiB 1024 pages: " in text
    assert "Stays 0 0 pages" in text
    assert "N0 4 MiB → 0, N1 0 → 4 MiB" in text
    assert "pgmigrate_success 1024 pages: moved" in text


def test_what_stays_has_its_reason_and_cure() -> None:
    machine, task, addr = planned()
    hold(machine, task, addr, nr=3)
    plan = plan_of(machine, task)
    text = text_of(render(machine, plan))

    assert headline(plan) == "3.99 MiB move, 12 KiB stay: pinned."
    assert "12 KiB: pinned" in text
    assert "Cure: let the holder unpin them" in text


def test_a_refused_plan_says_so_first() -> None:
    machine, task, _ = planned("40MiB")
    touched(machine, new_task(machine, "b"), "50MiB", node=1)
    plan = plan_of(machine, task)

    assert headline(plan) == "Refused: Cannot allocate memory: node 1 is full."
    assert "Fits no" in text_of(render(machine, plan))


def test_a_block_that_stays_online_is_said_first() -> None:
    machine = two_nodes()
    touched(machine, new_task(machine), "64KiB", node=1)
    plan = make_plan(machine, without_node(machine, 0, 1))

    assert headline(plan) == "Nothing moves, 1 memory block stays online."
    assert "Stays online 1 block memory" in text_of(render(machine, plan))


def test_where_nothing_moves_nothing_is_drawn() -> None:
    machine = two_nodes()
    text = text_of(render(machine, plan_of(machine, new_task(machine))))

    assert "Nothing moves, nothing stays that was to move." in text
    assert "From where to where" not in text
    assert "Before and after" not in text


def test_names_are_only_text() -> None:
    machine, task, _ = planned()
    task.name = task.comm = "<b>&"

    assert "&lt;b&gt;&amp;" in render(machine, plan_of(machine, task))
    assert "<b>&" not in render(machine, plan_of(machine, task))


def test_a_machine_alone() -> None:
    machine, _, _ = planned()
    text = text_of(render(machine))

    assert "A machine and its memory" in text
    assert "What moves" not in text
    assert "4 MiB of 64 MiB in use, 60 MiB free" in text


def test_processes_that_look_alike_are_drawn_once() -> None:
    machine = two_nodes()
    for _ in range(4):
        touched(machine, new_task(machine, "a"), "4MiB")

    assert "a and 3 like it: 4 MiB" in text_of(render(machine))


def test_small_processes_are_counted() -> None:
    machine = two_nodes()
    for number in range(15):
        touched(machine, new_task(machine, f"t{number}"), f"{number * 4 + 4}KiB")

    assert "and 3 that are smaller" in text_of(render(machine))


def test_variants_stand_side_by_side() -> None:
    good = Outcome("a=1", pages={"0": 8}, local=0.5, distance=15.0, time_us=0.0)
    less = good._replace(variant="a=2", local=0.25, distance=17.5)
    page = render(two_nodes(), None, [good, less, Outcome("a=3", wrong="no memory")])

    assert 'class="nr best">50.0%<' in page
    assert "a=3: no memory" in text_of(page)


def test_moments_are_drawn() -> None:
    each = Heatmap(7, "db", "heap", 0, 512, [1.0, 0.0], [Moment(0, [0, 1]), Moment(1500, [1, 1])])

    assert "7 db: heap 2MiB heat 0.0 s 1.5 s" in text_of(render(two_nodes(), maps=[each]))
