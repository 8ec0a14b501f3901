"""Scripts written for the numactl package run unchanged under `pymigrate exec --shims`.

Each `scripts/NAME.sh` must print `scripts/NAME.out`, stdout and stderr together, on the machine of
conftest.py. Run as a program, this file writes what they print now; read the difference.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import PYMIGRATE, ROOT, SCENARIO

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.sh"))


def printed(script: Path, folder: Path) -> str:
    """What *script* prints on a machine of its own."""
    (folder / "machine.yaml").write_text(SCENARIO, encoding="utf-8")
    env = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "LC_ALL": "C",
        "PYMIGRATE_SCENARIO": str(folder / "machine.yaml"),
    }
    subprocess.run([*PYMIGRATE, "boot"], env=env, check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run(
        [*PYMIGRATE, "exec", "--shims", "--", "sh", str(script)],
        env=env,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="the scripts are sh's")
@pytest.mark.parametrize("script", SCRIPTS, ids=[script.stem for script in SCRIPTS])
def test_script(script: Path, tmp_path: Path) -> None:
    assert printed(script, tmp_path) == script.with_suffix(".out").read_text(encoding="utf-8")


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 8


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    for path in SCRIPTS:
        with TemporaryDirectory() as place:
            path.with_suffix(".out").write_text(printed(path, Path(place)), encoding="utf-8")
