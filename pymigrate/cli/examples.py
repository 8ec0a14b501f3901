"""Examples of every command: help, manual pages and the docs show them, and the tests run them.

Those of a command are run in their order, on the built-in machine as it boots, in a directory that
holds nothing but `scenarios`.
"""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "accesses": (
        "pymigrate accesses db",
        "pymigrate --scenario numa-balancing accesses --json",
    ),
    "alloc": ("pymigrate alloc blocks --order 3 --count 4",),
    "balance": (
        "pymigrate balance --seconds 10",
        "pymigrate --scenario numa-balancing balance --seconds 2 -v",
        "pymigrate --scenario numa-balancing balance --seconds 5 --heatmap",
    ),
    "boot": (
        "pymigrate boot two-node",
        "pymigrate boot --nodes 4x384GiB,2x512GiB@cxl",
        "pymigrate boot scenarios/first-touch-steps.yaml --run",
    ),
    "buddyinfo": ("pymigrate buddyinfo",),
    "capture": (
        "pymigrate capture --gather -o gather.sh",
        "pymigrate export tree",
        "pymigrate capture 4321 --root tree -o server.yaml",
    ),
    "cat": ("pymigrate cat proc/4321/smaps", "pymigrate cat sys/devices/system/node/node1/meminfo"),
    "check": (
        "pymigrate check 'vmstat.pgmigrate_fail == 0' 'numa_maps(db).heap.pages > 32MiB'",
        "pymigrate check -q 'node(1).MemFree > 512MiB'",
    ),
    "cma": ("pymigrate cma list",),
    "cma alloc": ("pymigrate --scenario taking-memory-away cma alloc camera 16MiB",),
    "cma list": ("pymigrate --scenario taking-memory-away cma list",),
    "cma release": (
        "pymigrate --scenario taking-memory-away cma alloc camera 16MiB",
        "pymigrate --scenario taking-memory-away cma release camera",
    ),
    "compact": ("pymigrate compact 0 --order 9", "pymigrate compact -v"),
    "compare": (
        "pymigrate compare two-node --kernel 6.1 --kernel 7.2",
        "pymigrate compare two-node --set machine.thp=never --set machine.thp=always -j 2",
    ),
    "completion": ("pymigrate completion bash",),
    "cpuset": (
        "pymigrate cpuset create batch --cpus 4-7 --mems 1",
        "pymigrate cpuset attach batch db",
        "pymigrate cpuset list",
    ),
    "cpuset attach": (
        "pymigrate cpuset create batch --cpus 4-7 --mems 1",
        "pymigrate cpuset attach batch db",
    ),
    "cpuset create": ("pymigrate cpuset create batch --cpus 4-7 --mems 1",),
    "cpuset list": ("pymigrate cpuset list",),
    "cpuset remove": (
        "pymigrate cpuset create batch --cpus 4-7 --mems 1",
        "pymigrate cpuset remove batch",
    ),
    "cpuset set": (
        "pymigrate cpuset create batch --cpus 4-7 --mems 1",
        "pymigrate cpuset set batch --mems 0-1",
    ),
    "damon": ("pymigrate damon migrate_cold --to 1 --task db --at heap --quota 1MiB",),
    "doctor": ("pymigrate doctor", "pymigrate doctor --reset"),
    "exec": ("pymigrate exec --shims -- numactl --show",),
    "explain": (
        "pymigrate explain db heap --to 1",
        "pymigrate explain db --to 1 --as 26",
        "pymigrate migratepages db 0 1 --as 26",
        "pymigrate explain --last",
    ),
    "export": ("pymigrate export tree",),
    "extfrag": ("pymigrate extfrag --unusable",),
    "free": ("pymigrate alloc blocks --order 3", "pymigrate free blocks"),
    "get_mempolicy": ("pymigrate get_mempolicy db", "pymigrate get_mempolicy db heap"),
    "help": ("pymigrate help", "pymigrate help moving", "pymigrate help migratepages"),
    "hard_offline": ("pymigrate hard_offline db heap+4MiB",),
    "init": ("pymigrate init", "pymigrate init server.yaml --nodes 4x384GiB:16,2x512GiB@cxl"),
    "ksm": ("pymigrate ksm",),
    "man": ("pymigrate man man1",),
    "mbind": ("pymigrate mbind db heap+1MiB 1MiB bind=static:1 --move",),
    "memhog": ("pymigrate memhog 32m interleave 0,1",),
    "migrate_driver": (
        "pymigrate --scenario drivers migrate_driver zs --to 1",
        "pymigrate --scenario drivers migrate_driver busy --to 1 --mode async",
    ),
    "migratepages": (
        "pymigrate migratepages db 0 1",
        "pymigrate migratepages db 1 0 --dry-run --show",
        "pymigrate migratepages db 1 0 --as 26 -v",
    ),
    "migspeed": ("pymigrate migspeed 0 1",),
    "move_pages": (
        "pymigrate move_pages db heap+4MiB:8KiB --query",
        "pymigrate move_pages db heap+4MiB:8KiB --to 1",
    ),
    "numa_maps": ("pymigrate numa_maps 4321", "pymigrate numa_maps db --json"),
    "numactl": ("pymigrate numactl --hardware",),
    "numastat": ("pymigrate numastat", "pymigrate numastat -p 4321"),
    "offline": ("pymigrate offline", "pymigrate --scenario taking-memory-away offline 1"),
    "online": (
        "pymigrate --scenario taking-memory-away offline 1",
        "pymigrate --scenario taking-memory-away online 1",
    ),
    "page": ("pymigrate page db heap+4MiB", "pymigrate --scenario drivers page zs 3"),
    "pagetypeinfo": ("pymigrate pagetypeinfo --json",),
    "placement": ("pymigrate placement db heap+0:64KiB",),
    "plan": (
        "pymigrate plan db --to 1",
        "pymigrate plan db --to 1 --max-pause 20ms --emit python",
        "pymigrate plan db --mbind bind:0 --show",
    ),
    "ps": ("pymigrate ps", "pymigrate ps --json"),
    "reclaim": (
        "pymigrate --scenario cxl-tiers sysctl demotion_enabled=true",
        "pymigrate --scenario cxl-tiers reclaim 1MiB --node 0",
    ),
    "run": (
        "pymigrate run first-touch-steps",
        "pymigrate run scenarios/first-touch-steps.yaml --kernel 6.1 --json",
    ),
    "scenarios": ("pymigrate scenarios", "pymigrate scenarios full-target"),
    "schema": ("pymigrate schema",),
    "set_mempolicy": ("pymigrate set_mempolicy db preferred-many:0-1",),
    "set_mempolicy_home_node": (
        "pymigrate mbind db heap+1MiB 1MiB bind:0-1",
        "pymigrate set_mempolicy_home_node db heap+1MiB 1MiB 1",
    ),
    "shims": ("pymigrate shims programs",),
    "report": (
        "pymigrate report report.html db --to 1",
        "pymigrate --scenario numa-balancing report report.html --balance --seconds 5",
    ),
    "show": (
        "pymigrate show",
        "pymigrate show db --scale",
        "pymigrate --scenario promotion-steps show --heat --top 5",
    ),
    "soft_offline": ("pymigrate soft_offline db heap+4MiB",),
    "status": ("pymigrate status",),
    "sysctl": (
        "pymigrate sysctl",
        "pymigrate sysctl numa_balancing",
        "pymigrate sysctl weighted_interleave/node0=3",
    ),
    "task": (
        "pymigrate task mmap db buffer 4MiB",
        "pymigrate task touch db buffer",
        "pymigrate task fork db child",
    ),
    "task busy": ("pymigrate task busy db heap+0:4KiB locked",),
    "task capset": ("pymigrate task capset db --drop sys_nice",),
    "task clone": ("pymigrate task clone db worker",),
    "task exit": ("pymigrate task exit backup",),
    "task fork": ("pymigrate task fork db child",),
    "task ftruncate": ("pymigrate task ftruncate --help",),
    "task madvise": ("pymigrate task madvise db heap+0:2MiB dontneed",),
    "task migrate_vma": ("pymigrate task migrate_vma --help",),
    "task mlock": ("pymigrate task mlock db heap+0:8KiB",),
    "task mlockall": ("pymigrate task mlockall db --current",),
    "task mmap": ("pymigrate task mmap db buffer 4MiB",),
    "task mprotect": ("pymigrate task mprotect db heap+0:1MiB r",),
    "task mremap": ("pymigrate task mremap db heap+0:1MiB 2MiB grown --maymove",),
    "task munlock": (
        "pymigrate task mlock db heap+0:8KiB",
        "pymigrate task munlock db heap+0:8KiB",
    ),
    "task munlockall": ("pymigrate task munlockall db",),
    "task munmap": ("pymigrate task munmap db heap+1MiB:1MiB",),
    "task pin": ("pymigrate task pin db heap+0:4KiB",),
    "task prctl": ("pymigrate task prctl db --dumpable",),
    "task punch_hole": ("pymigrate task punch_hole --help",),
    "task sched_setaffinity": ("pymigrate task sched_setaffinity db 4-7",),
    "task setresuid": ("pymigrate task setresuid db --euid 26",),
    "task start": (
        "pymigrate task start worker",
        "pymigrate task mmap worker buffer 4MiB",
        "pymigrate task touch worker buffer",
    ),
    "task swap_cache": ("pymigrate task swap_cache db heap+0:4KiB",),
    "task touch": (
        "pymigrate task touch db stack --read",
        "pymigrate task touch db stack",
    ),
    "task unlink": ("pymigrate task unlink --help",),
    "task unpin": (
        "pymigrate task pin db heap+0:4KiB",
        "pymigrate task unpin db heap+0:4KiB",
    ),
    "tiers": ("pymigrate tiers", "pymigrate --scenario cxl-tiers tiers --sysfs"),
    "tour": ("pymigrate tour", "pymigrate tour 20", "pymigrate tour --list"),
    "trace": (
        "pymigrate trace --steps move_pages db heap+0:4KiB --to 1",
        "pymigrate trace --step 4,16 mbind db heap 8MiB bind:1 --move",
        "pymigrate trace --stack migratepages -q backup 1 0 --as 26",
    ),
    "vmstat": (
        "pymigrate vmstat --migration",
        "pymigrate vmstat --explain pgmigrate_fail",
        "pymigrate migratepages db 0 1",
        "pymigrate vmstat --migration --by command",
    ),
}
# The guide of pymigrate/docs that a command is told of in, where it has another name.
GUIDES = {
    "moving": """
        boot ps numa_maps placement migratepages move_pages mbind cpuset
        set_mempolicy get_mempolicy set_mempolicy_home_node sysctl task
    """,
    "pictures": "show",
    "staying": "explain page",
    "tracing": "trace",
    "counters": "vmstat",
    "scenarios": "scenarios init run schema migrate_driver",
    "numactl": "numactl numastat memhog migspeed shims",
    "tree": "export cat",
    "tiers": "tiers reclaim damon",
    "balancing": "balance",
    "scheduling": "accesses",
    "compaction": "compact buddyinfo pagetypeinfo extfrag alloc free",
    "offlining": "offline online soft_offline hard_offline cma",
    "commands": "help status doctor man completion ksm",
}


def guide_of(command: str) -> str:
    """The guide that tells of *command*: what stands behind `pymigrate`."""
    name = command.partition(" ")[0]
    return next((guide for guide, names in GUIDES.items() if name in names.split()), name)
