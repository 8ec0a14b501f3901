import json

import pytest

from tests.cli.conftest import Outcome, Shell

# Every counter of Linux 6.12, as /proc/vmstat of a Debian-like kernel lists them.
NAMES = """
nr_free_pages nr_zone_inactive_anon nr_zone_active_anon nr_zone_inactive_file nr_zone_active_file
nr_zone_unevictable nr_zone_write_pending nr_mlock nr_bounce nr_zspages nr_free_cma nr_unaccepted
numa_hit numa_miss numa_foreign numa_interleave numa_local numa_other
nr_inactive_anon nr_active_anon nr_inactive_file nr_active_file nr_unevictable nr_slab_reclaimable
nr_slab_unreclaimable nr_isolated_anon nr_isolated_file workingset_nodes workingset_refault_anon
workingset_refault_file workingset_activate_anon workingset_activate_file workingset_restore_anon
workingset_restore_file workingset_nodereclaim nr_anon_pages nr_mapped nr_file_pages nr_dirty
nr_writeback nr_writeback_temp nr_shmem nr_shmem_hugepages nr_shmem_pmdmapped nr_file_hugepages
nr_file_pmdmapped nr_anon_transparent_hugepages nr_vmscan_write nr_vmscan_immediate_reclaim
nr_dirtied nr_written nr_throttled_written nr_kernel_misc_reclaimable nr_foll_pin_acquired
nr_foll_pin_released nr_kernel_stack nr_page_table_pages nr_sec_page_table_pages nr_iommu_pages
nr_swapcached pgpromote_success pgpromote_candidate pgdemote_kswapd pgdemote_direct
pgdemote_khugepaged
nr_dirty_threshold nr_dirty_background_threshold nr_memmap_pages nr_memmap_boot_pages
pgpgin pgpgout pswpin pswpout pgalloc_dma pgalloc_dma32 pgalloc_normal pgalloc_movable
pgalloc_device allocstall_dma allocstall_dma32 allocstall_normal allocstall_movable
allocstall_device pgskip_dma pgskip_dma32 pgskip_normal pgskip_movable pgskip_device
pgfree pgactivate pgdeactivate pglazyfree pgfault pgmajfault pglazyfreed pgrefill pgreuse
pgsteal_kswapd pgsteal_direct pgsteal_khugepaged pgscan_kswapd pgscan_direct pgscan_khugepaged
pgscan_direct_throttle pgscan_anon pgscan_file pgsteal_anon pgsteal_file zone_reclaim_success
zone_reclaim_failed pginodesteal slabs_scanned kswapd_inodesteal kswapd_low_wmark_hit_quickly
kswapd_high_wmark_hit_quickly pageoutrun pgrotated drop_pagecache drop_slab oom_kill
numa_pte_updates numa_huge_pte_updates numa_hint_faults numa_hint_faults_local numa_pages_migrated
pgmigrate_success pgmigrate_fail thp_migration_success thp_migration_fail thp_migration_split
compact_migrate_scanned compact_free_scanned compact_isolated compact_stall compact_fail
compact_success compact_daemon_wake compact_daemon_migrate_scanned compact_daemon_free_scanned
htlb_buddy_alloc_success htlb_buddy_alloc_fail
unevictable_pgs_culled unevictable_pgs_scanned unevictable_pgs_rescued unevictable_pgs_mlocked
unevictable_pgs_munlocked unevictable_pgs_cleared unevictable_pgs_stranded thp_fault_alloc
thp_fault_fallback thp_fault_fallback_charge thp_collapse_alloc thp_collapse_alloc_failed
thp_file_alloc thp_file_fallback thp_file_fallback_charge thp_file_mapped thp_split_page
thp_split_page_failed thp_deferred_split_page thp_underused_split_page thp_split_pmd
thp_scan_exceed_none_pte thp_scan_exceed_swap_pte thp_scan_exceed_share_pte thp_split_pud
thp_zero_page_alloc thp_zero_page_alloc_failed thp_swpout thp_swpout_fallback
balloon_inflate balloon_deflate balloon_migrate swap_ra swap_ra_hit swpin_zero swpout_zero
ksm_swpin_copy cow_ksm zswpin zswpout zswpwb direct_map_level2_splits direct_map_level3_splits
nr_unstable
""".split()
MIGRATION = """\
numa_pte_updates 0
numa_huge_pte_updates 0
numa_hint_faults 0
numa_hint_faults_local 0
numa_pages_migrated 0
pgmigrate_success {}
pgmigrate_fail 0
thp_migration_success 0
thp_migration_fail 0
thp_migration_split 0
"""


