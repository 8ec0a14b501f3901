"""The simulated /proc and /sys as a real process sees them: the machine's, with its own files.

Of a real process the host has most files; those that tell of memory and of where it may run are the
simulated machine's, or the host's with some lines replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from itertools import pairwise

from pymigrate.errors import KernelError
from pymigrate.mm.state.task import Task
from pymigrate.native.calls.writes import is_constant, is_writable
from pymigrate.native.tracee import Process, Thread
from pymigrate.native.world import World
from pymigrate.syscalls.checks import check_access
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.entries import Dir, Entries, Entry, File
from pymigrate.views.proc import numa_maps, pagemap, smaps, status
from pymigrate.views.sysfs.cgroup import cgroup_path, cpuset_path
from pymigrate.views.tree import tree

# Below these there is nothing but what is simulated.
_OWNED = re.compile(
    r"/sys/(devices/system/(cpu|memory|node)|bus/(cpu|node)|fs/cgroup|devices/virtual/memory_tiering"
    r"|kernel/mm/(numa|mempolicy|hugepages))(/|$)"
)
# Files of the host's frames, which are nobody's business.
_OF_FRAMES = ("kpagecgroup",)
_BOOT_TIME = re.compile(r"^btime \d+$", re.MULTILINE)
_PROCESS = re.compile(r"/proc/(\d+)(/|$)")
# Files that do not depend on what processes have touched.
_STILL = re.compile(
    r"/sys/devices/system/cpu/.*|/sys/devices/system/node/(?:[^/]*|node\d+/(?:cpu.*|distance))"
    r"|/proc/(?:cpuinfo|stat|sys/.*)|/sys/fs/cgroup/.*(?:cpus|mems)(?:\.effective)?"
)
# Files of a process that only who may inspect it can open.
_PRIVATE = frozenset({"maps", "numa_maps", "smaps", "smaps_rollup"})
_REPLACED = ("Cpus_allowed", "Cpus_allowed_list", "Mems_allowed", "Mems_allowed_list")
_CGROUP2 = "rw,nosuid,nodev,noexec,relatime", "cgroup2 cgroup2 rw"
_STAT_STATE, _STAT_CPU = 0, 36  # fields behind the comm


def is_owned(path: str) -> bool:
    """Whether nothing of the host is to be seen at *path*, which is absolute and has no links."""
    return _OWNED.match(path) is not None


class Overlay:
    """The root directory, as one thread sees it at one time."""

    def __init__(self, world: World, thread: Thread) -> None:
        self.world, self.thread = world, thread
        self.root = tree(world.machine)

    def below(self, path: str, directory: Dir) -> Entries:
        """What the simulated *directory* at *path* holds."""
        entries = directory.entries()
        if path == "/proc":
            entries = {name: entry for name, entry in entries.items() if name != "self"}
            entries |= {str(pid): self._process(p) for pid, p in self.world.processes.items()}
            entries["stat"] = _with_boot_time(entries["stat"])
            entries |= dict.fromkeys(_OF_FRAMES, File(None))
        match = _PROCESS.fullmatch(path)
        task = self.world.machine.tasks.get(int(match[1])) if match else None
        if task is not None:
            entries = {name: self._guarded(name, task, entry) for name, entry in entries.items()}
        return entries

    def _guarded(self, name: str, task: Task, entry: Entry) -> Entry:
        """A file of /proc/PID that not everybody may open. Mirrors proc_mem_open()."""
        text = entry.text if isinstance(entry, File) else None
        if text is None or name not in _PRIVATE:
            return entry
        return File(lambda: self._check(task) or text())

    def check_path(self, path: str) -> None:
        """Let the reader open a file of a process, if one may. Raises KernelError EACCES."""
        match = _PROCESS.match(path)
        task = self.world.machine.tasks.get(int(match[1])) if match else None
        if task is not None:
            self._check(task)

    def _check(self, task: Task) -> str:
        """Nothing, if the reader may look at the memory of *task*. Raises KernelError EACCES."""
        for thread in (self.thread, self.world.threads.get(task.pid)):
            if thread is not None:
                self.world.note_credentials(thread)
        try:
            check_access(self.world.task(self.thread), task, for_file=True)
        except KernelError as error:
            raise KernelError("EACCES", error.why) from None
        return ""

    def is_still(self, path: str) -> bool:
        """Whether the file at *path* says the same whatever processes touch."""
        return _STILL.fullmatch(path) is not None

    def is_settable(self, path: str) -> bool:
        """Whether the file at *path* may be opened for writing."""
        return is_writable(path) or is_constant(path)

    def hides(self, path: str) -> bool:
        """Whether the host's *path* must not be seen: that of a process that is not simulated."""
        match = _PROCESS.match(path)
        if match is None:
            return is_owned(path)
        pid = int(match[1])
        return pid not in self.world.processes and pid not in self.world.threads

    def _process(self, process: Process) -> Dir:
        """/proc/PID of a real process."""
        threads = process.threads
        task = Dir(
            lambda: {str(tid): Dir(partial(self._files, process, t)) for tid, t in threads.items()}
        )
        return Dir(lambda: self._files(process, None) | {"task": task})

    def _files(self, process: Process, thread: Thread | None) -> Entries:
        """The files of a process, or of one of its threads, that are not just the host's."""
        folder = f"/proc/{process.pid}" + (f"/task/{thread.tid}" if thread else "")

        def file(text: Callable[[Task], str]) -> Entry:
            return File(lambda: self._text(process, thread, text))

        machine = self.world.machine
        shown = thread or process.threads.get(process.pid)
        is_stopped = shown is not None and shown.is_stopped
        return {
            "cgroup": file(lambda task: cgroup_path(machine, task)),
            "cpuset": file(cpuset_path),
            "maps": file(lambda task: self._maps(folder, task)),
            "mountinfo": file(lambda _: _mountinfo(_host(f"{folder}/mountinfo"))),
            "mounts": file(lambda _: _mounts(_host(f"{folder}/mounts"))),
            "numa_maps": file(lambda task: numa_maps.format_rows(numa_maps.rows(machine, task))),
            "pagemap": self._pagemap(thread.tid if thread else process.pid),
            "smaps": file(lambda task: smaps.format_rows(smaps.rows(machine, task))),
            "smaps_rollup": file(lambda task: smaps.format_rollup(smaps.rows(machine, task))),
            "stat": file(lambda task: _stat(_host(f"{folder}/stat"), task, is_stopped)),
            "status": file(lambda task: self._status(_host(f"{folder}/status"), task, is_stopped)),
        }

    def _pagemap(self, tid: int) -> Entry:
        task = self.world.machine.tasks.get(tid)
        return pagemap.pagemap(self.world.machine, task) if task else File(None)

    def _text(self, process: Process, thread: Thread | None, text: Callable[[Task], str]) -> str:
        return text(self.world.machine.task(thread.tid if thread else process.pid))

    def _maps(self, folder: str, task: Task) -> str:
        """The host's lines, cut where policies part mappings."""
        cuts = sorted({at << PAGE_SHIFT for vma in task.mm.vmas for at in (vma.start, vma.end)})
        lines = []
        for line in _host(f"{folder}/maps").splitlines(keepends=True):
            span, rest = line.split(" ", 1)
            start, end = (int(word, 16) for word in span.split("-"))
            inner = [start, *(at for at in cuts if start < at < end), end]
            lines += [_moved_line(low, high, low - start, rest) for low, high in pairwise(inner)]
        return "".join(lines)

    def _status(self, text: str, task: Task, is_stopped: bool) -> str:
        """The host's lines, but for where the task may run and have memory."""
        known = dict(status.status(self.world.machine, task, []))
        lines = []
        for line in text.splitlines():
            name, _, value = line.partition(":")
            if name in _REPLACED:
                value = f"\t{known[name]}"
            elif name == "State" and "tracing" in value:
                value = "\tT (stopped)" if is_stopped else "\tR (running)"
            elif name in ("TracerPid", "Seccomp", "Seccomp_filters"):
                value = "\t0"
            elif name == "THP_enabled":
                value = "\t1"
            lines.append(f"{name}:{value}\n")
        return "".join(lines)


