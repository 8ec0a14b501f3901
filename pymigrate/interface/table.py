"""The table of calls, each declared once: for scenarios, commands, the API and the docs."""

from __future__ import annotations

from pymigrate.interface import declare as kind
from pymigrate.interface.declare import Argument, Call
from pymigrate.uapi import GET_FLAGS, MOVE_FLAGS, MREMAP_FLAGS
from pymigrate.units import HPAGE_SIZE, PAGE_SIZE

_NODE = kind.number(0, 1023)
_RANGE = "ADDR|REGION[+OFFSET[:LENGTH]]"

_SHELL = Argument("caller", kind.SHELL, "the shell")
_ROOT = Argument("task", kind.CALLER, "the task that acts; default: root's", None)
_MAKER = Argument("task", kind.CALLER, "the task that makes the call")
_OWN = Argument("task", kind.OWN, "the task that makes the call", metavar="PID")
_AT = Argument("at", kind.RANGE, "a part of a region", metavar=_RANGE)
_MEANWHILE = Argument(
    "meanwhile",
    kind.MEANWHILE,
    "an access in the middle of the move; the record says whether it waited",
    None,
)
_ALIGN = Argument("align", kind.ALIGNMENT, "the alignment of the region's address", HPAGE_SIZE)
_BLOCKS = Argument(
    "blocks", kind.NUMBERS, "numbers of memory blocks of 128 MiB; default: all of the node's", None
)
_PIN = Argument(
    "kind",
    kind.word("long", "short"),
    "long: for writing; short: a reference for reading",
    "long",
)


def _policy(what: str) -> Argument:
    return Argument("policy", kind.POLICY, what, metavar="MODE[=FLAGS][:NODES]")


def _on_range(make: str, text: str, *more: Argument, help_: str = "", op: str = "") -> Call:
    """A call that a task makes on a part of its memory."""
    op = op or make.rpartition(".")[2]
    return Call(op, text, (_OWN, _AT, *more), make, f"task {op}", help_)


