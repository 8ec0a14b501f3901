"""Where a kernel's records and ours first differ."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.conformance.compare import differing_fields, first_difference
from tests.oracle.answers import Record
from tests.oracle.program import Case

# What moves pages by itself moves the kernel's too: how many is not the program's doing.
_MOVERS = {"compact", "memory_offline", "ksm"}
_COMPACTING = {"compact_memory", "nr_hugepages"}
_MOVED = [
    f"delta.{name}"
    for name in """
    pgmigrate_success pgmigrate_fail thp_migration_success thp_migration_fail thp_migration_split
    thp_split_page thp_split_pmd
    """.split()
]
_COMPACTION = [
    f"delta.compact_{name}"
    for name in "success fail stall migrate_scanned free_scanned isolated".split()
]

# kswapd and those who wait for memory demote at the same time: who has more is a race, and when
# there is enough.
_DEMOTED = ["delta.pgdemote_kswapd", "delta.pgdemote_direct", "delta.pgmigrate_success"]


class Difference(NamedTuple):
    """The first step whose records differ, and how."""

    step: int  # counted from 1
    op: str
    fields: tuple[str, ...]
    text: str

    @property
    def kind(self) -> tuple[str, tuple[str, ...]]:
        """What differences of one cause most often have in common."""
        return self.op, self.fields


def difference(case: Case, kernels: Sequence[Record], ours: Sequence[Record]) -> Difference | None:
    """The first difference in what both sides found stable, or None.

    A step of a task that there is not, since its fork failed, ends the comparison.
    """
    moved = False
    for at, (step, kernel) in enumerate(zip(case["steps"], kernels, strict=False)):
        if kernel.get("missing"):
            return None
        if at >= len(ours):
            return None  # ours end here because they depend on the kernel's own memory
        moved = moved or _moves(step)
        if "crash" in ours[at]:
            text = f"step {at + 1} of {len(kernels)} ({step['op']})\n  {ours[at]['crash']}"
            return Difference(at + 1, step["op"], ("crash",), text)
        if _is_gone(kernel, ours[at]):
            continue
        pair = _compared(kernel, ours[at], moved)
        fields = differing_fields(*pair)
        if fields:
            text = first_difference([pair[0]], [pair[1]]).partition("\n")[2]
            head = f"step {at + 1} of {len(kernels)} ({step['op']})"
            return Difference(at + 1, step["op"], tuple(fields), f"{head}\n{text}")
        moved = moved and step["op"] != "vmstat"
    return None


def _is_gone(kernel: Record, our: Record) -> bool:
    """Whether both find the step's task killed: ours is not there, the agent's has no pages."""
    if our.get("errno") != "ESRCH":
        return False
    if our["op"] == "touch":
        return bool(kernel.get("signal") == "SIGKILL")
    if our["op"] == "exec":  # a program of a user that has no task left: it finds no process
        return "No such process" in kernel.get("stderr", "")
    pages = [run for run in kernel.get("nodes", ()) if run[1] >= 0]
    return our["op"] in ("placement", "numa_maps") and not pages and not kernel.get("lines")


def _moves(step: Mapping[str, Any]) -> bool:
    return step["op"] in _MOVERS or step.get("name") in _COMPACTING


def _compared(kernel: Record, our: Record, moved: bool) -> tuple[Record, Record]:
    """The two records, each with what cannot be compared named in `unstable`."""
    unstable = dict.fromkeys([*kernel.get("unstable", ()), *our.get("unstable", ()), *_COMPACTION])
    if moved:
        unstable |= dict.fromkeys(_MOVED)
    if any(found.get("delta", {}).get("pgdemote_kswapd") for found in (kernel, our)):
        unstable |= dict.fromkeys(_DEMOTED)
    # A line without pages has no page size.
    sizes = [name.replace(".nodes", ".kernelpagesize_kB") for name in unstable]
    unstable |= dict.fromkeys(sizes)
    if our["op"] == "touch":
        if "errno" in unstable:  # there may be no such task
            unstable["signal"] = None
        our = {"signal": None} | our
        kernel = {"signal": None} | kernel
    kept = [key for key in kernel if key in our or key not in unstable]
    return {key: kernel[key] for key in kept} | {"unstable": list(unstable)}, our
