"""The sessions of docs/compare.md are real output."""

from pathlib import Path

from tests.cli.conftest import ROOT
from tests.cli.readme import blocks, play

TEXT = (ROOT / "pymigrate" / "docs" / "compare.md").read_text(encoding="utf-8")


def test_sessions_are_real_output(tmp_path: Path) -> None:
    assert "\n".join(play(TEXT, tmp_path)) == "\n".join(blocks(TEXT, "console"))
