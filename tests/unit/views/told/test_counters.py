"""What is said of each counter, and that nothing is said twice or left out."""

from pathlib import Path

import pytest

from pymigrate.mm.base.vmstat import CMA_NAMES, MIGRATION
from pymigrate.views.told.counters import as_json, counters, format_markdown, format_rows

DOCUMENT = Path(__file__).parents[4] / "pymigrate" / "docs" / "counters.md"
# What 7.2 counts besides: its own counters of proactive reclaim.
PROACTIVE = {"pgdemote_proactive", "pgscan_proactive", "pgsteal_proactive"}


def test_each_counter_that_is_printed_is_explained_and_no_other() -> None:
    assert set(counters()) == {*CMA_NAMES, *PROACTIVE}


def test_each_has_a_unit_a_kind_a_function_and_a_meaning() -> None:
    for counter in counters().values():
        assert counter.unit in ("pages", "huge pages", "events", "KiB", "nodes", "objects")
        assert counter.kind in ("gauge", "event")
        assert all(function.isidentifier() for function in counter.counted_by)
        assert counter.counted_by
        assert counter.what
        assert not {"likewise", "above"} & set(counter.what.split()), "it may be shown alone"


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("pgmigrate_success", ("6.1", "6.12", "7.2")),
        ("zone_reclaim_failed", ("6.1", "6.12", "7.2")),
        ("zone_reclaim_success", ("6.12", "7.2")),
        ("nr_bounce", ("6.1", "6.12")),
        ("pgscan_proactive", ("7.2",)),
        ("cma_alloc_fail", ("7.2",)),
    ],
)
def test_which_kernels_have_a_counter(name: str, kernels: tuple[str, ...]) -> None:
    assert counters()[name].kernels == kernels


@pytest.mark.parametrize(
    ("name", "functions"),
    [
        ("pgfault", "mm_account_fault"),  # handle_mm_fault() calls it
        ("pgfree", "free_unref_page_commit free_one_page"),
        ("pswpin", "swap_read_folio_bdev_sync swap_read_folio_bdev_async"),
        ("pswpout", "count_swpout_vm_event"),
        ("swpout_zero", "swap_zeromap_folio_set"),
        ("cow_ksm", "do_wp_page"),
        ("nr_shmem", "shmem_update_stats"),
        ("thp_file_alloc", "shmem_get_folio_gfp"),
        ("cma_alloc_fail", "__cma_alloc"),
        (
            "compact_isolated",
            "isolate_migratepages_block isolate_freepages_block fast_isolate_freepages",
        ),
    ],
)
def test_the_function_is_the_one_of_6_12_that_names_the_counter(name: str, functions: str) -> None:
    assert counters()[name].counted_by == tuple(functions.split())


@pytest.mark.parametrize(("series", "nr"), [("6.1", 173), ("6.12", 185), ("7.2", 198 - 10)])
def test_so_many_counters_have_debians_kernels(series: str, nr: int) -> None:
    """Of 7.2's there are 10 that pymigrate does not print."""
    assert len([c for c in counters().values() if series in c.kernels]) == nr


def test_what_happens_to_pages_of_migrations_is_an_event() -> None:
    assert {counters()[name].kind for name in MIGRATION} == {"event"}


def test_a_counter_as_a_row_and_as_json() -> None:
    counter = counters()["pgpromote_success"]
    assert format_rows([counter]).splitlines()[1].split("  ") == [
        "pgpromote_success",
        "pages",
        "event",
        "6.1 6.12 7.2",
        "moved from a slow tier to a fast one",
        "migrate_misplaced_folio()",
    ]
    assert as_json(counter) == {
        "name": "pgpromote_success",
        "unit": "pages",
        "kind": "event",
        "counted_by": ["migrate_misplaced_folio"],
        "what": "moved from a slow tier to a fast one",
        "kernels": ["6.1", "6.12", "7.2"],
    }


def test_the_document_quotes_the_declaration() -> None:
    assert format_markdown(list(counters().values())) in DOCUMENT.read_text(encoding="utf-8")
