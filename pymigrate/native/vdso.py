"""The vDSO's getcpu(), which reads the host's CPU without a call: it is made to make the call."""

from __future__ import annotations

import struct

from pymigrate.native import abi, libc

_SECTIONS, _SECTION_SIZE = 40, 58  # where an ELF header says where its sections are
_SECTION, _SYMBOL = struct.Struct("=IIQQQQIIQQ"), struct.Struct("=IBBHQQ")
_DYNSYM = 11
_HEADER_SIZE = 64
# Where the function begins in each of the kernel's images, by their headers: a program's own has
# always the same one.
_offsets: dict[bytes, int] = {}
_GETCPU = b"__vdso_getcpu"


def patch(pid: int, base: int) -> None:
    """Patch that of the program which *pid*, which is stopped, is about to run; 0: it has none."""
    if not base:
        return
    header = libc.read_memory(pid, base, _HEADER_SIZE)
    if header not in _offsets:
        _offsets[header] = getcpu_offset(libc.read_memory(pid, base, 2 * 4096))
    if offset := _offsets[header]:
        libc.poke(pid, base + offset, abi.GETCPU_CODE)


def getcpu_offset(image: bytes) -> int:
    """Where in the vDSO's *image* the function begins; 0 if it has none."""
    try:
        at: int = struct.unpack_from("=Q", image, _SECTIONS)[0]
        size, nr = struct.unpack_from("=HH", image, _SECTION_SIZE)
        sections = [_SECTION.unpack_from(image, at + i * size) for i in range(nr)]
        for section in sections:
            if section[1] == _DYNSYM:
                strings: int = sections[section[6]][4]
                for where in range(section[4], section[4] + section[5], _SYMBOL.size):
                    name, _, _, _, value, _ = _SYMBOL.unpack_from(image, where)
                    text = image[strings + name : strings + name + len(_GETCPU) + 1]
                    if text == _GETCPU + b"\0":
                        return int(value)
    except (struct.error, IndexError):
        return 0
    return 0
