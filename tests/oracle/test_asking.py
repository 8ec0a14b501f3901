"""Many cases in one boot: a case that ends the guest is reported, the others are asked again."""

import re
from typing import Any, cast

from tests.oracle.asking import Asking
from tests.oracle.guest import Boot, Guest, GuestError, Line
from tests.oracle.hardware import Hardware

MACHINE = {"nodes": {0: {"cpus": "0", "memory": "64MiB"}}}
OTHER = {"nodes": {0: {"cpus": "0", "memory": "96MiB"}}}


class Fake:
    """A guest that answers at once, and that some cases end, or let wait."""

    def __init__(self, ends: str = "", waits: str = "", is_dead: bool = False) -> None:
        self.ends, self.waits, self.is_dead = ends, waits, is_dead
        self.boots: list[list[str]] = []
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def boot(self, hardware: Hardware, program: str, **_: Any) -> Boot:
        if self.is_dead:
            raise GuestError("it does not come up")
        names = re.findall(r"^case\tname=(\w+)#", program, re.M)
        self.boots.append(names)
        lines: list[Line] = [{"boot": True, "cgroup2": True}]
        for name in names:
            lines.append({"case": name})
            if name == self.ends:
                return Boot(lines, "6.12.117", "first\nkernel BUG at mm/rmap.c\nlast\n")
            lines.append({"end": name, "timed_out": name == self.waits})
        return Boot([*lines, {"done": True}], "6.12.117", "")


def asked(fake: Fake, **cases: Any) -> Asking:
    return Asking(
        cast("Guest", fake),
        {
            name: {"machine": machine, "tasks": {"a": None}, "steps": []}
            for name, machine in cases.items()
        },
    )


def test_cases_of_one_machine_share_a_boot() -> None:
    fake = Fake()
    asking = asked(fake, a=MACHINE, b=OTHER, c=MACHINE)
    assert {name: len(runs) for name, runs in asking.once().items()} == {"a": 1, "b": 1, "c": 1}
    assert sorted(fake.boots) == [["a", "c"], ["b"]]


def test_three_runs_are_two_boots_one_of_them_also_the_other_way_round() -> None:
    fake = Fake()
    asking = asked(fake, a=MACHINE, b=MACHINE)
    assert {name: len(runs) for name, runs in asking.thrice().items()} == {"a": 3, "b": 3}
    assert sorted(fake.boots) == [["a", "b"], ["b", "a", "a", "b"]]


def test_a_case_that_ends_the_guest_is_reported_and_the_others_are_asked_again() -> None:
    fake = Fake(ends="b")
    asking = asked(fake, a=MACHINE, b=MACHINE, c=MACHINE)
    assert {name: len(runs) for name, runs in asking.once().items()} == {"a": 1, "b": 0, "c": 1}
    assert asking.failed == {"b": "the guest ended in it: kernel BUG at mm/rmap.c"}
    assert fake.boots == [["a", "b", "c"], ["c"]]


def test_a_case_that_took_too_long_is_reported() -> None:
    asking = asked(Fake(waits="a"), a=MACHINE, b=MACHINE)
    assert asking.once()["a"] == []
    assert asking.failed == {"a": "it took too long"}


def test_a_guest_that_does_not_come_up_fails_all_of_its_cases() -> None:
    asking = asked(Fake(is_dead=True), a=MACHINE, b=MACHINE)
    asking.once()
    assert asking.failed == dict.fromkeys("ab", "it does not come up")
