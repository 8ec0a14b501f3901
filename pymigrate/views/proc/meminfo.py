"""/proc/meminfo, and /sys/devices/system/node/nodeN/meminfo: what memory is used for.

The kernel's own memory is not simulated: what it takes is 0, and all memory is the machine's.
"""

from collections.abc import Iterator

from pymigrate.mm.frames.watermarks import total_reserve
from pymigrate.mm.offline.memory_failure import num_poisoned_kb
from pymigrate.mm.spaces.hugetlb_pool import nr_free
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.vma import Vm
from pymigrate.units import HPAGE_SIZE, PAGE_SHIFT
from pymigrate.views.proc import vmstat
from pymigrate.views.proc.cma import totals

KB_SHIFT = PAGE_SHIFT - 10
HUGEPAGE_KB = HPAGE_SIZE >> 10
_VMALLOC_KB = 34359738367  # of x86-64 with four levels of page tables
_DIRECT_MAP = "DirectMap4k", "DirectMap2M", "DirectMap1G"
_OVERCOMMIT_RATIO = 50  # vm.overcommit_ratio

# Labels of both files, in their order, with the counters of pages that they are sums of.
_LISTS: dict[str, tuple[str, ...]] = {
    "Active": ("nr_active_anon", "nr_active_file"),
    "Inactive": ("nr_inactive_anon", "nr_inactive_file"),
    "Active(anon)": ("nr_active_anon",),
    "Inactive(anon)": ("nr_inactive_anon",),
    "Active(file)": ("nr_active_file",),
    "Inactive(file)": ("nr_inactive_file",),
    "Unevictable": ("nr_unevictable",),
    "Mlocked": ("nr_mlock",),
}
_TABLES: dict[str, tuple[str, ...]] = {
    "KernelStack": ("nr_kernel_stack",),
    "PageTables": ("nr_page_table_pages",),
    "SecPageTables": ("nr_sec_page_table_pages",),
    "NFS_Unstable": (),
    "Bounce": ("nr_bounce",),
    "WritebackTmp": ("nr_writeback_temp",),
}
_SLAB: dict[str, tuple[str, ...]] = {
    "KReclaimable": ("nr_slab_reclaimable", "nr_kernel_misc_reclaimable"),
    "Slab": ("nr_slab_reclaimable", "nr_slab_unreclaimable"),
    "SReclaimable": ("nr_slab_reclaimable",),
    "SUnreclaim": ("nr_slab_unreclaimable",),
}
_HUGE: dict[str, tuple[str, ...]] = {
    "AnonHugePages": ("nr_anon_transparent_hugepages",),
    "ShmemHugePages": ("nr_shmem_hugepages",),
    "ShmemPmdMapped": ("nr_shmem_pmdmapped",),
    "FileHugePages": ("nr_file_hugepages",),
    "FilePmdMapped": ("nr_file_pmdmapped",),
    "Unaccepted": ("nr_unaccepted",),
}
_IN_HUGE_PAGES = frozenset(name for names in _HUGE.values() for name in names) - {"nr_unaccepted"}


def node_meminfo(machine: Machine, nid: int) -> dict[str, int]:
    """What node *nid*'s memory is used for: kB by the kernel's names, in its order.

    HugePages_Total, _Free and _Surp are numbers of 2 MiB pages. Mirrors node_read_meminfo().
    """
    node = machine.nodes[nid]
    counters = vmstat.node_rows(machine, node)
    shown = {
        "MemTotal": node.nr_pages << KB_SHIFT,
        "MemFree": node.nr_free << KB_SHIFT,
        "MemUsed": (node.nr_pages - node.nr_free) << KB_SHIFT,
    }
    shown |= _sums({"SwapCached": ("nr_swapcached",)} | _LISTS, counters)
    files = {
        "Dirty": ("nr_dirty",),
        "Writeback": ("nr_writeback",),
        "FilePages": ("nr_file_pages",),
        "Mapped": ("nr_mapped",),
        "AnonPages": ("nr_anon_pages",),
        "Shmem": ("nr_shmem",),
    }
    shown |= _sums(files | _TABLES | _SLAB | _HUGE, counters)
    pool = node.hugetlb
    pages = {"Total": pool.nr, "Free": pool.nr_free, "Surp": pool.surplus}
    return shown | {f"HugePages_{name}": nr for name, nr in pages.items()}


