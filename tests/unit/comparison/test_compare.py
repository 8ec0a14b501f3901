"""Variants of a scenario, and what comes of each."""

import pickle
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from pymigrate.comparison.outcome import Outcome, outcome
from pymigrate.comparison.sweep import outcomes
from pymigrate.comparison.variants import Variant, policy, setting, shard, sweep
from tests.conftest import ACCESSED

TEXT = f"""{ACCESSED}\
steps:
  - {{op: migrate_pages, task: db, from: "0", to: "1"}}
"""
BIND = sweep([policy("db=bind:0"), policy("db=bind:1")])


def test_changes_of_one_key_are_its_values_and_keys_multiply() -> None:
    found = sweep([policy("db=bind:0"), setting("kernel=6.1"), policy("db=interleave:0,1")])
    assert [variant.name for variant in found] == [
        "tasks.db.mempolicy=bind:0 kernel=6.1",
        "tasks.db.mempolicy=interleave:0,1 kernel=6.1",
    ]


def test_shards_have_each_variant_once() -> None:
    found = sweep([setting(f"machine.seed={nr}") for nr in range(5)])
    parts = shard(found, "1/2") + shard(found, "2/2")
    assert sorted(parts) == sorted(found)
    for wrong in ("3/2", "0/2", "1", "a/b"):
        with pytest.raises(ValueError, match="there is no shard"):
            shard(found, wrong)


def test_a_policy_places_what_its_task_touches() -> None:
    here, there = outcomes({"": ACCESSED}, BIND)
    assert (here.pages, here.local, here.distance) == ({"0": 1024, "1": 0}, 1.0, 10.0)
    assert (there.pages, there.local, there.distance) == ({"0": 0, "1": 1024}, 0.0, 20.0)


def test_work_is_handed_out_before_the_first_row_is_wanted() -> None:
    handed: list[Future[Outcome]] = []

    class Pool(ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
            handed.append(super().submit(*args, **kwargs))
            return handed[-1]

    with Pool(1) as pool:
        rows = outcomes({"": ACCESSED}, BIND, pool)
        assert len(handed) == len(BIND)
        assert {row.variant for row in rows} == {variant.name for variant in BIND}


def test_steps_are_executed_and_take_time() -> None:
    row = outcome(TEXT, Variant())
    assert row.pages == {"0": 0, "1": 1024}
    assert (row.counters or {})["pgmigrate_success"] == 1024
    assert row.time_us is not None
    assert row.time_us > 0


def test_a_variant_that_is_wrong_is_a_row_that_says_why() -> None:
    (row,) = outcomes({"": ACCESSED}, sweep([policy("nobody=bind:0")]))
    assert row.wrong == "tasks.nobody.mempolicy=bind:0: there is no task 'nobody'"


def test_processes_give_the_rows_that_one_gives() -> None:
    with ProcessPoolExecutor(2, get_context("spawn")) as executor:
        found = sorted(outcomes({"": ACCESSED}, BIND, executor))
    assert found == sorted(outcomes({"": ACCESSED}, BIND))
    assert pickle.loads(pickle.dumps(found)) == found


def test_what_is_done_is_not_repeated() -> None:
    (row,) = outcomes({"": ACCESSED}, BIND, done={BIND[0].name})
    assert row.variant == BIND[1].name


def test_scenarios_are_variants_and_multiply_with_what_is_changed() -> None:
    texts = {"plain": ACCESSED, "steps": TEXT}
    kernels = [setting("kernel=6.1"), setting("kernel=7.2")]
    rows = list(outcomes(texts, [each for name in texts for each in sweep(kernels, name)]))
    assert [(row.variant, row.pages) for row in rows] == [
        ("plain kernel=6.1", {"0": 1024, "1": 0}),
        ("plain kernel=7.2", {"0": 1024, "1": 0}),
        ("steps kernel=6.1", {"0": 0, "1": 1024}),
        ("steps kernel=7.2", {"0": 0, "1": 1024}),
    ]
