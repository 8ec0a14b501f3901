"""execve: the process that a child becomes when it executes a program. Mirrors fs/exec.c."""

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.numa import NumaMm, NumaTask
from pymigrate.mm.state.task import CAP_FULL, TASK_COMM_LEN, Cred, Task
from pymigrate.records import replaced


def spawn(machine: Machine, caller: Task) -> Task:
    """A child of *caller* that has executed a program: it has no memory, and no pid yet.

    Policy, cpuset and CPUs are *caller*'s; the shell's child may use all CPUs. add_task() lets it
    be one that others see.
    """
    cpus = caller.cpus if caller.pid else machine.cpus
    child = replaced(
        caller,
        pid=0,
        cpus=cpus,
        user_cpus=cpus,
        parent=machine.process_of(caller).name if caller.pid else "",
        mm=Mm(0, 0, numa=NumaMm(machine.now)),
        numa=NumaTask(machine.numa_knobs.scan_delay_ms),
        numa_faults={},
        accesses=[],
        thread_of=0,
    )
    child.cred = _executed(caller)
    child.is_dumpable = child.fsuid == child.uid
    return child


def add_task(machine: Machine, task: Task, name: str, comm: str, pid: int = 0) -> None:
    """Let what spawn() made be the task *name*, with the number *pid* or the next one."""
    task.mm.mm_id, task.mm.family = machine.new_id(), machine.new_id()
    task.pid, task.name = pid or machine.take_pid(), name
    task.comm = comm.encode(errors="replace")[: TASK_COMM_LEN - 1].decode(errors="ignore")
    machine.add_mm(task.mm)
    machine.tasks[task.pid] = task


def _executed(task: Task) -> Cred:
    """As whom a program without file capabilities runs. Mirrors cap_bprm_creds_from_file()."""
    uid, euid, _ = task.uids
    permitted = CAP_FULL if uid == 0 != euid else None
    return Cred(uid, euid, euid, task.gid, None, permitted)
