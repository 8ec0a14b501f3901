"""Reading the files of /proc and /sys, of this host or of a copied tree."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pymigrate.errors import ScenarioError


class Tree:
    """The files below *root*, which holds `proc` and `sys`."""

    def __init__(self, root: str = "/") -> None:
        self.root = root
        self.page_size = os.sysconf("SC_PAGE_SIZE") if self.is_live else 4096  # bytes

    @property
    def is_live(self) -> bool:
        """Whether it is this host: what it does not have then is not there."""
        return os.path.realpath(self.root) == "/"

    def path(self, name: str) -> str:
        """The full path of `proc/...` or `sys/...`."""
        return os.path.join(self.root, name)

    def has(self, name: str) -> bool:
        """Whether there is such a file or directory."""
        return os.path.exists(self.path(name))

    def is_dir(self, name: str) -> bool:
        """Whether it is a directory, and no link to one."""
        path = self.path(name)
        return os.path.isdir(path) and not os.path.islink(path)

    def peek(self, name: str) -> str | None:
        """A file's text without the blanks around it; None if it cannot be read."""
        try:
            return self.text(name)
        except ScenarioError:
            return None

    def names(self, folder: str) -> list[str]:
        """What a directory holds; nothing if it is not there."""
        try:
            return sorted(os.listdir(self.path(folder)))
        except OSError:
            return []

    def read(self, name: str) -> str:
        """A file's text. Raises ScenarioError if it cannot be read."""
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError as error:
            message = f"cannot be read: {error.strerror}"
            raise ScenarioError(message, self.path(name)) from None

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

    def malformed(self, name: str, line: int, text: str, expected: str) -> ScenarioError:
        """That a line is not what it should be."""
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        return ScenarioError(f"{shown!r}; expected {expected}", self.path(name), line)
