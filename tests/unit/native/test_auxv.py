import struct

import pytest

from pymigrate.native import abi, auxv, libc

PATH_AT, STACK_AT = 0x5000, 0x10000


def stack(nr_variables: int) -> bytes:
    """What the kernel puts there for a program with two arguments."""
    words = [2, 0x7000, 0x7008, 0, *range(1, nr_variables + 1), 0]
    words += [abi.AT_SYSINFO_EHDR, 0x8000, abi.AT_EXECFN, PATH_AT, 0, 0, 99, 99]
    return struct.pack(f"={len(words)}Q", *words)


def begun(monkeypatch: pytest.MonkeyPatch, data: bytes, path: bytes) -> auxv.Begun:
    """What is found of a program with that stack and path."""
    memory = {STACK_AT: data, PATH_AT: path + b"\0"}
    monkeypatch.setattr(libc, "register", lambda _tid, _register: STACK_AT)
    monkeypatch.setattr(libc, "read_memory", lambda _tid, at, length: memory[at][:length])
    return auxv.begun(1)


@pytest.mark.parametrize("nr_variables", [0, 20, 5000])
def test_file_and_vdso_are_found_behind_the_environment(
    monkeypatch: pytest.MonkeyPatch, nr_variables: int
) -> None:
    found = begun(monkeypatch, stack(nr_variables), b"/usr/bin/a-name-that-is-long")
    assert found == auxv.Begun(0x8000, b"/usr/bin/a-name-that-is-long")
    assert found.comm == "a-name-that-is-"


def test_long_path(monkeypatch: pytest.MonkeyPatch) -> None:
    path = b"/a" * 1000
    assert begun(monkeypatch, stack(3), path).path == path


@pytest.mark.parametrize("data", [b"", stack(3)[:64], b"\xff" * 4096])
def test_stack_of_another_kind(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    assert begun(monkeypatch, data, b"/bin/true") == auxv.Begun()


def test_what_only_the_kernel_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert begun(monkeypatch, stack(3), b"/dev/fd/3").comm == ""
    assert begun(monkeypatch, stack(3), b"/bin/\xff").comm == "\udcff"
