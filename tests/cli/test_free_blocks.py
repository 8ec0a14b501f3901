"""``pymigrate pagetypeinfo`` and ``extfrag``."""

from tests.cli.conftest import Shell

SCENARIO = """\
machine:
  nodes:
    0:
      cpus: "0"
      memory: 16MiB
      fragmentation: [{stride: 2, size: 14MiB}, {pages: unmovable, stride: 512, offset: 14MiB}]
"""


def test_pagetypeinfo_tells_the_types(shell: Shell) -> None:
    assert "Node 0, zone      DMA            1            7" in shell.out("pagetypeinfo")
    [zone] = shell.json("pagetypeinfo")
    assert {name: nr for name, nr in zone["pageblocks"].items() if nr} == {
        "Unmovable": 1,
        "Movable": 7,
    }


def test_extfrag_prints_the_other_index_too(shell: Shell) -> None:
    assert shell.out("extfrag --unusable").startswith("Node 0, zone      DMA 0.000 0.778 ")
    [zone] = shell.json("extfrag")
    assert zone["extfrag_index"][9] == 997
