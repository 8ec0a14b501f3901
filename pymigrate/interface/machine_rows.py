"""The rows of the table that are calls on the machine, and not of a task on its memory."""

from __future__ import annotations

from pymigrate.interface import declare as kind
from pymigrate.interface.declare import Argument, Call

RANGE_WORD = "ADDR|REGION[+OFFSET[:LENGTH]]"
_NODE = kind.number(0, 1023)
SHELL = Argument("caller", kind.SHELL, "the shell")
ROOT = Argument("task", kind.CALLER, "the task that acts; default: root's", None)
_BLOCKS = Argument(
    "blocks", kind.NUMBERS, "numbers of memory blocks of 128 MiB; default: all of the node's", None
)

MACHINE = (
    Call(
        "sysctl",
        "Write a setting of the machine.",
        (
            ROOT,
            Argument("name", kind.SETTING, "the setting"),
            Argument("value", kind.VALUE, "what to write"),
            Argument("node", kind.INTEGER, "with nr_hugepages: the pool's node", None),
        ),
        "interface.system.sysctl",
        method="set_sysctl",
    ),
    Call(
        "reclaim",
        "Reclaim memory, as a write to memory.reclaim does.",
        (
            ROOT,
            Argument("size", kind.SIZE, "how much", metavar="SIZE"),
            Argument("node", _NODE, "only from this node", None),
            Argument("target", kind.TASK, "only what this task maps", None, option="task"),
            Argument("cpuset", kind.CPUSET, "only what tasks of this cpuset map", None),
            Argument(
                "swappiness", kind.INTEGER, "0: leave anonymous memory alone; up to 200", None
            ),
        ),
        "interface.system.reclaim",
        more="With demotion_enabled, pages are demoted to the next lower memory tier (see"
        " `pymigrate tiers`). Without it, and in the last tier, clean page cache is dropped, and"
        " everything else stays, because there is no swap. Pages that were used since the last"
        " look go last. Prints how many pages were reclaimed.",
        says="{reclaimed} pages reclaimed",
        at_most_one_of=("target", "cpuset"),
    ),
    Call(
        "damon",
        "Let DAMON move hot or cold pages to a node.",
        (
            SHELL,
            Argument(
                "action", kind.word("migrate_hot", "migrate_cold"), "what to do", metavar="ACTION"
            ),
            Argument("to", kind.INTEGER, "the node to move to"),
            Argument("node", _NODE, "the node whose memory it is; or else:", None),
            Argument("task", kind.TASK, "the task whose memory it is", None),
            Argument("at", kind.RANGE, "its region, or a part of it", None),
            Argument(
                "quota",
                kind.SIZE,
                "move at most this much, the hottest or coldest pages first",
                None,
            ),
            Argument(
                "exclude", kind.words("anon", "file", "young", "old"), "pages to leave out", ()
            ),
        ),
        "interface.system.damon",
        more="ACTION is migrate_hot or migrate_cold; without --quota they do the same. Pages are"
        " young (hot) if they were used since the last look, else old. Pages stay if they are on"
        " that node already, or find no room there. Prints how many pages moved.",
        says="{migrated} pages migrated",
        one_of=("node", "task"),
    ),
    Call(
        "ksm",
        "Let KSM merge equal pages.",
        (),
        "interface.system.ksm",
        more="It merges mergeable pages with the same contents, as if ksmd had run long enough.",
        says="pages_shared {pages_shared}\npages_sharing {pages_sharing}\n"
        "pages_unshared {pages_unshared}",
        has_errno=False,
    ),
    Call(
        "balance",
        "Let time pass, so that NUMA balancing acts.",
        (Argument("seconds", kind.seconds(86400), "how long; at most a day"),),
        "interface.system.balance",
        has_errno=False,
    ),
    Call(
        "migrate_driver",
        "Move pages of a driver, as compaction does.",
        (
            Argument("driver", kind.DRIVER, "the driver", metavar="DRIVER"),
            Argument("to", kind.INTEGER, "the node to move to"),
            Argument("pages", kind.NUMBERS, "the numbers of its pages; default: all", None),
            Argument(
                "mode",
                kind.word("async", "sync_light", "sync"),
                "how far the migration goes",
                "sync",
            ),
            Argument(
                "isolated",
                kind.NUMBERS,
                "those that another CPU has isolated before, and gives back at the end",
                None,
            ),
        ),
        "interface.system.migrate_driver",
        more="Prints the node of each of its pages (-1: it is gone), and the calls of its functions"
        " with their answers.",
        says="{calls}\nnodes {nodes}",
    ),
)

_BAD_PAGES = (
    SHELL,
    Argument("task", kind.OWN, "the task whose memory it is", None, "PID"),
    Argument("at", kind.RANGE, "its region, or a part of it", None, RANGE_WORD),
    Argument("address", kind.ADDRESS, "or else the physical address of a page", None),
)
FREE_MEMORY = (
    Call(
        "alloc",
        "Let the kernel allocate blocks that never move.",
        (
            ROOT,
            Argument("name", kind.NAME, "what they are called, for `free`", metavar="NAME"),
            Argument("order", kind.number(0, 10), "a block is 2^N pages", 0),
            Argument("count", kind.number(1, 1 << 20), "how many blocks", 1),
            Argument("node", _NODE, "the first node to ask; default: the caller's", None),
            Argument("this_node", kind.FLAG, "from no other node", False),
            Argument("movable", kind.FLAG, "use movable pageblocks and ZONE_MOVABLE, too", False),
            Argument(
                "mode",
                kind.word("kernel", "nofs", "nowait", "noretry", "retry_mayfail", "none"),
                "if there is no block: kernel: compact and retry; nofs: without files' pages;"
                " nowait: leave it to kcompactd; noretry: try once; retry_mayfail: like kernel,"
                " also above order 3; none: nothing",
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
            ROOT,
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
            ROOT,
            Argument("name", kind.NAME, "what it is called", metavar="NAME"),
            Argument("size", kind.SIZE, "how much", metavar="SIZE"),
            Argument("node", kind.INTEGER, "whose area; default: the first one", None),
        ),
        "interface.system.cma_alloc",
        "cma alloc",
        "Pages there move to other memory of the node; clean pages of files are dropped."
        " Prints the physical address.",
        "{address}",
    ),
    Call(
        "cma_release",
        "Release what `cma_alloc` got.",
        (ROOT, Argument("name", kind.NAME, "what it is called", metavar="NAME")),
        "syscalls.cma.release",
        "cma release",
    ),
    Call(
        "memory_offline",
        "Take a node's memory blocks offline.",
        (ROOT, Argument("node", kind.INTEGER, "the node", metavar="NODE"), _BLOCKS),
        "interface.system.memory_offline",
        "offline",
        method="offline",
    ),
    Call(
        "memory_online",
        "Bring a node's memory blocks back online.",
        (
            ROOT,
            Argument("node", kind.INTEGER, "the node", metavar="NODE"),
            _BLOCKS,
            Argument(
                "online_type",
                kind.word("online", "online_kernel", "online_movable"),
                "what to write to their state; default: what returns a block to its old zone",
                None,
            ),
        ),
        "interface.system.memory_online",
        "online",
        method="online",
    ),
    Call(
        "hard_offline",
        "Let pages go bad: their contents are lost.",
        _BAD_PAGES,
        "interface.system.hard_offline",
        one_of=("task", "address"),
    ),
    Call(
        "soft_offline",
        "Take pages out of use, before their memory goes bad.",
        _BAD_PAGES,
        "interface.system.soft_offline",
        one_of=("task", "address"),
    ),
)
