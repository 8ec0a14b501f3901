"""memory.numa_stat of the root cgroup: what each node holds, in bytes.

Which cgroup a page is charged to is not simulated, so that only the root, with all of it, has one.
"""

from pymigrate.mm.state.machine import Machine
from pymigrate.units import HPAGE_PMD_NR, PAGE_SIZE
from pymigrate.views.proc.vmstat import node_rows

_HUGE = HPAGE_PMD_NR * PAGE_SIZE
# Its names, and the node's counter with the unit of each (memory_stats[], mm/memcontrol.c).
_STATS = {
    "anon": ("nr_anon_pages", PAGE_SIZE),
    "file": ("nr_file_pages", PAGE_SIZE),
    "kernel_stack": ("nr_kernel_stack", 1024),
    "pagetables": ("nr_page_table_pages", PAGE_SIZE),
    "sec_pagetables": ("nr_sec_page_table_pages", PAGE_SIZE),
    "shmem": ("nr_shmem", PAGE_SIZE),
    "file_mapped": ("nr_mapped", PAGE_SIZE),
    "file_dirty": ("nr_dirty", PAGE_SIZE),
    "file_writeback": ("nr_writeback", PAGE_SIZE),
    "swapcached": ("nr_swapcached", PAGE_SIZE),
    "anon_thp": ("nr_anon_transparent_hugepages", _HUGE),
    "file_thp": ("nr_file_hugepages", _HUGE),
    "shmem_thp": ("nr_shmem_hugepages", _HUGE),
    "inactive_anon": ("nr_inactive_anon", PAGE_SIZE),
    "active_anon": ("nr_active_anon", PAGE_SIZE),
    "inactive_file": ("nr_inactive_file", PAGE_SIZE),
    "active_file": ("nr_active_file", PAGE_SIZE),
    "unevictable": ("nr_unevictable", PAGE_SIZE),
    "slab_reclaimable": ("nr_slab_reclaimable", PAGE_SIZE),
    "slab_unreclaimable": ("nr_slab_unreclaimable", PAGE_SIZE),
    "workingset_refault_anon": ("workingset_refault_anon", 1),
    "workingset_refault_file": ("workingset_refault_file", 1),
    "workingset_activate_anon": ("workingset_activate_anon", 1),
    "workingset_activate_file": ("workingset_activate_file", 1),
    "workingset_restore_anon": ("workingset_restore_anon", 1),
    "workingset_restore_file": ("workingset_restore_file", 1),
    "workingset_nodereclaim": ("workingset_nodereclaim", 1),
}


def text(machine: Machine) -> str:
    """A line for each name, with each node that has memory. Mirrors memory_numa_stat_show()."""
    rows = {nid: node_rows(machine, machine.nodes[nid]) for nid in machine.memory_nodes}
    return "".join(
        f"{name}{''.join(f' N{nid}={row[counter] * unit}' for nid, row in rows.items())}\n"
        for name, (counter, unit) in _STATS.items()
    )
