"""The table of calls, each declared once: for scenarios, commands, the API and the docs."""

from __future__ import annotations

from pymigrate.interface import declare as kind
from pymigrate.interface.declare import Argument, Call
from pymigrate.interface.machine_rows import FREE_MEMORY, MACHINE, RANGE_WORD, ROOT, SHELL
from pymigrate.uapi import GET_FLAGS, MCL_FLAGS, MOVE_FLAGS, MREMAP_FLAGS
from pymigrate.units import HPAGE_SIZE, PAGE_SIZE

_MAKER = Argument("task", kind.CALLER, "the task that makes the call")
_OWN = Argument("task", kind.OWN, "the task that makes the call", metavar="PID")
_AT = Argument("at", kind.RANGE, "a part of a region", metavar=RANGE_WORD)
_MEANWHILE = Argument(
    "meanwhile",
    kind.MEANWHILE,
    "an access in the middle of the move; the record says whether it waited",
    None,
)
_ALIGN = Argument("align", kind.ALIGNMENT, "the alignment of the region's address", HPAGE_SIZE)
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
            Argument("over", kind.TARGET, "MAP_FIXED: where, replacing what is there", None),
            Argument(
                "noreplace", kind.FLAG, "MAP_FIXED_NOREPLACE: fail if anything is there", False
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
        "Grow, shrink or move a part of a region.",
        (
            _OWN,
            _AT,
            Argument("size", kind.SIZE, "its new length", metavar="SIZE"),
            Argument("as", kind.NEW_REGION, "the result's name", metavar="NAME"),
            Argument("flags", kind.flags(MREMAP_FLAGS), "maymove, fixed, dontunmap", ()),
            Argument(
                "over",
                kind.TARGET,
                "with fixed: where to, replacing what is there; default: behind all regions",
                None,
            ),
            _ALIGN,
        ),
        "interface.memory.mremap",
        "task mremap",
        "Its pages and its policy go along. NAME names the result, wherever it is; the old name"
        " stays with the old addresses. Prints the result's address.",
        "{address}",
        unrecorded=("address",),
    ),
    _on_range("syscalls.mmap.munmap", "Unmap a part of a region."),
    _on_range(
        "syscalls.mmap.mprotect",
        "Change the protection of a part of a region.",
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
        "Access a part of a region, one access at each stride.",
        (
            _OWN,
            _AT._replace(kind=kind.TOUCHED),
            Argument("write", kind.FLAG, "write rather than read", True, off="read"),
            Argument("stride", kind.STRIDE, "the distance between accesses", PAGE_SIZE),
            Argument(
                "seconds",
                kind.seconds(3600),
                "keep accessing it for this long, at most an hour",
                None,
            ),
        ),
        "interface.memory.touch",
        "task touch",
        "It ends with the first access that faults. Prints the signal, if one came.",
        "{signal}",
        has_errno=False,
    ),
    _on_range("syscalls.mmap.mlock", "Lock a part of a region in memory."),
    _on_range("syscalls.mmap.munlock", "Unlock a part of a region."),
    Call(
        "mlockall",
        "Lock all memory of a task, mapped now or in future.",
        (_OWN, Argument("flags", kind.flags(MCL_FLAGS), "current, future, onfault", ())),
        "syscalls.mmap.mlockall",
        "task mlockall",
    ),
    Call(
        "munlockall",
        "Unlock all memory of a task.",
        (_OWN,),
        "syscalls.mmap.munlockall",
        "task munlockall",
    ),
    _on_range("interface.memory.pin", "Pin each page of a part of a region.", _PIN),
    _on_range("interface.memory.unpin", "Drop the pins that `pin` took on the same part.", _PIN),
    _on_range(
        "interface.memory.busy",
        "Keep pages of a region busy, so that a migration meets it.",
        Argument(
            "kind",
            kind.word("locked", "reading", "writeback", "buffer", "buffer-ref", "lookup", "none"),
            "locked; reading: locked, and not up to date; writeback; buffer: one of its"
            " buffers is locked; buffer-ref: one is in use; lookup: a reference is taken from"
            " the index each time that the page was copied; none: the work is done",
            metavar="KIND",
        ),
        Argument(
            "passes",
            kind.number(1, 1000),
            "how many attempts to get a page fail; default: all",
            None,
        ),
        help_="KIND is locked; reading: locked, and not up to date; writeback; buffer: one of its"
        " buffers is locked; buffer-ref: one is in use; lookup: a reference is taken from the"
        " index each time that the page was copied; none: the work is done.",
    ),
    _on_range(
        "syscalls.gup.add_to_swap_cache",
        "Put anonymous pages into the swap cache.",
        help_="That is where they are after they were swapped out and in again.",
        op="swap_cache",
    ),
    Call(
        "migrate_vma",
        "Move a part of a region to a device's memory, or back.",
        (
            _OWN,
            _AT,
            Argument(
                "to",
                kind.NAME,
                "the device; ram: back to where the task allocates",
                metavar="DEVICE",
            ),
        ),
        "interface.memory.migrate_vma",
        "task migrate_vma",
        "DEVICE is ram to move it back. Prints how many pages moved.",
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
        "Make a thread of the task's process.",
        (
            Argument("task", kind.TASK, "the task that makes the call", metavar="PID"),
            Argument("as", kind.NEW_TASK, "the thread's name", metavar="NAME"),
        ),
        "interface.memory.clone",
        "task clone",
        "It begins with the task's policy, CPUs and cpuset, which are its own from then on, as are"
        " NUMA balancing's statistics; memory and the names of regions are shared. Prints the"
        " thread's pid.",
        "{pid}",
        unrecorded=("pid",),
    ),
    Call(
        "start",
        "Start a process that runs a program.",
        (
            ROOT._replace(help="the task whose child it is; default: root's shell"),
            Argument("as", kind.NEW_TASK, "the process's name", metavar="NAME"),
            Argument("comm", kind.COMM, "the program's name; default: NAME", None),
        ),
        "interface.memory.start",
        "task start",
        "It begins without memory, in the cpuset of all, without a policy, and on any CPU; the"
        " other commands of `task` let it map and touch memory. A step's `task` hands on its user,"
        " policy, CPUs and cpuset. Prints the process's pid.",
        "{pid}",
        unrecorded=("pid",),
    ),
    Call(
        "exit",
        "End the task, and with a process its threads.",
        (Argument("task", kind.TASK, "the task that makes the call", metavar="PID"),),
        "syscalls.process.exit_task",
        "task exit",
        "Its children live on, and its pid is free at once.",
    ),
    Call(
        "sched_setaffinity",
        "Set the CPUs that the task may run on.",
        (
            SHELL,
            Argument("task", kind.TASK, "the task that makes the call", metavar="PID"),
            Argument("cpus", kind.CPUS, "the CPUs", metavar="CPUS"),
        ),
        "interface.memory.sched_setaffinity",
        "task sched_setaffinity",
        "It runs on the lowest of CPUS.",
    ),
)

