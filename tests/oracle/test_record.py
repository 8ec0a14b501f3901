"""Answers name their release, and those of several are never mixed; what is missing is said."""

import json
import shutil
from pathlib import Path

import pytest

from tests.oracle import __main__, kernels
from tests.oracle.cases import releases, write_answer
from tests.oracle.events import Event, joined
from tests.oracle.kernels import REFERENCE, release_of
from tests.oracle.record import Answer, _written

RECORDS = [{"op": "vmstat", "delta": {}}]


@pytest.mark.parametrize(
    ("uname", "release"),
    [
        ("6.12.117+deb13-amd64 #1 SMP Debian 6.12.117-1 (2026-11-01)", "6.12.117"),
        ("6.1.0-50-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-11-01)", "6.1.176"),
        ("7.2.3-custom #1 SMP", "7.2.3"),
        ("unknown", ""),
    ],
)
def test_the_stable_release_is_read_off_uname(uname: str, release: str) -> None:
    assert release_of(uname) == release


def test_an_answer_names_its_release(tmp_path: Path) -> None:
    case = tmp_path / "a-01.yaml"
    assert _written(case, "6.12", Answer(RECORDS, REFERENCE["6.12"])) == ""
    answer = json.loads((tmp_path / "a-01.6.12.json").read_text())
    assert answer == {"kernel": "6.12", "release": REFERENCE["6.12"], "records": RECORDS}


def test_an_answer_of_another_release_is_not_written(tmp_path: Path) -> None:
    why = _written(tmp_path / "a-01.yaml", "6.12", Answer(RECORDS, "6.12.999"))
    assert why == f"answered by 6.12.999, the recorded cases are of {REFERENCE['6.12']}"
    assert list(tmp_path.iterdir()) == []


def test_an_answer_is_not_written_beside_those_of_another_release(tmp_path: Path) -> None:
    write_answer(tmp_path / "b-01.6.12.json", "6.12", "6.12.99", RECORDS)
    why = _written(tmp_path / "a-01.yaml", "6.12", Answer(RECORDS, REFERENCE["6.12"]))
    assert why == f"answered by {REFERENCE['6.12']}, but b-01 here is of 6.12.99"


def test_an_answer_without_a_release_is_of_the_reference(tmp_path: Path) -> None:
    (tmp_path / "b-01.6.12.json").write_text(json.dumps({"records": RECORDS}))
    assert releases(tmp_path, "6.12") == {REFERENCE["6.12"]: ["b-01"]}


def test_a_missing_program_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    assert __main__.main(["prepare"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("the oracle needs apt-get, dpkg, gcc, busybox, qemu-system-x86_64")
    assert error.endswith(
        "apt-get install apt dpkg gcc libc6-dev busybox-static qemu-system-x86 e2fsprogs\n"
    )
    assert error.count("\n") == 1


def test_missing_kernels_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(kernels.FOLDER, str(tmp_path))
    assert __main__.main(["fuzz", str(tmp_path / "found")]) == 2
    assert capsys.readouterr().err == f"there are no kernels in {tmp_path}: make oracle\n"


def test_events_at_equal_distances_are_one_line() -> None:
    pages = [Event("set_migration_pte", "r", page, "pte=read") for page in (4, 2, 0, 1)]
    assert joined([*pages, Event("mm_migrate_pages", "", 0, "nr=1")]) == [
        "set_migration_pte: addr=r+4..0/2,pte=read",
        "set_migration_pte: addr=r+1,pte=read",
        "mm_migrate_pages: nr=1",
    ]
