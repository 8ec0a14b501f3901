"""Two revisions beside each other: the rows of bench_rows.py in turn, and their ratios."""

import math
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.bench_rows import ROWS, Row, measure
from tests.bench.common import ROOT

TURNS = 3


def main(revision: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "tree"
        _unpack(revision, other)
        print(f"  user CPU here, at {revision}, and the ratio of the least; lowest to highest")
        for row in ROWS:
            ours, theirs = [], []
            for _ in range(TURNS):
                ours.append(_seconds(row, ROOT))
                theirs.append(_seconds(row, other))
            ratio = min(ours) / min(theirs) if math.isfinite(min(ours)) else math.inf
            print(f"  {row.name:36} {_spread(ours)}  {_spread(theirs)}  {ratio:5.2f}", flush=True)


def _seconds(row: Row, tree: Path) -> float:
    """One measurement of the pymigrate of *tree*; infinite if it cannot do that, or not in time."""
    try:
        return measure(row, cwd=tree).seconds
    except (AssertionError, subprocess.CalledProcessError):
        return math.inf


def _spread(seconds: list[float]) -> str:
    return f"{min(seconds):6.2f} to {max(seconds):6.2f} s"


def _unpack(revision: str, folder: Path) -> None:
    folder.mkdir()
    archive = subprocess.run(
        ["git", "archive", revision], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    subprocess.run(["tar", "x", "-C", str(folder)], input=archive.stdout, check=True)


if __name__ == "__main__":
    main(sys.argv[1])