_UID = kind.number(0, (1 << 32) - 2)
_CREDENTIALS = (
    Call(
        "setresuid",
        "Change the task's real, effective and saved user.",
        (
            _OWN,
            Argument("ruid", _UID, "the real user", None),
            Argument("euid", _UID, "the effective user", None),
            Argument("suid", _UID, "the saved user", None),
        ),
        "syscalls.cred.setresuid",
        "task setresuid",
        "Its capabilities go with the last that is 0. A task whose effective user changes is not"
        " dumpable any more.",
    ),
    Call(
        "capset",
        "Take capabilities from the task.",
        (_OWN, Argument("drop", kind.words("sys_nice", "sys_ptrace"), "which ones", ())),
        "syscalls.cred.capset",
        "task capset",
    ),
    Call(
        "prctl",
        "Say whether others of its user may inspect the task: PR_SET_DUMPABLE.",
        (_OWN, Argument("dumpable", kind.FLAG, "they may", False)),
        "syscalls.cred.set_dumpable",
        "task prctl",
    ),
)

_FILE = Argument("file", kind.FILE, "the file", metavar="FILE")
_FILES = (
    Call(
        "ftruncate",
        "Make a file shorter or longer.",
        (_OWN, _FILE, Argument("size", kind.SIZE, "its new length", metavar="SIZE")),
        "interface.memory.ftruncate",
        "task ftruncate",
        "Pages beyond its new end go wherever they are mapped, and so do private copies of them;"
        " an access there is a SIGBUS.",
    ),
    Call(
        "punch_hole",
        "Drop a part of a file (FALLOC_FL_PUNCH_HOLE).",
        (
            _OWN,
            _FILE,
            Argument("offset", kind.SIZE, "where the part begins", metavar="OFFSET"),
            Argument("length", kind.SIZE, "how long it is", metavar="LENGTH"),
        ),
        "interface.memory.punch_hole",
        "task punch_hole",
        "Its pages go wherever they are mapped; private copies of them stay.",
    ),
    Call(
        "unlink",
        "Remove a file's name.",
        (_OWN, _FILE),
        "interface.memory.unlink",
        "task unlink",
        "Whoever has mapped the file keeps it, and it goes with the last of these.",
    ),
)

