"""Our numastat and numactl print what the real ones print that see the exported tree."""

from collections.abc import Callable

import pytest

from tests.readers.conftest import program

Run = Callable[..., str]


@pytest.mark.parametrize("width", ["", "32", "49", "100"])
@pytest.mark.parametrize(
    "line",
    [
        *("", "-n", "-c", "-v", "-z", "-s", "-s1", "-s3", "-s7", "-cn", "-cz", "-nsz", "-cnsz"),
        *("-p 4321", "-p mapper", "mapper", "worker mapper", "-c 4321 4400", "-z -p 4400"),
        *("-cv 4321 4400", "-v mapper worker", "-s 4321 4400", "-s1 4400 4321", "-s3 -p 4321"),
        *("-n -p 4321", "-nz 4321 4400", "-p 99999", "4321 99999", "99999 4400", "-c -p 99999"),
        *("nothing", "-z nothing", "4321 4321", "04321", "-p 4321 -p 4400 -c", "er"),
    ],
)
def test_numastat(
    inside: Run, simulated: Run, line: str, width: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = program("numastat", "numactl")
    if width:
        monkeypatch.setenv("NUMASTAT_WIDTH", width)
    assert simulated("numastat", *line.split()) == inside(found, *line.split())


@pytest.mark.parametrize("options", ["-m", "-cm", "-mz", "-msz"])
def test_numastat_of_memory(inside: Run, simulated: Run, options: str) -> None:
    """2.0.16 has a list of rows of its own, in another order, and says so."""
    theirs = inside(program("numastat", "numactl"), options).splitlines()
    theirs = [line for line in theirs if "not in hash table" not in line]
    rows = simulated("numastat", options).splitlines()
    assert theirs[:4] == rows[:4]
    assert len(theirs) > 15
    # Rows that are equal may stand elsewhere, and what only one has is no concern of the other.
    names = {line.split()[0] for line in theirs[4:]}
    assert {line for line in rows[4:] if line.split()[0] in names} == set(theirs[4:])


def test_numactl_hardware(inside: Run, simulated: Run) -> None:
    """2.0.16 has columns of three for the distances, the model's 2.0.19 of four."""
    theirs = inside(program("numactl", "numactl"), "-H")
    if "No NUMA" in theirs:
        pytest.skip("numactl: no NUMA in this kernel, or it is forbidden here")
    head, _, distances = theirs.partition("node distances:\n")
    our_head, _, our_distances = simulated("numactl", "-H").partition("node distances:\n")
    assert our_head == head
    assert our_distances.split() == distances.split()
