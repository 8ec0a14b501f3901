"""``pymigrate buddyinfo``, ``pagetypeinfo`` and ``extfrag``."""

from tests.cli.conftest import Shell

SCENARIO = """\
machine:
  nodes:
    0:
      cpus: "0"
      memory: 16MiB
      fragmentation: [{stride: 2, size: 14MiB}, {pages: unmovable, stride: 512, offset: 14MiB}]
"""


def test_a_checkerboard_has_single_pages(shell: Shell) -> None:
    assert shell.out("buddyinfo") == (
        "Node 0, zone      DMA "
        "  1793      1      1      1      1      1      1      1      1      0      0 \n"
    )
    assert shell.json("buddyinfo") == [{"node": 0, "zone": "DMA", "counts": [1793, *[1] * 8, 0, 0]}]


def test_pagetypeinfo_tells_the_types(shell: Shell) -> None:
    assert "Node 0, zone      DMA            1            7" in shell.out("pagetypeinfo")
    [zone] = shell.json("pagetypeinfo")
    assert zone["pageblocks"] == {
        "Unmovable": 1,
        "Movable": 7,
        "Reclaimable": 0,
        "HighAtomic": 0,
        "Isolate": 0,
    }


def test_extfrag_prints_both_indexes(shell: Shell) -> None:
    assert shell.out("extfrag").endswith("-1.000 -1.000  0.997  0.999 \n")
    assert shell.out("extfrag --unusable").startswith("Node 0, zone      DMA 0.000 0.778 ")
    [zone] = shell.json("extfrag")
    assert zone["extfrag_index"][9] == 997
