"""set_mempolicy, get_mempolicy and set_mempolicy_home_node."""

from tests.cli.conftest import Outcome, Shell


def test_policy_of_a_process(shell: Shell) -> None:
    assert shell("get_mempolicy a") == Outcome(0, "default\n")
    assert shell("set_mempolicy a interleave=static:0-1") == Outcome(0)
    assert shell("get_mempolicy a") == Outcome(0, "interleave=static:0-1\n")
    assert shell("set_mempolicy a default") == Outcome(0)
    assert shell("get_mempolicy 100") == Outcome(0, "default\n")


def test_policy_of_an_address(shell: Shell) -> None:
    shell.out("mbind a heap+8KiB 4KiB preferred:1")
    assert shell("get_mempolicy a heap") == Outcome(0, "default\n")
    assert shell("get_mempolicy a heap+8KiB") == Outcome(0, "prefer:1\n")
    assert shell("get_mempolicy a 10002abc") == Outcome(0, "prefer:1\n")


def test_node_of_a_page(shell: Shell) -> None:
    assert shell("get_mempolicy a heap+28KiB --node") == Outcome(0, "1\n")
    assert shell.json("get_mempolicy a heap --node") == {
        "ret": 0,
        "errno": None,
        "mode": "default",
        "mode_flags": [],
        "nodes": "",
        "node": 0,
    }


def test_mems_allowed(shell: Shell) -> None:
    assert shell("get_mempolicy a --mems-allowed") == Outcome(0, "0-1\n")
    shell.out("cpuset create right --cpus 2-3 --mems 1")
    shell.out("cpuset attach right a")
    assert shell("get_mempolicy a --mems-allowed") == Outcome(0, "1\n")


def test_json(shell: Shell) -> None:
    assert shell.json("set_mempolicy a 'bind=static|balancing:0-1'") == {"ret": 0, "errno": None}
    assert shell.json("get_mempolicy a") == {
        "ret": 0,
        "errno": None,
        "mode": "bind",
        "mode_flags": ["static", "balancing"],
        "nodes": "0-1",
    }


def test_home_node(shell: Shell) -> None:
    shell.out("set_mempolicy b default")
    shell.out("task mmap a new 16KiB")
    shell.out("mbind a new 16KiB bind:0-1")
    assert shell("set_mempolicy_home_node a new 16KiB 1") == Outcome(0)
    shell.out("task touch a new")
    assert shell.out("move_pages a new --query").endswith("4 pages on node 1\n")