def _mountinfo(text: str) -> str:
    """The host's lines, but for cgroups: v2 alone is mounted."""
    kept = [line for line in text.splitlines(keepends=True) if " /sys/fs/cgroup" not in line]
    return "".join([*kept, f"4000 1 0:4000 / /sys/fs/cgroup {_CGROUP2[0]} - {_CGROUP2[1]}\n"])


def _mounts(text: str) -> str:
    """Likewise, in the form of /proc/mounts."""
    kept = [line for line in text.splitlines(keepends=True) if " /sys/fs/cgroup" not in line]
    return "".join([*kept, f"cgroup2 /sys/fs/cgroup cgroup2 {_CGROUP2[0]} 0 0\n"])


def _stat(text: str, task: Task, is_stopped: bool) -> str:
    """The host's line, but for the CPU, and for the stop in which it is read."""
    head, _, tail = text.rpartition(") ")
    fields = tail.split(" ")
    fields[_STAT_CPU] = str(task.cpu)
    if fields[_STAT_STATE] == "t":
        fields[_STAT_STATE] = "T" if is_stopped else "R"
    return f"{head}) {' '.join(fields)}"


def _moved_line(low: int, high: int, shift: int, rest: str) -> str:
    """A line of maps for a part that begins *shift* bytes behind the whole."""
    if shift:
        perms, offset, device, inode, *name = rest.split(None, 4)
        if inode != "0":
            text = f"{low:08x}-{high:08x} {perms} {int(offset, 16) + shift:08x} {device} {inode} "
            return f"{text:<73}{name[0]}" if name else f"{text}\n"
    return f"{low:08x}-{high:08x} {rest}"


def _with_boot_time(entry: Entry) -> Entry:
    """/proc/stat with the host's time of boot, by which programs tell when processes began."""
    text = entry.text if isinstance(entry, File) else None
    if text is None:
        return entry
    return File(lambda: _BOOT_TIME.sub(_BOOT_TIME.findall(_host("/proc/stat"))[0], text()))


def _host(path: str) -> str:
    """A file of the host. Raises KernelError ESRCH."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError as error:
        raise KernelError("ESRCH", f"{path}: {error.strerror}") from None
