"""Counters by name."""

from pymigrate.mm.base.vmstat import EVENTS, MIGRATION, NAMES, NUMA_EVENTS, Counters


def test_what_never_happened_is_0() -> None:
    counters = Counters()
    assert counters["pgmigrate_fail"] == 0
    counters.add("pgmigrate_fail", 0)
    assert counters == {}


def test_events_add_up() -> None:
    counters = Counters()
    counters.add("pgfault")
    counters.add("pgfault", 4)
    assert counters == {"pgfault": 5}


def test_a_delta_names_what_changed() -> None:
    counters = Counters(pgfault=5, pgfree=2, oom_kill=1)
    since = {"pgfault": 3, "pgfree": 2}
    assert counters.delta(since, ["pgfault", "pgfree", "oom_kill"]) == {"pgfault": 2, "oom_kill": 1}


def test_no_name_comes_twice_and_the_migration_counters_are_among_them() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert set(MIGRATION) | set(NUMA_EVENTS) | set(EVENTS) <= set(NAMES)
    assert (NAMES[0], NAMES[-1]) == ("nr_free_pages", "nr_unstable")
