"""Reading the files of /proc and /sys, of this host or of a copied tree."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pymigrate.errors import ScenarioError
from pymigrate.reading import MAX_RECORD, read_file


class Tree:
    """The files below *root*, which holds `proc` and `sys`.

    Of a copied tree nothing outside is read, wherever its links lead.
    """

    def __init__(self, root: str = "/") -> None:
        self.root, self._top = root, os.path.realpath(root)
        self.page_size = os.sysconf("SC_PAGE_SIZE") if self.is_live else 4096  # bytes

    @property
    def is_live(self) -> bool:
        """Whether it is this host: what it does not have then is not there."""
        return self._top == "/"

    def path(self, name: str) -> str:
        """The full path of `proc/...` or `sys/...`."""
        return os.path.join(self.root, name)

    def inside(self, name: str) -> str:
        """The path of what is to be read, without links. Raises ScenarioError if it lies outside.

        For this host it is the path as it is.
        """
        path = self.path(name)
        if self.is_live or not self.root:
            return path
        real = os.path.realpath(path)
        if os.path.commonpath([real, self._top]) != self._top:
            raise ScenarioError(f"is a link out of {self.root}, to {real}", path)
        return real

    def has(self, name: str) -> bool:
        """Whether there is such a file or directory."""
        return os.path.lexists(self._inside(name, lost=self.path(name)))

    def is_dir(self, name: str) -> bool:
        """Whether it is a directory, and no link to one."""
        path = self.path(name)
        return not os.path.islink(path) and os.path.isdir(self._inside(name))

    def peek(self, name: str) -> str | None:
        """A file's text without the blanks around it; None if it cannot be read."""
        try:
            return self.text(name)
        except ScenarioError:
            return None

    def names(self, folder: str) -> list[str]:
        """What a directory holds; nothing if it is not there."""
        try:
            return sorted(os.listdir(self._inside(folder)))
        except OSError:
            return []

    def read(self, name: str) -> str:
        """A file's text. Raises ScenarioError if it cannot be read."""
        path = self.inside(name)
        try:
            if self.root and os.path.exists(path) and not os.path.isfile(path):
                kind = "a directory" if os.path.isdir(path) else "a device or a pipe"
                raise ScenarioError(f"is {kind}; expected a file", self.path(name))
            return read_file(path, MAX_RECORD).decode("utf-8", "replace").replace("\r\n", "\n")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ScenarioError(f"cannot be read: {reason}", self.path(name)) from None

    def text(self, name: str, default: str = "") -> str:
        """A file's text without the blanks around it; *default* if there is no such file."""
        return self.read(name).strip("\0 \t\r\n") if self.has(name) else default

    def lines(self, name: str) -> Iterator[tuple[int, str]]:
        """The lines of a file by their numbers."""
        yield from enumerate(self.read(name).splitlines(), 1)

    def number(self, name: str, default: int = 0, base: int = 10) -> int:
        """The number that a file holds. Raises ScenarioError if it holds none."""
        text = self.text(name, str(default))
        try:
            return int(text, base)
        except ValueError:
            raise self.malformed(name, 1, text, "a number") from None

    def _inside(self, name: str, lost: str = "") -> str:
        """inside(), or *lost* for what lies outside."""
        try:
            return self.inside(name)
        except ScenarioError:
            return lost

    def malformed(self, name: str, line: int, text: str, expected: str) -> ScenarioError:
        """That a line is not what it should be."""
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        return ScenarioError(f"{shown!r}; expected {expected}", self.path(name), line)
