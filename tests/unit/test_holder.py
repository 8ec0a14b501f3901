import socket
import sys
import tempfile
from pathlib import Path

import pytest

from pymigrate import holder
from pymigrate.errors import StoreError

if not hasattr(socket, "AF_UNIX") or sys.platform != "linux":
    pytest.skip("real programs run on Linux alone", allow_module_level=True)


def listening(path: Path) -> socket.socket:
    """A socket as of a holder of the state file *path*, who never answers."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with holder.address(str(path)) as name:
        server.bind(name)
    server.listen()
    return server


def test_what_a_killed_holder_has_left_goes(tmp_path: Path) -> None:
    path, private = tmp_path / "state.db", Path(tempfile.mkdtemp(prefix=holder.PRIVATE))
    (private / "proc").mkdir()
    holder.note(str(path), [7, 8], [str(private)])
    listening(path).close()
    with holder.borrowed(str(path)) as gone:
        assert gone == [7, 8]
    assert not private.exists()
    holder.forget(str(path))
    assert list(tmp_path.iterdir()) == []


def test_note_is_whole_at_any_time(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    holder.note(str(path), [7], ["/x"])
    (tmp_path / "state.db.tasks.new").write_text('{"pids": [')  # killed as it wrote
    assert holder.leftover(str(path)) == [7]
    holder.forget(str(path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[1]", '{"pids": ["x"], "folders": []}', '{"pids": [1]}'])
def test_notes_that_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.db"
    (tmp_path / "state.db.tasks").write_text(text)
    assert holder.leftover(str(path)) == []


def test_other_directories_are_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    holder.note(str(tmp_path / "state.db"), [1], [str(kept)])
    assert holder.leftover(str(tmp_path / "state.db")) == [1]
    assert kept.exists()


def test_holder_is_told_by_its_pid(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with (
        listening(path),
        pytest.raises(StoreError, match=r"in use by `pymigrate exec`, process \d"),
    ):
        holder.check_free(str(path))


def test_nobody_holds_it(tmp_path: Path) -> None:
    holder.check_free(str(tmp_path / "state.db"))
    with holder.borrowed(str(tmp_path / "state.db")) as gone:
        assert gone == []


def test_names_of_any_length(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 200)
    folder.mkdir()
    with listening(folder / "state.db"):
        assert (folder / "state.db.exec").is_socket()
        with holder.address(str(folder / "state.db")) as name:
            assert len(name) < 100
