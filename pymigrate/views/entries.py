"""Files, links and directories made of the state: what a tree of them is built from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from pymigrate.errors import KernelError
from pymigrate.records import NamedTuple


class File(NamedTuple):
    """A file; None for one that can only be written."""

    text: Callable[[], str] | None


class Binary(NamedTuple):
    """A file of *size* bytes, made as it is read: it may be large, and most of it 0.

    *read* gives bytes: from which one on, how many; fewer at the end. *parts* says where it may be
    other than 0: from which byte to which.
    """

    size: int
    read: Callable[[int, int], bytes]
    parts: Callable[[], Iterable[tuple[int, int]]]


class Link(NamedTuple):
    """A symbolic link, relative to the directory that it is in."""

    target: str


class Dir(NamedTuple):
    """A directory; what is in it is made when somebody looks."""

    entries: Callable[[], Entries]


Entry: TypeAlias = "File | Binary | Link | Dir"
Entries: TypeAlias = "dict[str, Entry]"
_PART = 1 << 20  # bytes that are made at once


def file_of(value: object) -> File:
    """A file of one line."""
    return File(lambda: f"{value}\n")


def dir_of(entries: Entries) -> Dir:
    """A directory whose entries are cheap."""
    return Dir(lambda: entries)


def find(root: Dir, path: str) -> Entry:
    """The file or directory at *path*; links are followed.

    Raises KernelError ENOENT, ENOTDIR.
    """
    trail: list[Entry] = [root]
    parts = path.split("/")[::-1]
    while parts:
        part, here = parts.pop(), trail[-1]
        if not isinstance(here, Dir):
            raise KernelError("ENOTDIR", f"{path} goes on behind a file")
        if part == "..":
            del trail[max(len(trail) - 1, 1) :]
            continue
        entry = here.entries().get(part) if part not in ("", ".") else here
        if entry is None:
            raise KernelError("ENOENT", f"there is no {path}")
        if isinstance(entry, Link):
            parts += entry.target.split("/")[::-1]
        elif entry is not here:
            trail.append(entry)
    return trail[-1]


def read(root: Dir, path: str) -> str:
    """The text of the file at *path*; of a directory a line for each entry, by name.

    There ``/`` marks directories, and ``->`` where a link leads.
    Raises KernelError ENOENT, ENOTDIR, and EACCES for a file that can only be written; ValueError
    for one that is no text.
    """
    entry = find(root, path)
    if isinstance(entry, Binary):
        raise ValueError(f"{path} is no text")
    if isinstance(entry, Dir):
        return "".join(f"{_listed(name, below)}\n" for name, below in by_name(entry))
    assert isinstance(entry, File), "find() follows links"
    if entry.text is None:
        raise KernelError("EACCES", f"{path} can only be written")
    return entry.text()


def read_bytes(root: Dir, path: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
    """The bytes of the file at *path* from *offset* on, *length* of them or all, part by part.

    Raises KernelError as read() does, and EINVAL for half a record.
    """
    entry = find(root, path)
    if not isinstance(entry, Binary):
        data = read(root, path).encode("utf-8", "surrogateescape")
        yield data[offset:] if length is None else data[offset : offset + length]
        return
    end = entry.size if length is None else min(offset + length, entry.size)
    while offset < end:
        part = entry.read(offset, min(_PART, end - offset))
        yield part
        offset += len(part)


def walk(
    root: Dir, path: str = "", leave_out: Callable[[str], bool] = lambda _: False
) -> Iterator[tuple[str, File | Binary | Link]]:
    """Every link, and every file that can be read, with its path; nothing that is to be left out.

    Of a directory for whose path *leave_out* is true all is.
    """
    for name, entry in by_name(root):
        below = f"{path}/{name}" if path else name
        if leave_out(below):
            continue
        if isinstance(entry, Dir):
            yield from walk(entry, below, leave_out)
        elif not isinstance(entry, File) or entry.text is not None:
            yield below, entry


def by_name(directory: Dir) -> list[tuple[str, Entry]]:
    """What is in *directory*, numbers in their order."""
    return sorted(directory.entries().items(), key=lambda item: _sort_key(item[0]))


def _sort_key(name: str) -> tuple[str, int]:
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or -1)


def _listed(name: str, entry: Entry) -> str:
    if isinstance(entry, Link):
        return f"{name} -> {entry.target}"
    return f"{name}/" if isinstance(entry, Dir) else name
