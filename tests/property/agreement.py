"""What the views and the allocator have in common: they tell of the same pages."""

from functools import partial

from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Node
from pymigrate.mm.state.task import Task
from pymigrate.views.proc import buddyinfo, numa_maps, smaps, status, vmstat, zoneinfo
from pymigrate.views.proc.meminfo import meminfo, node_meminfo

PAGE_KB = 4
HUGE = 512  # base pages
PAGE_PSS = 4096 << 12  # a page that one entry maps


_OF_THE_KERNEL = FrameFlag.MOVABLE | FrameFlag.CLEARED | FrameFlag.KERNEL | FrameFlag.CONTIG


def check(machine: Machine) -> None:
    """Assert what the views have in common."""
    nodes = {nid: node_meminfo(machine, nid) for nid in machine.nodes}
    for nid, node in machine.nodes.items():
        check_node(node, nodes[nid])
    check_sums(machine, nodes)
    mapped = sum(check_task(machine, task) for task in machine.processes)
    check_shares(machine, nodes, mapped)


def check_node(node: Node, shown: dict[str, int]) -> None:
    """A node's meminfo is what its allocator has given away, and to whom."""
    used = {"anon": 0, "pool": 0, "others": 0, "file": 0, "swapcache": 0}
    for start, nr, frame in node.memmap.runs:
        flags = frame.flags
        if node.zone_of(start).offline.at(start):
            assert flags & FrameFlag.HWPOISON, f"{start:#x} is offline, and in use"
        elif flags & FrameFlag.HUGETLB:
            used["pool"] += nr
        elif flags & _OF_THE_KERNEL or (flags & FrameFlag.HWPOISON and not frame.owner):
            used["others"] += nr
        elif frame.is_anon:
            # One that is pinned, but no longer mapped, counts nowhere.
            used["anon"] += nr if frame.mapcount else 0
            used["others"] += 0 if frame.mapcount else nr
            used["swapcache"] += nr if flags & FrameFlag.SWAPCACHE else 0
        else:
            used["file"] += nr
    assert shown["MemTotal"] == PAGE_KB * sum(zone.managed for zone in node.zones)
    assert shown["MemFree"] == PAGE_KB * sum(zone.nr_free for zone in node.zones)
    taken = used["anon"] + used["pool"] + used["others"] + used["file"]
    assert shown["MemUsed"] == PAGE_KB * taken
    assert shown["HugePages_Total"] * HUGE == used["pool"]
    assert shown["HugePages_Free"] * HUGE == sum(extent.nr for extent in node.hugetlb.free.runs)
    assert shown["FilePages"] == PAGE_KB * (used["file"] + used["swapcache"])


def check_sums(machine: Machine, nodes: dict[int, dict[str, int]]) -> None:
    """The machine's figures are the sums of its nodes'."""
    whole = meminfo(machine)
    for name, value in whole.items():
        if all(name in shown for shown in nodes.values()):
            assert value == sum(shown[name] for shown in nodes.values()), name
    assert whole["Cached"] == sum(s["FilePages"] - s["SwapCached"] for s in nodes.values())
    assert whole["Hugetlb"] == 2048 * whole["HugePages_Total"]
    of_nodes = [vmstat.node_rows(machine, node) for node in machine.nodes.values()]
    counters = vmstat.rows(machine)
    for name in of_nodes[0]:
        assert counters[name] == sum(values[name] for values in of_nodes), name
    check_zones(machine, dict(zip(machine.nodes, of_nodes, strict=True)))


def check_zones(machine: Machine, of_nodes: dict[int, dict[str, int]]) -> None:
    """What zoneinfo shows of the zones is what their nodes have."""
    free = [
        sum(nr << order for order, nr in enumerate(row.counts)) for row in buddyinfo.rows(machine)
    ]
    rows = zoneinfo.rows(machine)
    assert free == [row.counters["nr_free_pages"] for row in rows if row.zone]
    for nid, values in of_nodes.items():
        zones = [row.counters for row in rows if row.nid == nid and row.zone]
        for name in zones[0] if zones else ():
            assert sum(counters[name] for counters in zones) == values[name], name


def check_task(machine: Machine, task: Task) -> int:
    """Each VMA has the same pages in smaps and in numa_maps; gives the Pss of all."""
    rows, gone = smaps.rows(machine, task), 0
    for vma, row, numa in zip(task.mm.vmas, rows, numa_maps.rows(machine, task), strict=True):
        counts, kb = row.counts, partial(smaps.kb, row.counts)
        assert row.head.start == numa.start << 12
        runs = task.mm.page_table.between(vma.start, vma.end)
        bad = sum(run.nr for run in runs if run.flags & Pte.HWPOISON)
        if numa.is_huge:
            shown = kb("Shared_Hugetlb") + kb("Private_Hugetlb")
            assert shown == 2048 * numa.pages + PAGE_KB * bad
            assert not counts["Rss"]
            continue
        gone += bad
        away = sum(run.nr for run in runs if run.flags & Pte.DEVICE)
        assert kb("Rss") == PAGE_KB * (numa.pages + away + bad)
        assert kb("Anonymous") == PAGE_KB * (numa.anon + away) + kb("BadAnon")
        assert kb("Private_Clean") + kb("Private_Dirty") + kb("Shared_Clean") + kb(
            "Shared_Dirty"
        ) == kb("Rss")
        assert counts["Pss"] == counts["Pss_Anon"] + counts["Pss_File"] + counts["Pss_Shmem"]
        assert counts["Pss"] <= counts["Rss"] << 12
        # Of a huge entry numa_maps looks at the first page only, of a device's pages at none.
        if numa.mapmax <= 1 and not counts["AnonHugePages"] and not away:
            assert counts["Pss"] == counts["Rss"] << 12
    whole = smaps.total(rows)
    assert status.sizes(machine, task, rows)["VmRSS"] + gone << 12 == whole["Rss"]
    return whole["Pss"] - gone * PAGE_PSS


def check_shares(machine: Machine, nodes: dict[int, dict[str, int]], pss: int) -> None:
    """The shares of all tasks make up the pages that are mapped, but for their roundings."""
    pages = sum(shown["AnonPages"] + shown["Mapped"] for shown in nodes.values()) // PAGE_KB
    entries = sum(run.nr for mm in machine.mms.values() for run in mm.page_table.runs)
    assert pages * PAGE_PSS - entries <= pss <= pages * PAGE_PSS
