"""What commands answer to wrong usage, and to a call that the simulated kernel refuses."""

import pytest

from tests.cli.conftest import Shell, refused

ENOENT, ESRCH, EPERM = "No such file or directory", "No such process", "Operation not permitted"
EACCES, EINVAL, ENOMEM = "Permission denied", "Invalid argument", "Cannot allocate memory"
ENODEV, EFAULT, EEXIST = "No such device", "Bad address", "File exists"
EBUSY, ERANGE = "Device or resource busy", "Numerical result out of range"
NO_PLACE = "'hep' is neither an address nor a region of process 100; expected 0x... or one of:"
PTRACE = "uid 27 may not inspect process 100 of uid 26 (ptrace access; CAP_SYS_PTRACE"
KNOWN = (
    "; expected one of numa_balancing, demotion_enabled, thp, nr_hugepages,"
    " nr_overcommit_hugepages, enable_soft_offline, ksm/run, ksm/merge_across_nodes,"
    " ksm/max_page_sharing, stat_interval, zone_reclaim_mode, drop_caches,"
    " numa_balancing/scan_delay_ms, numa_balancing/scan_period_min_ms,"
    " numa_balancing/scan_period_max_ms, numa_balancing/scan_size_mb,"
    " numa_balancing/hot_threshold_ms, numa_balancing_promote_rate_limit_MBps,"
    " thp_defrag, max_ptes_none, compact_unevictable_allowed, extfrag_threshold,"
    " compaction_proactiveness, compact_memory, weighted_interleave/nodeN"
)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("accesses --log", "--log needs a PID"),
        ("accesses a --top 3", "--top needs --log"),
        ("alloc x --order 11", "11 is not in the range 0<=x<=10"),
        ("balance", "Missing option '--seconds'."),
        ("balance --seconds=0", "Invalid value for '--seconds': is 0, expected more than 0"),
        ("balance --seconds=-1", "Invalid value for '--seconds': is -1, expected more than 0"),
        ("balance --seconds=nan", "Invalid value for '--seconds': 'nan' is not a time;"),
        (
            "balance --seconds=86401",
            "is 86401, expected more than 0, at most 86400",
        ),
        ("balance --seconds=x", "Invalid value for '--seconds': 'x' is not a time;"),
        ("page a", "Missing argument 'ADDR|REGION[+OFFSET]|NUMBER'."),
        ("page a nix", "neither an address nor a region of process"),
        ("cat", "Missing argument 'PATH...'"),
        ("compact 0 --order 11", "Invalid value for '--order': 11 is not in the range 1<=x<=10."),
        ("cpuset create x --mems 0", "Missing option '--cpus'."),
        ("cpuset create x --cpus a --mems 0", "'a' is not a list of CPUs; expected one such as"),
        ("cpuset create x --cpus 0 --mems 1024", "node 1024 is out of range; the highest is 1023"),
        ("cpuset create / --cpus 0 --mems 0", "'/' is not a name; expected letters,"),
        ("cpuset attach x", "Missing argument 'PID'."),
        ("cpuset delete x", "No such command 'delete'."),
        ("cpuset create x/ --cpus 0 --mems 0", "'x/' is not a name; expected letters,"),
        ("damon migrate_cold --to 1", "Expected either --node, or --task."),
        ("damon migrate_cold --to 1 --node 0 --task a", "Expected either --node, or --task"),
        ("damon migrate_cold --to 1 --node 0 --at heap", "--at needs --task."),
        ("damon migrate_warm --to 1 --node 0", "'migrate_warm' is not one of"),
        ("damon migrate_cold --to 1 --task a --at 0x1000", "has no length"),
        ("explain", "expected PID or --last"),
        ("explain a --last", "expected PID or --last"),
        ("explain --last --to 1", "expected PID or --last"),
        ("export t --watch --ephemeral", "--watch follows a state, and with --ephemeral there is"),
        ("get_mempolicy", "Missing argument 'PID'."),
        ("get_mempolicy a hep", NO_PLACE),
        ("ksm now", "Got unexpected extra argument (now)"),
        (
            "man machine.yaml",
            "Invalid value for DIR: 'machine.yaml' cannot be written: File exists",
        ),
        ("mbind a heap 32KiB bnd:0", "'bnd' is not a mode; expected one of default, prefer, bind,"),
        ("mbind a heap 32KiB bind=foo:0", "'foo' is not a mode flag; expected one of static,"),
        ("mbind a heap 32KiB bind:x", "'x' is not a list of nodes; expected one such as 0-3,5"),
        ("mbind a heap 32KiB bind:1-0", "'1-0' in '1-0' runs backwards"),
        ("mbind a heap 32KiB bind:1024", "node 1024 is out of range; the highest is 1023"),
        ("mbind a heap 32XiB bind:0", "'32XiB' is not a size; expected one such as 4096, 4KiB,"),
        ("mbind a hep 32KiB bind:0", NO_PLACE),
        ("mbind a heap", "Missing argument 'MODE[=FLAGS][:NODES]'."),
        ("mbind a heap 4KiB bind:0 x", "Got unexpected extra argument (x)"),
        ("mbind a 0x10000000 bind:0", "'0x10000000' has no length; expected LENGTH after it"),
        ("migratepages", "Missing argument 'PID'."),
        ("migratepages 100", "Missing argument 'FROM_NODES'."),
        ("migratepages 100 0", "Missing argument 'TO_NODES'."),
        ("migratepages 100 0 1 2", "Got unexpected extra argument (2)"),
        ("migratepages 100 0 1 --bogus", "No such option '--bogus'."),
        ("migratepages -1 0 1", "No such option '-1'."),
        ("migratepages a 1 0 --meanwhile b heap maybe", "'maybe' is neither read nor write"),
        ("move_pages a", "no page is named; expected addresses, regions or --from-file"),
        ("move_pages a heap", "no node is named; expected --to NODE, or --query"),
        ("move_pages a hep --query", f"{NO_PLACE} buf, heap, lib"),
        ("move_pages b heap --query", "is neither an address nor a region of process 200"),
        ("move_pages a heap --to x", "Invalid value for '--to': 'x' is not a valid integer."),
        ("move_pages a heap+x --query", "Invalid value: 'heap+x': 'x' is not a size"),
        ("move_pages a heap+0:-1 --query", "Invalid value: 'heap+0:-1': '-1' is not a size"),
        ("move_pages a heap --as -1 --query", "Invalid value for '--as': -1 is not in the range"),
        ("offline 1 --blocks x", "'x' is not a list of numbers; expected one such as 0-3,5"),
        (
            "migratepages a 0 1 --to 1",
            "TO_NODES is an argument, not an option.",
        ),
        ("offline --block 1", "No such option '--block'. Did you mean --blocks?"),
        ("offline -1", "No such option '-1'."),
        ("reclaim lots", "'lots' is not a size"),
        ("reclaim 4KiB --task a --cpuset /", "--task and --cpuset exclude each other."),
        ("run", "Missing argument 'SCENARIO'."),
        ("run machine.yaml --kernel 5.4", "'5.4' is not one of '6.12', '6.1', '7.2'."),
        ("run machine.yaml more", "Got unexpected extra argument (more)"),
        ("set_mempolicy a", "Missing argument 'MODE[=FLAGS][:NODES]'."),
        ("set_mempolicy a intrleave:0", "did you mean 'interleave'?"),
        ("set_mempolicy_home_node a heap 32KiB x", "'x' is not a valid integer."),
        ("shims machine.yaml", "machine.yaml cannot be written: File exists"),
        ("shims bin --ephemeral", "shims need a machine that is kept; expected no --ephemeral"),
        ("show --zone x", "'x' names no node; expected NODE or NODE:ZONE, NODE one of 0, 1"),
        ("show --zone 2", "'2' names no node; expected NODE or NODE:ZONE, NODE one of 0, 1"),
        ("show --zone 0:Normal", "node 0 has no zone 'Normal'; expected one of DMA, DMA32"),
        ("hard_offline", "expected PID and a place, or --address"),
        ("soft_offline", "expected PID and a place, or --address"),
        ("soft_offline a", "expected PID and a place, or --address"),
        ("soft_offline a heap --address 0x1000", "expected PID and a place, or --address"),
        ("soft_offline --address", "Option '--address' requires an argument."),
        ("soft_offline --address x", "'x' is not an address; expected one such as 0x10000000"),
        ("soft_offline a hep", NO_PLACE),
        ("task busy a", "Missing argument 'ADDR|REGION[+OFFSET[:LENGTH]]'."),
        ("task busy a heap 8KiB ironed", "'ironed' is not one of 'locked', 'reading',"),
        ("task fork a b", "a task is called b already"),
        ("task mmap a heap 4KiB", "heap is mapped already"),
        ("task madvise a heap willneed", "'willneed' is not one of 'normal', 'random',"),
        ("task mmap a new 4XiB", "'4XiB' is not a size; expected one such as 4096, 4KiB"),
        ("task mmap a new 4KiB --file /none", "there is no file '/none'"),
        ("task mpa a heap", "No such command 'mpa'."),
        ("task munmap a 0x10000000", "'0x10000000' has no length; expected LENGTH after it"),
        ("task munmap a hep", NO_PLACE),
        ("task pin a heap 4KiB 5KiB", "Got unexpected extra argument (5KiB)"),
        ("task sched_setaffinity a x", "'x' is not a list of CPUs; expected one such as 0-3,5"),
        ("task touch a heap --stride 0", "is 0, expected at least a byte"),
    ],
)
def test_usage(shell: Shell, line: str, message: str) -> None:
    with shell.unchanged():
        stderr = shell.err(line)
    assert stderr.startswith("pymigrate: ")
    assert message in stderr


