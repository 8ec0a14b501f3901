"""What the host knows of a process's memory: its mappings, and the pages that are there."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby

from pymigrate.errors import KernelError
from pymigrate.native import abi
from pymigrate.records import NamedTuple

PAGE_SHIFT = 12
TOP = 1 << abi.ADDRESS_BITS - PAGE_SHIFT  # pages of user space
_ALL = 0, TOP - 1  # those that can be scanned
# What PAGEMAP_SCAN tells of pages.
FILE, PRESENT, SWAPPED, ZERO = 4, 8, 16, 32
_PAGEMAP_SCAN, _PROCMAP_QUERY = 0xC0606610, 0xC0686611
_ARGUMENT = struct.Struct("=12Q")
_WALK_END = 32  # its offset in the argument
_NO_SCAN = errno.EINVAL, errno.ENOTTY, errno.EFAULT  # before 6.7, or of fewer addresses
_MAX_REGIONS = 2048
_CHUNK = 1 << 17  # pages whose entries are read at once, where the kernel cannot scan
# Bits of an entry of pagemap, in its highest byte.
_IN_MEMORY, _IN_SWAP, _OF_FILE, _EXCLUSIVE = 0x80, 0x40, 0x20, 0x01
# struct procmap_query: size, flags, address; start, end, flags, page size, offset, inode of the
# mapping; its device's numbers, the lengths and the addresses of its name and build id.
_QUERY = struct.Struct("=9Q4I2Q")
_COVERING_OR_NEXT, _RIGHTS, _SHARED_MAPPING = 0x10, ((1, "r"), (2, "w"), (4, "x")), 8
_NAME_LENGTH = 4096
_SPECIAL = ("[vdso]", "[vsyscall]", "[vvar]", "[vvar_vclock]")


class Mapping(NamedTuple):
    """A line of /proc/PID/maps; *start* and *end* are pages, *offset* is in bytes."""

    start: int
    end: int
    prot: str
    is_shared: bool
    device: str
    inode: int
    path: str
    offset: int


class Region(NamedTuple):
    """Pages [start, end) that are there, and alike: FILE, PRESENT, SWAPPED, ZERO."""

    start: int
    end: int
    flags: int


def read_file(path: str) -> bytes:
    """A short file, such as those of /proc, in less time than open() takes. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = b""
        while part := os.read(fd, 1 << 16):
            found += part
    finally:
        os.close(fd)
    return found


def maps_text(pid: int) -> str:
    """The text of maps. Raises OSError."""
    return read_file(f"/proc/{pid}/maps").decode("utf-8", "surrogateescape")


def mappings(text: str) -> list[Mapping]:
    """What maps tells, without the pages that the kernel gives to every process."""
    found = map(mapping_of, text.splitlines())
    return [mapping for mapping in found if mapping is not None]


def anonymous(text: str) -> list[tuple[int, int]]:
    """The pages [a, b) of each mapping of no file that maps tells of, but for the kernel's own.

    >>> anonymous("7f00000-7f02000 rw-p 00000000 00:00 0      [stack]\\n")
    [(32512, 32514)]
    """
    found = []
    for line in text.splitlines():
        if " /" in line or "[v" in line:
            continue
        span, _, _, _, inode, *_ = line.split(None, 5)
        if inode == "0":
            start, _, end = span.partition("-")
            found.append((int(start, 16) >> PAGE_SHIFT, int(end, 16) >> PAGE_SHIFT))
    return found


def mapping_of(line: str) -> Mapping | None:
    """A line of maps; None of the pages that the kernel gives to every process.

    >>> mapping_of("7f00000-7f02000 rw-p 00001000 08:01 12 /lib/x.so")[:5]
    (32512, 32514, 'rw', False, '08:01')
    """
    span, perms, offset, device, inode, *rest = line.split(None, 5)
    path = rest[0] if rest else ""
    if path in _SPECIAL:
        return None
    start, _, end = span.partition("-")
    return Mapping(
        int(start, 16) >> PAGE_SHIFT,
        int(end, 16) >> PAGE_SHIFT,
        perms[:3].replace("-", "") or "none",
        perms[3] == "s",
        device,
        int(inode),
        path,
        int(offset, 16),
    )


@contextmanager
def unless_gone() -> Iterator[None]:
    """Let what the host refuses pass, as of a process that has ended; not what we refuse."""
    try:
        yield
    except KernelError:
        raise
    except OSError:
        return


