"""What a program writes to a simulated file acts at once, and gives the write's own errno."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from functools import partial

from pymigrate.errors import KernelError
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.native import abi
from pymigrate.native.calls import reads
from pymigrate.native.calls.private import answered_path, inside_of
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World
from pymigrate.records import NamedTuple
from pymigrate.syscalls import compact, cpuset, memory_blocks, reclaim, sysctl
from pymigrate.units import PAGE_SIZE
from pymigrate.views import entries
from pymigrate.views.tree import tree

Args = tuple[int, ...]
_MAX_WRITE = 1 << 16
_MAX_VECTOR = 1024
_PLAIN = frozenset({abi.WRITE, abi.PWRITE64})
_VECTORS = frozenset({abi.WRITEV, abi.PWRITEV, abi.PWRITEV2})
_COPIES = {abi.SENDFILE: 0, abi.SPLICE: 2, abi.COPY_FILE_RANGE: 2}
_CLOSES = frozenset({abi.CLOSE, abi.DUP2, abi.DUP3, abi.CLOSE_RANGE})
_CONSTANT = ("/proc/sys/", "/sys/kernel/mm/")
_UNITS = {"k": 10, "m": 20, "g": 30, "t": 40}
_BOOLS = ((True, "[1yt]|on"), (False, "[0nf]|of"))
_SIZE = re.compile(r"(\d+)([kmgt]?)", re.IGNORECASE)


class Write(NamedTuple):
    """A write that is to be done."""

    machine: Machine
    caller: Task
    match: re.Match[str]  # of the path
    text: str


def at_entry(world: World, thread: Thread, args: Args, nr: int) -> int | None:
    """A call begins of a process that is followed; the answer if it writes to a simulated file."""
    if nr in reads.CALLS:
        reads.at_entry(world, thread, args, nr)
        return None
    if nr in _CLOSES:
        thread.at_end = lambda _: _note_open(world, thread)
        return None
    if nr in _COPIES and _copies_pages(world, thread, args, nr):
        raise KernelError("EINVAL", "such a file is read by read() alone")
    if nr in _COPIES and writes_to(world, thread, args[_COPIES[nr]]):
        raise KernelError("EINVAL", "simulated files are written to by write() alone")
    if nr not in _PLAIN and nr not in _VECTORS:
        return None
    path = writes_to(world, thread, args[0])
    if path is None:
        return None
    data = _vector(thread, args) if nr in _VECTORS else _data(thread, args[1], args[2])
    apply(world, world.note_credentials(thread), path, data)
    return len(data)


def _copies_pages(world: World, thread: Thread, args: Args, nr: int) -> bool:
    """Whether a call copies from a file that has a number for each page."""
    path = answered_path(world, thread, args[1 if nr == abi.SENDFILE else 0])
    return path is not None and reads.is_made_of_pages(path)


def writes_to(world: World, thread: Thread, fd: int) -> str | None:
    """The simulated file that a descriptor may write to; None if it is none."""
    path = answered_path(world, thread, fd)
    if path is None or not _is_for_writing(thread.tid, fd & 0xFFFFFFFF):
        return None
    return path


def has_open(world: World, thread: Thread) -> bool:
    """Whether a thread has a simulated file open for writing, or one that is made as it is read."""
    folder = f"/proc/{thread.tid}/fd"
    try:
        for name in os.listdir(folder):
            path = inside_of(world, os.readlink(f"{folder}/{name}"))
            if path and (reads.is_made_of_pages(path) or _is_for_writing(thread.tid, int(name))):
                return True
    except OSError:
        return False
    return False


def _note_open(world: World, thread: Thread) -> None:
    thread.process.is_followed = has_open(world, thread)


def _is_for_writing(pid: int, fd: int) -> bool:
    try:
        with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("flags:"):
                    return bool(int(line.split()[1], 8) & 3)
    except (OSError, ValueError):
        return False
    return False


def _data(thread: Thread, addr: int, length: int) -> bytes:
    return thread.read(addr, min(length, _MAX_WRITE))


def _vector(thread: Thread, args: Args) -> bytes:
    nr = min(args[2], _MAX_VECTOR)
    pairs = struct.iter_unpack("=QQ", thread.read(args[1], 16 * nr))
    return b"".join(_data(thread, addr, length) for addr, length in pairs)


def is_writable(path: str) -> bool:
    """Whether something happens when the simulated file *path* is written to."""
    return _find(path) is not None


def is_constant(path: str) -> bool:
    """Whether the simulated file *path* is a setting that only has the value it has."""
    return not is_writable(path) and path.startswith(_CONSTANT)


def apply(world: World, caller: Task, path: str, data: bytes) -> None:
    """Do what a write to *path* does. Raises KernelError, UnsupportedError."""
    found = _find(path)
    text = data.decode("utf-8", "surrogateescape").strip("\0").strip()
    if found is None:
        _keep(world, path, text)
        return
    action, match = found
    world.sync_all()
    try:
        action(Write(world.machine, caller, match, text))
    except KernelError as error:
        if error.why.endswith("not simulated"):
            world.say(error.why)
        raise


def _keep(world: World, path: str, text: str) -> None:
    """A write of the value that a setting has; another is refused with KernelError EINVAL."""
    now = entries.read(tree(world.machine), path).strip()
    chosen = re.search(r"\[(\w+)\]", now)
    if text != (chosen[1] if chosen else now):
        world.say(f"{path} is always {chosen[1] if chosen else now}: others are not simulated")
        raise KernelError("EINVAL", f"{text[:20]!r} is not simulated")


# What writes do


def _sysctl(write: Write) -> None:
    name = ".".join(write.match["name"].split("/"))
    sysctl.write(write.machine, write.caller, name, write.text)


def _setting(write: Write) -> None:
    sysctl.write(write.machine, write.caller, write.match[0], write.text)


def _scan_setting(write: Write) -> None:
    sysctl.write(write.machine, write.caller, write.match["name"], write.text)


def _hugepages(write: Write) -> None:
    node = write.match.groupdict().get("node")
    nid = int(node) if node else None
    sysctl.write(write.machine, write.caller, "nr_hugepages", write.text, nid)


def _compact(write: Write) -> None:
    compact.compact(write.machine, write.caller, int(write.match["node"]))


def _memory_block(write: Write) -> None:
    """The state of a memory block, by its word or its number."""
    state = write.text
    if write.match["file"] == "online":  # what kstrtobool() takes
        is_online = next((is_on for is_on, word in _BOOLS if re.match(word, state, re.I)), None)
        state = {True: "online", False: "offline", None: state}[is_online]
    number = int(write.match["number"])
    bring = partial(memory_blocks.online, online_type=state)
    change = memory_blocks.offline if state == "offline" else bring
    for nid in write.machine.nodes:
        try:
            outcomes = change(write.machine, write.caller, nid, [number])
        except KernelError as error:
            if error.name != "ENOENT":
                raise
            continue
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
        return
    raise KernelError("ENOENT", f"there is no memory block {number}")


def _cpus(write: Write) -> None:
    cpus = cpuset.cpulist(write.machine, write.text)
    cpuset.change(write.machine, write.caller, write.match["group"], cpus=cpus)


def _mems(write: Write) -> None:
    mems = cpuset.nodelist(write.text)
    cpuset.change(write.machine, write.caller, write.match["group"], mems=mems)


def _procs(write: Write) -> None:
    if not write.text.isdecimal():
        raise KernelError("EINVAL", f"{write.text[:20]!r} is no pid")
    pid = int(write.text)
    task = write.machine.task(pid) if pid else write.caller
    cpuset.attach_task(write.machine, write.caller, task, write.match["group"] or "")


def _controllers(write: Write) -> None:
    cpuset.subtree_control(write.machine, write.caller, write.match["group"] or "", write.text)


def _reclaim(write: Write) -> None:
    """memory.reclaim: a size, and perhaps swappiness=N. Mirrors memory_reclaim()."""
    size, *rest = write.text.split() or [""]
    match = _SIZE.fullmatch(size)
    if match is None:
        raise KernelError("EINVAL", f"{size[:20]!r} is no size")
    nr = int(match[1]) << _UNITS.get(match[2].lower(), 0)
    swappiness = None
    for word in rest:
        name, _, value = word.partition("=")
        if name != "swappiness" or not value.isdecimal():
            raise KernelError("EINVAL", f"{word[:20]!r} is not known")
        swappiness = int(value)
    group = write.match["group"] or ""
    tasks = reclaim.cpuset_tasks(write.machine, group) if group else None
    size_in_pages = nr // PAGE_SIZE * PAGE_SIZE
    reclaim.reclaim(write.machine, write.caller, size_in_pages, None, tasks, swappiness)


_GROUP = r"/sys/fs/cgroup/(?:(?P<group>.+)/)?"
_POOL = r"hugepages/hugepages-2048kB/nr_hugepages"
_WRITERS: tuple[tuple[re.Pattern[str], Callable[[Write], None]], ...] = tuple(
    (re.compile(pattern), action)
    for pattern, action in (
        (rf"/sys/devices/system/node/node(?P<node>\d+)/{_POOL}", _hugepages),
        (rf"/sys/kernel/mm/{_POOL}(?:_mempolicy)?", _hugepages),
        (r"/proc/sys/vm/nr_hugepages(?:_mempolicy)?", _hugepages),
        (r"/sys/devices/system/node/node(?P<node>\d+)/compact", _compact),
        (r"/sys/devices/system/memory/memory(?P<number>\d+)/(?P<file>state|online)", _memory_block),
        (rf"{_GROUP}cpuset\.cpus", _cpus),
        (rf"{_GROUP}cpuset\.mems", _mems),
        (rf"{_GROUP}cgroup\.procs", _procs),
        (rf"{_GROUP}cgroup\.subtree_control", _controllers),
        (rf"{_GROUP}memory\.reclaim", _reclaim),
        (r"/sys/kernel/mm/mempolicy/weighted_interleave/node\d+", _setting),
        (r"/sys/kernel/debug/sched/(?P<name>numa_balancing/\w+)", _scan_setting),
        (r"/proc/sys/(?P<name>(?:kernel|vm)/\w+)", _sysctl),
        (r"/sys/kernel/mm/[\w/]+", _setting),
    )
)
_SETTINGS = frozenset(row.long_name for row in sysctl.SETTINGS.values())


def _find(path: str) -> tuple[Callable[[Write], None], re.Match[str]] | None:
    """What a write to *path* does."""
    for pattern, action in _WRITERS:
        match = pattern.fullmatch(path)
        if match is None:
            continue
        if action is _sysctl and ".".join(match["name"].split("/")) not in _SETTINGS:
            return None
        if action is _setting and "/node" not in path and path not in _SETTINGS:
            return None
        return action, match
    return None
