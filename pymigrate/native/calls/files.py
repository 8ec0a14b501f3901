"""Calls that name files: those of the simulated machine are opened in private copies.

Nothing is put into a program: the path that it names is replaced by that of a file which holds what
the machine's says at this moment, below a directory that has the same names.
"""

from __future__ import annotations

import os
import re
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from pymigrate.errors import KernelError, UnsupportedError
from pymigrate.native import abi
from pymigrate.native.calls.paths import resolve
from pymigrate.native.calls.private import LISTING, answered_path, inside_of
from pymigrate.native.hostmem import unless_gone
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World
from pymigrate.views.entries import Binary, Dir, Entry, File, Link

if TYPE_CHECKING:
    from pymigrate.native.calls.overlay import Overlay
    from pymigrate.native.calls.walk import Place

Args = tuple[int, ...]
_O_ACCMODE, _O_WRONLY, _O_RDWR = 3, 1, 2
# What statfs() tells of file systems by their roots.
_MAGIC = {"/sys/fs/cgroup": 0x63677270, "/proc": 0x9FA0, "/sys": 0x62656572}
_KEPT_LISTINGS = 8  # of /proc, which may still be read
_STATX_UID = 20  # in struct statx; the gid is next
_OF_TASK = re.compile(r"/proc/(\d+)(?:/|$)")
_MODES = {True: 0o644, False: 0o444}


# open


def open_(world: World, thread: Thread, args: Args) -> None:
    """open(path, flags, mode)."""
    _open(world, thread, abi.AT_FDCWD, 0, args, args[1])


def creat(world: World, thread: Thread, args: Args) -> None:
    """creat(path, mode)."""
    _open(world, thread, abi.AT_FDCWD, 0, args, _O_WRONLY | os.O_TRUNC)


def openat(world: World, thread: Thread, args: Args) -> None:
    """openat(dirfd, path, flags, mode)."""
    _open(world, thread, args[0], 1, args, args[2])


def openat2(world: World, thread: Thread, args: Args) -> None:
    """openat2(dirfd, path, how, size)."""
    (flags,) = struct.unpack("=Q", thread.read(args[2], 8))
    _open(world, thread, args[0], 1, args, flags)


def _open(world: World, thread: Thread, dirfd: int, number: int, args: Args, flags: int) -> None:
    """Let the path, which is argument *number*, be that of what the program is to open."""
    follow = not flags & os.O_NOFOLLOW
    place = resolve(world, thread, dirfd, thread.text(args[number]), follow)
    if place is None or place.entry is None:
        if flags & os.O_TRUNC:
            from pymigrate.native.calls import truncate  # few programs need it

            truncate.opened(world, thread, dirfd, thread.text(args[number]))
        if place is None:
            return
    if not isinstance(place.entry, File | Binary):
        _redirect(world, thread, place, number, args)
        return
    _check_root(thread)
    mode = flags & _O_ACCMODE
    if mode in (_O_WRONLY, _O_RDWR):
        _check_writable(world, thread, place)
        thread.at_end = lambda result: _opened(thread, result)
    if isinstance(place.entry, Binary):
        _open_pages(world, thread, place, number, args)
        return
    if mode != _O_WRONLY and place.entry.text is None:
        raise KernelError("EACCES", f"{place.path} cannot be read")
    if not place.overlay.is_still(place.path):
        world.sync_all()
    text = place.entry.text() if place.entry.text is not None else ""
    path = _private(world, place.path)
    if path in world.given or not os.path.isfile(path):
        write_anew(path, text, _mode(place.overlay, place.path))
    else:  # it is the one that stat() has told of
        _fill_file(path, text, _mode(place.overlay, place.path))
    world.given.add(path)
    thread.change_path(number, args[number], path)


def _open_pages(world: World, thread: Thread, place: Place, number: int, args: Args) -> None:
    """Let the path be that of a file which is filled when it is read."""
    from pymigrate.native.calls import reads  # few programs need it

    place.overlay.check_path(place.path)
    path = _private(world, place.path)
    write_anew(path, "", _mode(place.overlay, place.path))
    world.given.add(path)
    reads.opens(world, thread, place.path, path)
    thread.at_end = lambda result: _opened(thread, result)
    thread.change_path(number, args[number], path)


def _check_writable(world: World, thread: Thread, place: Place) -> None:
    if world.note_credentials(thread).fsuid:
        raise KernelError("EACCES", f"{place.path} belongs to root")
    if not place.overlay.is_settable(place.path):
        raise UnsupportedError(f"writing to {place.path} cannot be simulated yet")


def _opened(thread: Thread, result: int) -> None:
    if result >= 0:
        thread.process.is_followed = True


# other calls with paths


def stat(world: World, thread: Thread, args: Args) -> None:
    """stat(path, buf)."""
    place = _name(world, thread, abi.AT_FDCWD, 0, args)
    _tell_owner(world, thread, place, args[1] + abi.STAT_UID)


def lstat(world: World, thread: Thread, args: Args) -> None:
    """lstat(path, buf)."""
    place = _name(world, thread, abi.AT_FDCWD, 0, args, follow=False)
    _tell_owner(world, thread, place, args[1] + abi.STAT_UID)