def mappings_between(pid: int, a: int, b: int, most: int) -> list[Mapping] | None:
    """The mappings that have some of pages [a, b), if they are not more than *most*.

    None if they are, and where the kernel does not tell, which it does from 6.11 on.
    """
    found: list[Mapping] = []
    try:
        fd = os.open(f"/proc/{pid}/maps", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        while a < b:
            mapping = _mapping_at(fd, a)
            if mapping is None or mapping.start >= b:
                break
            if len(found) == most:
                return None
            found.append(mapping)
            a = mapping.end
    except OSError:
        return None
    finally:
        os.close(fd)
    return [mapping for mapping in found if mapping.path not in _SPECIAL]


def _mapping_at(maps: int, page: int) -> Mapping | None:
    """The mapping that has *page*, or the next one. Raises OSError."""
    name = array("B", bytes(_NAME_LENGTH))
    at = name.buffer_info()[0]
    argument = bytearray(
        _QUERY.pack(
            _QUERY.size, _COVERING_OR_NEXT, page << PAGE_SHIFT, *(0,) * 8, _NAME_LENGTH, 0, at, 0
        )
    )
    try:
        fcntl.ioctl(maps, _PROCMAP_QUERY, argument, True)
    except FileNotFoundError:
        return None
    _, _, _, start, end, flags, _, offset, inode, major, minor, length, *_ = _QUERY.unpack(argument)
    return Mapping(
        start >> PAGE_SHIFT,
        end >> PAGE_SHIFT,
        "".join(letter for bit, letter in _RIGHTS if flags & bit) or "none",
        bool(flags & _SHARED_MAPPING),
        f"{major:02x}:{minor:02x}",
        inode,
        _printed(bytes(name[: max(length - 1, 0)])),
        offset,
    )


def _printed(name: bytes) -> str:
    """A name as maps has it."""
    return name.replace(b"\n", b"\\012").decode("utf-8", "surrogateescape")


class Pagemap:
    """The file pagemap of a process, which is the same until it executes another program."""

    def __init__(self, pid: int) -> None:
        """Open it. Raises OSError."""
        self._fd = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        self._can_scan = True
        self._vector = array("Q")  # where a scan puts what it finds
        self._found = array("Q")  # by the last scan
        self._seen = array("Q")  # what it has found in all of memory

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def regions(self, spans: list[tuple[int, int]], *, with_files: bool = True) -> list[Region]:
        """What is there of *spans*, each of which is pages [a, b). Raises OSError.

        Without *with_files* pages of files may be left out.
        """
        found = None
        if spans:
            found = self._scan(spans[0][0], spans[-1][1], 0 if with_files else FILE)
        if found is None:
            found = [region for a, b in spans for region in self._read(a, b)]
        return found

    def everything(self, spans: list[tuple[int, int]]) -> list[Region]:
        """What is there of all that is mapped, which is *spans*. Raises OSError."""
        found = self._scan(*_ALL, 0)
        is_whole = found is not None and len(self._found) < 3 * _MAX_REGIONS
        self._seen = self._found if is_whole else array("Q")
        return self.regions(spans) if found is None else found

    def is_as_seen(self) -> bool:
        """Whether what is there is what everything() has told of; False if that is not to be had.

        Raises OSError.
        """
        if not self._can_scan or not self._seen:
            return False
        self._scan_once(_ALL[0] << PAGE_SHIFT, _ALL[1] << PAGE_SHIFT, 0)
        return self._found == self._seen

    def exclusive(self, a: int, b: int) -> list[tuple[int, int]]:
        """Where in pages [a, b) this process alone maps anonymous pages. Raises OSError."""
        wanted = _IN_MEMORY | _EXCLUSIVE
        runs = _runs(a, self._entries(a, b), wanted | _OF_FILE)
        return [(start, end) for start, end, bits in runs if bits == wanted]

    def _scan(self, a: int, b: int, without: int) -> list[Region] | None:
        """What a scan of pages [a, b) finds; None where the kernel has no scan."""
        if not self._can_scan:
            return None
        found: list[Region] = []
        at, end = a << PAGE_SHIFT, b << PAGE_SHIFT
        while at < end:
            try:
                at = self._scan_once(at, end, without)
            except OSError as error:
                if error.errno not in _NO_SCAN:
                    raise
                self._can_scan = False
                return None
            words = self._found
            found += [
                Region(low >> PAGE_SHIFT, high >> PAGE_SHIFT, flags)
                for low, high, flags in zip(words[0::3], words[1::3], words[2::3], strict=True)
            ]
            if len(words) < 3 * _MAX_REGIONS:
                break
        return found

    def _scan_once(self, at: int, end: int, without: int) -> int:
        """Scan from byte *at* until the vector is full; returns where that ended."""
        vector = self._vector
        if not vector:
            vector.frombytes(bytes(24 * _MAX_REGIONS))
        where, _ = vector.buffer_info()
        kinds = without, without, PRESENT | SWAPPED, FILE | PRESENT | SWAPPED | ZERO
        argument = bytearray(_ARGUMENT.pack(96, 0, at, end, 0, where, _MAX_REGIONS, 0, *kinds))
        nr = fcntl.ioctl(self._fd, _PAGEMAP_SCAN, argument, True)
        self._found = vector[: 3 * nr]
        (stopped,) = struct.unpack_from("=Q", argument, _WALK_END)
        return int(stopped)

    def _read(self, a: int, b: int) -> list[Region]:
        """By its entries: an anonymous page that is mapped and not owned is the zero page."""
        found = []
        for at in range(a, b, _CHUNK):
            data = self._entries(at, min(b, at + _CHUNK))
            mask = _IN_MEMORY | _IN_SWAP | _OF_FILE | _EXCLUSIVE
            for start, end, bits in _runs(at, data, mask):
                flags = PRESENT if bits & _IN_MEMORY else SWAPPED if bits & _IN_SWAP else 0
                if not flags:
                    continue
                flags |= FILE if bits & _OF_FILE else 0
                if bits == _IN_MEMORY:
                    flags |= ZERO
                found.append(Region(start, end, flags))
        return found

    def _entries(self, a: int, b: int) -> bytes:
        """The highest byte of the entry of each page."""
        return os.pread(self._fd, (b - a) * 8, a * 8)[7::8]


def _runs(start: int, entries: bytes, mask: int) -> list[tuple[int, int, int]]:
    """Neighbours whose bits of *mask* are the same: start, end, bits."""
    found, at = [], start
    if not any(entries):
        return []
    for bits, group in groupby(byte & mask for byte in entries):
        nr = sum(1 for _ in group)
        found.append((at, at + nr, bits))
        at += nr
    return found
