"""An account of who has raised which counter."""

from pymigrate.mm.base.ledger import Entry, Ledger, Raiser
from pymigrate.mm.base.vmstat import Counters

SHELL, KSWAPD = Raiser(), Raiser("kswapd0")


def counters_of(ledger: Ledger) -> Counters:
    counters = Counters()
    counters.ledger = ledger
    return counters


def test_what_is_counted_is_the_raisers_of_that_moment() -> None:
    ledger = Ledger()
    counters = counters_of(ledger)
    counters.add("pgfree")
    with ledger.raised_by(KSWAPD):
        counters.add("pgfree", 4)
    counters.add("pgfree", 2)
    assert ledger.all_entries("a") == [Entry("a", {SHELL: {"pgfree": 3}, KSWAPD: {"pgfree": 4}})]
    assert counters == {"pgfree": 7}


def test_who_raised_before_does_so_again_after_an_error() -> None:
    ledger = Ledger()
    try:
        with ledger.raised_by(KSWAPD):
            raise ValueError
    except ValueError:
        counters_of(ledger).add("oom_kill")
    assert ledger.all_entries() == [Entry("", {SHELL: {"oom_kill": 1}})]


def test_a_command_that_raises_nothing_is_no_entry() -> None:
    ledger = Ledger()
    with ledger.raised_by(KSWAPD):
        counters_of(ledger).add("pgfree", 0)
    assert not ledger.close("nothing")
    assert ledger.entries == []


def test_each_command_has_its_entry() -> None:
    ledger = Ledger([Entry("boot", {SHELL: {"pgfree": 1}})])
    counters = counters_of(ledger)
    for command in ("first", "second"):
        counters.add("pgfault")
        assert ledger.close(command)
    counters.add("pgfree")
    assert ledger.close("second", continues=True)
    assert [(entry.command, entry.continues) for entry in ledger.entries] == [
        ("boot", False),
        ("first", False),
        ("second", False),
        ("second", True),
    ]
    assert ledger.entries[2].accounts == {SHELL: {"pgfault": 1}}
