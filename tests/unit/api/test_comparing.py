"""Scenarios under variants, from Python, on any executor."""

from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

import pymigrate
from tests.conftest import ACCESSED

POLICIES = ["db=bind:0", "db=bind:1", "db=interleave:0-1"]


def rows(executor: Executor | None = None) -> list[pymigrate.Outcome]:
    return pymigrate.compare(
        ACCESSED, policies=POLICIES, kernels=["6.1", "6.12"], executor=executor
    )


def test_rows_are_in_the_order_of_the_variants() -> None:
    found = rows()
    assert [row.variant for row in found] == [
        f"tasks.{policy.replace('=', '.mempolicy=', 1)} kernel={kernel}"
        for policy in POLICIES
        for kernel in ("6.1", "6.12")
    ]
    assert [row.local for row in found] == [1.0, 1.0, 0.0, 0.0, 0.5, 0.5]


@pytest.fixture(params=["threads", "processes"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    pools = {
        "threads": lambda: ThreadPoolExecutor(3),
        "processes": lambda: ProcessPoolExecutor(2, get_context("spawn")),
    }
    with pools[request.param]() as pool:
        yield pool


def test_any_executor_gives_the_same(executor: Executor) -> None:
    assert rows(executor) == rows()


def test_a_cluster_of_dask_gives_the_same() -> None:
    distributed = pytest.importorskip(
        "distributed", reason="dask is not installed: make test-newest does that"
    )
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
        assert rows(executor) == rows()


def test_plans_are_asked_behind_the_steps() -> None:
    plans = [
        {"who": "db", "to": 1},
        {"who": "db", "to": 1, "max_pause": "1ms"},
        {"who": "nobody", "to": 1},
    ]
    whole, chunked, wrong = pymigrate.compare(ACCESSED, plans=plans)
    assert whole.variant == "plan who=db to=1"
    assert whole.pages == chunked.pages == {"0": 0, "1": 1024}
    assert whole.pause_us is not None
    assert chunked.pause_us is not None
    assert whole.pause_us > 1000 >= chunked.pause_us > 0
    assert (wrong.wrong or "").startswith("No such process")


def test_several_scenarios(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(ACCESSED, encoding="utf-8")
    found = pymigrate.compare(path, {"machine": {"nodes": {0: {"cpus": "0", "memory": "64MiB"}}}})
    assert [row.variant for row in found] == [str(path), "scenario 2"]


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ValueError, match="sets nothing"):
        pymigrate.compare(ACCESSED, settings=["machine"])
    with pytest.raises(TypeError, match="a path"):
        pymigrate.compare(7)  # type: ignore[arg-type]