_MEMORY = (
    Call(
        "mmap",
        "Map a new region.",
        (
            _OWN,
            Argument("as", kind.NEW_REGION, "the new region's name", metavar="NAME"),
            Argument("length", kind.SIZE, "the region's length", metavar="LENGTH"),
            Argument("prot", kind.PROT, "none, or some of r, w and x", "rw"),
            Argument("shared", kind.FLAG, "MAP_SHARED rather than MAP_PRIVATE", False),
            Argument("file", kind.FILE, "the file; default: anonymous memory", None),
            Argument("offset", kind.SIZE, "where in the file the region begins", 0),
            Argument("populate", kind.FLAG, "MAP_POPULATE: fault all pages in", False),
            Argument("hugetlb", kind.FLAG, "MAP_HUGETLB: pages of the hugetlb pool", False),
            Argument("secretmem", kind.FLAG, "memory of memfd_secret(), to be shared", False),
            _ALIGN,
            Argument("over", kind.TARGET, "MAP_FIXED: where, in place of what is there", None),
            Argument(
                "noreplace", kind.FLAG, "MAP_FIXED_NOREPLACE: not if anything is there", False
            ),
        ),
        "interface.memory.mmap",
        "task mmap",
        "Prints the region's address.",
        "{address}",
        unrecorded=("address",),
    ),
    Call(
        "mremap",
        "Let a part of a region grow, shrink, or move.",
        (
            _OWN,
            _AT,
            Argument("size", kind.SIZE, "how long it is to be", metavar="SIZE"),
            Argument("as", kind.NEW_REGION, "what the result is called", metavar="NAME"),
            Argument("flags", kind.flags(MREMAP_FLAGS), "maymove, fixed, dontunmap", ()),
            Argument(
                "over",
                kind.TARGET,
                "with fixed: where, in place of what is there; default: behind all regions",
                None,
            ),
            _ALIGN,
        ),
        "interface.memory.mremap",
        "task mremap",
        "Its pages go along, as they are, and so does its policy. NAME is what the result is"
        " called, wherever it is; the old name is that of the old addresses. Prints the result's"
        " address.",
        "{address}",
        unrecorded=("address",),
    ),
    _on_range("syscalls.mmap.munmap", "Unmap a part of a region."),
    _on_range(
        "syscalls.mmap.mprotect",
        "Change what a part of a region may be accessed for.",
        Argument("prot", kind.PROT, "none, or some of r, w and x", metavar="PROT"),
        help_="PROT is some of r, w and x, or none.",
    ),
    _on_range(
        "syscalls.madvise.madvise",
        "Give advice about a part of a region.",
        Argument("advice", kind.ADVICE, "the advice, by name or number", metavar="ADVICE"),
    ),
    Call(
        "touch",
        "Access a part of a region, once at each stride, up to the first access that faults.",
        (
            _OWN,
            _AT._replace(kind=kind.TOUCHED),
            Argument("write", kind.FLAG, "write rather than read", True, off="read"),
            Argument("stride", kind.STRIDE, "the distance between accesses", PAGE_SIZE),
            Argument("seconds", kind.seconds(10**9), "again and again for so long", None),
        ),
        "interface.memory.touch",
        "task touch",
        "Prints the signal, if one came.",
        "{signal}",
        has_errno=False,
    ),
    _on_range("syscalls.mmap.mlock", "Lock a part of a region in memory."),
    _on_range("syscalls.mmap.munlock", "Unlock a part of a region."),
    _on_range("interface.memory.pin", "Pin each page of a part of a region.", _PIN),
    _on_range(
        "interface.memory.unpin", "Drop the pins that an earlier `pin` of the same part took.", _PIN
    ),
    _on_range(
        "interface.memory.busy",
        "Let something work on each page of a part of a region, so that a migration meets it.",
        Argument(
            "kind",
            kind.word("locked", "reading", "writeback", "buffer", "buffer-ref", "none"),
            "locked; reading: locked, and not up to date; writeback; buffer: one of its"
            " buffers is locked; buffer-ref: one is in use; none: the work is done",
            metavar="KIND",
        ),
        Argument(
            "passes",
            kind.number(1, 1000),
            "how many attempts to get hold of a page fail; default: all",
            None,
        ),
        help_="KIND is locked; reading: locked, and not up to date; writeback; buffer: one of its"
        " buffers is locked; buffer-ref: one is in use; none: the work is done.",
    ),
    _on_range(
        "syscalls.gup.add_to_swap_cache",
        "Let anonymous pages be in the swap cache, as after they were swapped out and in again.",
        op="swap_cache",
    ),
    Call(
        "migrate_vma",
        "Move a part of a region to a device's private memory, or back.",
        (
            _OWN,
            _AT,
            Argument(
                "to",
                kind.NAME,
                "the device; ram: back, to where the task allocates",
                metavar="DEVICE",
            ),
        ),
        "interface.memory.migrate_vma",
        "task migrate_vma",
        "DEVICE is ram for the way back. Prints how many pages moved.",
        "{migrated} pages migrated",
    ),
    Call(
        "fork",
        "Make a child of the task.",
        (
            Argument("task", kind.TASK, "the task that makes the call", metavar="PID"),
            Argument("as", kind.NEW_TASK, "the child's name", metavar="NAME"),
        ),
        "interface.memory.fork",
        "task fork",
        "Prints the child's pid.",
        "{pid}",
        unrecorded=("pid",),
    ),
    Call(
        "clone",
        "Make a thread of the task's process, with the task's policy, CPUs and cpuset.",
        (
            Argument("task", kind.TASK, "the task that makes the call", metavar="PID"),
            Argument("as", kind.NEW_TASK, "the thread's name", metavar="NAME"),
        ),
        "interface.memory.clone",
        "task clone",
        "It shares the memory, and its regions' names; the policy, the CPUs and NUMA balancing's"
        " statistics are its own from then on. Prints the thread's pid.",
        "{pid}",
        unrecorded=("pid",),
    ),
    Call(
        "exit",
        "End the task, a process with its threads; children go on, and pids are free at once.",
        (Argument("task", kind.TASK, "the task that makes the call", metavar="PID"),),
        "syscalls.process.exit_task",
        "task exit",
    ),
    Call(
        "sched_setaffinity",
        "Set the CPUs that the task may run on.",
        (
            _SHELL,
            Argument("task", kind.TASK, "the task that makes the call", metavar="PID"),
            Argument("cpus", kind.CPUS, "the CPUs", metavar="CPUS"),
        ),
        "interface.memory.sched_setaffinity",
        "task sched_setaffinity",
        "It runs on the lowest of CPUS.",
    ),
)

