"""The counters of /proc/vmstat: their names in the kernel's order, and the events counted."""

from collections.abc import Iterable, Mapping

from pymigrate.mm.base.ledger import Ledger

# Gauges kept for each zone.
ZONE_STATS = """
    nr_free_pages nr_zone_inactive_anon nr_zone_active_anon nr_zone_inactive_file
    nr_zone_active_file nr_zone_unevictable nr_zone_write_pending nr_mlock nr_bounce
    nr_zspages nr_free_cma nr_unaccepted
""".split()
# Events of the page allocator, kept for each node.
NUMA_EVENTS = """
    numa_hit numa_miss numa_foreign numa_interleave numa_local numa_other
""".split()
# Gauges and events kept for each node.
NODE_STATS = """
    nr_inactive_anon nr_active_anon nr_inactive_file nr_active_file nr_unevictable
    nr_slab_reclaimable nr_slab_unreclaimable nr_isolated_anon nr_isolated_file
    workingset_nodes workingset_refault_anon workingset_refault_file
    workingset_activate_anon workingset_activate_file workingset_restore_anon
    workingset_restore_file workingset_nodereclaim nr_anon_pages nr_mapped nr_file_pages
    nr_dirty nr_writeback nr_writeback_temp nr_shmem nr_shmem_hugepages nr_shmem_pmdmapped
    nr_file_hugepages nr_file_pmdmapped nr_anon_transparent_hugepages nr_vmscan_write
    nr_vmscan_immediate_reclaim nr_dirtied nr_written nr_throttled_written
    nr_kernel_misc_reclaimable nr_foll_pin_acquired nr_foll_pin_released nr_kernel_stack
    nr_page_table_pages nr_sec_page_table_pages nr_iommu_pages nr_swapcached
    pgpromote_success pgpromote_candidate pgdemote_kswapd pgdemote_direct
    pgdemote_khugepaged
""".split()
# Kept once.
SYSTEM_STATS = """
    nr_dirty_threshold nr_dirty_background_threshold nr_memmap_pages nr_memmap_boot_pages
""".split()
# Events counted once for the machine.
EVENTS = """
    pgpgin pgpgout pswpin pswpout pgalloc_dma pgalloc_dma32 pgalloc_normal pgalloc_movable
    pgalloc_device allocstall_dma allocstall_dma32 allocstall_normal allocstall_movable
    allocstall_device pgskip_dma pgskip_dma32 pgskip_normal pgskip_movable pgskip_device
    pgfree pgactivate pgdeactivate pglazyfree pgfault pgmajfault pglazyfreed pgrefill
    pgreuse pgsteal_kswapd pgsteal_direct pgsteal_khugepaged pgscan_kswapd pgscan_direct
    pgscan_khugepaged pgscan_direct_throttle pgscan_anon pgscan_file pgsteal_anon
    pgsteal_file zone_reclaim_success zone_reclaim_failed pginodesteal slabs_scanned
    kswapd_inodesteal kswapd_low_wmark_hit_quickly kswapd_high_wmark_hit_quickly pageoutrun
    pgrotated drop_pagecache drop_slab oom_kill numa_pte_updates numa_huge_pte_updates
    numa_hint_faults numa_hint_faults_local numa_pages_migrated pgmigrate_success
    pgmigrate_fail thp_migration_success thp_migration_fail thp_migration_split
    compact_migrate_scanned compact_free_scanned compact_isolated compact_stall compact_fail
    compact_success compact_daemon_wake compact_daemon_migrate_scanned
    compact_daemon_free_scanned htlb_buddy_alloc_success htlb_buddy_alloc_fail
    unevictable_pgs_culled unevictable_pgs_scanned unevictable_pgs_rescued
    unevictable_pgs_mlocked unevictable_pgs_munlocked unevictable_pgs_cleared
    unevictable_pgs_stranded thp_fault_alloc thp_fault_fallback thp_fault_fallback_charge
    thp_collapse_alloc thp_collapse_alloc_failed thp_file_alloc thp_file_fallback
    thp_file_fallback_charge thp_file_mapped thp_split_page thp_split_page_failed
    thp_deferred_split_page thp_underused_split_page thp_split_pmd thp_scan_exceed_none_pte
    thp_scan_exceed_swap_pte thp_scan_exceed_share_pte thp_split_pud thp_zero_page_alloc
    thp_zero_page_alloc_failed thp_swpout thp_swpout_fallback balloon_inflate
    balloon_deflate balloon_migrate swap_ra swap_ra_hit swpin_zero swpout_zero
    ksm_swpin_copy cow_ksm zswpin zswpout zswpwb direct_map_level2_splits
    direct_map_level3_splits nr_unstable
""".split()

NAMES = [*ZONE_STATS, *NUMA_EVENTS, *NODE_STATS, *SYSTEM_STATS, *EVENTS]
_AFTER = NAMES.index("htlb_buddy_alloc_fail") + 1
# Those of a kernel that has CMA.
CMA_NAMES = [*NAMES[:_AFTER], "cma_alloc_success", "cma_alloc_fail", *NAMES[_AFTER:]]

# The counters that page migration is about, in the kernel's order (`pymigrate vmstat --migration`).
MIGRATION = """
    numa_pte_updates numa_huge_pte_updates numa_hint_faults numa_hint_faults_local
    numa_pages_migrated pgmigrate_success pgmigrate_fail thp_migration_success
    thp_migration_fail thp_migration_split
""".split()


class Counters(dict[str, int]):
    """Events by name; one that never happened is 0. The ledger is told who has raised them."""

    __slots__ = ("ledger",)

    def __init__(
        self, counted: Mapping[str, int] | Iterable[tuple[str, int]] = (), **more: int
    ) -> None:
        super().__init__(counted, **more)
        self.ledger = Ledger()

    def __missing__(self, name: str) -> int:
        return 0

    def add(self, name: str, nr: int = 1) -> None:
        """Count *nr* more of *name*."""
        if nr:
            self[name] = self[name] + nr
            self.ledger.account[name] += nr

    def delta(self, since: dict[str, int], names: Iterable[str]) -> dict[str, int]:
        """Those of *names* that changed *since*, and by how much."""
        changes = ((name, self[name] - since.get(name, 0)) for name in names)
        return {name: change for name, change in changes if change}
