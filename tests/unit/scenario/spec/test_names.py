import pytest

from pymigrate.scenario.spec.names import RegionNames


@pytest.mark.parametrize(
    ("task", "at", "found"),
    [
        pytest.param("a", "heap", ("a", "heap"), id="the task's own first"),
        pytest.param("c", "heap", ("b", "heap"), id="else the latest of another"),
        pytest.param("b", "a.heap", ("a", "heap"), id="that of the task that is named"),
        pytest.param("child", "heap", ("a", "heap"), id="what the parent had at the fork"),
        pytest.param("a", "stack", None, id="unknown"),
    ],
)
def test_at_names_a_region(task: str, at: str, found: tuple[str, str] | None) -> None:
    names = RegionNames()
    names.declare("a", "heap")
    names.fork("a", "child")
    names.declare("b", "heap")
    assert names.find(task, at) == found
