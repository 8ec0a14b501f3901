"""What `import pymigrate` gives, and what it costs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pymigrate

ROOT = Path(__file__).parents[3]
USER = """\
import pymigrate
from pymigrate import KernelError, Machine


def moved(machine: Machine) -> int:
    try:
        answer = machine.migrate_pages("db", "0", [1])
    except KernelError as error:
        return error.errno
    reveal_type(answer.stayed[0].why)
    return answer.moved


reveal_type(pymigrate.boot("two-node.yaml").placement("db", "heap")[0].node)
moved(pymigrate.boot("two-node.yaml"), 7)
"""


def test_the_import_is_lean() -> None:
    code = (
        "import sys; before = set(sys.modules); import pymigrate; print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == {"pymigrate", "pymigrate.version"}


def test_every_public_name_is_there() -> None:
    assert dir(pymigrate) == sorted(pymigrate.__all__)
    for name in pymigrate.__all__:
        assert getattr(pymigrate, name)
    with pytest.raises(AttributeError, match="has no attribute 'bot'"):
        pymigrate.bot  # noqa: B018


def test_types_are_known_to_the_users_mypy(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    path = tmp_path / "user.py"
    path.write_text(USER)
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nstrict = True\nmypy_path = {ROOT}\n")
    options = ["--config-file", str(tmp_path / "mypy.ini"), "--cache-dir", str(tmp_path / "cache")]
    stdout, stderr, _ = api.run([*options, "--follow-imports=silent", str(path)])
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    lines = [line.partition("user.py:")[2] for line in stdout.splitlines()[:-1]]
    assert lines == [
        '10: note: Revealed type is "str"',
        '14: note: Revealed type is "int | None"',
        '15: error: Too many arguments for "moved"  [call-arg]',
    ], stdout + stderr