_POLICIES = (
    Call(
        "set_mempolicy",
        "Set the task's memory policy.",
        (_OWN, _policy("the task's new policy")),
        "syscalls.mempolicy.set_mempolicy",
        more="It decides where pages that are faulted in from now on go; it moves none.",
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
        "Set the home node of a region's policies.",
        (_OWN, _AT, Argument("node", kind.INTEGER, "the home node", metavar="NODE")),
        "syscalls.mempolicy.set_mempolicy_home_node",
        more="The bind and preferred-many policies of the range begin their search at NODE.",
    ),
    Call(
        "get_mempolicy",
        "Ask for a policy, an address's node, or the allowed nodes.",
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
            ROOT,
            Argument("cpuset", kind.NEW_CPUSET, "its name; `a/b` lies in `a`", metavar="NAME"),
            Argument("cpus", kind.CPU_LIST, "its CPUs"),
            Argument("mems", kind.NODE_LIST, "its nodes"),
            Argument(
                "memory_migrate", kind.FLAG, "whether pages follow its nodes (Linux 6.1)", False
            ),
        ),
        "interface.system.cpuset_create",
        "cpuset create",
    ),
    Call(
        "cpuset_set",
        "Change a cpuset.",
        (
            ROOT,
            _CPUSET,
            Argument("cpus", kind.CPU_LIST, "its new CPUs", None),
            Argument("mems", kind.NODE_LIST, "its new nodes", None),
            Argument(
                "memory_migrate", kind.FLAG, "whether pages follow its nodes (Linux 6.1)", None
            ),
        ),
        "interface.system.cpuset_set",
        "cpuset set",
        "Policies of its tasks are rebound, and their memory follows.",
        leaves="interface.system.left_by_cpuset_set",
    ),
    Call(
        "cpuset_remove",
        "Remove a cpuset that has no tasks.",
        (ROOT, _CPUSET),
        "syscalls.cpuset.remove",
        "cpuset remove",
    ),
    Call(
        "cpuset_attach",
        "Move the task into a cpuset.",
        (SHELL, _CPUSET, Argument("task", kind.TASK, "the task that moves", metavar="PID")),
        "interface.system.cpuset_attach",
        "cpuset attach",
        "Its memory follows. NAME is / for where all tasks begin.",
        leaves="interface.system.left_by_cpuset_attach",
    ),
)

CALLS: dict[str, Call] = {
    call.op: call
    for call in (*_MEMORY, *_CREDENTIALS, *_FILES, *_POLICIES, *_GROUPS, *MACHINE, *FREE_MEMORY)
}
COMMANDS: dict[str, Call] = {call.command or call.op: call for call in CALLS.values()}


def policy_flags_key(call: Call) -> str:
    """The step's key for the flags of a policy's mode: `flags`, but where that is taken."""
    taken = any(argument.name == "flags" for argument in call.arguments)
    return "mode_flags" if taken else "flags"