def test_names_in_the_kernels_order(shell: Shell) -> None:
    lines = [line.split(" ") for line in shell.out("vmstat").split("\n")]
    assert lines.pop() == [""]
    assert [name for name, _ in lines] == NAMES
    assert len(lines) == 185
    assert all(value.isdecimal() for _, value in lines)


def test_migration_shows_only_its_counters(shell: Shell) -> None:
    assert shell("vmstat --migration") == Outcome(0, MIGRATION.format(0))
    shell.out("migratepages a 0 1")
    assert shell("vmstat --migration") == Outcome(0, MIGRATION.format(26))


def test_since_shows_what_changed(shell: Shell) -> None:
    shell.write("before", shell.out("vmstat"))
    assert shell("vmstat --since before") == Outcome(0)
    shell.out("migratepages a 0 1")
    expected = "pgmigrate_success 26\n"
    assert shell("vmstat --since before --migration") == Outcome(0, expected)
    assert {"numa_hit 26", "numa_other 26", "pgalloc_dma32 26", "pgfree 26"} <= set(
        shell.out("vmstat --since before").splitlines()
    )
    assert shell.json("vmstat --since before --migration") == {"pgmigrate_success": 26}


def test_since_takes_json_too(shell: Shell) -> None:
    shell.write("before", json.dumps(shell.json("vmstat")))
    shell.out("migratepages a 0 1")
    assert shell("vmstat --since before --migration") == Outcome(0, "pgmigrate_success 26\n")


def test_since_may_be_less_than_everything(shell: Shell) -> None:
    shell.write("before", "pgfree 5\nunknown_to_us 7\n")
    lines = shell.out("vmstat --since before").splitlines()
    assert "pgfree -5" in lines
    assert "nr_shmem 4" in lines


def test_since_stdin(shell: Shell) -> None:
    before = shell.out("vmstat")
    shell.out("migratepages a 0 1")
    with shell.start("vmstat --migration --since -", stdin=-1) as process:
        stdout, _ = process.communicate(before, timeout=60)
    assert stdout == "pgmigrate_success 26\n"


def test_json(shell: Shell) -> None:
    values = shell.json("vmstat")
    assert list(values) == NAMES
    assert (values["nr_shmem"], values["pgfree"]) == (4, 0)
    assert list(shell.json("vmstat --migration")) == [
        line.split(" ")[0] for line in MIGRATION.splitlines()
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pgfree", "line 1 is 'pgfree', expected NAME VALUE as vmstat prints it"),
        ("a 1\nb x", "line 2 is 'b x', expected NAME VALUE as vmstat prints it"),
        ("a ²", "line 1 is 'a ²', expected NAME VALUE as vmstat prints it"),
        ("[1]", "line 1 is '[1]', expected NAME VALUE as vmstat prints it"),
        ('{"a": null}', "line 1 is 'a None', expected NAME VALUE as vmstat prints it"),
        ("{", "is not JSON: Expecting property name enclosed in double quotes"),
    ],
)
def test_since_something_else_is_a_usage_error(shell: Shell, text: str, message: str) -> None:
    shell.write("before", text)
    assert f"pymigrate: Invalid value for --since: {message}" in shell.err("vmstat --since before")


