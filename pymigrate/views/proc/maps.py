"""/proc/PID/maps: the VMAs of a task, and what they map."""

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.records import NamedTuple
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.proc.numa_maps import kind_of

_NAME_COLUMN = 73
# Devices are not simulated: each kind of file system stands for one, with a fixed number.
_DEVICES = {
    "shm": "00:01",
    "hugetlb": "00:0f",
    "hugetlbfs": "00:10",
    "secretmem": "00:11",
    "tmpfs": "00:1a",
    "nfs": "00:2e",
}
_DISK = "08:01"


class MapsRow(NamedTuple):
    """One VMA, in bytes."""

    start: int
    end: int
    perms: str
    offset: int
    device: str
    inode: int
    name: str


def rows(machine: Machine, task: Task) -> list[MapsRow]:
    """A row for each VMA of *task*."""
    return [row_of(machine, task, vma) for vma in task.mm.vmas]


def row_of(machine: Machine, task: Task, vma: Vma) -> MapsRow:
    """The row of *vma*. Mirrors show_map_vma()."""
    space = machine.spaces[vma.space] if vma.space else None
    letters = ((Vm.READ, "r"), (Vm.WRITE, "w"), (Vm.EXEC, "x"))
    kind = kind_of(task, vma)
    perms = "".join(letter if vma.flags & bit else "-" for bit, letter in letters)
    return MapsRow(
        vma.start << PAGE_SHIFT,
        vma.end << PAGE_SHIFT,
        perms + ("s" if vma.is_shared else "p"),
        vma.pgoff << PAGE_SHIFT if space else 0,
        _DEVICES.get(space.fs, _DISK) if space else "00:00",
        (space.inode or space.space_id) if space else 0,  # a scenario may give none its own
        space.path.replace("\n", "\\012") if space else kind and f"[{kind}]",
    )


def format_rows(rows: list[MapsRow]) -> str:
    """The kernel's text."""
    return "".join(f"{line(row)}\n" for row in rows)


def line(row: MapsRow) -> str:
    """A row's line; without a name it ends with a blank."""
    start, end, perms, offset, device, inode, name = row
    text = f"{start:08x}-{end:08x} {perms} {offset:08x} {device} {inode} "
    return f"{text:{_NAME_COLUMN}}{name}" if name else text
