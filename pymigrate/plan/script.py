"""The program that makes the calls of a plan in chunks on the real host."""

# Filled in by str.format(); braces of the program's own are doubled. Python 3.6 runs it.
SCRIPT = '''\
#!/usr/bin/env python3
"""{title}

Moves the pages by move_pages(2), a chunk after the other, between writes to files if there are
any. It needs Linux and the standard library alone, CAP_SYS_NICE for processes of others and for
shared pages, and root for writes. With --check it only looks.
--start PID=TICKS says when a process must have started: field 22 of /proc/PID/stat.
"""
import ctypes
import os
import platform
import sys
import time

COMMS = {comms}
MOVE_ALL = {move_all}
RATE = {rate}  # bytes a second; 0: any
RESTS = {rests}  # after a chunk others get as long as it took
# Each chunk: pid, node, bytes, and ranges of pages: first address, number of folios, bytes from
# one to the next. A write: path and text.
CHUNKS = (
{calls})

PAGE = 4096
MOVE, ALL = 2, 4
SYSCALL = {{"x86_64": 279, "aarch64": 239, "riscv64": 239, "ppc64le": 301, "s390x": 310}}
LIBC = ctypes.CDLL(None, use_errno=True)


def die(text):
    sys.exit(sys.argv[0] + ": " + text)


def move_pages(pid, addrs, nodes, flags):
    """What move_pages() answers, and the status of each page; without nodes it only asks."""
    count = len(addrs)
    pages = (ctypes.c_void_p * count)(*addrs)
    where = None if nodes is None else (ctypes.c_int * count)(*nodes)
    status = (ctypes.c_int * count)(*[-1000] * count)
    number = SYSCALL.get(platform.machine())
    if number is None:
        die("the number of move_pages() is not known on " + platform.machine())
    ret = LIBC.syscall(number, pid, ctypes.c_ulong(count), pages, where, status, flags)
    if ret < 0:
        error = ctypes.get_errno()
        die("move_pages of process %d: %s" % (pid, os.strerror(error)))
    return ret, list(status)


def started(pid):
    """When the process has started, in ticks since the host was booted."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except OSError as error:
        die("process %d: %s" % (pid, error.strerror))


def check(start):
    """End here unless every process is the one that the plan is for."""
    if os.sysconf("SC_PAGE_SIZE") != PAGE:
        die("the plan is for pages of 4 KiB")
    for pid, comm in COMMS.items():
        found = started(pid)
        with open("/proc/%d/comm" % pid) as file:
            name = file.read().rstrip("\\n")
        if name != comm:
            die("process %d is %s, not %s" % (pid, name, comm))
        if start.setdefault(pid, found) != found:
            die("process %d is another one: it has started at %d" % (pid, found))


def write(path, text):
    """Whether *text* could be written to a file of the kernel's."""
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError as error:
        print("%s: %s" % (path, error.strerror), file=sys.stderr)
        return False
    return True


def main():
    start, only_check, words = {{}}, False, sys.argv[1:]
    while words:
        word = words.pop(0)
        if word == "--check":
            only_check = True
        elif word == "--start" and words:
            pid, _, ticks = words.pop(0).partition("=")
            start[int(pid)] = int(ticks)
        else:
            die("usage: %s [--check] [--start PID=TICKS]..." % sys.argv[0])
    check(start)
    if only_check:
        for pid, ticks in sorted(start.items()):
            print("process %d has started at %d" % (pid, ticks))
        return 0
    moved = left = refused = 0
    for row in CHUNKS:
        if len(row) == 2:
            if not write(*row):
                if not row[0].startswith("/sys/devices/system/memory/"):
                    return 1
                refused += 1  # other memory blocks go all the same
            continue
        pid, node, nr_bytes, ranges = row
        begun = time.monotonic()
        if started(pid) != start[pid]:
            die("process %d has ended" % pid)
        addrs = [at + i * step for at, nr, step in ranges for i in range(nr)]
        ret, status = move_pages(pid, addrs, [node] * len(addrs), ALL if MOVE_ALL else MOVE)
        if ret:  # then not every status was written
            status = move_pages(pid, addrs, None, 0)[1]
        there = status.count(node)
        moved, left = moved + there, left + len(addrs) - there
        took = time.monotonic() - begun
        wait = max(nr_bytes / RATE - took if RATE else 0, took if RESTS else 0)
        time.sleep(max(wait, 0))
    print("%d folios are where they should be, %d are not" % (moved, left))
    return 1 if left or refused else 0


if __name__ == "__main__":
    sys.exit(main())
'''