_POLICIES = (
    Call(
        "set_mempolicy",
        "Set the task's memory policy.",
        (_OWN, _policy("the task's new policy")),
        "syscalls.mempolicy.set_mempolicy",
        more="It decides where pages go that are faulted in from now on; none is moved.",
    ),
    Call(
        "mbind",
        "Set the memory policy of a part of a region.",
        (
            _OWN,
            _AT,
            _policy("the policy of the part"),
            Argument("flags", kind.flags(MOVE_FLAGS), "strict, move, move_all, lazy", ()),
            _MEANWHILE,
        ),
        "syscalls.mempolicy.mbind",
        more="MODE is default, preferred, bind, interleave, local, preferred-many or"
        " weighted-interleave (or as numa_maps prints it), FLAGS are static, relative, balancing:"
        " bind=static:0-1. Pages that lie elsewhere move if --move is given; --move-all moves"
        " shared ones too, and needs CAP_SYS_NICE.",
        leaves="interface.memory.left_by_mbind",
    ),
    Call(
        "set_mempolicy_home_node",
        "Set the home node of the policies of a part of a region.",
        (_OWN, _AT, Argument("node", kind.INTEGER, "the home node", metavar="NODE")),
        "syscalls.mempolicy.set_mempolicy_home_node",
        more="The bind and preferred-many policies of the range begin their search at NODE.",
    ),
    Call(
        "get_mempolicy",
        "Ask for the task's policy, an address's policy or node, or the nodes allowed.",
        (
            Argument("task", kind.TASK, "the task that makes the call", metavar="PID"),
            Argument("flags", kind.flags(GET_FLAGS), "node, addr, mems_allowed", ()),
            Argument("at", kind.PLACE, "with addr: a place in a region", None),
        ),
        "interface.memory.get_mempolicy",
    ),
    Call(
        "migrate_pages",
        "Move a task's pages from some nodes to others.",
        (
            _MAKER,
            Argument(
                "target",
                kind.TASK,
                "the task whose pages move; default: the caller",
                kind.ITSELF,
                "PID",
            ),
            Argument("from", kind.NODES, "the nodes to move from", metavar="FROM_NODES"),
            Argument("to", kind.NODES, "the nodes to move to", metavar="TO_NODES"),
            _MEANWHILE,
        ),
        "syscalls.migrate.migrate_pages",
        "migratepages",
    ),
    Call(
        "move_pages",
        "Move single pages of a task, or ask where they are.",
        (
            _MAKER,
            Argument(
                "target",
                kind.PID,
                "the task whose pages move; default: the caller",
                kind.ITSELF,
                "PID",
            ),
            Argument("at", kind.RANGE, "a part of a region"),
            Argument("stride", kind.STRIDE, "the distance between the pages", PAGE_SIZE),
            Argument(
                "pages",
                kind.NUMBERS,
                "the pages' numbers in the region, instead of a part of it",
                None,
            ),
            Argument(
                "nodes",
                kind.PAGE_NODES,
                "one node, a list with one for each page, or null to ask",
                None,
            ),
            Argument("flags", kind.flags(MOVE_FLAGS), "move, move_all", ("move",)),
            _MEANWHILE,
        ),
        "interface.memory.move_pages",
        lists=("status",),
    ),
)

_CPUSET = Argument("cpuset", kind.CPUSET, "the cpuset's name", metavar="NAME")
_GROUPS = (
    Call(
        "cpuset_create",
        "Make a cpuset.",
        (
            _ROOT,
            Argument("cpuset", kind.NEW_CPUSET, "the cpuset's name", metavar="NAME"),
            Argument("cpus", kind.CPUS, "its CPUs"),
            Argument("mems", kind.NODES, "its nodes"),
            Argument(
                "memory_migrate", kind.FLAG, "whether pages follow its nodes (Linux 6.1)", False
            ),
        ),
        "syscalls.cpuset.create",
        "cpuset create",
    ),
    Call(
        "cpuset_set",
        "Change a cpuset.",
        (
            _ROOT,
            _CPUSET,
            Argument("cpus", kind.CPUS, "its new CPUs", None),
            Argument("mems", kind.NODES, "its new nodes", None),
            Argument(
                "memory_migrate", kind.FLAG, "whether pages follow its nodes (Linux 6.1)", None
            ),
        ),
        "syscalls.cpuset.change",
        "cpuset set",
        "Policies of its tasks are rebound, and their memory follows.",
        leaves="interface.system.left_by_cpuset_set",
    ),
    Call(
        "cpuset_attach",
        "Move the task into a cpuset.",
        (_SHELL, _CPUSET, Argument("task", kind.TASK, "the task that moves", metavar="PID")),
        "interface.system.cpuset_attach",
        "cpuset attach",
        "Its memory follows. NAME is / for where all tasks begin.",
        leaves="interface.system.left_by_cpuset_attach",
    ),
)

