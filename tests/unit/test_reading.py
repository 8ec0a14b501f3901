"""What is read has an end, wherever it comes from."""

import zlib
from pathlib import Path

import pytest

from pymigrate.reading import inflate, read_file


def test_a_file_of_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)
    assert read_file(str(path), 100_000) == b"x" * 100_000
    with pytest.raises(ValueError, match="it is larger than 0MiB"):
        read_file(str(path), 99_999)


def test_a_file_without_end_is_not_read_to_it() -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("there is no /dev/zero")
    with pytest.raises(ValueError, match="it is larger than 1MiB"):
        read_file("/dev/zero", 1 << 20)


def test_a_small_blob_may_not_become_a_large_one() -> None:
    blob = zlib.compress(bytes(1 << 20))
    assert inflate(blob, 1 << 20) == bytes(1 << 20)
    with pytest.raises(ValueError, match="larger than 0MiB"):
        inflate(blob, 1000)


@pytest.mark.parametrize("blob", [b"", b"x", zlib.compress(b"abc")[:-1], zlib.compress(b"") + b"x"])
def test_a_broken_blob(blob: bytes) -> None:
    with pytest.raises(ValueError, match=r"missing|incorrect|ends|follows"):
        inflate(blob)
