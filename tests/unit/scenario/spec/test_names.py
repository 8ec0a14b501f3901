import pytest

from pymigrate.scenario.spec.names import RegionNames, name_mistakes


@pytest.mark.parametrize(
    ("task", "at", "found"),
    [
        pytest.param("a", "heap", ("a", "heap"), id="the task's own first"),
        pytest.param("c", "stack", ("b", "stack"), id="else the one of another"),
        pytest.param("c", "heap", None, id="which several others have"),
        pytest.param("b", "a.heap", ("a", "heap"), id="that of the task that is named"),
        pytest.param("child", "heap", ("a", "heap"), id="what the parent had at the fork"),
        pytest.param("a", "data", None, id="which nobody has"),
    ],
)
def test_at_names_a_region(task: str, at: str, found: tuple[str, str] | None) -> None:
    names = RegionNames()
    names.declare("a", "heap")
    names.fork("a", "child")
    names.declare("b", "heap")
    names.declare("b", "stack")
    assert names.find(task, at) == found


@pytest.mark.parametrize(
    ("step", "message"),
    [
        pytest.param(
            {"op": "exit", "task": "httpd"},
            "'httpd' is ambiguous, 2 tasks are called so; expected a or b",
            id="a comm of two tasks",
        ),
        pytest.param(
            {"op": "touch", "task": "c", "at": "heap"},
            "'heap' is ambiguous, 2 tasks have it; expected a.heap or b.heap",
            id="a region of two others",
        ),
    ],
)
def test_an_ambiguous_name_is_a_mistake_that_lists_what_it_may_be(
    step: dict[str, str], message: str
) -> None:
    server = {"comm": "httpd", "memory": ({"as": "heap"},)}
    data = {"tasks": {"a": server, "b": server, "c": {}}, "steps": (step,)}
    [mistake] = name_mistakes(data)
    assert mistake.message == message