_MACHINE = (
    Call(
        "sysctl",
        "Write a setting of the machine.",
        (
            _ROOT,
            Argument("name", kind.SETTING, "the setting"),
            Argument("value", kind.VALUE, "what to write"),
            Argument("node", kind.INTEGER, "with nr_hugepages: the pool's node", None),
        ),
        "interface.system.sysctl",
        method="set_sysctl",
    ),
    Call(
        "reclaim",
        "Reclaim memory, as a write to memory.reclaim does: pages are demoted, or dropped.",
        (
            _ROOT,
            Argument("size", kind.SIZE, "how much", metavar="SIZE"),
            Argument("node", _NODE, "only from this node", None),
            Argument("target", kind.TASK, "only what this task maps", None),
            Argument("cpuset", kind.CPUSET, "only what tasks of this cpuset map", None),
            Argument(
                "swappiness", kind.INTEGER, "0: leave anonymous memory alone; up to 200", None
            ),
        ),
        "interface.system.reclaim",
        more="With demotion_enabled, pages go to the next lower memory tier (see `pymigrate"
        " tiers`). Without, or in the last tier, clean page cache is dropped, and all else stays,"
        " for there is no swap. What was used since it was last looked at goes last. Prints how"
        " much it was.",
        says="{reclaimed} pages reclaimed",
        at_most_one_of=("target", "cpuset"),
    ),
    Call(
        "damon",
        "Apply a scheme of DAMON's to a node, or to a part of a task's memory.",
        (
            _SHELL,
            Argument(
                "action", kind.word("migrate_hot", "migrate_cold"), "what it does", metavar="ACTION"
            ),
            Argument("to", kind.INTEGER, "the node to move to", metavar="TO"),
            Argument("node", _NODE, "the memory of this node, or else:", None),
            Argument("task", kind.TASK, "the task whose memory it is", None),
            Argument("at", kind.RANGE, "its region, or a part of it", None),
            Argument(
                "quota", kind.SIZE, "at most so much, the hottest first, or the coldest", None
            ),
            Argument(
                "exclude", kind.words("anon", "file", "young", "old"), "what is filtered out", ()
            ),
        ),
        "interface.system.damon",
        more="ACTION is migrate_hot or migrate_cold; without --quota they do the same. Pages are"
        " young (hot) if they were used since they were last looked at, else old. What node TO has"
        " no room for stays, and so does what lies there already. Prints how many pages moved.",
        says="{migrated} pages migrated",
        one_of=("node", "task"),
    ),
    Call(
        "ksm",
        "Let KSM merge all mergeable pages that hold the same, as if ksmd had run for long enough.",
        (),
        "interface.system.ksm",
        says="pages_shared {pages_shared}\npages_sharing {pages_sharing}\n"
        "pages_unshared {pages_unshared}",
        has_errno=False,
    ),
    Call(
        "balance",
        "Let time pass while tasks use their memory as they declare, and NUMA balancing follows.",
        (Argument("seconds", kind.seconds(86400), "how long; at most a day"),),
        "interface.system.balance",
        has_errno=False,
    ),
    Call(
        "migrate_driver",
        "Move pages of a driver, as compaction does.",
        (
            Argument("driver", kind.DRIVER, "the driver", metavar="DRIVER"),
            Argument("to", kind.INTEGER, "the node to move to", metavar="TO"),
            Argument("pages", kind.NUMBERS, "the numbers of its pages; default: all", None),
            Argument(
                "mode",
                kind.word("async", "sync_light", "sync"),
                "how far the migration goes",
                "sync",
            ),
        ),
        "interface.system.migrate_driver",
        more="Prints the node of each of its pages, -1 where there is none any more, and what"
        " its functions were asked and answered.",
        says="{calls}\nnodes {nodes}",
    ),
)

