"""Real processes that tasks of a state file stand for: commands that `numactl` has become.

FILE.real beside the state file holds an empty file for each, TASK-PID-START by its name. Whoever
opens the state file next ends the tasks of those that have ended. No process has to wait for that.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress

SUFFIX = ".real"
_ENDED = frozenset("ZXx")  # states of a process of which nothing is left but its number


def note(path: str, task: int) -> None:
    """Let this process be what *task* of the state file *path* stands for. Raises OSError."""
    os.makedirs(path + SUFFIX, exist_ok=True)
    pid = os.getpid()
    with open(os.path.join(path + SUFFIX, f"{task}-{pid}-{_started(pid)}"), "w", encoding="ascii"):
        pass


def gone(path: str) -> list[int]:
    """The tasks whose processes have ended."""
    return [task for _, task, pid, start in _noted(path) if not _runs(pid, start)]


def forget(path: str, tasks: Collection[int] | None = None) -> None:
    """Forget what was noted of *tasks*, or of all."""
    for name, task, _, _ in _noted(path):
        if tasks is None or task in tasks:
            with suppress(OSError):
                os.unlink(os.path.join(path + SUFFIX, name))
    with suppress(OSError):  # others are noted there
        os.rmdir(path + SUFFIX)


def _noted(path: str) -> Iterator[tuple[str, int, int, int]]:
    try:
        names = os.listdir(path + SUFFIX)
    except OSError:
        return
    for name in names:
        words = name.split("-")
        if len(words) == 3 and all(word.isdecimal() for word in words):
            task, pid, start = map(int, words)
            yield name, task, pid, start


def _runs(pid: int, start: int) -> bool:
    """Whether the process that has begun at *start* is still there."""
    if not os.path.exists("/proc/self/stat"):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True
    return _started(pid) == start > 0


def _started(pid: int) -> int:
    """When a process has begun, in ticks since the host has; 0 if it has ended, or none can say."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            words = file.read().rpartition(") ")[2].split()
    except OSError:
        return 0
    return 0 if words[0] in _ENDED else int(words[19])
