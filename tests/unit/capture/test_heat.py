"""Recorded accesses become declared ones: of the same pages, at the same rate."""

import json
import re
import zlib
from pathlib import Path

import pytest

from pymigrate.capture.capture import capture
from pymigrate.errors import ScenarioError
from pymigrate.mm.state.task import accessed
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text

HEAP = 0x1000000  # 16 pages
PERF = """\
# a comment
   77 100.000000:  1000 cpu/mem-loads,ldlat=30/P:          1000000
   77 100.500000:  1000 cpu/mem-loads,ldlat=30/P:          1000008
   77 101.000000:  1000 cpu/mem-stores/P:          1001000
   77 101.500000:  1000 cpu/mem-loads,ldlat=30/P:                0
 9999 102.000000:  1000 cpu/mem-loads,ldlat=30/P:          1000000
"""


def damo(start: int, end: int, samples: int) -> list[dict[str, object]]:
    """A record of one snapshot of 2 s, as damo 3.4 writes it."""
    region = {
        "start": f"{start:,}",  # with commas, in raw form too
        "end": f"{end:,}",
        "nr_accesses": {"samples": samples, "percent": None},
        "age": {"usec": None, "aggr_intervals": "3"},
    }
    snapshot = {"start_time": "1000000000", "end_time": "3000000000", "regions": [region]}
    intervals = {"sample_us": "5000", "aggr_us": "100000", "ops_update_us": "1000000"}
    return [{"intervals": intervals, "target_id": "0", "snapshots": [snapshot]}]


def pages(root: Path, content: bytes) -> tuple[dict[tuple[int, int], float], list[str]]:
    """The rates of the heap's pages [a, b) that are accessed, and the notes."""
    (root / "heat").write_bytes(content)
    text, notes = capture(str(root), [77], False, heat=str(root / "heat"))
    [task] = build(load_text(text)).tasks.values()
    rates: dict[tuple[int, int], float] = {}
    for pattern in task.accesses:
        assert pattern.region == "heap"
        for part in accessed(pattern, 0, 16):
            if part.rate:
                rates[part.start, part.end] = part.rate
    return rates, notes


def test_samples_of_perf(root: Path) -> None:
    rates, notes = pages(root, PERF.encode())
    assert rates == {(0, 1): 1000.0, (1, 2): 500.0}  # in 2 s
    assert any("25 % of the accesses" in note for note in notes)


def test_the_default_output_of_perf_script_is_read_too(root: Path) -> None:
    line = "my app 7   77 [003] {}: 50  cpu/mem-stores/P:  1000000 |OP STORE 401a2b main+0x1\n"
    rates, _ = pages(root, (line.format("1.0") + line.format("2.0")).encode())
    assert rates == {(0, 1): 100.0}


def test_samples_without_periods_count_once(root: Path) -> None:
    rates, notes = pages(root, PERF.replace("  1000 cpu", " cpu").encode())
    assert rates == {(0, 1): 1.0, (1, 2): 0.5}
    assert any("has no periods: each sample is taken for one access" in note for note in notes)


@pytest.mark.parametrize("how", ["list", "with kdamonds", "compressed"])
def test_records_of_damo(root: Path, how: str) -> None:
    records = damo(HEAP + 4 * 4096, HEAP + 8 * 4096, 10)
    data = {"kdamonds": [], "record_list": records} if how == "with kdamonds" else records
    content = json.dumps(data).encode()
    rates, notes = pages(root, zlib.compress(content) if how == "compressed" else content)
    # A page is seen in 10 samples of 0.1 s, so 100 times a second; there are 4.
    assert rates == {(4, 8): 400.0}
    assert any("rates are the least" in note for note in notes)


def test_a_region_that_is_used_evenly_has_no_hot_part(root: Path) -> None:
    (root / "heat").write_text(json.dumps(damo(HEAP, HEAP + 16 * 4096, 1)))
    text, _ = capture(str(root), [77], False, heat=str(root / "heat"))
    assert "- {region: heap, rate: 160.0}" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello\n", "heat:1: 'hello'; expected a sample, as `perf script -F pid,time"),
        (b"", "has no sample with an address"),
        (b"77 1.0: 5 loads: 1000000\n", "all samples are of one time"),
        (b"PERFILE2\xff\xfe", "is binary; expected the text of `perf script`"),
        (b"\x78\x9cbroken", "is compressed and broken"),
        (b"[1, ", "is no JSON"),
        (b"[{}]", "lacks 'target_id'; expected the JSON of `damo record`"),
        (b"1 1.0: 5 loads: 10\n1 2.0: 5 loads: 10\n", "none of its accesses lies in memory"),
    ],
)
def test_other_files_are_refused_by_name(root: Path, content: bytes, message: str) -> None:
    with pytest.raises(ScenarioError, match=re.escape(message)):
        pages(root, content)


def test_several_targets_are_refused(root: Path) -> None:
    records = damo(HEAP, HEAP + 4096, 1)
    other = {**records[0], "target_id": "1"}
    with pytest.raises(ScenarioError, match="has several targets; expected one"):
        pages(root, json.dumps([*records, other]).encode())
