"""The script that copies what capture reads on a host without Python."""

SCRIPT = r"""#!/bin/sh
# Copies what `pymigrate capture --root DIR` reads of this host into DIR, packed as DIR.tar.gz.
#
#   sh gather.sh DIR [PID]...       (without PID: all processes that may be read; best as root)
#
# It takes: of the nodes CPUs, distances, sizes, counters of memory, and how fast they are; settings
# of memory management; the version of the kernel; of each process its status (name, user, sizes,
# CPUs), its mappings (addresses, paths of files), on which nodes their pages lie, and its cpuset.
# It takes no contents of memory, no command lines, no environments, and changes nothing.
# `pymigrate capture --anonymize` replaces names and paths afterwards.
set -u
if [ $# -lt 1 ]; then
    echo "usage: sh gather.sh DIR [PID]..." >&2
    exit 2
fi
dir=$1
shift
if [ -e "$dir" ]; then
    echo "gather: $dir exists already" >&2
    exit 2
fi
root=${GATHER_ROOT:-}

# take FILE: copy it, if it is one that may be read; /proc and /sys tell no sizes, so cat does it.
take() {
    [ -f "$root/$1" ] && [ -r "$root/$1" ] || return 0
    mkdir -p "$dir/${1%/*}" || exit 1
    cat "$root/$1" >"$dir/$1" 2>/dev/null || rm -f "$dir/$1"
}

# take_all FOLDER: each file below it, without following links.
take_all() {
    [ -d "$root/$1" ] || return 0
    for path in $(cd "$root/" && find "$1" -type f 2>/dev/null); do
        take "$path"
    done
}

for file in version meminfo zoneinfo buddyinfo sys/kernel/osrelease; do
    take "proc/$file"
done
for path in "$root"/proc/sys/kernel/numa_balancing* "$root"/proc/sys/vm/*; do
    take "${path#"$root/"}"
done
take sys/devices/system/memory/block_size_bytes
nodes=sys/devices/system/node
for name in has_memory has_normal_memory has_cpu online possible; do
    take "$nodes/$name"
done
for path in "$root/$nodes"/node[0-9]*; do
    node=$nodes/${path##*/}
    for name in cpulist cpumap distance meminfo; do
        take "$node/$name"
    done
    for block in "$path"/memory[0-9]*; do
        [ -e "$block" ] && mkdir -p "$dir/$node/${block##*/}"
    done
    take_all "$node/hugepages"
    for access in access0 access1; do
        for name in read_latency write_latency read_bandwidth write_bandwidth; do
            take "$node/$access/initiators/$name"
        done
    done
done
take_all sys/devices/virtual/memory_tiering
for name in transparent_hugepage numa mempolicy ksm lru_gen swap; do
    take_all "sys/kernel/mm/$name"
done
take_all sys/kernel/debug/sched/numa_balancing

if [ $# -eq 0 ]; then
    for path in "$root"/proc/[0-9]*; do
        set -- "$@" "${path##*/}"
    done
fi
for pid in "$@"; do
    [ -r "$root/proc/$pid/numa_maps" ] || continue
    for name in status maps numa_maps smaps cpuset; do
        take "proc/$pid/$name"
    done
done
tar -cf - "$dir" | gzip >"$dir.tar.gz" && echo "gather: $dir.tar.gz" >&2
"""