def test_explain_says_what_each_counter_is(shell: Shell) -> None:
    lines = shell.out("vmstat --explain pgmigrate_fail").splitlines()
    assert lines == [
        "counter         unit   kind   kernels       what                             counted by",
        "pgmigrate_fail  pages  event  6.1 6.12 7.2  tried, and left where they were  "
        "migrate_pages()",
    ]
    assert len(shell.out("vmstat --explain").splitlines()) == 191
    assert len(shell.out("vmstat --explain --migration").splitlines()) == 11
    [row] = json.loads(shell.out("vmstat --explain pgfault --json"))["rows"]
    assert row["counted_by"] == ["mm_account_fault"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--explain pgfalt", "there is no counter 'pgfalt'; nearest is pgfault"),
        ("--explain x", "there is no counter 'x'"),
        ("--explain --since before", "--explain and --since exclude each other."),
    ],
)
def test_explain_something_else_is_a_usage_error(shell: Shell, line: str, message: str) -> None:
    shell.write("before", "")
    assert message in shell.err(f"vmstat {line}")


def test_by_tells_what_raised_each_counter(shell: Shell) -> None:
    shell.out("migratepages a 0 1")
    before = shell.out("vmstat")
    shell.out("task touch b buf --read --as 27")
    shell("migratepages b 1 0 --dry-run")
    shell("move_pages a heap --to 0")
    assert shell("vmstat --migration --by reason") == Outcome(
        0, "pgmigrate_success  +34  syscall_or_cpuset\n"
    )
    assert shell("vmstat --migration --by task") == Outcome(0, "pgmigrate_success  +34  shell\n")
    assert shell("vmstat --migration --by command").stdout.splitlines() == [
        "pgmigrate_success  +26  1 migratepages a 0 1",
        "                    +8  2 move_pages a heap --to 0",
    ]
    shell.write("before", before)
    assert shell("vmstat --migration --by command --since before") == Outcome(
        0, "pgmigrate_success  +8  2 move_pages a heap --to 0\n"
    )
    assert shell.json("vmstat --migration --by command --since before") == [
        {
            "counter": "pgmigrate_success",
            "number": 2,
            "command": "move_pages a heap --to 0",
            "nr": 8,
        }
    ]


@pytest.mark.parametrize("by", ["reason", "task", "command"])
def test_shares_add_up_to_what_changed(shell: Shell, by: str) -> None:
    shell.out("migratepages a 0 1")
    before = shell.write("before", shell.out("vmstat"))
    shell("task touch a stack+64KiB 16KiB")
    shell("migratepages a 1 0 --as 26")  # some pages are others', too
    shell("migratepages a 0 7")  # is refused
    changed = shell.json(f"vmstat --since {before}")
    sums: dict[str, int] = {}
    for row in shell.json(f"vmstat --since {before} --by {by}"):
        sums[row["counter"]] = sums.get(row["counter"], 0) + row["nr"]
    assert sums == {name: nr for name, nr in changed.items() if not name.startswith("nr_")}
    assert sums["pgmigrate_success"] > 0


def test_steps_of_a_scenario_are_commands(shell: Shell) -> None:
    text = shell.scenario.read_text(encoding="utf-8")
    steps = "\nsteps:\n  - {op: migrate_pages, task: a, from: 0, to: 1}\n"
    shell.write("machine.yaml", text + steps)
    shell.out("boot --run")
    assert shell.out("vmstat --migration --by command") == (
        "pgmigrate_success  +22  1 migrate_pages\n"
    )


def test_counters_of_another_machine_are_a_usage_error(shell: Shell) -> None:
    shell.out("migratepages a 0 1")
    shell.write("before", shell.out("vmstat"))
    shell.out("boot")
    message = "pgalloc_dma32 was 26 and is 0: no earlier state of it"
    assert message in shell.err("vmstat --since before --by task")
    assert "--explain and --by exclude" in shell.err("vmstat --explain --by task")
