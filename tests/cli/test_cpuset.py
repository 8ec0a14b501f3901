import pytest

from tests.cli.conftest import SCENARIO, Outcome, Shell


def test_memory_follows_when_nodes_change(shell: Shell) -> None:
    shell.out("cpuset create one --cpus 0-3 --mems 0")
    shell.out("cpuset attach one a")
    assert shell("cpuset set one --mems 1") == Outcome(0)
    assert shell.maps("a")[0] == "default heap anon=8 dirty=8 active=0 N1=8 kernelpagesize_kB=4"
    assert shell("cpuset set one --cpus 1") == Outcome(0)
    assert shell.out("cpuset list").splitlines()[2] == "one     1     1     yes      100"


def test_cpusets_lie_in_others(shell: Shell) -> None:
    shell.out("cpuset create out --cpus 0-3 --mems 0")
    shell.out("cpuset create out/in --cpus 2 --mems 0")
    assert shell("cpuset attach out/in a") == Outcome(0)
    assert shell("cpuset set out --mems 1") == Outcome(0)
    assert "N1=8" in shell.out("numa_maps 100")
    assert shell.out("cpuset list").splitlines()[3] == "out/in  2     0     yes      100"
    shell.out("cpuset attach / a")
    assert shell("cpuset remove out/in") == Outcome(0)
    assert shell("cpuset remove out") == Outcome(0)
    assert len(shell.json("cpuset list")) == 1


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0,1-2,", "0-2"), ("0-3:1/2", "0,2"), ("all", "0-3"), ("1-N", "1-3"), ("0 1", "0-1")],
)
def test_lists_are_the_kernels(shell: Shell, text: str, cpus: str) -> None:
    shell.out("cpuset create c --cpus 3 --mems 0")
    assert shell(["cpuset", "set", "c", "--cpus", text]) == Outcome(0)
    assert shell.out("cpuset list").splitlines()[2].split()[1] == cpus


def test_back_to_the_first_cpuset(shell: Shell) -> None:
    shell.out("cpuset create right --cpus 2-3 --mems 1")
    shell.out("cpuset attach right a")
    assert shell("cpuset attach / a") == Outcome(0)
    assert shell.json("cpuset list")[0]["pids"] == [100, 200]


def test_json(shell: Shell) -> None:
    assert shell.json("cpuset create left --cpus 0-1 --mems 0") == {"ret": 0, "errno": None}
    assert shell.json("cpuset list") == [
        {"name": "/", "cpus": "0-3", "mems": "0-1", "memory_migrate": True, "pids": [100, 200]},
        {"name": "left", "cpus": "0-1", "mems": "0", "memory_migrate": True, "pids": []},
    ]


def test_memory_migrate_is_a_choice_on_linux_6_1(shell: Shell) -> None:
    shell.boot(f'kernel: "6.1"\n{SCENARIO}')
    shell.out("cpuset create stay --cpus 0-3 --mems 1")
    shell.out("cpuset create follow --cpus 0-3 --mems 1 --memory-migrate")
    assert [row["memory_migrate"] for row in shell.json("cpuset list")][1:] == [False, True]
    shell.out("cpuset attach stay a")
    assert " N0=6 N1=2 " in shell.maps("a")[0]
    shell.out("cpuset set stay --memory-migrate")
    shell.out("cpuset set follow --no-memory-migrate")
    assert [row["memory_migrate"] for row in shell.json("cpuset list")][1:] == [True, False]


def test_pages_that_do_not_follow(shell: Shell) -> None:
    shell.out("task pin a heap+0:4KiB")
    shell.out("cpuset create right --cpus 2-3 --mems 1")
    assert shell("cpuset attach right a") == Outcome(
        0,
        "",
        "pymigrate: 1 page of process 100 stayed: 1 pinned; `pymigrate explain --last` says more\n",
    )
    shell.out("task pin a heap+4KiB:4KiB")
    assert shell("cpuset set right --mems 0 --strict -q") == Outcome(4)
    assert shell("cpuset set right --cpus 2 -v").stderr == "pymigrate: no page had to move\n"
