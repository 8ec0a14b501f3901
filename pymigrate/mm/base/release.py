"""What differs between kernel versions, as named flags; nothing else compares versions."""

from collections.abc import Mapping
from typing import Literal

from pymigrate.records import NamedTuple

Kernel = Literal["6.12", "6.1", "7.2"]


class Release(NamedTuple):
    """The flags of one kernel version; the defaults are those of 6.12."""

    name: Kernel = "6.12"
    # move_pages() answers -EFAULT, not -ENOENT, for an absent page of anonymous memory.
    absent_anon_is_efault: bool = False
    # Pages of PROT_NONE memory cannot be followed: move_pages() takes them for absent.
    prot_none_is_absent: bool = False
    # There is a mode for weighted interleave; numa_balancing goes with preferred-many.
    weighted_interleave: bool = True
    balancing_preferred_many: bool = True
    # interleave_nid() computes with so many bits of the index.
    interleave_index_bits: int = 64
    # A page that the same call has isolated before counts as not moved (else: if it is strict).
    second_sighting_fails: bool = True
    # Of a large folio that is mapped page by page a walk looks at one page; whether it is shared
    # is asked of the folio (before: of each page, and of the first one).
    folios_not_pages: bool = True
    # MADV_POPULATE_* stops at a hole.
    populate_stops_at_hole: bool = True
    # The multi-generational LRU is on (in Debian's build).
    lru_gen: bool = True
    # Memory that is faulted in is of the second youngest generation (before: of the youngest).
    lru_gen_begins_second: bool = False
    # Memory is aged when few pages are old (else: when there are but three generations).
    lru_gen_ages_lazily: bool = True
    # What awaits writeback goes to the next generation when it is met (else: it is isolated).
    sorts_dirty: bool = True
    # So many folios wait in a batch at most: PAGEVEC_SIZE.
    pagevec_size: int = 31
    # A page that a fault brings in is active while it waits for its list, where lru_gen is on
    # (since 6.14: referenced).
    new_is_active: bool = True
    # A tail page has the flags of its folio in kpageflags (before: its own, which are few).
    kpageflags_of_folio: bool = True
    # kpageflags takes all anonymous memory for KSM's: it asks for one of the two low bits.
    kpageflags_ksm_for_anon: bool = True
    # Once a huge entry is split the folio is no longer mlocked.
    split_pmd_munlocks: bool = True
    # A huge page that is migrated stays mlocked.
    migrated_thp_stays_mlocked: bool = False
    # A VMA that has an anon_vma merges with a neighbour that has none.
    merges_unfaulted_neighbour: bool = False
    # Pages of a splitting huge page that nobody has stored into become the zero page.
    split_drops_zeroed: bool = True
    # A large folio of which a part was unmapped is split before it is migrated.
    splits_partially_mapped: bool = True
    # A store into the huge zero page maps a huge page (before, it split the mapping).
    huge_zero_becomes_thp: bool = False
    # mprotect() makes entries of private memory writable at once only if they are dirty.
    mprotect_needs_dirty: bool = False
    # A huge page of private hugetlb memory that is dropped is reserved again.
    hugetlb_restores_reserve: bool = True
    # The abstract distance of memory follows from the HMAT (since 6.7).
    hmat_adistance: bool = True
    # Entries of a large folio that follow each other are unmapped at once (before: each).
    removes_rmap_in_batches: bool = True
    # The entries of up to 512 base pages are flushed from the TLB at once (before: each).
    batches_flush: bool = True
    # mbind() and migrate_pages() let mmap_lock go before they move what they have isolated
    # (since 6.7).
    migrates_unlocked: bool = True
    # DAMON has the schemes migrate_hot and migrate_cold (since 6.11).
    damon_migrates: bool = True
    # process_madvise() gives any advice about the caller's own memory, and asks for no capability.
    advises_itself: bool = False
    # memory.reclaim takes a swappiness.
    reclaim_swappiness: bool = True
    # What a cgroup may not have on a lower tier's node is not demoted.
    demotes_in_cpusets: bool = False
    # Proactive reclaim has counters of its own (since 6.16).
    counts_proactive: bool = False
    # Reclaim of a cgroup takes no more than its share of a node, and stops once it has enough
    # (before: whole lists, and the whole share). A node's own file reclaims nothing, for
    # zone_reclaim_mode is 0.
    reclaim_stops_early: bool = False
    # MADV_COLLAPSE goes on after a block that was never touched.
    collapse_passes_gaps: bool = False
    # Soft offline can be switched off (since 6.11).
    has_enable_soft_offline: bool = True
    # NUMA balancing scans shared memory that has no policy of its own.
    scans_shared: bool = True
    # A cpuset that has tasks may lose its last node or CPU; then it has its parent's.
    cpuset_may_be_emptied: bool = False
    # cgroup v1's cpusets exist, whose memory_migrate can be off (in Debian's build).
    cpuset_v1: bool = False


RELEASES: Mapping[str, Release] = {
    "6.12": Release(),
    "6.1": Release(
        name="6.1",
        absent_anon_is_efault=True,
        prot_none_is_absent=True,
        weighted_interleave=False,
        balancing_preferred_many=False,
        interleave_index_bits=32,
        second_sighting_fails=False,
        folios_not_pages=False,
        populate_stops_at_hole=False,
        lru_gen=False,
        new_is_active=False,
        kpageflags_of_folio=False,
        kpageflags_ksm_for_anon=False,
        pagevec_size=15,
        migrated_thp_stays_mlocked=True,
        split_drops_zeroed=False,
        splits_partially_mapped=False,
        mprotect_needs_dirty=True,
        hugetlb_restores_reserve=False,
        hmat_adistance=False,
        damon_migrates=False,
        removes_rmap_in_batches=False,
        batches_flush=False,
        migrates_unlocked=False,
        scans_shared=False,
        reclaim_swappiness=False,
        has_enable_soft_offline=False,
        cpuset_v1=True,
    ),
    "7.2": Release(
        name="7.2",
        merges_unfaulted_neighbour=True,
        advises_itself=True,
        split_pmd_munlocks=False,
        new_is_active=False,
        kpageflags_ksm_for_anon=False,
        migrated_thp_stays_mlocked=True,
        counts_proactive=True,
        reclaim_stops_early=True,
        lru_gen_begins_second=True,
        lru_gen_ages_lazily=False,
        sorts_dirty=False,
        collapse_passes_gaps=True,
        huge_zero_becomes_thp=True,
        cpuset_may_be_emptied=True,
        demotes_in_cpusets=True,
    ),
}