def meminfo(machine: Machine) -> dict[str, int]:
    """What the memory of all nodes is used for: kB by the kernel's names, in its order.

    HugePages_* are numbers of 2 MiB pages. There is no swap; DirectMap*, the page sizes of the
    kernel's own mapping of memory, is not simulated and 0. Mirrors meminfo_proc_show().
    """
    counters = vmstat.rows(machine)
    cached = counters["nr_file_pages"] - counters["nr_swapcached"]
    shown = {
        "MemTotal": sum(node.nr_pages for node in machine.nodes.values()) << KB_SHIFT,
        "MemFree": counters["nr_free_pages"] << KB_SHIFT,
        "MemAvailable": _available(machine, counters) << KB_SHIFT,
        "Buffers": 0,
        "Cached": cached << KB_SHIFT,
    }
    shown |= _sums({"SwapCached": ("nr_swapcached",)} | _LISTS, counters)
    shown |= dict.fromkeys(("SwapTotal", "SwapFree", "Zswap", "Zswapped"), 0)
    files = {
        "Dirty": ("nr_dirty",),
        "Writeback": ("nr_writeback",),
        "AnonPages": ("nr_anon_pages",),
        "Mapped": ("nr_mapped",),
        "Shmem": ("nr_shmem",),
    }
    shown |= _sums(files | _SLAB | _TABLES, counters)
    shown |= _commitment(machine)
    shown |= {"VmallocTotal": _VMALLOC_KB, "VmallocUsed": 0, "VmallocChunk": 0}
    shown |= {"Percpu": 0}
    shown["HardwareCorrupted"] = num_poisoned_kb(machine)
    shown |= _sums(_HUGE, counters)
    total, free = totals(machine)
    if total:
        unaccepted = shown.pop("Unaccepted")
        shown |= {"CmaTotal": total << KB_SHIFT, "CmaFree": free << KB_SHIFT}
        shown["Unaccepted"] = unaccepted
    return shown | _hugetlb(machine) | dict.fromkeys(_DIRECT_MAP, 0)


def format_node(nid: int, values: dict[str, int]) -> str:
    """The text of the node's file."""
    return "".join(f"Node {nid} {line}\n" for line in _lines(values, huge_width=17))


def format_rows(values: dict[str, int]) -> str:
    """The text of /proc/meminfo."""
    return "".join(f"{line}\n" for line in _lines(values, huge_width=19))


def _lines(values: dict[str, int], huge_width: int) -> Iterator[str]:
    for name, value in values.items():
        if name.startswith("HugePages_"):
            yield f"{name + ':':{huge_width}}{value:5}"
        elif name == "HardwareCorrupted":
            yield f"{name + ':':19}{value:5} kB"
        else:
            yield f"{name + ':':16}{value:8} kB"


def _sums(labels: dict[str, tuple[str, ...]], counters: dict[str, int]) -> dict[str, int]:
    """The kB that counters of pages, some of them of huge pages, add up to."""
    return {
        label: sum(
            counters[name] * (HUGEPAGE_KB if name in _IN_HUGE_PAGES else 1 << KB_SHIFT)
            for name in names
        )
        for label, names in labels.items()
    }


def _available(machine: Machine, counters: dict[str, int]) -> int:
    """Base pages that programs could get without swapping. Mirrors si_mem_available()."""
    low = sum(zone.watermark_low for node in machine.nodes.values() for zone in node.zones)
    cached = counters["nr_active_file"] + counters["nr_inactive_file"]
    slab = counters["nr_slab_reclaimable"] + counters["nr_kernel_misc_reclaimable"]
    reclaimable = sum(nr - min(nr // 2, low) for nr in (cached, slab))
    return max(counters["nr_free_pages"] - total_reserve(machine) + reclaimable, 0)


def _commitment(machine: Machine) -> dict[str, int]:
    """What may be promised and what is. Mirrors vm_commit_limit() and vm_committed_as."""
    total = sum(node.nr_pages for node in machine.nodes.values())
    pools = _pool_kb(machine) >> KB_SHIFT
    committed = sum(
        vma.nr for mm in machine.mms.values() for vma in mm.vmas if vma.flags & Vm.ACCOUNT
    )
    for space in machine.spaces.values():
        if space.fs == "tmpfs":  # promised page by page
            committed += sum(run.nr for run in space.pages.runs)
        elif space.is_shmem:
            committed += space.nr_pages
    limit = (total - pools) * _OVERCOMMIT_RATIO // 100
    return {"CommitLimit": limit << KB_SHIFT, "Committed_AS": committed << KB_SHIFT}


def _hugetlb(machine: Machine) -> dict[str, int]:
    """The pools of all nodes. Mirrors hugetlb_report_meminfo()."""
    pools = [node.hugetlb for node in machine.nodes.values()]
    return {
        "HugePages_Total": sum(pool.nr for pool in pools),
        "HugePages_Free": nr_free(machine),
        "HugePages_Rsvd": machine.resv_huge_pages,
        "HugePages_Surp": sum(pool.surplus for pool in pools),
        "Hugepagesize": HUGEPAGE_KB,
        "Hugetlb": _pool_kb(machine),
    }


def _pool_kb(machine: Machine) -> int:
    return sum(node.hugetlb.nr for node in machine.nodes.values()) * HUGEPAGE_KB
