"""Trees of /proc and /sys as small as they may be."""

from pathlib import Path

import pytest

MAPS = """\
00400000-00402000 r-xp 00000000 08:01 77                         /bin/app
00402000-00405000 rw-p 00002000 08:01 77                         /bin/app
01000000-01010000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000004000 rw-s 00000000 00:01 9                  /dev/zero (deleted)
7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                  [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0          [vsyscall]
"""
NUMA_MAPS = """\
00400000 prefer:1 file=/bin/app mapped=2 mapmax=7 active=0 N0=2 kernelpagesize_kB=4
00402000 prefer:1 file=/bin/app anon=1 dirty=1 mapped=2 active=0 N0=1 N1=1 kernelpagesize_kB=4
01000000 prefer:1 heap anon=6 dirty=4 active=0 N0=2 N1=4 kernelpagesize_kB=4
7f0000000000 weighted interleave:0-1 file=/dev/zero\\040(deleted) dirty=2 N0=1 N1=1 \
kernelpagesize_kB=4
7ffffffde000 prefer:1 stack anon=2 dirty=2 N1=2 kernelpagesize_kB=4
"""
STATUS = """\
Name:\tapp
PPid:\t1
Uid:\t1000\t1000\t1000\t1000
CapEff:\t0000000000800000
Cpus_allowed_list:\t0-1
Mems_allowed_list:\t0-1
"""


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with two nodes and process 77."""
    for nid, cpus in enumerate(("0-1", "2-3")):
        node = f"sys/devices/system/node/node{nid}"
        write(tmp_path, f"{node}/cpulist", f"{cpus}\n")
        write(tmp_path, f"{node}/meminfo", f"Node {nid} MemTotal:       65536 kB\n")
        write(tmp_path, f"{node}/distance", "10 21\n" if nid == 0 else "21 10\n")
        write(tmp_path, f"{node}/hugepages/hugepages-2048kB/nr_hugepages", f"{nid * 2}\n")
    write(tmp_path, "sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n")
    write(tmp_path, "sys/kernel/mm/transparent_hugepage/defrag", "always defer [madvise] never\n")
    write(tmp_path, "sys/kernel/mm/numa/demotion_enabled", "false\n")
    write(tmp_path, "proc/sys/kernel/numa_balancing", "0\n")
    write(tmp_path, "proc/sys/kernel/osrelease", "6.1.0-18-amd64\n")
    write(tmp_path, "proc/77/maps", MAPS)
    write(tmp_path, "proc/77/numa_maps", NUMA_MAPS)
    write(tmp_path, "proc/77/status", STATUS)
    write(tmp_path, "proc/77/cpuset", "/\n")
    return tmp_path
