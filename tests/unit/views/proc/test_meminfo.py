"""What memory is used for: of a node, and of all."""

from pymigrate.mm.base.memmap import Frame, FrameFlag, FrameRun
from pymigrate.mm.frames.page_alloc import reserve_pages
from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.state.machine import Machine, add_device
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.drivers import migrate_vma
from pymigrate.syscalls.mmap import mlock
from pymigrate.syscalls.process import touch
from pymigrate.views.proc.meminfo import format_node, format_rows, meminfo, node_meminfo
from tests.conftest import PAGE, mapped, new_file, nodes_with, touched

NAMES = """
MemTotal MemFree MemAvailable Buffers Cached SwapCached Active Inactive Active(anon)
Inactive(anon) Active(file) Inactive(file) Unevictable Mlocked SwapTotal SwapFree Zswap Zswapped
Dirty Writeback AnonPages Mapped Shmem KReclaimable Slab SReclaimable SUnreclaim KernelStack
PageTables SecPageTables NFS_Unstable Bounce WritebackTmp CommitLimit Committed_AS VmallocTotal
VmallocUsed VmallocChunk Percpu HardwareCorrupted AnonHugePages ShmemHugePages ShmemPmdMapped
FileHugePages FilePmdMapped Unaccepted HugePages_Total HugePages_Free HugePages_Rsvd
HugePages_Surp Hugepagesize Hugetlb DirectMap4k DirectMap2M DirectMap1G
""".split()
NODE_NAMES = """
MemTotal MemFree MemUsed SwapCached Active Inactive Active(anon) Inactive(anon) Active(file)
Inactive(file) Unevictable Mlocked Dirty Writeback FilePages Mapped AnonPages Shmem KernelStack
PageTables SecPageTables NFS_Unstable Bounce WritebackTmp KReclaimable Slab SReclaimable
SUnreclaim AnonHugePages ShmemHugePages ShmemPmdMapped FileHugePages FilePmdMapped Unaccepted
HugePages_Total HugePages_Free HugePages_Surp
""".split()


def used(machine: Machine, nid: int) -> dict[str, int]:
    """What is not 0 on a node, but for its size and what is free."""
    return {
        name: value
        for name, value in node_meminfo(machine, nid).items()
        if value and name not in ("MemTotal", "MemFree")
    }


def test_a_node_counts_its_own_memory_alone(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB", node=1)
    assert used(machine, 0) == {}
    anon = {"Active": 16, "Active(anon)": 16, "AnonPages": 16}
    assert used(machine, 1) == {"MemUsed": 16, **anon}
    assert node_meminfo(machine, 1)["MemFree"] == 65536 - 16


def test_shared_memory_is_of_files_and_mapped(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB", is_shared=True)
    lists = {"Active": 16, "Active(anon)": 16}
    assert used(machine, 0) == {"MemUsed": 16, **lists, "FilePages": 16, "Mapped": 16, "Shmem": 16}
    assert meminfo(machine)["Cached"] == 16


def test_a_pool_is_used_and_counted_in_huge_pages(machine: Machine) -> None:
    set_nr_hugepages(machine, 3, 1)
    assert used(machine, 1) == {"MemUsed": 6144, "HugePages_Total": 3, "HugePages_Free": 3}
    assert meminfo(machine)["Hugetlb"] == 6144
    assert meminfo(machine)["HugePages_Free"] == 3
    assert meminfo(machine)["CommitLimit"] == (131072 - 6144) // 2


def test_huge_pages_are_shown_in_kb(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    touched(machine, task, "4MiB")
    assert node_meminfo(machine, 0)["AnonHugePages"] == 4096
    assert meminfo(machine)["AnonHugePages"] == 4096


def test_locked_memory_is_unevictable(machine: Machine, task: Task) -> None:
    mlock(machine, task, mapped(machine, task, "16KiB"), 4 * PAGE)
    found = {"MemUsed": 16, "Unevictable": 16, "Mlocked": 16, "AnonPages": 16}
    assert used(machine, 0) == found


def test_dirty_pages_of_a_disk_file(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB", space=new_file(machine, "16KiB", "ext4"), is_shared=True)
    touch(machine, task, addr, PAGE)
    assert meminfo(machine)["Dirty"] == 4
    assert meminfo(machine)["Active(file)"] == 16


def test_a_node_without_memory_has_only_zeros() -> None:
    machine = nodes_with("64MiB", "0")
    assert set(node_meminfo(machine, 1).values()) == {0}


def test_what_is_promised_is_private_writable_memory_and_shared_objects(
    machine: Machine, task: Task
) -> None:
    mapped(machine, task, "16KiB")
    mapped(machine, task, "32KiB", prot="r")
    mapped(machine, task, "64KiB", is_shared=True)
    assert meminfo(machine)["Committed_AS"] == 16 + 64


def test_available_memory_leaves_out_the_reserves(machine: Machine) -> None:
    zones = [zone for node in machine.nodes.values() for zone in node.zones]
    assert [(zone.watermark_high, zone.reserve) for zone in zones] == [(67, 48), (201, 0), (271, 0)]
    assert meminfo(machine)["MemAvailable"] == 131072 - 4 * (67 + 48 + 201 + 271)


def test_the_text_of_a_node(machine: Machine) -> None:
    lines = format_node(0, node_meminfo(machine, 0)).splitlines()
    assert [line.split()[2].rstrip(":") for line in lines] == NODE_NAMES
    assert lines[0] == "Node 0 MemTotal:          65536 kB"
    assert lines[7] == "Node 0 Inactive(anon):        0 kB"
    assert lines[34:] == [
        "Node 0 HugePages_Total:     0",
        "Node 0 HugePages_Free:      0",
        "Node 0 HugePages_Surp:      0",
    ]


def test_the_text_of_the_machine(machine: Machine) -> None:
    lines = format_rows(meminfo(machine)).splitlines()
    assert lines[0] == "MemTotal:         131072 kB"
    assert lines[-9:] == [
        "HugePages_Total:       0",
        "HugePages_Free:        0",
        "HugePages_Rsvd:        0",
        "HugePages_Surp:        0",
        "Hugepagesize:       2048 kB",
        "Hugetlb:               0 kB",
        "DirectMap4k:           0 kB",
        "DirectMap2M:           0 kB",
        "DirectMap1G:           0 kB",
    ]
    names = [line.partition(":")[0] for line in lines]
    assert names == NAMES


def test_memory_on_a_device_counts_for_the_node_of_its_driver(machine: Machine, task: Task) -> None:
    add_device(machine, "gpu", 64)
    addr = touched(machine, task, "16KiB", node=1)
    migrate_vma(machine, task, addr, 2 * PAGE, "gpu")
    assert node_meminfo(machine, 0)["AnonPages"] == 8
    assert node_meminfo(machine, 1)["AnonPages"] == 8
    assert meminfo(machine)["AnonPages"] == 16


def test_half_of_the_page_cache_and_of_slabs_is_available(machine: Machine, task: Task) -> None:
    before = meminfo(machine)["MemAvailable"]
    space = new_file(machine, "1MiB", "ext4")
    touched(machine, task, "1MiB", space=space, is_shared=True)
    assert meminfo(machine)["MemAvailable"] == before - 512
    node = machine.nodes[1]
    [(start, _)] = reserve_pages(node, 64)
    slab = Frame(0, FrameFlag.KERNEL | FrameFlag.RECLAIMABLE)
    node.memmap.put(start, start + 64, FrameRun(start, 64, slab))
    assert meminfo(machine)["SReclaimable"] == 256
    assert meminfo(machine)["MemAvailable"] == before - 512 - 128
