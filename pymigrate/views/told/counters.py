"""What each counter of /proc/vmstat counts, in what unit, and which function of the kernel does."""

from __future__ import annotations

import re

from pymigrate.mm.base.release import Kernel
from pymigrate.records import NamedTuple
from pymigrate.views.columns import aligned

# A counter, its unit, the functions of 6.12 that count it (those of a subsystem not simulated
# included), and what it tells. A gauge goes up and down; an event is counted since boot.
_GAUGES = """
nr_free_pages | pages | account_freepages | free memory in the buddy lists
nr_zone_inactive_anon | pages | __update_lru_size | nr_inactive_anon, kept for each zone
nr_zone_active_anon | pages | __update_lru_size | nr_active_anon, kept for each zone
nr_zone_inactive_file | pages | __update_lru_size | nr_inactive_file, kept for each zone
nr_zone_active_file | pages | __update_lru_size | nr_active_file, kept for each zone
nr_zone_unevictable | pages | __update_lru_size | nr_unevictable, kept for each zone
nr_zone_write_pending | pages | folio_account_dirtied | dirty, or being written back
nr_mlock | pages | mlock_folio, mlock_new_folio | mlocked
nr_bounce | pages | __blk_queue_bounce | copies for devices that do not reach all memory
nr_zspages | pages | alloc_zspage | zsmalloc's, which hold compressed memory
nr_free_cma | pages | account_freepages | free memory in areas of the contiguous allocator
nr_unaccepted | pages | __free_unaccepted | of a guest that has not accepted them yet
nr_inactive_anon | pages | __update_lru_size | anonymous memory and shmem: to be reclaimed first
nr_active_anon | pages | __update_lru_size | anonymous memory and shmem that was used lately
nr_inactive_file | pages | __update_lru_size | page cache that is to be reclaimed first
nr_active_file | pages | __update_lru_size | page cache that was used lately
nr_unevictable | pages | __update_lru_size | on the list of those that cannot be reclaimed
nr_slab_reclaimable | pages | account_slab | slabs that a shrinker can free
nr_slab_unreclaimable | pages | account_slab, ___kmalloc_large_node | slabs that stay
nr_isolated_anon | pages | migrate_folio_add, __add_folio_for_migration,
  isolate_migratepages_block | off the LRU lists for a while, to be migrated or reclaimed
nr_isolated_file | pages | migrate_folio_add, __add_folio_for_migration,
  isolate_migratepages_block | page cache off the LRU lists for a while, to be migrated or reclaimed
workingset_nodes | nodes | workingset_update_node | of page cache trees that hold shadow entries
nr_anon_pages | pages | __folio_mod_stat | anonymous memory that is mapped
nr_mapped | pages | __folio_mod_stat | page cache and shmem that is mapped
nr_file_pages | pages | __filemap_add_folio, shmem_update_stats, add_to_swap_cache |
  page cache, shmem and swap cache
nr_dirty | pages | folio_account_dirtied | page cache that has yet to be written
nr_writeback | pages | __folio_start_writeback | being written back
nr_writeback_temp | pages | fuse_writepage_args_page_fill | FUSE's copies that are being written
nr_shmem | pages | shmem_update_stats | shmem and tmpfs
nr_shmem_hugepages | huge pages | shmem_update_stats | of shmem
nr_shmem_pmdmapped | huge pages | __folio_mod_stat | of shmem, mapped by huge entries
nr_file_hugepages | huge pages | __filemap_add_folio, collapse_file | of the page cache
nr_file_pmdmapped | huge pages | __folio_mod_stat | of the page cache, mapped by huge entries
nr_anon_transparent_hugepages | huge pages | __folio_mod_stat | anonymous, mapped by huge entries
nr_kernel_misc_reclaimable | pages | vmstat_start |
  none: 6.12 prints it, and nothing in it counts any
nr_kernel_stack | KiB | account_kernel_stack | stacks of threads in the kernel
nr_page_table_pages | pages | pagetable_pte_ctor | page tables
nr_sec_page_table_pages | pages | kvm_account_pgtable_pages, __iommu_alloc_account |
  page tables of KVM and IOMMUs
nr_iommu_pages | pages | __iommu_alloc_account | tables and queues of IOMMUs
nr_swapcached | pages | add_to_swap_cache | in memory and in swap at once
nr_dirty_threshold | pages | global_dirty_limits | as many may be dirty before writers must wait
nr_dirty_background_threshold | pages | global_dirty_limits | as many before writeback begins
nr_memmap_pages | pages | memmap_pages_add | struct pages, of memory that came after boot
nr_memmap_boot_pages | pages | memmap_boot_pages_add | struct pages, of memory there at boot
nr_unstable | pages | vmstat_show | none: it is printed for old programs
"""
_EVENTS = """
numa_hit | pages | zone_statistics | allocated on this node, and meant to be there
numa_miss | pages | zone_statistics | allocated on this node, for another was full
numa_foreign | pages | zone_statistics | meant for this node, and allocated on another
numa_interleave | pages | alloc_pages_mpol_noprof | interleaved, on the node whose turn it was
numa_local | pages | zone_statistics | allocated on the node of the CPU that asked
numa_other | pages | zone_statistics | allocated on another node than that of the CPU
workingset_refault_anon | pages | workingset_refault, lru_gen_refault |
  back soon after they were reclaimed: anonymous ones
workingset_refault_file | pages | workingset_refault, lru_gen_refault |
  back soon after they were reclaimed: page cache
workingset_activate_anon | pages | workingset_refault, lru_gen_refault |
  back so soon that they are active at once: anonymous ones
workingset_activate_file | pages | workingset_refault, lru_gen_refault |
  back so soon that they are active at once: page cache
workingset_restore_anon | pages | workingset_refault, lru_gen_refault |
  back so soon, and active before they went: anonymous ones
workingset_restore_file | pages | workingset_refault, lru_gen_refault |
  back so soon, and active before they went: page cache
workingset_nodereclaim | nodes | shadow_lru_isolate | of shadow entries, reclaimed
nr_vmscan_write | pages | pageout | written by reclaim itself
nr_vmscan_immediate_reclaim | pages | shrink_folio_list | to be reclaimed as soon as written
nr_dirtied | pages | folio_account_dirtied | page cache that became dirty
nr_written | pages | __folio_end_writeback | page cache that was written
nr_throttled_written | pages | __acct_reclaim_writeback | written while reclaim waits for them
nr_foll_pin_acquired | pages | try_grab_folio, try_grab_folio_fast |
  pins taken (FOLL_PIN), as by RDMA and O_DIRECT
nr_foll_pin_released | pages | gup_put_folio | pins given back
pgpromote_success | pages | migrate_misplaced_folio | moved from a slow tier to a fast one
pgpromote_candidate | pages | numa_promotion_rate_limit | hot enough to be promoted
pgdemote_kswapd | pages | shrink_inactive_list, evict_folios | moved to a slower tier by kswapd
pgdemote_direct | pages | shrink_inactive_list, evict_folios |
  moved to a slower tier by a task in need
pgdemote_khugepaged | pages | shrink_inactive_list, evict_folios |
  moved to a slower tier by khugepaged
pgdemote_proactive | pages | shrink_inactive_list, evict_folios |
  moved to a slower tier for who asked
pgpgin | KiB | submit_bio | read from block devices
pgpgout | KiB | submit_bio | written to block devices
pswpin | pages | swap_read_folio_bdev_sync, swap_read_folio_bdev_async | read from swap
pswpout | pages | count_swpout_vm_event | written to swap
pgalloc_dma | pages | rmqueue_buddy, rmqueue_pcplist | allocated in zone DMA
pgalloc_dma32 | pages | rmqueue_buddy, rmqueue_pcplist | allocated in zone DMA32
pgalloc_normal | pages | rmqueue_buddy, rmqueue_pcplist | allocated in zone Normal
pgalloc_movable | pages | rmqueue_buddy, rmqueue_pcplist | allocated in zone Movable
pgalloc_device | pages | rmqueue_buddy, rmqueue_pcplist | none: zone Device has no allocator
allocstall_dma | events | do_try_to_free_pages | a task must reclaim, for memory in zone DMA
allocstall_dma32 | events | do_try_to_free_pages | a task must reclaim, for memory in zone DMA32
allocstall_normal | events | do_try_to_free_pages | a task must reclaim, for memory in zone Normal
allocstall_movable | events | do_try_to_free_pages | a task must reclaim, for memory in zone Movable
allocstall_device | events | do_try_to_free_pages | none: zone Device has no allocator
pgskip_dma | pages | isolate_lru_folios, scan_folios |
  passed over in zone DMA, for reclaim needs another zone
pgskip_dma32 | pages | isolate_lru_folios, scan_folios |
  passed over in zone DMA32, for reclaim needs another
pgskip_normal | pages | isolate_lru_folios, scan_folios |
  passed over in zone Normal, for reclaim needs another
pgskip_movable | pages | isolate_lru_folios, scan_folios |
  passed over in zone Movable, for reclaim needs another
pgskip_device | pages | isolate_lru_folios, scan_folios | none: zone Device has no LRU lists
pgfree | pages | free_unref_page_commit, free_one_page | freed
pgactivate | pages | lru_activate, shrink_folio_list | came to an active list
pgdeactivate | pages | lru_deactivate, lru_deactivate_file, shrink_active_list |
  went from an active list
pglazyfree | pages | lru_lazyfree | given up by MADV_FREE
pgfault | events | mm_account_fault | page faults, major ones among them
pgmajfault | events | filemap_fault, do_swap_page, shmem_swapin_folio |
  page faults that had to read a device
pglazyfreed | pages | shrink_folio_list | given up by MADV_FREE, and freed
pgrefill | pages | shrink_active_list, scan_folios | of active lists that reclaim looked at
pgreuse | events | wp_page_reuse | write faults that found the page nobody else's
pgsteal_kswapd | pages | shrink_inactive_list, evict_folios | reclaimed by kswapd
pgsteal_direct | pages | shrink_inactive_list, evict_folios | reclaimed by a task in need
pgsteal_khugepaged | pages | shrink_inactive_list, evict_folios | reclaimed by khugepaged
pgsteal_proactive | pages | shrink_inactive_list, evict_folios | reclaimed for who asked
pgscan_kswapd | pages | shrink_inactive_list, scan_folios | that kswapd looked at, to reclaim them
pgscan_direct | pages | shrink_inactive_list, scan_folios |
  that a task in need looked at, to reclaim them
pgscan_khugepaged | pages | shrink_inactive_list, scan_folios |
  that khugepaged looked at, to reclaim them
pgscan_proactive | pages | shrink_inactive_list, scan_folios |
  looked at for who asked, to reclaim them
pgscan_direct_throttle | events | throttle_direct_reclaim | a task waits for kswapd
pgscan_anon | pages | shrink_inactive_list, scan_folios | anonymous ones that reclaim looked at
pgscan_file | pages | shrink_inactive_list, scan_folios | page cache that reclaim looked at
pgsteal_anon | pages | shrink_inactive_list, evict_folios | anonymous ones, reclaimed
pgsteal_file | pages | shrink_inactive_list, evict_folios | page cache, reclaimed
zone_reclaim_success | events | node_reclaim | zone_reclaim_mode found memory on the node
zone_reclaim_failed | events | node_reclaim | zone_reclaim_mode found none there
pginodesteal | pages | inode_lru_isolate | page cache that went with its inode, for a task
slabs_scanned | objects | do_shrink_slab | that shrinkers looked at
kswapd_inodesteal | pages | inode_lru_isolate | page cache that went with its inode, for kswapd
kswapd_low_wmark_hit_quickly | events | kswapd_try_to_sleep | kswapd slept, and was needed at once
kswapd_high_wmark_hit_quickly | events | kswapd_try_to_sleep | kswapd could not sleep
pageoutrun | events | balance_pgdat | kswapd has run
pgrotated | pages | lru_move_tail, lru_deactivate_file | written, and now to be reclaimed first
drop_pagecache | events | drop_caches_sysctl_handler | somebody dropped the page cache
drop_slab | events | drop_caches_sysctl_handler | somebody dropped what shrinkers can free
oom_kill | events | __oom_kill_process | a process was killed because memory ran out
numa_pte_updates | pages | change_prot_numa | made to fault by NUMA balancing's scans
numa_huge_pte_updates | huge pages | change_pmd_range |
  made to fault by NUMA balancing's scans, by huge entries
numa_hint_faults | events | numa_migrate_check | faults that NUMA balancing's scans led to
numa_hint_faults_local | events | numa_migrate_check |
  of numa_hint_faults, those on the CPU's own node
numa_pages_migrated | pages | migrate_misplaced_folio | moved by NUMA balancing
pgmigrate_success | pages | migrate_pages | moved, for whatever reason
pgmigrate_fail | pages | migrate_pages | tried, and left where they were
thp_migration_success | huge pages | migrate_pages | moved whole
thp_migration_fail | huge pages | migrate_pages | not moved whole: left, or split
thp_migration_split | huge pages | migrate_pages | split because they could not be moved whole
compact_migrate_scanned | pages | compact_zone | where compaction looked for movable ones
compact_free_scanned | pages | compact_zone | where compaction looked for free ones
compact_isolated | pages | isolate_migratepages_block, isolate_freepages_block,
  fast_isolate_freepages | taken by compaction, used and free ones
compact_stall | events | __alloc_pages_direct_compact | a task compacts itself
compact_fail | events | __alloc_pages_direct_compact | of compact_stall, those that found no memory
compact_success | events | __alloc_pages_direct_compact | of compact_stall, those that found memory
compact_daemon_wake | events | kcompactd_do_work | kcompactd has run
compact_daemon_migrate_scanned | pages | kcompactd_do_work, compact_node |
  of compact_migrate_scanned, its own
compact_daemon_free_scanned | pages | kcompactd_do_work, compact_node |
  of compact_free_scanned, its own
htlb_buddy_alloc_success | events | alloc_buddy_hugetlb_folio | a hugetlb pool got a page
htlb_buddy_alloc_fail | events | alloc_buddy_hugetlb_folio | a hugetlb pool got none
cma_alloc_success | pages | __cma_alloc | allocated in one piece
cma_alloc_fail | pages | __cma_alloc | not to be had in one piece
unevictable_pgs_culled | pages | lru_add, __mlock_folio, __mlock_new_folio |
  came to the unevictable list
unevictable_pgs_scanned | pages | check_move_unevictable_folios | looked at, to be evictable again
unevictable_pgs_rescued | pages | lru_add, __munlock_folio, check_move_unevictable_folios |
  left the unevictable list
unevictable_pgs_mlocked | pages | mlock_folio, mlock_new_folio | became mlocked
unevictable_pgs_munlocked | pages | __munlock_folio | no longer mlocked
unevictable_pgs_cleared | pages | free_pages_prepare | freed while they were mlocked
unevictable_pgs_stranded | pages | __munlock_folio | munlocked while off their list
thp_fault_alloc | huge pages | __do_huge_pmd_anonymous_page | allocated by a fault
thp_fault_fallback | events | do_huge_pmd_anonymous_page, __do_huge_pmd_anonymous_page |
  a fault got no huge page
thp_fault_fallback_charge | events | __do_huge_pmd_anonymous_page |
  of thp_fault_fallback, those for a cgroup's limit
thp_collapse_alloc | huge pages | alloc_charge_folio | allocated, to collapse base pages into
thp_collapse_alloc_failed | events | alloc_charge_folio | there was none to collapse into
thp_file_alloc | huge pages | shmem_get_folio_gfp | allocated for shmem
thp_file_fallback | events | shmem_alloc_and_add_folio | shmem got no huge page
thp_file_fallback_charge | events | shmem_alloc_and_add_folio |
  of thp_file_fallback, those for a cgroup's limit
thp_file_mapped | events | do_set_pmd | a file's huge page was mapped by a huge entry
thp_split_page | huge pages | split_huge_page_to_list_to_order | split into smaller folios
thp_split_page_failed | events | split_huge_page_to_list_to_order | somebody held one: not split
thp_deferred_split_page | huge pages | deferred_split_folio | partly unmapped, to be split later
thp_underused_split_page | huge pages | deferred_split_scan | split because most of it was zeros
thp_split_pmd | events | __split_huge_pmd_locked | a huge entry became 512 small ones
thp_scan_exceed_none_pte | events | hpage_collapse_scan_pmd, __collapse_huge_page_isolate |
  no collapse: too little is there
thp_scan_exceed_swap_pte | events | hpage_collapse_scan_pmd | no collapse: too much is in swap
thp_scan_exceed_share_pte | events | hpage_collapse_scan_pmd, __collapse_huge_page_isolate |
  no collapse: too much is shared
thp_split_pud | events | __split_huge_pud_locked | an entry for 1 GiB was split
thp_zero_page_alloc | events | get_huge_zero_page | the huge zero page was made
thp_zero_page_alloc_failed | events | get_huge_zero_page | there was no memory for it
thp_swpout | huge pages | count_swpout_vm_event | written to swap whole
thp_swpout_fallback | events | shrink_folio_list | swap had no place for one, so it was split
balloon_inflate | pages | balloon_page_enqueue_one | given to the host by a guest's balloon
balloon_deflate | pages | balloon_page_list_dequeue | taken back from the host by a guest's balloon
balloon_migrate | pages | virtballoon_migratepage | of a balloon, moved
swap_ra | pages | swap_cluster_readahead, swap_vma_readahead | read ahead from swap
swap_ra_hit | pages | swap_cache_get_folio | read ahead from swap, and used
swpin_zero | pages | swap_read_folio_zeromap | of zeros, back without a read
swpout_zero | pages | swap_zeromap_folio_set | of zeros, noted instead of written to swap
ksm_swpin_copy | events | ksm_might_need_to_copy | a page of KSM's came back as a copy
cow_ksm | events | do_wp_page | a store parted a page from KSM's
zswpin | pages | zswap_load | taken from zswap
zswpout | pages | zswap_store | put into zswap
zswpwb | pages | zswap_writeback_entry | written from zswap to the device
direct_map_level2_splits | events | split_page_count | 2 MiB of the kernel's own map were split
direct_map_level3_splits | events | split_page_count | 1 GiB of the kernel's own map was split
"""
_KERNELS: tuple[Kernel, ...] = ("6.1", "6.12", "7.2")
# Those that not all simulated kernels have: as /proc/vmstat of their Debian builds lists them.
_SINCE = {
    "6.12": """
        nr_unaccepted nr_iommu_pages nr_memmap_pages nr_memmap_boot_pages pgdemote_khugepaged
        pgsteal_khugepaged pgscan_khugepaged zone_reclaim_success
        thp_underused_split_page swpin_zero swpout_zero zswpwb
    """,
    "7.2": """
        pgdemote_proactive pgsteal_proactive pgscan_proactive cma_alloc_success cma_alloc_fail
    """,
}
_UNTIL_6_12 = "nr_bounce nr_writeback_temp".split()


