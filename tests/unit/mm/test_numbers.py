"""Numbers that the kernel gives out or goes by, and what everything begins as."""

from enum import IntEnum
from importlib import import_module
from inspect import getmembers, isclass
from pkgutil import iter_modules
from typing import Any

import pytest

from pymigrate.mm import base, state
from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.gfp import Gfp, thp_fault
from pymigrate.mm.base.memmap import POISON_FRAME, POOL_FRAME, FrameFlag
from pymigrate.mm.base.pageblock import MigrateType
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.base.release import RELEASES
from pymigrate.mm.compact.control import CompactPriority, CompactResult
from pymigrate.mm.offline.contig import CONTIG_FRAME
from pymigrate.mm.state.events import MigrateMode, MigrateReason
from pymigrate.mm.state.task import Cap
from pymigrate.mm.state.vma import Vm

ENUMS: dict[type[IntEnum], str] = {
    CompactResult: "not_suitable_zone skipped deferred no_suitable_page continue complete"
    " partial_skipped contended success",
    CompactPriority: "sync_full sync_light async",
    MigrateMode: "async sync_light sync",
    MigrateReason: "compaction memory_failure memory_hotplug syscall mempolicy_mbind"
    " numa_misplaced contig_range longterm_pin demotion damon",
    MigrateType: "unmovable movable reclaimable - cma isolate",
    Madv: "normal random sequential willneed dontneed - - - free remove dontfork dofork mergeable"
    " unmergeable hugepage nohugepage dontdump dodump wipeonfork keeponfork cold pageout"
    " populate_read populate_write dontneed_locked collapse" + " -" * 74 + " hwpoison soft_offline",
}
# What a constant of a module is called in the kernel, or comes to, with its value.
CONSTANTS = """
balance.placement: NO_CPUPID=-1 _SLOTS=10 _THRESHOLD=7 _ACTIVE_NODE_FRACTION=3
balance.placement: _RETRY_MAX=1000 _RETRY_PART=16
balance.scan: TICK=4 _MAX_SCAN_WINDOW=2560 _VIRTUAL=8 _PID_RESET=4 _TRIED_FIRST=2
base.pageblock: PAGEBLOCK_ORDER=9 PAGEBLOCK_NR=512
compact.compaction: COSTLY_ORDER=3 _CHECKED_ORDER=3
compact.control: CLUSTER=32 WHOLE_ZONE=-1
compact.direct: MAX_COMPACT_RETRIES=16
engine.migrate: ASYNC_PASSES=3 SYNC_PASSES=7
faults.filemap: RA_PAGES=32 FAULT_AROUND=16
frames.buddy: MAX_PAGE_ORDER=10 NR_PAGE_ORDERS=11
frames.hot_pages: NORMAL=1 TIERING=2 TIME_MASK=2097151
frames.memory_tiers: CHUNK_BITS=7 ADISTANCE_DRAM=576
offline.contig: MAX_ALIGN=8 CLUSTER=32 TRIES=5
offline.memory_hotplug: BLOCK_SIZE=134217728 BLOCK_NR=32768
frames.lru_gen: MIN_NR_GENS=2 MAX_NR_GENS=4
reclaim.generations: MAX_LRU_BATCH=4096
reclaim.shrink: DEF_PRIORITY=12 LIST_NR=64
reclaim.vmscan: SWAP_CLUSTER_MAX=32 MAX_RECLAIM_RETRIES=16
state.cost: NR_MAX_BATCHED_MIGRATION=512
state.node: MAX_DEFER_SHIFT=6
state.numa: SCAN_DELAY=1000
balance.hint_fault: _EARLY_ROUNDS=4 _GROUP_FRACTION=3
balance.promotion: _STEPS=16 _RATE_WINDOW=1000 _GIB=262144
base.memmap: MAPPING_ANON=1 MAPPING_MOVABLE=2 NODE_SHIFT=32
calls.move_pages: ENOENT=-2 ENOMEM=-12 EACCES=-13 EFAULT=-14 EBUSY=-16
compact.kcompactd: _POLL=500
frames.watermarks: _MIN_KBYTES=128 _MAX_KBYTES=262144 _SCALE_FACTOR=10 _MIGRATE_PCPTYPES=3
state.policy: _TEXT_LIMIT=63
"""
OLD = """absent_anon_is_efault prot_none_is_absent weighted_interleave balancing_preferred_many
    second_sighting_fails folios_not_pages populate_stops_at_hole lru_gen split_drops_zeroed
    splits_partially_mapped mprotect_needs_dirty hugetlb_restores_reserve hmat_adistance
    damon_migrates batches_flush scans_shared reclaim_swappiness cpuset_v1 interleave_index_bits
    has_enable_soft_offline pagevec_size removes_rmap_in_batches migrated_thp_stays_mlocked
    migrates_unlocked new_is_active kpageflags_of_folio kpageflags_ksm_for_anon"""
OFF = """absent_anon_is_efault prot_none_is_absent mprotect_needs_dirty cpuset_v1
    migrated_thp_stays_mlocked"""
NEW = """merges_unfaulted_neighbour counts_proactive huge_zero_becomes_thp cpuset_may_be_emptied
    demotes_in_cpusets reclaim_stops_early collapse_passes_gaps split_pmd_munlocks
    migrated_thp_stays_mlocked advises_itself lru_gen_begins_second lru_gen_ages_lazily
    sorts_dirty new_is_active kpageflags_ksm_for_anon"""
