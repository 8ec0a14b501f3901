"""Reading what a user names, of which there may be no end: `/dev/zero`, say."""

from __future__ import annotations

import zlib

MAX_TEXT = 32 << 20  # bytes of a scenario, a list of pages, a claim
MAX_RECORD = 512 << 20  # bytes of a profile, or of one file of a machine
_PART = 1 << 16  # bytes read at once; files of /proc refuse to be asked for much


def read_file(path: str | int, limit: int = MAX_TEXT) -> bytes:
    """The contents of a file, or of a descriptor.

    Raises OSError, and ValueError for a name that none can have, or for more than *limit* bytes.
    """
    content = bytearray()
    with open(path, "rb") as file:
        while part := file.read(_PART):
            content += part
            if len(content) > limit:
                raise ValueError(f"it is larger than {limit >> 20}MiB")
    return bytes(content)


def inflate(content: bytes, limit: int = MAX_RECORD) -> bytes:
    """What zlib compressed. Raises ValueError if it is broken, or of more than *limit* bytes."""
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(content, limit)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(plain) == limit and not unpacker.eof and unpacker.unconsumed_tail:
        raise ValueError(f"larger than {limit >> 20}MiB")
    if not unpacker.eof:
        raise ValueError("its end is missing")
    if unpacker.unused_data:
        raise ValueError("something follows its end")
    return plain