class Counter(NamedTuple):
    """What a counter is; *counted_by* are functions of the kernel, *kernels* those that have it."""

    name: str
    unit: str  # "pages", "events", "KiB", ...
    kind: str  # "gauge", or "event": since boot
    counted_by: tuple[str, ...]
    what: str
    kernels: tuple[Kernel, ...]


def counters() -> dict[str, Counter]:
    """All counters that vmstat may print, in the order of the kernel's gauges, then its events."""
    found: dict[str, Counter] = {}
    for kind, text in (("gauge", _GAUGES), ("event", _EVENTS)):
        for line in re.sub(r"(?<=[|,])\n", "", text.strip()).splitlines():
            name, unit, functions, what = (cell.strip() for cell in line.split("|"))
            assert name not in found, f"{name} is declared twice"
            by = tuple(function.strip() for function in functions.split(","))
            found[name] = Counter(name, unit, kind, by, what, _kernels(name))
    return found


def format_rows(rows: list[Counter]) -> str:
    """Text for people: a table."""
    head = ["counter", "unit", "kind", "kernels", "what", "counted by"]
    table = [head] + [
        [
            row.name,
            row.unit,
            row.kind,
            " ".join(row.kernels),
            row.what,
            _functions(row),
        ]
        for row in rows
    ]
    return "".join(f"{line.rstrip()}\n" for line in aligned(table, set(range(6)), "  "))


def format_markdown(rows: list[Counter]) -> str:
    """The same table, as the documentation has it."""
    lines = ["| counter | unit | kind | kernels | what | counted by |", "| --- " * 6 + "|"]
    for row in rows:
        cells = (f"`{row.name}`", row.unit, row.kind, " ".join(row.kernels), row.what)
        lines.append(f"| {' | '.join(cells)} | `{_functions(row)}` |")
    return "".join(f"{line}\n" for line in lines)


def as_json(row: Counter) -> dict[str, object]:
    """A counter for machines."""
    return row._asdict() | {"counted_by": list(row.counted_by), "kernels": list(row.kernels)}


def _functions(row: Counter) -> str:
    return ", ".join(f"{function}()" for function in row.counted_by)


def _kernels(name: str) -> tuple[Kernel, ...]:
    """The simulated kernels that have the counter, the oldest first."""
    names: list[str] = list(_KERNELS)
    first = next((k for k, text in _SINCE.items() if name in text.split()), names[0])
    last = "6.12" if name in _UNTIL_6_12 else names[-1]
    return _KERNELS[names.index(first) : names.index(last) + 1]
