import struct

from pymigrate.native.vdso import getcpu_offset


def image(name: bytes) -> bytes:
    """An ELF image with one symbol."""
    strings = b"\0other\0" + name + b"\0"
    symbols = struct.pack("=IBBHQQ", 1, 0, 0, 0, 0x111, 0)
    symbols += struct.pack("=IBBHQQ", 7, 0, 0, 0, 0xE40, 0)
    at = 64
    sections = struct.pack("=IIQQQQIIQQ", 0, 11, 0, 0, at, len(symbols), 1, 0, 0, 24)
    sections += struct.pack("=IIQQQQIIQQ", 0, 3, 0, 0, at + len(symbols), len(strings), 0, 0, 0, 0)
    header = bytearray(64)
    struct.pack_into("=Q", header, 40, at + len(symbols) + len(strings))
    struct.pack_into("=HH", header, 58, 64, 2)
    return bytes(header) + symbols + strings + sections


def test_function_is_found_by_its_name() -> None:
    assert getcpu_offset(image(b"__vdso_getcpu")) == 0xE40


def test_image_without_it() -> None:
    assert getcpu_offset(image(b"__vdso_getcpu_not")) == 0
    assert getcpu_offset(b"\x7fELF") == 0
