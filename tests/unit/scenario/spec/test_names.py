from pymigrate.scenario.spec.names import RegionNames


def test_at_names_the_tasks_own_region_first() -> None:
    names = RegionNames()
    names.declare("a", "heap")
    names.declare("b", "heap")
    assert names.find("a", "heap") == ("a", "heap")


def test_at_names_the_latest_region_of_another_task_else() -> None:
    names = RegionNames()
    names.declare("a", "heap")
    names.declare("b", "heap")
    assert names.find("c", "heap") == ("b", "heap")


def test_at_with_a_task_names_the_region_of_that_task() -> None:
    names = RegionNames()
    names.declare("a", "heap")
    names.declare("b", "heap")
    assert names.find("b", "a.heap") == ("a", "heap")


def test_child_names_what_its_parent_had_at_the_fork() -> None:
    names = RegionNames()
    names.declare("a", "heap")
    names.fork("a", "child")
    names.declare("b", "heap")
    assert names.find("child", "heap") == ("a", "heap")


def test_unknown_region_is_none() -> None:
    assert RegionNames().find("a", "heap") is None
