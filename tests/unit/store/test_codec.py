"""Every field of every type survives; run maps are read when they are looked at."""

import tracemalloc
import zlib
from array import array
from collections.abc import Iterator
from typing import Any

import pytest

from pymigrate.errors import StoreError
from pymigrate.mm.base.memmap import Frame, FrameRun
from pymigrate.mm.base.pageblock import BlockRun, MigrateType
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.release import Release
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.state.address_space import PolicyRun
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.scope import Scope, Watch
from pymigrate.records import Factory, names_of
from pymigrate.store import codec
from pymigrate.store.blobs import KINDS, pack, unpack
from pymigrate.store.codec import LEDGER, copy_machine, stored_map
from pymigrate.store.store import SCHEMA_VERSION
from pymigrate.store.tables import DERIVED, TABLES
from tests.conftest import four_nodes
from tests.unit.store.conftest import OTHER_POLICY, POLICY, full_machine, plain

NONE = object()


def parts(value: Any) -> Iterator[Any]:
    """All records and named tuples in *value* that are kept."""
    if isinstance(value, Scope | Watch):
        return
    if names_of(value):
        yield value
        for name in names_of(value):
            yield from parts(getattr(value, name))
    elif isinstance(value, RunMap):
        yield from parts(value.runs)
    elif isinstance(value, dict):
        yield from parts(list(value.items()))
    elif isinstance(value, list | tuple):
        if hasattr(value, "_fields"):
            yield value
        for item in value:
            yield from parts(item)


def test_every_field_of_a_machine_is_stored() -> None:
    machine = full_machine()
    assert plain(copy_machine(machine)) == plain(machine)


def test_full_machine_is_full() -> None:
    """Who adds a field looks at tables.py, and gives it a value in full_machine()."""
    defaulted: set[tuple[str, str]] = set()
    given: set[tuple[str, str]] = set()
    for part in parts(full_machine()):
        if isinstance(part, Release):
            continue  # its name is stored
        defaults = part._field_defaults
        for name in names_of(part) or part._fields:
            value, default = getattr(part, name), defaults.get(name, NONE)
            if isinstance(value, RunMap):
                value = value.runs
            has_default = default is not NONE and not isinstance(default, Factory)
            is_given = value != default if has_default else bool(value)
            (given if is_given else defaulted).add((type(part).__name__, name))
    assert defaulted - given == {("Machine", name) for name in DERIVED - {"ledger"}}


def test_full_machine_has_every_type() -> None:
    found = {type(part).__name__ for part in parts(full_machine())}
    assert sorted(found) == sorted(
        """
        AccessCoordinate AccessPattern AddressSpace Allocation BlockRun CompactKnobs CompactState
        Costs Cpuset Device Driver Extent Faults FolioWork Frame FrameRun HugePool Inserted
        KsmKnobs Left LruBatch LruGen Machine MemoryFailures Mempolicy Mm Node NumaGroup NumaKnobs
        NumaMm NumaTask NumaVma Pin PolicyRun Promotion PteRun Region Release RmapItem StableTree
        Task Vma Zone
        """.split()
    )


def test_task_and_machine_share_the_mm() -> None:
    machine = copy_machine(full_machine())
    assert machine.tasks[7].mm is machine.mms[2]


def test_alike_frames_are_one_object() -> None:
    first, _, last = copy_machine(full_machine()).nodes[3].memmap.runs
    assert first.frame is last.frame


def test_schema_version_goes_with_the_layout() -> None:
    """A file of another layout cannot be read: raise SCHEMA_VERSION, then note the new sum here."""
    columns = {name: table.columns for name, table in TABLES.items()}
    types = (PteRun, Frame, FrameRun, Extent, PolicyRun, Mempolicy)
    layout = (columns, list(KINDS), [t._fields for t in types], LEDGER)
    assert (SCHEMA_VERSION, f"{zlib.crc32(repr(layout).encode()):08x}") == (20, "f7d2a127")


# Run maps


@pytest.mark.parametrize(
    ("kind", "runs"),
    [
        pytest.param(kind, runs, id=f"{kind}: {what}")
        for kind, what, runs in [
            ("free", "none", []),
            ("memmap", "none", []),
            ("page_table", "none", []),
            ("policies", "none", []),
            ("free", "one", [Extent(0, 1)]),
            ("pageblocks", "one", [BlockRun(0, 512, MigrateType.CMA, True)]),
            ("free", "high", [Extent(1023 << 32, 1 << 31)]),
            ("page_table", "zero page", [PteRun(5, 7, (), 0, 1)]),
            ("page_table", "all flags", [PteRun(5, 1, (3,), 0, (1 << 40) - 1)]),
            ("page_table", "huge", [PteRun(512, 512 << 18, (1 << 20,), 18, 3)]),
            ("page_table", "lanes", [PteRun(0, 9, (4, 2, 9)), PteRun(9, 3, (3, 2, 1))]),
            ("memmap", "alike", [FrameRun(1, 2, Frame(3, 4)), FrameRun(9, 2, Frame(3, 4))]),
            ("policies", "two", [PolicyRun(0, 5, POLICY), PolicyRun(9, 1, OTHER_POLICY)]),
        ]
    ],
)
def test_runs_survive(kind: str, runs: list[Any]) -> None:
    assert plain(codec.decode_runs(kind, codec.encode_runs(kind, runs))) == plain(runs)


