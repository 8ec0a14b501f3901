"""Names that say something of their owners, replaced by numbered ones."""

from __future__ import annotations

from pymigrate.capture.memory import DELETED, HUGEPAGE, IN_MEMORY, ZERO
from pymigrate.capture.process import Mapping, Process

_FIRST_UID = 1000


def anonymized(processes: list[Process]) -> list[Process]:
    """*processes* with other comms, users, cpusets and paths; what was alike stays alike.

    Root stays root, and it still shows of a path whether it is in memory or deleted.
    """
    comms: dict[str, str] = {}
    users: dict[int, int] = {0: 0}
    cpusets = {"/": "/"}
    paths = {ZERO: ZERO, HUGEPAGE: HUGEPAGE, "": ""}
    return [
        process._replace(
            comm=comms.setdefault(process.comm, f"task{len(comms) + 1}"),
            uid=users.setdefault(process.uid, _FIRST_UID + len(users) - 1),
            cpuset=cpusets.setdefault(process.cpuset, f"/cpuset{len(cpusets)}"),
            mappings=[_anonymous(mapping, paths) for mapping in process.mappings],
        )
        for process in processes
    ]


def _anonymous(mapping: Mapping, paths: dict[str, str]) -> Mapping:
    path = mapping.path
    if path not in paths:
        prefix = next((start for start in IN_MEMORY if path.startswith(start)), "/")
        suffix = DELETED if path.endswith(DELETED) else ""
        paths[path] = path if path[:1] == "[" else f"{prefix}file{len(paths) - 2}{suffix}"
    return mapping._replace(path=paths[path])