def newfstatat(world: World, thread: Thread, args: Args) -> None:
    """newfstatat(dirfd, path, buf, flags)."""
    follow = not args[3] & abi.AT_SYMLINK_NOFOLLOW
    place = _name(world, thread, args[0], 1, args, follow)
    _tell_owner(world, thread, place, args[2] + abi.STAT_UID)


def statx(world: World, thread: Thread, args: Args) -> None:
    """statx(dirfd, path, flags, mask, buf)."""
    follow = not args[2] & abi.AT_SYMLINK_NOFOLLOW
    place = _name(world, thread, args[0], 1, args, follow)
    _tell_owner(world, thread, place, args[4] + _STATX_UID)


def name(world: World, thread: Thread, args: Args) -> None:
    """access(path, mode), chdir(path), getxattr(path, ...), listxattr(path, ...)."""
    _name(world, thread, abi.AT_FDCWD, 0, args)


def link_name(world: World, thread: Thread, args: Args) -> None:
    """lgetxattr(path, ...), llistxattr(path, ...)."""
    _name(world, thread, abi.AT_FDCWD, 0, args, follow=False)


def second_name(world: World, thread: Thread, args: Args) -> None:
    """inotify_add_watch(fd, path, mask)."""
    _name(world, thread, abi.AT_FDCWD, 1, args)


def faccessat2(world: World, thread: Thread, args: Args) -> None:
    """faccessat2(dirfd, path, mode, flags)."""
    _name(world, thread, args[0], 1, args, follow=not args[3] & abi.AT_SYMLINK_NOFOLLOW)


def faccessat(world: World, thread: Thread, args: Args) -> None:
    """faccessat(dirfd, path, mode)."""
    _name(world, thread, args[0], 1, args)


def readlink(world: World, thread: Thread, args: Args) -> int | None:
    """readlink(path, buf, size)."""
    return _readlink(world, thread, abi.AT_FDCWD, 0, args)


def readlinkat(world: World, thread: Thread, args: Args) -> int | None:
    """readlinkat(dirfd, path, buf, size)."""
    return _readlink(world, thread, args[0], 1, args)


def statfs(world: World, thread: Thread, args: Args) -> None:
    """statfs(path, buf)."""
    place = _name(world, thread, abi.AT_FDCWD, 0, args)
    if place is not None and place.entry is not None:
        _tell_magic(thread, place.path, args[1])


def fstatfs(world: World, thread: Thread, args: Args) -> None:
    """fstatfs(fd, buf)."""
    path = answered_path(world, thread, args[0])
    if path is not None:
        _tell_magic(thread, path, args[1])


def getcwd(world: World, thread: Thread, args: Args) -> int | None:
    """getcwd(buf, size): the simulated name of a private directory."""
    try:
        inside = inside_of(world, os.readlink(f"/proc/{thread.tid}/cwd"))
    except OSError:
        return None
    if inside is None:
        return None
    data = inside.encode("utf-8", "surrogateescape") + b"\0"
    if len(data) > args[1]:
        raise KernelError("ERANGE", f"{args[1]} bytes are too few for {inside}")
    thread.write(args[0], data)
    return len(data)


def read_again(world: World, thread: Thread, args: Args) -> None:
    """lseek(fd, 0, SEEK_SET), and pread64() at offset 0: the file is as it is now."""
    path = answered_path(world, thread, args[0])
    if path is None:
        return
    with suppress(KernelError):
        place = resolve(world, thread, abi.AT_FDCWD, path)
        if place is None or not isinstance(place.entry, File) or place.entry.text is None:
            return
        if not place.overlay.is_still(path):
            world.sync_all()
        text = place.entry.text()
        fd = f"/proc/{thread.tid}/fd/{args[0] & 0xFFFFFFFF}"
        with suppress(OSError):
            _fill_file(fd, text, _mode(place.overlay, path))


def _name(
    world: World, thread: Thread, dirfd: int, number: int, args: Args, follow: bool = True
) -> Place | None:
    """Let the path, which is argument *number*, be that of what it means."""
    place = resolve(world, thread, dirfd, thread.text(args[number]), follow)
    if place is not None:
        _redirect(world, thread, place, number, args)
    return place


def _readlink(world: World, thread: Thread, dirfd: int, number: int, args: Args) -> int | None:
    text = thread.text(args[number])
    place = resolve(world, thread, dirfd, text, follow=False)
    if place is None:
        return None
    if place.entry is None and place.path.startswith("/proc/"):
        with unless_gone():
            inside = inside_of(world, os.readlink(place.path))
            if inside is not None:
                data = inside.encode("utf-8", "surrogateescape")[: args[number + 2]]
                thread.write(args[number + 1], data)
                return len(data)
    _redirect(world, thread, place, number, args)
    return None


def _tell_owner(world: World, thread: Thread, place: Place | None, addr: int) -> None:
    """Let what stat() has found belong to root, or to the user of its process."""
    if place is None or place.entry is None:
        return
    match = _OF_TASK.match(place.path)
    owner = _owner(world, int(match[1])) if match else 0

    def told(result: int) -> None:
        if not result:
            thread.write(addr, struct.pack("=II", owner, 0))

    thread.at_end = told


