"""A copied tree of /proc and /sys with one process that has as many mappings as are wanted."""

import sys
from pathlib import Path

PID = 4321
_FIRST = 0x7F0000000000
_STATUS = f"""\
Name:\tserver
Pid:\t{PID}
PPid:\t1
Uid:\t1000\t1000\t1000\t1000
VmSize:\t1000000 kB
CapEff:\t0000000000000000
Cpus_allowed_list:\t0-3
Mems_allowed_list:\t0-1
"""


def write_tree(root: Path, nr: int) -> None:
    """Write a machine of two nodes below *root* with a process of *nr* mappings and its stack."""
    node_files = {"distance": ("10 21", "21 10"), "cpulist": ("0-1", "2-3")}
    files = {"proc/sys/kernel/osrelease": "6.12.0\n", f"proc/{PID}/status": _STATUS}
    for nid in (0, 1):
        folder = f"sys/devices/system/node/node{nid}"
        files[f"{folder}/meminfo"] = f"Node {nid} MemTotal:       {64 << 20} kB\n"
        files |= {f"{folder}/{name}": f"{texts[nid]}\n" for name, texts in node_files.items()}
    maps, numa_maps, smaps = [], [], []
    at = _FIRST
    for number in range(nr):
        line, policy, counts, page_count = _mapping(number)
        end = at + (page_count << 12)
        maps.append(f"{at:08x}-{end:08x} {line}\n")
        counts = f" {counts} kernelpagesize_kB=4" if counts else ""
        numa_maps.append(f"{at:08x} {policy}{counts}\n")
        smaps.append(f"{maps[-1]}{_SMAPS}")
        at = end + (0x1000 if number % 4 == 3 else 0)
    maps.append("7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                  [stack]\n")
    numa_maps.append("7ffffffde000 default stack anon=2 dirty=2 N1=2 kernelpagesize_kB=4\n")
    smaps.append(f"{maps[-1]}{_SMAPS}")
    for name, lines in (("maps", maps), ("numa_maps", numa_maps), ("smaps", smaps)):
        files[f"proc/{PID}/{name}"] = "".join(lines)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _mapping(number: int) -> tuple[str, str, str, int]:
    """What maps says behind the addresses, the policy, the counts, and how many pages there are.

    In turns a library's text and data, an arena of malloc and its guard, a file that is mapped in
    windows, memory with a policy of its own, shared memory, and more of an arena.
    """
    library = f"/usr/lib/lib{number // 8 % 300}.so"
    inode = 1000 + number // 8 % 300
    nids = number // 8 % 2, 1 - number // 8 % 2
    anon = "00000000 00:00 0 "
    window = f"{number // 8 * 0x10000:08x} 08:01 77"
    return (
        (
            f"r-xp 00000000 08:01 {inode}  {library}",
            "default",
            f"file={library} mapped=6 mapmax=9 N{nids[0]}=6",
            16,
        ),
        (
            f"rw-p 00010000 08:01 {inode}  {library}",
            "default",
            f"file={library} anon=3 dirty=3 mapped=4 N0=3 N1=1",
            4,
        ),
        (f"rw-p {anon}", "default", f"anon=26 dirty=26 N{nids[0]}=20 N{nids[1]}=6", 33),
        (f"---p {anon}", "default", "", 1),
        (
            f"r--s {window} /data/table",
            "default",
            "file=/data/table mapped=16 N0=9 N1=7",
            16,
        ),
        (f"rw-p {anon}", f"bind:{nids[0]}", f"anon=64 dirty=60 N{nids[0]}=64", 64),
        (
            f"rw-s {window} /dev/shm/ring",
            "interleave:0-1",
            "file=/dev/shm/ring dirty=8 N0=4 N1=4",
            16,
        ),
        (f"rw-p {anon}", "default", f"anon=5 dirty=5 N{nids[1]}=5", 8),
    )[number % 8]


# What the kernel prints of each mapping, in kB; all else is 0.
_SIZES = {"Size": 132, "KernelPageSize": 4, "MMUPageSize": 4} | dict.fromkeys(
    "Rss Pss Pss_Dirty Private_Dirty Referenced Anonymous".split(), 104
)
_FIELDS = """
    Size KernelPageSize MMUPageSize Rss Pss Pss_Dirty Shared_Clean Shared_Dirty Private_Clean
    Private_Dirty Referenced Anonymous KSM LazyFree AnonHugePages ShmemPmdMapped FilePmdMapped
    Shared_Hugetlb Private_Hugetlb Swap SwapPss Locked
"""
_SMAPS = "".join(f"{name + ':':16}{_SIZES.get(name, 0):8} kB\n" for name in _FIELDS.split())
_SMAPS += "THPeligible:           0\nVmFlags: rd wr mr mw me ac sd\n"


if __name__ == "__main__":
    write_tree(Path(sys.argv[1]), int(sys.argv[2]))
