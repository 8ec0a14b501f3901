"""Paths in a tree of files: what they lead to, and what they do not."""

import pytest

from pymigrate.errors import KernelError
from pymigrate.views.entries import Dir, File, Link, dir_of, file_of, read, walk


@pytest.fixture
def root() -> Dir:
    inner = dir_of({"value": file_of(7), "up": Link("../top"), "writable": File(None)})
    return dir_of({"top": file_of("t"), "inner": inner, "node10": inner, "node9": Link("inner")})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param("inner/value", "7\n", id="plain"),
        pytest.param("/inner//./value", "7\n", id="slashes"),
        pytest.param("inner/../../inner/value", "7\n", id="up, at most to the root"),
        pytest.param("inner/up", "t\n", id="link"),
        pytest.param("node9/up", "t\n", id="link in a linked directory"),
    ],
)
def test_what_a_path_reads(root: Dir, path: str, text: str) -> None:
    assert read(root, path) == text


@pytest.mark.parametrize(
    ("path", "errno"),
    [
        pytest.param("inner/nothing", "ENOENT", id="nothing there"),
        pytest.param("top/value", "ENOTDIR", id="behind a file"),
        pytest.param("top/", "ENOTDIR", id="a file with a slash"),
        pytest.param("inner/writable", "EACCES", id="only for writing"),
    ],
)
def test_what_a_path_is_refused_for(root: Dir, path: str, errno: str) -> None:
    with pytest.raises(KernelError) as refused:
        read(root, path)
    assert refused.value.name == errno


def test_a_directory_reads_as_its_entries_in_the_order_of_numbers(root: Dir) -> None:
    assert read(root, "/") == "inner/\nnode9 -> inner\nnode10/\ntop\n"


def test_a_walk_gives_files_and_links_but_not_what_cannot_be_read(root: Dir) -> None:
    assert [path for path, _ in walk(root)] == [
        "inner/up",
        "inner/value",
        "node9",
        "node10/up",
        "node10/value",
        "top",
    ]


def test_a_walk_does_not_enter_what_is_left_out(root: Dir) -> None:
    paths = [path for path, _ in walk(root, leave_out=lambda path: path.startswith("node"))]
    assert paths == ["inner/up", "inner/value", "top"]
