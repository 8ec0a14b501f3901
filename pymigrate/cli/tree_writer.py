"""A tree of files on disk that follows one in memory, in a directory that is its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

import click

from pymigrate.cli.own_folder import InTheWayError, OwnFolder
from pymigrate.views.entries import Binary, Dir, Link, walk

OWN = ".pymigrate"  # holds the list of what was written, and what is being written
_LIST, _NEW = f"{OWN}/files", f"{OWN}/new"
_CHUNK = 1 << 20  # bytes of a large file that are made at once


class TreeWriter:
    """Writes into one directory, and nowhere else."""

    def __init__(self, folder: str, leave_out: Callable[[str], bool] = lambda _: False) -> None:
        """Make *folder* ready. A usage error if it holds what no export has written there.

        Paths for which *leave_out* is true, and all below them, are not written. Raises
        InTheWayError, as write() does, if links or a list of another's making lead elsewhere.
        """
        self.leave_out = leave_out
        self.shown = folder
        self._folder = OwnFolder(folder)
        self._check()

    def write(self, root: Dir) -> tuple[int, int]:
        """Let the directory hold what *root* does; how many files were written, and removed.

        Each file is replaced by a rename, so that a reader finds the old or the new one whole.
        """
        known = self._check()
        wanted = dict(walk(root, leave_out=self.leave_out))
        assert all(_is_below(path) for path in wanted), "a path leads out of the directory"
        self._put_list(known | wanted.keys())
        changed = 0
        for path, entry in wanted.items():
            if isinstance(entry, Link):
                changed += self._link(path, entry.target)
            elif isinstance(entry, Binary):
                self._folder.put_by(path, partial(_write_parts, entry), _NEW)
                changed += 1
            else:
                assert entry.text is not None, "walk() gives what can be read"
                changed += self._put(path, entry.text().encode("utf-8", "surrogateescape"))
        gone = sorted(known - wanted.keys())
        for path in gone:
            self._folder.remove(path)
        self._put_list(set(wanted))
        return changed, len(gone)

    def _check(self) -> set[str]:
        """What was written before; a usage error if there is anything else."""
        known = self._known()
        folders = {path[:at] for path in known for at, c in enumerate(path) if c == "/"}
        for path, entry in self._folder.found():
            is_folder = entry.is_dir(follow_symlinks=False)
            if path.split("/")[0] == OWN:
                if path == OWN and not is_folder:
                    raise self._folder.in_the_way(path)
                continue
            if path in folders and entry.is_symlink():
                where = os.path.join(self.shown, path)
                raise InTheWayError(f"{where} is a link; expected a directory, as it was written")
            if path not in (folders if is_folder else known):
                raise click.BadParameter(
                    f"{self.shown} holds {path!r}, which `pymigrate export` has not written;"
                    " name an empty directory, or a new one",
                    param_hint="DIR",
                )
        return known

    def _known(self) -> set[str]:
        """The paths of the list, which anybody may have written."""
        text = (self._folder.read(_LIST) or b"").decode("utf-8", "surrogateescape")
        known = set(text.split("\n")) - {""}
        for path in sorted(known):
            if not _is_below(path):
                where = os.path.join(self.shown, _LIST)
                raise InTheWayError(
                    f"{where} lists {path!r}, which `pymigrate export` never writes"
                )
        return known

    def _put_list(self, paths: set[str]) -> None:
        self._put(_LIST, "".join(f"{path}\n" for path in sorted(paths)).encode())

    def _put(self, path: str, content: bytes) -> bool:
        """Write a file, unless it is so already."""
        if self._folder.read(path) == content:
            return False
        self._folder.put(path, content, _NEW)
        return True

    def _link(self, path: str, target: str) -> bool:
        """Make a link, unless it is there already."""
        if self._folder.link_at(path) == target:
            return False
        self._folder.link(path, target, _NEW)
        return True


def _write_parts(entry: Binary, stream: BinaryIO) -> None:
    """Write a file with holes where all is 0, up to the end of the last part that may not be."""
    end = 0
    for start, end in entry.parts():
        for at in range(start, end, _CHUNK):
            data = entry.read(at, min(_CHUNK, end - at))
            if data.strip(b"\0"):
                stream.seek(at)
                stream.write(data)
    stream.truncate(end)


def _is_below(path: str) -> bool:
    """Whether *path* is one of a tree: below `proc` or `sys`, and not out of them."""
    top, *parts = path.split("/")
    return top in ("proc", "sys") and bool(parts) and not {"", ".", ".."} & set(parts)
