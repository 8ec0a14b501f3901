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


def pages(
    root: Path, content: bytes, seconds: float | None = None
) -> tuple[dict[tuple[int, int], float], list[str]]:
    """The rates of the heap's pages [a, b) that are accessed, and the notes."""
    (root / "heat").write_bytes(content)
    text, notes = capture(str(root), [77], False, heat=(str(root / "heat"), seconds))
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
    text, _ = capture(str(root), [77], False, heat=(str(root / "heat"), None))
    assert "- {region: heap, rate: 160.0}" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello\n", "heat:1: 'hello'; expected a sample, as `perf script -F pid,time"),
        (b"", "has no sample with an address"),
        (b"77 1.0: 5 loads: 1000000\n", "all samples are of one time"),
        (b"PERFILE2\xff\xfe", "is binary; expected the text of perf, the JSON"),
        (b"\x78\x9cbroken", "is compressed and broken"),
        (b"[1, ", "is no JSON"),
        (b"[{}]", "lacks 'target_id'; expected the JSON of `damo record`"),
        (b"1 1.0: 5 loads: 10\n1 2.0: 5 loads: 10\n", "none of its accesses lies in memory"),
    ],
)
def test_other_files_are_refused_by_name(root: Path, content: bytes, message: str) -> None:
    with pytest.raises(ScenarioError, match=re.escape(message)):
        pages(root, content)


RAW = """\
# PID, TID, IP, ADDR, LOCAL WEIGHT, DSRC, SYMBOL
   77    77 0x00000000004010a0 0x0161000000     30 0x68100142 /bin/app:operator new (size_t)
77 77 0x4010a0 0x1000008 7 0x68100144 /bin/app:main
77 78 0x4010a0 0x1001000 7 0x68100142 ???:???
77 77 0x4010a0 0x0 7 0x68100142 ???:???
"""


def test_raw_samples_of_perf_mem_report(root: Path) -> None:
    rates, notes = pages(root, RAW.encode(), 2)
    assert rates == {(0, 1): 1.0, (1, 2): 0.5}
    assert any("has no periods" in note for note in notes)
    text, _ = capture(str(root), [77], False, heat=(str(root / "heat"), 2))
    assert "writes: 0.5" in text  # of the first page's, by the data source


def test_raw_samples_may_have_more_columns_and_another_separator(root: Path) -> None:
    text = """\
# PID, TID, IP, ADDR, PHYS ADDR, DATA PAGE SIZE, LOCAL WEIGHT, DSRC, SYMBOL
77,77,0x4010a0,0x1000000,0x2345000,4K,30,0x68100144,/bin/app:f(int, int)
"""
    rates, _ = pages(root, text.encode(), 1)
    assert rates == {(0, 1): 1.0}
    assert "writes: 1.0" in capture(str(root), [77], False, heat=(str(root / "heat"), 1))[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (RAW, "does not tell how long it was recorded; add --heat-time SECONDS"),
        ("# PID, TID, IP, ADDR, SOMETHING\n", "heat:1: '# PID, TID, IP, ADDR, SOMETHING'; exp"),
        (RAW + "77 77 0x1\n", "heat:6: '77 77 0x1'; expected PID TID IP ADDR"),
        (RAW.splitlines()[0], "has no sample with an address"),
    ],
    ids=["no time", "columns", "line", "empty"],
)
def test_raw_samples_that_are_not_understood_are_refused(
    root: Path, content: str, message: str
) -> None:
    with pytest.raises(ScenarioError, match=re.escape(message)):
        pages(root, content.encode())


def test_a_data_source_outranks_the_name_of_an_event(root: Path) -> None:
    line = "77 {}: 1 ibs_op//: 1000000 68100144 |OP STORE|LVL L1 hit\n"
    pages(root, (line.format("1.0") + line.format("2.0")).encode())
    assert "writes: 1.0" in capture(str(root), [77], False, heat=(str(root / "heat"), None))[0]


def two_targets(root: Path) -> list[dict[str, object]]:
    """Records of processes 77 and 78, of which the second was looked at for 1 s of 2."""
    for name in ("maps", "numa_maps", "status", "cpuset"):
        path = root / "proc/78" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text((root / "proc/77" / name).read_text())
    records = [*damo(HEAP, HEAP + 4096, 1), *damo(HEAP + 4096, HEAP + 8192, 1)]
    records[1]["target_id"] = "1"
    [snapshot] = records[1]["snapshots"]  # type: ignore[misc]  # a list, as damo() has it
    snapshot["end_time"] = "2000000000"
    return records


def kdamonds(ops: str = "vaddr") -> list[dict[str, object]]:
    """What damo 3.4 writes beside its records."""
    targets = [{"pid": pid, "obsolete": False, "regions": []} for pid in ("77", "78")]
    return [{"state": "on", "pid": "5", "contexts": [{"ops": ops, "targets": targets}]}]


@pytest.mark.parametrize("where", ["beside", "inside"])
def test_each_target_of_damon_is_a_process(root: Path, where: str) -> None:
    records = two_targets(root)
    data: object = records
    if where == "beside":
        (root / "heat.kdamonds").write_text(json.dumps(kdamonds()))
    else:
        data = {"kdamonds": kdamonds(), "record_list": records}
    (root / "heat").write_text(json.dumps(data))
    text, _ = capture(str(root), [77, 78], False, heat=(str(root / "heat"), None))
    first, second = build(load_text(text)).tasks.values()
    assert [
        [(part.start, part.end, part.rate) for part in accessed(task.accesses[0], 0, 16)[:2]]
        for task in (first, second)
    ] == [[(0, 1, 10.0), (1, 16, 0.0)], [(0, 1, 0.0), (1, 2, 10.0)]]


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        (None, "has several targets; expected"),
        ("[", "heat.kdamonds:1: is no JSON"),
        ("{}", "is no list"),
        (json.dumps(kdamonds("paddr")), "is of the addresses of paddr; expected vaddr or fvaddr"),
        ('[{"contexts": [{"ops": "vaddr", "targets": []}]}]', "which is not among those that damo"),
        ("[{}]", "lacks 'contexts'"),
    ],
)
def test_targets_that_nobody_knows_are_refused(
    root: Path, beside: str | None, message: str
) -> None:
    (root / "heat").write_text(json.dumps(two_targets(root)))
    if beside is not None:
        (root / "heat.kdamonds").write_text(beside)
    with pytest.raises(ScenarioError, match=re.escape(message)):
        capture(str(root), [77, 78], False, heat=(str(root / "heat"), None))
