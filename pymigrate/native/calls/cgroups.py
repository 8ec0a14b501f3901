"""mkdir() and rmdir() below /sys/fs/cgroup, and signals to tasks that are no real processes."""

from __future__ import annotations

import signal

from pymigrate.errors import KernelError
from pymigrate.native import abi
from pymigrate.native.abi import signed
from pymigrate.native.calls.paths import resolve
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World
from pymigrate.syscalls import cpuset
from pymigrate.tools.system import end
from pymigrate.views.entries import Dir, Entry, File

Args = tuple[int, ...]
_TOP = "/sys/fs/cgroup"
_HARMLESS = frozenset({0, signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH})
_STOPS = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT})
_SIGRTMAX = 64
_NAME_MAX = 255


def mkdir(world: World, thread: Thread, args: Args) -> int | None:
    """mkdir(path, mode)."""
    return _make(world, thread, abi.AT_FDCWD, args[0])


def mkdirat(world: World, thread: Thread, args: Args) -> int | None:
    """mkdirat(dirfd, path, mode)."""
    return _make(world, thread, args[0], args[1])


def rmdir(world: World, thread: Thread, args: Args) -> int | None:
    """rmdir(path)."""
    return _remove(world, thread, abi.AT_FDCWD, args[0])


def unlinkat(world: World, thread: Thread, args: Args) -> int | None:
    """unlinkat(dirfd, path, AT_REMOVEDIR)."""
    return _remove(world, thread, args[0], args[1])


def kill(world: World, thread: Thread, args: Args) -> int | None:
    """kill(pid, signal), and tkill() likewise, of a task of the scenario."""
    pid, number = signed(args[0]), signed(args[1])
    if not world.is_declared(pid):
        return None
    task, caller = world.machine.task(pid), world.note_credentials(thread)
    if not 0 <= number <= _SIGRTMAX:
        raise KernelError("EINVAL", f"{number} is no signal")
    if caller.fsuid and not {*caller.uids[:2]} & {task.uids[0], task.uids[2]}:
        raise KernelError("EPERM", f"process {pid} is of another user")
    if number not in _HARMLESS and number not in _STOPS:
        end(world.machine, pid)
    return 0


def tgkill(world: World, thread: Thread, args: Args) -> int | None:
    """tgkill(tgid, tid, signal)."""
    return kill(world, thread, args[1:])


def on_other(position: int, world: World, _: Thread, args: Args) -> int | None:
    """A call on the process that argument *position* names: never on the host's of that number."""
    pid = signed(args[position])
    if world.is_declared(pid):
        raise KernelError("ESRCH", f"process {pid} is simulated, and what is asked of it is not")
    return None


def pidfd_open(world: World, _: Thread, args: Args) -> int | None:
    """pidfd_open(pid, flags): a task of the scenario has none, and the host's is not meant."""
    if world.is_declared(signed(args[0])):
        raise KernelError("ESRCH", f"process {args[0]} is simulated; it has no descriptor")
    return None


def _make(world: World, thread: Thread, dirfd: int, pointer: int) -> int | None:
    found = _cgroup(world, thread, dirfd, thread.text(pointer))
    if found is None:
        return None
    name, taken = found
    if taken is not None:
        raise KernelError("EEXIST", f"{name} exists")
    if len(name.rpartition("/")[2]) > _NAME_MAX:
        raise KernelError("ENAMETOOLONG", f"a name has at most {_NAME_MAX} bytes")
    cpuset.make(world.machine, world.note_credentials(thread), name)
    return 0


def _remove(world: World, thread: Thread, dirfd: int, pointer: int) -> int | None:
    found = _cgroup(world, thread, dirfd, thread.text(pointer))
    if found is None:
        return None
    name, there = found
    if isinstance(there, File):
        raise KernelError("ENOTDIR", f"{name} is no cpuset")
    cpuset.remove(world.machine, world.note_credentials(thread), name)
    return 0


def _cgroup(world: World, thread: Thread, dirfd: int, text: str) -> tuple[str, Entry | None] | None:
    """The cpuset that a path means, and what there is of that name.

    None for a path that does not lie in /sys/fs/cgroup. Raises KernelError for a parent that is
    not there.
    """
    parent, _, name = text.rstrip("/").rpartition("/")
    parent = parent or ("/" if text.startswith("/") else ".")
    place = resolve(world, thread, dirfd, parent)
    if place is None or not f"{place.path}/".startswith(f"{_TOP}/"):
        return None
    if not isinstance(place.entry, Dir):
        raise KernelError("ENOTDIR", f"{place.path} is no directory")
    there = place.overlay.below(place.path, place.entry).get(name)
    return f"{place.path}/{name}".removeprefix(f"{_TOP}/"), there
