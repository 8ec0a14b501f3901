"""A tree of files on disk that follows one in memory, in a directory that is its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import click

from pymigrate.views.entries import Dir, Link, walk

OWN = ".pymigrate"  # holds the list of what was written, and what is being written
_LIST, _NEW = "files", "new"


class TreeWriter:
    """Writes into one directory, and nowhere else."""

    def __init__(self, folder: str, leave_out: Callable[[str], bool] = lambda _: False) -> None:
        """Make *folder* ready. A usage error if it holds what no export has written there.

        Paths for which *leave_out* is true, and all below them, are not written.
        """
        self.leave_out = leave_out
        self.folder = os.path.realpath(folder)
        self.shown = folder
        self._own = os.path.join(self.folder, OWN)
        self._check()
        os.makedirs(self._own, exist_ok=True)

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
            else:
                assert entry.text is not None, "walk() gives what can be read"
                changed += self._put(path, entry.text().encode("utf-8", "surrogateescape"))
        gone = sorted(known - wanted.keys())
        for path in gone:
            self._remove(path)
        self._put_list(set(wanted))
        return changed, len(gone)

    def _check(self) -> set[str]:
        """What was written before; a usage error if there is anything else."""
        known = self._known()
        folders = {path[:at] for path in known for at, c in enumerate(path) if c == "/"}
        for path, is_folder in self._found():
            if path not in (folders if is_folder else known):
                raise click.BadParameter(
                    f"{self.shown} holds {path!r}, which `pymigrate export` has not written;"
                    " name an empty directory, or a new one",
                    param_hint="DIR",
                )
        return known

    def _known(self) -> set[str]:
        try:
            with open(os.path.join(self._own, _LIST), encoding="utf-8") as file:
                return set(file.read().splitlines())
        except FileNotFoundError:
            return set()

    def _found(self, below: str = "") -> Iterator[tuple[str, bool]]:
        """All there is, with whether it is a directory. Links are not followed."""
        if not below and not os.path.lexists(self.folder):
            return
        with os.scandir(os.path.join(self.folder, below)) as entries:
            for entry in entries:
                path = f"{below}/{entry.name}" if below else entry.name
                is_folder = entry.is_dir(follow_symlinks=False)
                if path == OWN and is_folder:
                    continue
                yield path, is_folder
                if is_folder:
                    yield from self._found(path)

    def _put_list(self, paths: set[str]) -> None:
        self._put(f"{OWN}/{_LIST}", "".join(f"{path}\n" for path in sorted(paths)).encode())

    def _put(self, path: str, content: bytes) -> bool:
        """Write a file, unless it is so already."""
        place = os.path.join(self.folder, path)
        if not os.path.islink(place) and os.path.exists(place):
            with open(place, "rb") as file:
                if file.read() == content:
                    return False
        new = os.path.join(self._own, _NEW)
        with open(new, "wb") as file:
            file.write(content)
        self._replace(new, place)
        return True

    def _link(self, path: str, target: str) -> bool:
        """Make a link, unless it is there already."""
        place = os.path.join(self.folder, path)
        if os.path.islink(place) and os.readlink(place) == target:
            return False
        new = os.path.join(self._own, _NEW)
        if os.path.lexists(new):
            os.unlink(new)
        os.symlink(target, new)
        self._replace(new, place)
        return True

    def _replace(self, new: str, place: str) -> None:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.replace(new, place)

    def _remove(self, path: str) -> None:
        """Remove a file, and the directories that are empty then."""
        place = os.path.join(self.folder, path)
        if os.path.lexists(place):
            os.unlink(place)
        folder = os.path.dirname(place)
        while folder != self.folder and os.path.isdir(folder) and not os.listdir(folder):
            os.rmdir(folder)
            folder = os.path.dirname(folder)


def _is_below(path: str) -> bool:
    """Whether *path* stays in the directory that it is relative to."""
    return not {"", ".", ".."} & set(path.split("/")) and path.split("/")[0] != OWN