_BAD_PAGES = (
    _SHELL,
    Argument("task", kind.OWN, "the task whose memory it is", None, "PID"),
    Argument("at", kind.RANGE, "its region, or a part of it", None, _RANGE),
    Argument("address", kind.ADDRESS, "or else the physical address of a page", None),
)
_FREE_MEMORY = (
    Call(
        "alloc",
        "Let the kernel allocate blocks of pages for itself; nobody can move them.",
        (
            _ROOT,
            Argument("name", kind.NAME, "what they are called, for `free`", metavar="NAME"),
            Argument(
                "order", kind.number(0, 10), "a block is 2 to the power of this many pages", 0
            ),
            Argument("count", kind.number(1, 1 << 20), "how many blocks", 1),
            Argument("node", _NODE, "the node that is asked first; default: the caller's", None),
            Argument("this_node", kind.FLAG, "no other node will do", False),
            Argument(
                "movable", kind.FLAG, "taken from movable pageblocks, and from ZONE_MOVABLE", False
            ),
            Argument(
                "mode",
                kind.word("kernel", "nofs", "nowait", "noretry", "retry_mayfail", "none"),
                "what is done if there is no block: GFP_KERNEL compacts and tries again; nofs:"
                " without files' pages; nowait: only kcompactd does; noretry: one try;"
                " retry_mayfail: as kernel, but for orders above 3 too; none: nothing",
                "kernel",
            ),
        ),
        "interface.system.alloc",
        more="Prints how many there were.",
        says="{ret} blocks",
    ),
    Call(
        "free",
        "Let the kernel free the blocks of an `alloc`.",
        (Argument("name", kind.NAME, "what they are called", metavar="NAME"),),
        "syscalls.kernel_pages.free",
        more="Prints how many there were.",
        says="{ret} blocks",
    ),
    Call(
        "compact",
        "Compact a node, or all of them.",
        (
            _ROOT,
            Argument("node", _NODE, "the node; default: all", None, "NODE"),
            Argument(
                "order",
                kind.number(1, 10),
                "only until a block of that order is free, as kcompactd does; default: whole zones",
                None,
            ),
        ),
        "interface.system.compact",
    ),
    Call(
        "cma_alloc",
        "Allocate memory in one piece from what a node keeps for CMA.",
        (
            _ROOT,
            Argument("name", kind.NAME, "what it is called", metavar="NAME"),
            Argument("size", kind.SIZE, "how much", metavar="SIZE"),
            Argument("node", kind.INTEGER, "whose area; default: the first one", None),
        ),
        "interface.system.cma_alloc",
        "cma alloc",
        "What lies there moves to other memory of the node; clean pages of files are dropped."
        " Prints the physical address.",
        "{address}",
    ),
    Call(
        "cma_release",
        "Give back what an earlier `cma_alloc` got.",
        (_ROOT, Argument("name", kind.NAME, "what it is called", metavar="NAME")),
        "syscalls.cma.release",
        "cma release",
    ),
    Call(
        "memory_offline",
        "Take memory blocks of a node away.",
        (_ROOT, Argument("node", kind.INTEGER, "the node", metavar="NODE"), _BLOCKS),
        "interface.system.memory_offline",
        "offline",
        method="offline",
    ),
    Call(
        "memory_online",
        "Give memory blocks of a node back.",
        (_ROOT, Argument("node", kind.INTEGER, "the node", metavar="NODE"), _BLOCKS),
        "interface.system.memory_online",
        "online",
        method="online",
    ),
    Call(
        "hard_offline",
        "Let pages go bad; what they hold is lost, and who uses it is killed.",
        _BAD_PAGES,
        "interface.system.hard_offline",
        one_of=("task", "address"),
    ),
    Call(
        "soft_offline",
        "Take pages out of use, as if memory went bad there; what they hold moves elsewhere.",
        _BAD_PAGES,
        "interface.system.soft_offline",
        one_of=("task", "address"),
    ),
)

CALLS: dict[str, Call] = {
    call.op: call for call in (*_MEMORY, *_POLICIES, *_GROUPS, *_MACHINE, *_FREE_MEMORY)
}
COMMANDS: dict[str, Call] = {call.command or call.op: call for call in CALLS.values()}


def policy_flags_key(call: Call) -> str:
    """The step's key for the flags of a policy's mode: `flags`, but where that is taken."""
    taken = any(argument.name == "flags" for argument in call.arguments)
    return "mode_flags" if taken else "flags"
