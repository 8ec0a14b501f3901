"""What it means that our records equal the kernel's.

Every field of a recorded record must be equal in ours; fields that the recording lacks, or names
in `unstable`, do not count. Zeros and absent values are the same; so are runs however they are cut.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]  # Any: JSON, of a shape that follows from the step's op

COUNTERS = set(
    """
    pgmigrate_success pgmigrate_fail thp_migration_success thp_migration_fail thp_migration_split
    numa_pages_migrated numa_hint_faults numa_hint_faults_local numa_pte_updates
    thp_fault_alloc thp_split_page thp_split_pmd
    pgdemote_kswapd pgdemote_direct pgdemote_proactive pgpromote_success
    compact_success compact_fail compact_stall
    compact_migrate_scanned compact_free_scanned compact_isolated
    """.split()
)
_SHOWN = 400  # characters of a value in a message


def first_difference(kernels: Sequence[Record], ours: Sequence[Record]) -> str:
    """Where *ours* first differs: step, op, each unequal field with both values; or ''."""
    for step, (kernel, our) in enumerate(zip(kernels, ours, strict=False), 1):
        fields = differing_fields(kernel, our)
        if fields:
            where = f"step {step} of {len(kernels)} ({kernel['op']})"
            return "\n".join([where, *(_show(field, kernel, our) for field in fields)])
    if len(ours) < len(kernels):
        return f"step {len(ours) + 1} of {len(kernels)} ({kernels[len(ours)]['op']}): no record"
    if len(ours) > len(kernels):
        return f"{len(ours)} records, the kernel gave {len(kernels)}"
    return ""


def differing_fields(kernel: Record, our: Record) -> list[str]:
    """The fields of one recorded record that *our* record does not have equal."""
    unstable = frozenset(kernel.get("unstable", ()))
    return [
        field
        for field, value in kernel.items()
        if field not in unstable | {"unstable"}
        and (field not in our or not _is_equal(field, value, our[field], unstable))
        and not (field == "signal" and value is our.get(field) is None)
    ]


def _is_equal(field: str, kernels: Any, ours: Any, unstable: frozenset[str]) -> bool:
    try:
        got = _normal(field, ours, unstable)
    except (TypeError, ValueError, AttributeError, KeyError):  # not even of the right shape
        return False
    return bool(got == _normal(field, kernels, unstable))


def _normal(field: str, value: Any, unstable: frozenset[str]) -> object:
    if field == "delta":
        return {
            name: nr
            for name, nr in value.items()
            if nr and name in COUNTERS and f"delta.{name}" not in unstable
        }
    if field == "lines":
        return [_normal_line(line, f"lines.{at}.", unstable) for at, line in enumerate(value)]
    if field == "status" or (field == "nodes" and isinstance(value, list)):
        return _joined_runs(value)
    if field == "mode_flags":
        return sorted(value)
    return value


def _normal_line(line: Record, where: str, unstable: frozenset[str]) -> dict[str, Any]:
    """A line of numa_maps with what it shows; `start` counts always, `active` never."""
    return {
        key: value
        for key, value in line.items()
        if key == "start" or (value and key != "active" and where + key not in unstable)
    }


def _joined_runs(runs: Iterable[Sequence[Any]]) -> list[tuple[int, Any]]:
    joined: list[tuple[int, Any]] = []
    for nr, value in runs:
        if joined and joined[-1][1] == value:
            joined[-1] = (joined[-1][0] + nr, value)
        elif nr:
            joined.append((nr, value))
    return joined


def _show(field: str, kernel: Record, our: Record) -> str:
    ours = json.dumps(our[field])[:_SHOWN] if field in our else "(no such field)"
    return f"  {field}\n    kernel {json.dumps(kernel[field])[:_SHOWN]}\n    ours   {ours}"
