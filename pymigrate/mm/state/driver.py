"""Drivers whose pages can be moved though they are on no LRU list; see movable_ops.py."""

from dataclasses import dataclass, field
from typing import NamedTuple

INTERFACES = {"2016": "migratepage", "movable_operations": "migrate_page"}


class Called(NamedTuple):
    """One call of a driver: what it was asked, for which of its pages, and the answer."""

    call: str
    page: int
    answer: str


@dataclass(slots=True, eq=False)
class Driver:
    """A driver with pages of its own.

    *isolates* and *migrates* are the answers that are still to be given, in order; the last of
    them is given again and again.
    """

    driver_id: int
    name: str
    kind: str  # zsmalloc, virtio-balloon or scripted
    interface: str = "movable_operations"
    isolates: list[str] = field(default_factory=list)  # true, false, or free
    migrates: list[str] = field(default_factory=list)  # success, or an errno
    pages: list[int] = field(default_factory=list)  # the frame of each page, -1: it was freed
    isolated: int = 0  # pages that the balloon's device counts as such

    @property
    def migrate_name(self) -> str:
        """What the call that moves a page is called."""
        return INTERFACES[self.interface]