def test_the_whole_answer_to_wrong_usage(shell: Shell) -> None:
    assert shell.err("numa_maps") == (
        "pymigrate: Missing argument 'PID'.\nTry 'pymigrate numa_maps --help' for help.\n"
    )


@pytest.mark.parametrize(
    ("line", "error", "why"),
    [
        ("cma release x", ENOENT, "nothing is called x"),
        ("compact 0 --as 5", EACCES, "only root may compact memory"),
        ("compact 7", ENOENT, "there is no node 7; expected one of 0, 1"),
        ("cpuset create left --cpus 0 --mems 0", EEXIST, "cpuset left exists"),
        ("cpuset create x --cpus 0 --mems 0 --as 5", EACCES, "the files of a cpuset"),
        ("cpuset create x --cpus 99 --mems 0", ERANGE, "CPU 99 is out of range; 3 is the last"),
        ("cpuset set left --mems 0-N", EINVAL, "there can be no nodes 2-1023"),
        ("cpuset set left --mems all:1/512", EINVAL, "there can be no nodes 512"),
        ("cpuset set / --mems 0", EACCES, "the cpuset that all tasks begin in cannot be"),
        ("cpuset set x --mems 0", ENOENT, "there is no cpuset x"),
        ("cpuset create x/y --cpus 0 --mems 0", ENOENT, "there is no cpuset x"),
        ("cpuset remove x", ENOENT, "there is no cpuset x"),
        ("cpuset remove /", EBUSY, "cpuset / has others in it"),
        ("cpuset remove left --as 5", EACCES, "the files of a cpuset"),
        ("cpuset attach x a", ENOENT, "there is no cpuset x"),
        ("cpuset attach left 7", ESRCH, "there is no process 7"),
        ("cpuset attach left a --as 27", EACCES, "uid 27 may not move a process of uid 26"),
        ("damon migrate_cold --to 1 --task c", ESRCH, "there is no process called c"),
        ("damon migrate_cold --to 7 --node 0", EINVAL, "there is no node 7 with memory"),
        ("damon migrate_cold --to 1 --node 7", EINVAL, "there is no node 7 with memory"),
        ("damon migrate_cold --to 1 --node 0 --as 5", EACCES, "only root may write DAMON's files"),
        ("free blocks", ENOENT, "no blocks are called blocks"),
        ("get_mempolicy a 0x5000", EFAULT, "nothing is mapped at 0x5000"),
        ("get_mempolicy a --node", EINVAL, "the task's policy does not interleave"),
        ("get_mempolicy a --node --mems-allowed", EINVAL, "mems_allowed goes alone"),
        ("mbind a heap 32KiB bind:0 --strict", "Input/output error", "a page does not lie on the"),
        ("mbind a heap 32KiB bind:9", EINVAL, "none of the nodes 9 is allowed and has memory"),
        ("mbind a heap+1 4096 bind:0", EINVAL, "address 0x10000001 is not page aligned"),
        ("mbind a heap 1MiB bind:0", EFAULT, "the range has a hole"),
        ("mbind a buf 16KiB bind:1 --move-all --as 26", EPERM, "move_all needs CAP_SYS_NICE"),
        ("mbind 7 0x0 4096 bind:0", ESRCH, "there is no process 7"),
        ("migrate_driver none --to 1", ENODEV, "there is no driver called none"),
        ("move_pages 7 0x0 --query", ESRCH, "there is no process 7"),
        ("move_pages a heap --move-all --to 1 --as 26", EPERM, "move_all needs CAP_SYS_NICE"),
        ("move_pages a heap --query --as 27", EPERM, PTRACE),
        ("reclaim 4KiB --node 7", ENOENT, "there is no node 7"),
        ("reclaim 4KiB --task c", ESRCH, "there is no process called c"),
        ("reclaim 4KiB --cpuset c", ENOENT, "there is no cpuset c"),
        ("reclaim 4KiB --as 5", EACCES, "only root may write to memory.reclaim"),
        ("set_mempolicy a bind", EINVAL, "bind needs a node"),
        ("set_mempolicy a bind:9", EINVAL, "none of the nodes 9 is allowed and has memory"),
        ("set_mempolicy 7 default", ESRCH, "there is no process 7"),
        ("set_mempolicy_home_node a heap 32KiB 1", ENOENT, "no part of the range has a policy"),
        ("set_mempolicy_home_node a heap 32KiB 9", EINVAL, "node 9 is not online"),
        ("hard_offline a heap --as 1000", EPERM, "only who has CAP_SYS_ADMIN may take pages"),
        ("soft_offline a heap --as 1000", EPERM, "only who has CAP_SYS_ADMIN may take pages"),
        ("sysctl nothing", ENOENT, f"there is no setting nothing{KNOWN}"),
        ("sysctl nothing=1", ENOENT, f"there is no setting nothing{KNOWN}"),
        ("sysctl weighted_interleave/node7", ENOENT, "there is no setting weighted_interleave"),
        ("sysctl drop_caches", EACCES, "drop_caches can only be written"),
        ("sysctl drop_caches=5", EINVAL, "'5' is not a number from 1 to 4"),
        ("sysctl drop_caches=", EINVAL, "'' is not a number from 1 to 4"),
        ("sysctl drop_caches=1 --as 26", EACCES, "only root may change settings"),
        ("sysctl thp=sometimes", EINVAL, "'sometimes' is not a value of thp"),
        ("sysctl thp_defrag=sometimes", EINVAL, "'sometimes' is not a value of thp_defrag"),
        ("sysctl compaction_proactiveness=101", EINVAL, "'101' is not a number from 0 to 100"),
        ("sysctl extfrag_threshold=-1", EINVAL, "'-1' is not a number from 0 to 1000"),
        ("sysctl weighted_interleave/node0=256", EINVAL, "'256' is not a number from 0 to 255"),
        ("task exit child", ESRCH, "there is no process called child"),
        ("task fork 7 child", ESRCH, "there is no process 7"),
        ("task madvise a heap+0:1MiB dontneed", ENOMEM, "part of the range is not mapped"),
        ("task madvise a heap+1:4096 cold", EINVAL, "address 0x10000001 is not page aligned"),
        ("task migrate_vma a heap moon", ENODEV, "there is no device called moon"),
        ("task mlock a heap+0:1MiB", ENOMEM, "nothing is mapped at 0x10008000"),
        ("task mmap a new 0", EINVAL, "the length is 0"),
        ("task mprotect a heap+0:1MiB r", ENOMEM, "nothing is mapped at 0x10008000"),
        ("task mprotect a heap q", EINVAL, "'q' is not a protection"),
        ("task munmap a heap+1:4096", EINVAL, "address or length is not that of a range of pages"),
        ("task pin a 0x5000+0:4096", EFAULT, "page 0x5 cannot be had"),
        ("task sched_setaffinity a 99", EINVAL, "none of the CPUs 99 exists and is allowed"),
        ("task sched_setaffinity a 1 --as 27", EPERM, "only its owner and root may bind a process"),
        ("task touch 7 heap", ESRCH, "there is no process 7"),
        ("task unpin a heap", EINVAL, "no pin of this range is held"),
    ],
)
def test_refused_call(shell: Shell, line: str, error: str, why: str) -> None:
    shell.out("cpuset create left --cpus 0-1 --mems 0")
    name = line.removeprefix("task ").split()[0]
    assert shell.err(line, 1).startswith(refused(name, error, why).rstrip())


@pytest.mark.parametrize("line", ["migratepages 100 0 1 --as 27", "mbind a heap 32KiB bind:9"])
def test_quiet_leaves_the_reason_out(shell: Shell, line: str) -> None:
    said = shell.err(line, 1)
    assert said.count("\n") == 1
    assert shell.err(f"{line} -q", 1) == ": ".join(said.split(": ")[:2]) + "\n"


def test_a_name_that_several_processes_have_is_ambiguous(shell: Shell) -> None:
    shell.out("task fork a child")
    why = "alpha is ambiguous: 2 processes are called so: 100 a, 1000 child"
    for line in ("numa_maps alpha", "explain alpha", "task exit alpha", "migratepages alpha 0 1"):
        assert shell.err(line, 1).endswith(f": No such process: {why}\n")
    assert shell.out("migratepages beta 0 1") == ""  # one process has it
    assert shell.out("migratepages a 0 1") == ""  # a task's name goes first
