"""The guest's first file system: its programs, the kernel's modules, and what init does."""

import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

MODULES = """
    virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_console
    crc32c_generic crc32c-cryptoapi libcrc32c crc16 mbcache jbd2 virtio_blk ext4
""".split()
FOLDERS = "bin proc sys dev tmp shm ext4 hfs cg mod".split()
FOLDER, FILE, PROGRAM, LINK = 0o40755, 0o100644, 0o100755, 0o120777
INIT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
for m in /mod/*.ko; do insmod $m 2>/dev/null; done
mount -t tmpfs -o size=90% shm /shm
mount -t ext4 -o noatime,commit=3000 /dev/vda /ext4 || echo NO EXT4
mount -t hugetlbfs -o pagesize=2M hfs /hfs
w() { echo $1 > $2 2>/dev/null; }
w 0 /proc/sys/vm/dirty_writeback_centisecs
w 90 /proc/sys/vm/dirty_ratio
w 80 /proc/sys/vm/dirty_background_ratio
w 0 /proc/sys/vm/compaction_proactiveness
w 0 /proc/sys/vm/watermark_boost_factor
w 0 /proc/sys/kernel/io_uring_disabled
w 0 /proc/sys/kernel/numa_balancing
w 0 /sys/kernel/mm/ksm/run
w 4294967295 /sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs
w 0 /sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none
# A kernel that boots with less than 512 MiB, the rest being DIMMs, begins without these.
w 1 /sys/kernel/mm/transparent_hugepage/use_zero_page
w 1 /sys/kernel/mm/transparent_hugepage/khugepaged/defrag
for n in /sys/devices/system/node/node[0-9]*; do
  echo "NODE ${n##*node} cpus=$(cat $n/cpulist) $(grep MemTotal $n/meminfo)"
done
echo "UNAME $(uname -r) $(uname -v)"
port() { ls /dev/vport*p* 2>/dev/null | head -1; }
i=0; while [ ! -e "$(port)" ] && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done
GLIBC_TUNABLES=glibc.pthread.rseq=0 /agent /program $(port) @ARGUMENTS@
echo "AGENT ended with $?"
poweroff -f
"""


class Entry(NamedTuple):
    """A file of an archive."""

    name: str
    mode: int
    data: bytes = b""


def archive(entries: Iterable[Entry]) -> bytes:
    """An archive as cpio -H newc makes it; the kernel takes several, one behind the other."""
    out = bytearray()
    for entry in [*entries, Entry("TRAILER!!!", 0)]:
        name = entry.name.encode() + b"\0"
        fields = (0, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, 0, 0, len(name), 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + name
        out += bytes(-len(out) % 4)
        out += entry.data
        out += bytes(-len(out) % 4)
    return bytes(out)


def base(programs: Path, modules: Path, agent: Path) -> bytes:
    """The part that is the same in each boot of a kernel."""
    found = list(_tree(programs))
    names = {entry.name for entry in found}
    found += [Entry(name, FOLDER) for name in FOLDERS if name not in names]
    found.append(Entry("agent", PROGRAM, agent.read_bytes()))
    for number, name in enumerate(MODULES):
        paths = sorted(modules.rglob(f"{name}.ko*"))
        if paths:  # else it is built in, or this kernel has none
            data = paths[0].read_bytes()
            data = lzma.decompress(data) if paths[0].suffix == ".xz" else data
            found.append(Entry(f"mod/{number:02}-{name}.ko", FILE, data))
    return archive(found)


def _tree(top: Path) -> Iterator[Entry]:
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if path.is_symlink():
            yield Entry(name, LINK, str(path.readlink()).encode())
        elif path.is_dir():
            yield Entry(name, FOLDER)
        else:
            yield Entry(name, PROGRAM, path.read_bytes())


def of_program(program: str, arguments: str) -> bytes:
    """The part that is a boot's own: what the agent is to do."""
    init = INIT.replace("@ARGUMENTS@", arguments)
    return archive(
        [Entry("init", PROGRAM, init.encode()), Entry("program", FILE, program.encode())]
    )
