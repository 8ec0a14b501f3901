"""A damaged state is refused, or answers as before; doctor finds what any command would refuse."""

from pathlib import Path
from random import Random

import pytest

from tests.attack.conftest import Run
from tests.attack.damage import damage

# The task is called so in each of the machines.
HISTORIES = (
    [
        "boot two-node",
        "migratepages db 0 1 -q",
        "task pin db heap",
        "cpuset create c --cpus 0 --mems 0",
    ],
    ["boot fork-server", "task fork parent kid", "task mmap kid buf 64KiB", "task touch kid buf"],
    ["boot fragmented-zone", "compact 0", "task mmap app buf 1MiB", "balance --seconds 1"],
)
TASKS = ("db", "parent", "app")
COMMANDS = (
    "ps",
    "numa_maps {task}",
    "vmstat",
    "show",
    "cat proc/zoneinfo sys/devices/system/node/node0/numastat",
    "status",
    "explain {task} --to 0 --json",
    "doctor",
    "migratepages {task} 0 0 -v --json",
    "task mmap {task} more 32KiB",
    "numa_maps {task}",
    "compact 0",
)
CHANGES = ("migratepages {task} 0 0 -v --json", "task mmap {task} more 32KiB", "compact 0")
SAYS = (
    "is damaged; `pymigrate boot` starts afresh",
    "is not a state file of pymigrate; name another file, or remove it",
    "was made by an older pymigrate; `pymigrate boot` starts afresh",
    "was made by a newer pymigrate; upgrade to it, or let `pymigrate boot` start afresh",
)


def check(run: Run, path: Path, seeds: range) -> None:
    kept, answers = [], []
    for history, task in zip(HISTORIES, TASKS, strict=True):
        path.unlink(missing_ok=True)
        for line in history:
            assert run(line).exit in (0, 1)
        kept.append(path.read_bytes())
        answers.append([run(line.format(task=task)) for line in COMMANDS])
    for seed in seeds:
        random = Random(seed)
        which = random.randrange(len(kept))
        path.write_bytes(kept[which])
        where = f"seed {seed}: {damage(path, random)}"
        if path.stat().st_size == 0:
            continue  # it is as new
        is_sound, is_refused = False, False  # a change: then what is read stays as it was
        for line, answered in zip(COMMANDS, answers[which], strict=True):
            expected = answers[which][COMMANDS.index(line)] if is_refused else answered
            answer = run(line.format(task=TASKS[which]))
            if line == "doctor":
                is_sound = answer.exit == 0
                assert answer == expected or "broken: " in answer.stdout, f"{where}: {line}"
            elif answer != expected:
                assert not is_sound, f"{where}: {line}: doctor has found nothing"
                assert answer.exit == 3, f"{where}: {line}: {answer} for {expected}"
                assert any(text in answer.stderr for text in SAYS), f"{where}: {line}: {answer}"
                assert answer.stderr.count("\n") == 1, f"{where}: {line}: {answer}"
                is_refused = is_refused or line in CHANGES


def test_a_few_damaged_states(run: Run, tmp_path: Path) -> None:
    check(run, tmp_path / "state.db", range(20))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 600, 100))
def test_many_damaged_states(run: Run, tmp_path: Path, first: int) -> None:
    check(run, tmp_path / "state.db", range(first, first + 100))