# What a new one has that is not nothing.
BEGINNINGS = {
    "Frame": {"cpupid": -1},
    "PteRun": {"flags": Pte.PRESENT},
    "LruGen": {"max_seq": 3},
    "CompactKnobs": {"unevictable_allowed": 1, "extfrag_threshold": 500, "proactiveness": 20},
    "CompactState": dict.fromkeys(
        ["cached_migrate_async", "cached_migrate_sync", "cached_free", "init_migrate", "init_free"],
        -1,
    ),
    "Costs": {
        "unmap_us": 0.45,
        "remap_us": 0.45,
        "thp_unmap_us": 2,
        "thp_remap_us": 2,
        "pte_unmap_us": 0.2,
        "pte_remap_us": 0.2,
        "flush_us": 1,
        "flush_cpu_us": 0.5,
        "copy_local_gbps": 12,
        "copy_remote_gbps": 11,
        "alloc_us": 0.2,
        "attempt_us": 1,
        "split_us": 100,
        "hint_fault_us": 1,
    },
    "Machine": {
        "next_pid": 1000,
        "next_id": 1,
        "next_region": 0x200004000,
        "can_soft_offline": True,
    },
    "KsmKnobs": {"merge_across_nodes": 1, "max_page_sharing": 256},
    "NumaKnobs": {
        "scan_delay_ms": 1000,
        "scan_period_min_ms": 1000,
        "scan_period_max_ms": 60000,
        "scan_size_mb": 256,
        "hot_threshold_ms": 1000,
        "promote_rate_limit_mbps": 65536,
    },
    "NumaTask": {"period": 1000, "preferred": -1},
    "NumaMm": {"next_scan": 1000},
    "NumaGroup": {"nr_tasks": 1, "active_nodes": 1},
    "Mempolicy": {"home_node": -1},
    "Task": {"il_prev": -1, "is_dumpable": True, "euid": -1, "suid": -1, "gid": -1},
    "Cred": {"euid": -1, "suid": -1, "gid": -1},
}


@pytest.mark.parametrize("kind", ENUMS, ids=lambda kind: kind.__name__)
def test_an_enumeration_is_numbered_as_in_the_kernel(kind: type[IntEnum]) -> None:
    expected = {name: i for i, name in enumerate(ENUMS[kind].split()) if name != "-"}
    found = {name.lower(): int(value) for name, value in kind.__members__.items()}
    assert {name: found.get(name) for name in expected} == expected
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize("line", CONSTANTS.strip().splitlines())
def test_a_constant_is_the_kernels(line: str) -> None:
    name, *rows = line.replace(":", "").split()
    module = import_module(f"pymigrate.mm.{name}")
    for row in rows:
        constant, _, value = row.partition("=")
        assert getattr(module, constant) == int(value), constant


@pytest.mark.parametrize("kind", [FrameFlag, Pte, Gfp, Cap, Vm], ids=lambda kind: kind.__name__)
def test_each_flag_has_a_bit_of_its_own(kind: Any) -> None:
    values = [value for name, value in vars(kind).items() if name.isupper()]
    numbers = [getattr(kind, name, 0) for name in ("GEN", "LIST")]  # of two bits each
    single = [value for value in values if value and value & value - 1 == 0]
    assert len(set(single)) == len(single) >= len(values) - 5
    assert not any(value & ~sum(single + numbers) for value in values)
    assert not any(value & sum(numbers) for value in single)


def test_frames_of_nobody_have_no_owner() -> None:
    assert {frame.owner for frame in (POISON_FRAME, POOL_FRAME, CONTIG_FRAME)} == {0}


def test_capabilities_are_numbered_as_in_the_kernel() -> None:
    assert {cap.name: cap.bit_length() - 1 for cap in Cap} == {
        "SETUID": 7,
        "SYS_PTRACE": 19,
        "SYS_ADMIN": 21,
        "SYS_NICE": 23,
    }


@pytest.mark.parametrize(
    ("defrag", "plain", "madvised"),
    [
        ("always", 2 | 8, 2),
        ("defer", 4, 4),
        ("defer+madvise", 4, 2),
        ("madvise", 0, 2),
        ("never", 0, 0),
    ],
)
def test_a_huge_fault_may_reclaim_as_was_set(defrag: str, plain: int, madvised: int) -> None:
    light = Gfp.MOVABLE | Gfp.FS
    assert thp_fault(defrag, is_madvised=False) == light | plain
    assert thp_fault(defrag, is_madvised=True) == light | madvised


def test_kernels_differ_from_6_12_in_this() -> None:
    flags = {name: release._asdict() for name, release in RELEASES.items()}
    for name, differences in (("6.1", OLD), ("7.2", NEW), ("6.12", "")):
        found = {key for key in flags[name] if flags[name][key] != flags["6.12"][key]} - {"name"}
        assert found == set(differences.split())
    assert [flags[name]["interleave_index_bits"] for name in ("6.1", "6.12")] == [32, 64]
    assert [key for key in NEW.split() if flags["6.12"][key]] == [
        "split_pmd_munlocks",
        "lru_gen_ages_lazily",
        "sorts_dirty",
        "new_is_active",
        "kpageflags_ksm_for_anon",
    ]
    assert {key for key in OLD.split() if not flags["6.12"][key]} == set(OFF.split())


def test_what_is_new_is_empty_but_for_this() -> None:
    found: dict[str, dict[str, object]] = {}
    for package in (base, state):
        for each in iter_modules(package.__path__, f"{package.__name__}."):
            module = import_module(each.name)
            for name, kind in getmembers(module, isclass):
                if kind.__module__ == each.name and name != "Release":
                    numbers = {key: value for key, value in defaults(kind).items() if value}
                    found |= {name: numbers} if numbers else {}
    assert found == BEGINNINGS


def defaults(kind: Any) -> dict[str, object]:
    """The fields of a class that begin as a number, or as true or false."""
    known = getattr(kind, "_field_defaults", {})
    return {name: value for name, value in known.items() if isinstance(value, int | float)}
