"""From a system call, a fault or a kernel thread to migrate_pages(), as a debugger shows it.

The core's functions bear the names of the kernel's whose job they do, or stand for several of
them: KERNEL says for which. Functions of 6.12; a compiler inlines some of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from pymigrate.mm.state.events import Event, Step
from pymigrate.mm.state.trace import STACK

_FAULT = (
    "handle_pte_fault mm/memory.c",
    "__handle_mm_fault mm/memory.c",
    "handle_mm_fault mm/memory.c",
    "do_user_addr_fault arch/x86/mm/fault.c",
    "exc_page_fault arch/x86/mm/fault.c",
    "asm_exc_page_fault arch/x86/include/asm/idtentry.h",
)
_SYSCALL = (
    "do_syscall_64 arch/x86/entry/common.c",
    "entry_SYSCALL_64 arch/x86/entry/entry_64.S",
)
_KTHREAD = ("kthread kernel/kthread.c", "ret_from_fork arch/x86/kernel/process.c")
_WRITE = (
    "kernfs_fop_write_iter fs/kernfs/file.c",
    "vfs_write fs/read_write.c",
    "ksys_write fs/read_write.c",
    *_SYSCALL,
)
# Function of the package -> those of the kernel that it stands for, the innermost first.
KERNEL = {
    "mm.engine.migrate.migrate_pages": ("migrate_pages mm/migrate.c",),
    "mm.calls.mempolicy.do_migrate_pages": (
        "migrate_to_node mm/mempolicy.c",
        "do_migrate_pages mm/mempolicy.c",
    ),
    "syscalls.migrate.migrate_pages": (
        "kernel_migrate_pages mm/mempolicy.c",
        "__x64_sys_migrate_pages mm/mempolicy.c",
        *_SYSCALL,
    ),
    "mm.calls.move_pages._OneByOne.migrate": ("do_move_pages_to_node mm/migrate.c",),
    "mm.calls.move_pages.Loop._submit": ("move_pages_and_store_status mm/migrate.c",),
    "mm.calls.move_pages.do_pages_move": ("do_pages_move mm/migrate.c",),
    "syscalls.migrate.move_pages": (
        "kernel_move_pages mm/migrate.c",
        "__x64_sys_move_pages mm/migrate.c",
        *_SYSCALL,
    ),
    "mm.calls.mempolicy.do_mbind": ("do_mbind mm/mempolicy.c",),
    "syscalls.mempolicy.mbind": (
        "kernel_mbind mm/mempolicy.c",
        "__x64_sys_mbind mm/mempolicy.c",
        *_SYSCALL,
    ),
    "mm.calls.cpuset._migrate": (
        "cpuset_migrate_mm_workfn kernel/cgroup/cpuset.c",
        "process_one_work kernel/workqueue.c",
        "worker_thread kernel/workqueue.c",
        *_KTHREAD,
    ),
    "mm.balance.hint_fault._migrate": ("migrate_misplaced_folio mm/migrate.c",),
    "mm.balance.hint_fault._fault": ("do_numa_page mm/memory.c",),
    "mm.faults.memory._after_fault": _FAULT,
    "mm.calls.gup.migrate_longterm_unpinnable_folios": (
        "migrate_longterm_unpinnable_folios mm/gup.c",
        "check_and_migrate_movable_folios mm/gup.c",
    ),
    "mm.calls.gup.pin_pages": ("__gup_longterm_locked mm/gup.c", "pin_user_pages mm/gup.c"),
    "mm.reclaim.shrink.Shrink._demote_folio_list": ("demote_folio_list mm/vmscan.c",),
    "mm.reclaim.shrink.Shrink._shrink_folio_list": ("shrink_folio_list mm/vmscan.c",),
    "mm.reclaim.generations.GenShrink._evict_folios": ("evict_folios mm/vmscan.c",),
    "mm.reclaim.generations.GenShrink._evict_lists": ("try_to_shrink_lruvec mm/vmscan.c",),
    "mm.reclaim.vmscan._Passes._shrink_lruvec": ("shrink_lruvec mm/vmscan.c",),
    "mm.reclaim.vmscan._Passes.run": ("shrink_node mm/vmscan.c",),
    "mm.reclaim.vmscan.memory_reclaim": (
        "do_try_to_free_pages mm/vmscan.c",
        "try_to_free_mem_cgroup_pages mm/vmscan.c",
        "memory_reclaim mm/memcontrol.c",
        *_WRITE,
    ),
    "mm.reclaim.vmscan.wakeup_kswapd": (
        "kswapd_shrink_node mm/vmscan.c",
        "balance_pgdat mm/vmscan.c",
        "kswapd mm/vmscan.c",
        *_KTHREAD,
    ),
    "mm.reclaim.damon._migrate_folio_list": ("damon_pa_migrate_folio_list mm/damon/paddr.c",),
    "mm.reclaim.damon.apply_scheme": (
        "damon_pa_migrate mm/damon/paddr.c",
        "damon_pa_apply_scheme mm/damon/paddr.c",
        "kdamond_apply_schemes mm/damon/core.c",
        "kdamond_fn mm/damon/core.c",
        *_KTHREAD,
    ),
    "mm.compact.compaction.compact_zone": ("compact_zone mm/compaction.c",),
    "mm.compact.compaction.compact_node": ("compact_node mm/compaction.c",),
    "syscalls.compact.compact": ("compact_store mm/compaction.c", *_WRITE),
    "mm.compact.direct.SlowPath._try_to_compact_pages": (
        "compact_zone_order mm/compaction.c",
        "try_to_compact_pages mm/compaction.c",
        "__alloc_pages_direct_compact mm/page_alloc.c",
        "__alloc_pages_slowpath mm/page_alloc.c",
        "__alloc_pages_noprof mm/page_alloc.c",
    ),
    "mm.compact.kcompactd._do_work": (
        "kcompactd_do_work mm/compaction.c",
        "kcompactd mm/compaction.c",
        *_KTHREAD,
    ),
    "mm.offline.memory_hotplug.do_migrate_range": ("do_migrate_range mm/memory_hotplug.c",),
    "mm.offline.memory_hotplug.offline_pages": ("offline_pages mm/memory_hotplug.c",),
    "syscalls.memory_blocks.offline": (
        "memory_block_offline drivers/base/memory.c",
        "memory_subsys_offline drivers/base/memory.c",
        "device_offline drivers/base/core.c",
        "state_store drivers/base/memory.c",
        *_WRITE,
    ),
    "mm.offline.contig._migrate_range": ("__alloc_contig_migrate_range mm/page_alloc.c",),
    "mm.offline.contig.alloc_contig_range": ("alloc_contig_range_noprof mm/page_alloc.c",),
    "mm.offline.contig.cma_alloc": ("cma_alloc mm/cma.c",),
    "mm.offline.memory_failure._migrate": ("soft_offline_in_use_page mm/memory-failure.c",),
    "mm.offline.memory_failure.soft_offline_page": ("soft_offline_page mm/memory-failure.c",),
}
# Kernel threads, and what works for them: who called is not on their stack.
_OWN_STACK = {name for name, functions in KERNEL.items() if functions[-len(_KTHREAD) :] == _KTHREAD}


def stacks(events: Iterable[Event | Step]) -> dict[tuple[str, ...], int]:
    """The distinct stacks among *events*, the innermost function first: how often each came up.

    Each function is `NAME (ARGUMENTS) at FILE`.
    """
    found: dict[tuple[str, ...], int] = {}
    for event in events:
        if isinstance(event, Event) and event.name == STACK:
            stack = _kernel_stack(event.text)
            found[stack] = found.get(stack, 0) + 1
    return found


def format_stacks(events: Iterable[Event | Step]) -> str:
    """The distinct stacks, as a debugger shows them."""
    parts = []
    for stack, nr in stacks(events).items():
        lines = [f"#{i:<2} {function}\n" for i, function in enumerate(stack)]
        parts.append("".join(lines) + (f"({nr} times)\n" if nr > 1 else ""))
    return "\n".join(parts)


def as_json(events: Iterable[Event | Step]) -> list[dict[str, object]]:
    """The distinct stacks for machines, the innermost function first."""
    return [{"calls": nr, "functions": list(stack)} for stack, nr in stacks(events).items()]


def _kernel_stack(text: str) -> tuple[str, ...]:
    mode, reason, *names = text.split()
    out: list[str] = []
    for name in names:
        for function in KERNEL.get(name, ()):
            called, _, file = function.partition(" ")
            arguments = "" if out else f"mode=MIGRATE_{mode}, reason=MR_{reason}"
            out.append(f"{called} ({arguments}) at {file}")
        if name in _OWN_STACK:
            break
    return tuple(out)
