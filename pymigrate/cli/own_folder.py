"""Files below one directory, reached by descriptors, so that no link leads out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from pymigrate.errors import PymigrateError, UnsupportedError

_FOLDER = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_FILE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # a FIFO has nobody to wait for


class InTheWayError(PymigrateError):
    """Something stands where a file is to be written, and is not overwritten or followed."""


class OwnFolder:
    """What is below the directory *shown*, by paths such as `proc/1/comm`.

    Every part of a path is opened without following links. Methods raise InTheWayError where
    a link, or anything else that is no plain file, takes the place of a directory or of a new
    file; OSError.
    """

    def __init__(self, shown: str) -> None:
        """Open the directory, which is made if it is not there."""
        if os.open not in os.supports_dir_fd:
            raise UnsupportedError("writing a directory of files needs a POSIX system")
        self.shown = shown
        os.makedirs(shown, exist_ok=True)
        self._top = os.open(shown, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))

    def close(self) -> None:
        """Close the directory."""
        os.close(self._top)

    def found(self, below: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
        """All there is, by its path. Links are not followed."""
        with self._opened(below) as folder, os.scandir(folder) as entries:
            for entry in entries:
                path = f"{below}/{entry.name}" if below else entry.name
                yield path, entry
                if entry.is_dir(follow_symlinks=False):
                    yield from self.found(path)

    def read(self, path: str, limit: int = -1) -> bytes | None:
        """The first *limit* bytes of a plain file, or all; None if there is none."""
        folder, name = os.path.split(path)
        try:
            with self._opened(folder) as at:
                file = os.open(name, os.O_RDONLY | _FILE, dir_fd=at)
        except (FileNotFoundError, InTheWayError):
            return None
        except OSError:
            if self._is_plain(path):
                raise
            return None
        with open(file, "rb") as stream:
            return stream.read(limit) if stat.S_ISREG(os.fstat(file).st_mode) else None

    def link_at(self, path: str) -> str | None:
        """Where a link leads; None if it is none."""
        folder, name = os.path.split(path)
        try:
            with self._opened(folder) as at:
                return os.readlink(name, dir_fd=at)
        except OSError:
            return None

    def put(self, path: str, content: bytes, new: str, mode: int = 0o666) -> None:
        """Write a file at once: under the name *new*, then renamed."""
        self.put_by(path, lambda stream: stream.write(content), new, mode)

    def put_by(
        self, path: str, write: Callable[[BinaryIO], object], new: str, mode: int = 0o666
    ) -> None:
        """Likewise, what *write* writes into the file."""
        self._clear(new)
        folder, name = os.path.split(new)
        with self._opened(folder, make=True) as at:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE
            file = os.open(name, flags, mode, dir_fd=at)
            with open(file, "wb") as stream:
                write(stream)
        self._rename(new, path)

    def link(self, path: str, target: str, new: str) -> None:
        """Make a link at once: under the name *new*, then renamed."""
        self._clear(new)
        folder, name = os.path.split(new)
        with self._opened(folder, make=True) as at:
            os.symlink(target, name, dir_fd=at)
        self._rename(new, path)

    def remove(self, path: str) -> None:
        """Remove a file or a link, and the directories that are empty then."""
        folder, name = os.path.split(path)
        with suppress(FileNotFoundError), self._opened(folder) as at:
            os.unlink(name, dir_fd=at)
        while folder:
            above, name = os.path.split(folder)
            try:
                with self._opened(above) as at:
                    os.rmdir(name, dir_fd=at)
            except OSError:  # it holds something, or is gone
                return
            folder = above

    def in_the_way(self, path: str) -> InTheWayError:
        """The error that names what stands at *path*."""
        link = self.link_at(path)
        what = f"a link to {link}" if link is not None else "not what pymigrate writes there"
        return InTheWayError(f"{os.path.join(self.shown, path)} is {what}; nothing was written")

    def _rename(self, new: str, path: str) -> None:
        (from_, old), (to, name) = os.path.split(new), os.path.split(path)
        with self._opened(from_) as source, self._opened(to, make=True) as target:
            os.replace(old, name, src_dir_fd=source, dst_dir_fd=target)

    def _clear(self, path: str) -> None:
        """Remove what a killed command has left half-written."""
        try:
            is_plain = self._is_plain(path)
        except FileNotFoundError:
            return
        if not is_plain:
            raise self.in_the_way(path)
        folder, name = os.path.split(path)
        with self._opened(folder) as at:
            os.unlink(name, dir_fd=at)

    def _is_plain(self, path: str) -> bool:
        folder, name = os.path.split(path)
        with self._opened(folder) as at:
            found = os.stat(name, dir_fd=at, follow_symlinks=False)
        return stat.S_ISREG(found.st_mode)

    @contextmanager
    def _opened(self, folder: str, make: bool = False) -> Iterator[int]:
        """A descriptor of a directory below; with *make* it is made if it is not there."""
        at, path = os.dup(self._top), ""
        try:
            for name in filter(None, folder.split("/")):
                path = f"{path}/{name}" if path else name
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(name, dir_fd=at)
                above, at = at, self._enter(at, name, path)
                os.close(above)
            yield at
        finally:
            os.close(at)

    def _enter(self, at: int, name: str, path: str) -> int:
        if name in (".", ".."):
            raise self.in_the_way(path)
        try:
            return os.open(name, os.O_RDONLY | _FOLDER, dir_fd=at)
        except FileNotFoundError:
            raise
        except OSError:
            found = os.stat(name, dir_fd=at, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                raise
            raise self.in_the_way(path) from None
