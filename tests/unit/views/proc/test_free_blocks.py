"""The texts about free blocks: buddyinfo, pagetypeinfo, extfrag."""

import pytest

from pymigrate.mm.base.pageblock import MigrateType
from pymigrate.mm.frames.buddy import set_pageblocks
from pymigrate.mm.frames.page_alloc import reserve_pages
from pymigrate.mm.state.machine import Machine
from pymigrate.views.proc import buddyinfo, extfrag, pagetypeinfo
from tests.conftest import two_nodes


@pytest.fixture
def machine() -> Machine:
    machine = two_nodes("16MiB")
    reserve_pages(machine.nodes[0], 3)
    set_pageblocks(machine.nodes[0].zones[0], 512, 1024, migratetype=MigrateType.UNMOVABLE)
    return machine


def test_buddyinfo_is_the_kernels_text(machine: Machine) -> None:
    assert buddyinfo.format_rows(buddyinfo.rows(machine)) == (
        "Node 0, zone      DMA "
        "     1      0      1      1      1      1      1      1      1      1      3 \n"
        "Node 1, zone    DMA32 "
        "     0      0      0      0      0      0      0      0      0      0      4 \n"
    )


def test_pagetypeinfo_is_the_kernels_text(machine: Machine) -> None:
    text = pagetypeinfo.format_rows(pagetypeinfo.rows(machine)[:1])
    assert text.splitlines()[:6] == [
        "Page block order: 9",
        "Pages per block:  512",
        "",
        "Free pages count per migrate type at order "
        "      0      1      2      3      4      5      6      7      8      9     10 ",
        "Node    0, zone      DMA, type    Unmovable "
        "     0      0      0      0      0      0      0      0      0      1      0 ",
        "Node    0, zone      DMA, type      Movable "
        "     1      0      1      1      1      1      1      1      1      0      3 ",
    ]
    assert text.splitlines()[-3:] == [
        "",
        "Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic      Isolate ",
        "Node 0, zone      DMA            1            7            0            0            0 ",
    ]


def test_each_node_has_its_part_and_long_lists_are_cut() -> None:
    rows = pagetypeinfo.rows(two_nodes("16MiB"))
    assert pagetypeinfo.format_rows(rows).count("Page block order: 9\n") == 2
    rows[0].free["Movable"][10] = 100_001
    assert " >100000 \n" in pagetypeinfo.format_rows(rows)


def test_extfrag_prints_thousandths(machine: Machine) -> None:
    rows = extfrag.rows(machine)
    assert extfrag.format_extfrag(rows).splitlines()[1] == "Node 1, zone    DMA32 " + "-1.000 " * 11
    rows[1] = rows[1]._replace(extfrag_index=[998, 0, -500])
    assert extfrag.format_extfrag(rows).splitlines()[1] == (
        "Node 1, zone    DMA32  0.998  0.000  0.-500 "
    )
    assert extfrag.format_unusable(rows).splitlines()[0] == (
        "Node 0, zone      DMA 0.000 0.000 0.000 0.001 0.003 0.007 0.014 0.030 0.061 0.124 0.249 "
    )
