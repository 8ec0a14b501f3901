"""/proc/PID/status, stat and statm: sizes of a task's memory, and where it may run.

What is not simulated stands still: each task sleeps, leads a group and a session of its own, has
spent no time and got no signal. The highest sizes that it ever had are those that it has.
"""

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import CAP_FULL, Task
from pymigrate.mm.state.vma import Vm
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.proc.masks import cpumap, nodemap
from pymigrate.views.proc.smaps import SmapsRow, total

_KB_SHIFT = PAGE_SHIFT - 10
_NO_LIMIT = (1 << 64) - 1
_PF_RANDOMIZE = 0x400000
_SIGCHLD = 17
_DATA = Vm.WRITE | Vm.SHARED | Vm.GROWSDOWN  # the flags that tell a mapping of data
_CODE = Vm.EXEC | Vm.WRITE | Vm.GROWSDOWN  # likewise, of what is executed and not written


def sizes(machine: Machine, task: Task, rows: list[SmapsRow]) -> dict[str, int]:
    """The sizes of the memory of *task*, whose smaps has *rows*: base pages by status's names.

    There is no program: all that is executed counts as a library's.
    Mirrors vm_stat_account() and task_mem().
    """
    counts, vmas = total(rows), task.mm.vmas
    size = sum(vma.nr for vma in vmas)
    hugetlb = counts["Shared_Hugetlb"] + counts["Private_Hugetlb"]
    kinds = {name: counts[name] >> PAGE_SHIFT for name in ("Anonymous", "RssFile", "RssShmem")}
    kinds["Anonymous"] -= counts["BadAnon"] >> PAGE_SHIFT
    rss = sum(kinds.values())  # huge pages of the pools do not count
    return {
        "VmPeak": size,
        "VmSize": size,
        "VmLck": sum(v.nr for v in vmas if v.flags & Vm.LOCKED and not v.flags & Vm.HUGETLB),
        "VmPin": sum(p.nr_held for p in machine.pins if p.is_long and p.pid == task.tgid),
        "VmHWM": rss,
        "VmRSS": rss,
        "RssAnon": kinds["Anonymous"],
        "RssFile": kinds["RssFile"],
        "RssShmem": kinds["RssShmem"],
        "VmData": sum(vma.nr for vma in vmas if vma.flags & _DATA == Vm.WRITE),
        "VmStk": sum(vma.nr for vma in vmas if vma.flags & Vm.GROWSDOWN),
        "VmExe": 0,
        "VmLib": sum(vma.nr for vma in vmas if vma.flags & _CODE == Vm.EXEC),
        "VmPTE": 0,
        "VmSwap": 0,
        "HugetlbPages": hugetlb - counts["BadHugetlb"] >> PAGE_SHIFT,
    }


def status(machine: Machine, task: Task, rows: list[SmapsRow]) -> list[tuple[str, str]]:
    """The lines of /proc/PID/status as (name, value). Mirrors proc_pid_status()."""
    ids, pid, tgid = "\t".join(map(str, (*task.uids, task.fsuid))), str(task.pid), str(task.tgid)
    lines = [
        ("Name", task.comm.replace("\\", "\\\\").replace("\n", "\\n")),
        ("Umask", "0022"),
        ("State", "S (sleeping)"),
        ("Tgid", tgid),
        ("Ngid", "0"),
        ("Pid", pid),
        ("PPid", str(parent_pid(machine, task))),
        ("TracerPid", "0"),
        ("Uid", ids),
        ("Gid", "\t".join("0000")),
        ("FDSize", "64"),
        ("Groups", " "),
        *[("NStgid", tgid), ("NSpid", pid), ("NSpgid", tgid), ("NSsid", tgid)],
        ("Kthread", "0"),
    ]
    used = sizes(machine, task, rows)
    lines += [(name, f"{nr << _KB_SHIFT:8} kB") for name, nr in used.items()]
    lines += [("CoreDumping", "0"), ("THP_enabled", "1"), ("untag_mask", f"{_NO_LIMIT:#x}")]
    lines += [("Threads", str(len(machine.threads_of(task)))), ("SigQ", "0/0")]
    lines += [(name, f"{0:016x}") for name in "SigPnd ShdPnd SigBlk SigIgn SigCgt CapInh".split()]
    caps = {"CapPrm": task.permitted_caps, "CapEff": task.capabilities}
    lines += [(name, f"{bits:016x}") for name, bits in caps.items()]
    lines += [("CapBnd", f"{CAP_FULL:016x}"), ("CapAmb", f"{0:016x}")]
    lines += [(name, "0") for name in ("NoNewPrivs", "Seccomp", "Seccomp_filters")]
    lines += [
        ("Speculation_Store_Bypass", "not vulnerable"),
        ("SpeculationIndirectBranch", "not affected"),
        ("Cpus_allowed", cpumap(machine, task.cpus)),
        ("Cpus_allowed_list", str(task.cpus)),
        ("Mems_allowed", nodemap(task.mems_allowed)),
        ("Mems_allowed_list", str(task.mems_allowed)),
        ("voluntary_ctxt_switches", "0"),
        ("nonvoluntary_ctxt_switches", "0"),
        ("x86_Thread_features", ""),
        ("x86_Thread_features_locked", ""),
    ]
    return lines


def format_status(lines: list[tuple[str, str]]) -> str:
    """The kernel's text of status."""
    return "".join(f"{name}:\t{value}\n" for name, value in lines)


def stat(machine: Machine, task: Task, rows: list[SmapsRow]) -> str:
    """The line of /proc/PID/stat. Mirrors do_task_stat()."""
    used = sizes(machine, task, rows)
    fields: list[object] = [task.pid, f"({task.comm})", "S", parent_pid(machine, task)]
    fields += [task.tgid, task.tgid, 0, -1, _PF_RANDOMIZE]
    fields += [0] * 8  # faults and times
    fields += [20, 0, len(machine.threads_of(task)), 0, 0]  # priority, nice, threads, two times
    fields += [used["VmSize"] << PAGE_SHIFT, used["VmRSS"], _NO_LIMIT, 0, 0]
    fields += [task.mm.start_stack << PAGE_SHIFT, 0, 0]
    fields += [0] * 7  # signals, wchan, and pages swapped
    fields += [_SIGCHLD, task.cpu]
    fields += [0] * 7  # scheduling, times, and data segment
    fields += [task.mm.brk[0] << PAGE_SHIFT]
    fields += [0] * 5  # arguments and environment, exit code
    return " ".join(map(str, fields)) + "\n"


def statm(machine: Machine, task: Task, rows: list[SmapsRow]) -> str:
    """The line of /proc/PID/statm, in pages: size, resident, shared, text, 0, data, 0."""
    used = sizes(machine, task, rows)
    shared, data = used["RssFile"] + used["RssShmem"], used["VmData"] + used["VmStk"]
    return f"{used['VmSize']} {used['VmRSS']} {shared} 0 0 {data} 0\n"


def parent_pid(machine: Machine, task: Task) -> int:
    """The pid of the task's parent, 0 if it is none that is simulated."""
    return next((t.pid for t in machine.tasks.values() if t.name == task.parent), 0)