def _owner(world: World, pid: int) -> int:
    """Whose /proc/PID is: on the host, of a process that is there."""
    if pid in world.threads:
        with suppress(OSError):
            return os.stat(f"/proc/{pid}").st_uid
    task = world.machine.tasks.get(pid)
    return task.fsuid if task and task.is_dumpable else 0


def _tell_magic(thread: Thread, path: str, addr: int) -> None:
    """Let a struct statfs say which file system it is."""
    root = next(root for root in (*_MAGIC, "") if path.startswith(root))

    def told(result: int) -> None:
        if not result and root:
            thread.write(addr, struct.pack("=q", _MAGIC[root]))

    thread.at_end = told


# private files


def _redirect(world: World, thread: Thread, place: Place, number: int, args: Args) -> None:
    """Let the call name the private copy of what is simulated, or the host's own."""
    if place.entry is None:
        if place.must_be_named:
            thread.change_path(number, args[number], place.path)
        return
    _check_root(thread)
    path = _private(world, place.path)
    if place.path == "/proc":
        path = _listing(world, place)
    elif isinstance(place.entry, Dir):
        _fill(world, path, place)
    else:
        _put(world, path, place.entry, place)
    thread.change_path(number, args[number], path)


def _check_root(thread: Thread) -> None:
    """Private files are out of reach in another root directory. Raises UnsupportedError."""
    with suppress(OSError):
        if os.readlink(f"/proc/{thread.tid}/root") != "/":
            raise UnsupportedError(
                f"process {thread.process.pid} cannot have simulated files: it has changed its root"
            )


def _private(world: World, path: str) -> str:
    """The path of the private copy, whose directory is made."""
    private = world.root + path
    os.makedirs(os.path.dirname(private), exist_ok=True)
    return private


def _mode(overlay: Overlay, path: str) -> int:
    """The mode of a private file; its owner is root of the simulated machine."""
    return _MODES[overlay.is_settable(path)]


def write_anew(path: str, text: str, mode: int) -> None:
    """Write a file that takes the place of an older one, which may still be open."""
    _remove(path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(fd, "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))


def _fill_file(path: str, text: str, mode: int) -> None:
    """Let a file that exists hold something else."""
    os.chmod(path, _MODES[True])
    with open(path, "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    os.chmod(path, mode)


def _put(world: World, path: str, entry: Entry, place: Place, name: str = "") -> None:
    """Let there be something of an entry's kind, whatever it holds: of *place*, or below it."""
    if isinstance(entry, Dir):
        os.makedirs(path, exist_ok=True)
    elif isinstance(entry, Link):
        if not os.path.islink(path):
            _remove(path)
            os.symlink(entry.target, path)
    elif path in world.given or not os.path.isfile(path):
        write_anew(path, "", _mode(place.overlay, place.path + name))
        world.given.discard(path)


def _fill(world: World, path: str, place: Place) -> None:
    """Let a directory hold the names that the simulated one has, and the host's if it is shared."""
    os.makedirs(path, exist_ok=True)
    entries = _entries(place)
    for name in set(os.listdir(path)) - entries.keys():
        _remove(f"{path}/{name}")
    for name, entry in entries.items():
        _put(world, f"{path}/{name}", entry, place, f"/{name}")


def _entries(place: Place) -> dict[str, Entry]:
    """What there is in a directory."""
    assert isinstance(place.entry, Dir)
    entries = dict(place.overlay.below(place.path, place.entry))
    if not place.overlay.hides(f"{place.path}/x"):
        with suppress(OSError):
            for found in os.scandir(place.path):
                if found.name not in entries and not place.overlay.hides(found.path):
                    entries[found.name] = (
                        Link(os.readlink(found.path))
                        if found.is_symlink()
                        else Dir(dict)
                        if found.is_dir()
                        else File(None)
                    )
    return entries


def _listing(world: World, place: Place) -> str:
    """A directory that lists processes as the kernel does, by pid and behind all else.

    It stays as it is, for who reads it: when the names change, another takes its place.
    """
    entries = _entries(place)
    names = sorted(entries, key=lambda name: int(name) if name.isdecimal() else 0)
    if names != world.listed:
        world.listed = names
        world.listings += 1
        _remove(LISTING.format(root=world.root, number=world.listings - _KEPT_LISTINGS))
    path = LISTING.format(root=world.root, number=world.listings)
    if not os.path.isdir(path) and _list(world, path, names, entries, place) == names[::-1]:
        world.is_newest_first = not world.is_newest_first
        _remove(path)
        _list(world, path, names, entries, place)
    return path


def _list(
    world: World, path: str, names: list[str], entries: dict[str, Entry], place: Place
) -> list[str]:
    """Make a directory of *names* in their order; returns how the host lists them."""
    os.mkdir(path)
    for name in names[::-1] if world.is_newest_first else names:
        _put(world, f"{path}/{name}", entries[name], place, f"/{name}")
    return os.listdir(path)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        import shutil

        shutil.rmtree(path, ignore_errors=True)