def test_blob_is_the_same_on_every_host() -> None:
    blob = codec.encode_runs("free", [Extent(5, 6), Extent(0x102030405060708, 9)])
    words = [2, 5, 0x102030405060703, 6, 9]
    planes = b"".join(bytes(word >> 8 * i & 255 for word in words) for i in range(8))
    assert zlib.decompress(blob) == planes


def test_stored_map_is_decoded_when_it_is_first_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    decode = codec.decode_runs
    monkeypatch.setattr(
        codec, "decode_runs", lambda *args: decoded.append(args[0]) or decode(*args)
    )
    machine = copy_machine(full_machine())
    assert decoded == []
    assert machine.nodes[3].memmap.at(20) is not None
    assert decoded == ["memmap"]
    assert machine.nodes[3].memmap.between(0, 50)
    assert decoded == ["memmap"]


def test_reading_a_stored_map_does_not_change_it() -> None:
    runs = stored_map("free", codec.encode_runs("free", [Extent(5, 6)]))
    assert runs.is_unread
    assert runs.starts == [5]
    assert (runs.is_unread, runs.changed) == (False, False)


def test_first_edit_of_a_stored_map_keeps_the_rest() -> None:
    runs = stored_map("free", codec.encode_runs("free", [Extent(5, 6), Extent(20, 2)]))
    runs.put(7, 9)
    assert runs.runs == [Extent(5, 2), Extent(9, 2), Extent(20, 2)]
    assert runs.changed


@pytest.mark.parametrize(
    "blob",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"nonsense", id="not compressed"),
        pytest.param(zlib.compress(b"12345"), id="no whole word"),
        pytest.param(codec.encode_runs("free", [Extent(1, 2)])[:-1], id="cut off"),
        pytest.param(pack([3, 1, 2]), id="too few"),
        pytest.param(pack([1, 2, 3, 4, 5, 6, 7]), id="too many"),
        pytest.param(pack([-1, 2, 3]), id="negative"),
    ],
)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_damaged_blob_is_told(kind: str, blob: bytes) -> None:
    with pytest.raises(
        StoreError, match=r"^state\.db: is damaged; `pymigrate boot` starts afresh$"
    ):
        codec.decode_runs(kind, blob, "state.db")


def test_blob_without_words_is_damaged() -> None:
    with pytest.raises(StoreError, match="is damaged"):
        codec.decode_runs("free", zlib.compress(b""))


def test_scattered_pages_take_less_than_three_bytes_each() -> None:
    machine = four_nodes()
    heads = [node.zones[0].start for node in machine.nodes.values()]
    seed, pfns = 1, []
    for _ in range(100_000):
        seed = seed * 1103515245 + 12345 & 0x7FFFFFFF
        heads[seed >> 16 & 3] += 1
        pfns.append(heads[seed >> 16 & 3])
    runs = [PteRun(i, 500, tuple(pfns[i : i + 500])) for i in range(0, len(pfns), 500)]
    assert len(codec.encode_runs("page_table", runs)) < 300_000


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("machine", "numa_balancing", "1"),
        ("machine", "numa_balancing", None),
        ("zone", "name", 5),
        ("zone", "nr_free", 2.5),
        ("access", "rate", "often"),
        ("cpuset", "cpus", 7),
    ],
)
def test_a_column_of_another_type_is_no_machine(table: str, column: str, value: object) -> None:
    machine = full_machine()
    rows = codec.rows_of(machine)
    maps = {
        key: stored_map(key[0], codec.encode_runs(key[0], runs.runs))
        for key, runs in codec.maps_of(machine).items()
    }
    at = TABLES[table].columns.index(column)
    first, *rest = rows[table]
    rows[table] = [(*first[:at], value, *first[at + 1 :]), *rest]
    with pytest.raises(codec.MISFITS):
        codec.machine_of(rows, maps)


def test_a_blob_of_another_is_damaged() -> None:
    blob = codec.encode_runs("free", [Extent(5, 6)])
    known = codec.sum_of_blob("free", 4096, blob)
    assert stored_map("free", blob, "", (4096, known)).runs == [Extent(5, 6)]
    with pytest.raises(StoreError, match="is damaged"):
        assert stored_map("free", blob, "", (0, known)).runs
    with pytest.raises(StoreError, match="is damaged"):
        assert stored_map("resv", blob, "", (4096, known)).runs


def test_a_small_blob_of_very_many_words_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pymigrate.store.blobs.MAX_RECORD", 1000)
    with pytest.raises(StoreError, match="has grown too large to be kept"):
        pack([0] * 126)


def test_words_are_packed_plane_by_plane() -> None:
    nr = 1 << 18
    tracemalloc.start()
    blob = pack(range(nr))
    _, packing = tracemalloc.get_traced_memory()
    words = unpack(blob)
    tracemalloc.stop()
    assert words == array("q", range(nr))
    assert packing < 3 * nr * 8
