"""Files and shared memory objects."""

import pytest

from pymigrate.mm.state.address_space import AddressSpace, PolicyRun
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.nodemask import Nodemask
from pymigrate.uapi import MPOL

ONE = Mempolicy(MPOL.BIND, 0, Nodemask.of(1), Nodemask.of(0, 1))
TWO = ONE._replace(mode=MPOL.INTERLEAVE)


def tmpfs() -> AddressSpace:
    return AddressSpace(1, "data", "tmpfs", 10_000)


def test_length_is_rounded_up_to_pages() -> None:
    assert tmpfs().nr_pages == 3


@pytest.mark.parametrize(
    ("name", "fs", "path", "is_shmem"),
    [
        ("data", "tmpfs", "/data", True),
        ("data", "ext4", "/data", False),
        ("/usr/lib/x.so", "ext4", "/usr/lib/x.so", False),
        ("", "shm", "/dev/zero (deleted)", True),
    ],
)
def test_path_in_proc(name: str, fs: str, path: str, is_shmem: bool) -> None:
    space = AddressSpace(1, name, fs, 4096)
    assert (space.path, space.is_shmem) == (path, is_shmem)


def test_new_ranges_overwrite_old_ones_and_default_erases() -> None:
    space = tmpfs()
    space.set_policy(0, 10, ONE)
    space.set_policy(4, 2, TWO)
    space.set_policy(8, 5, None)
    found = [(run.start, run.nr, run.policy) for run in space.policies.runs]
    assert found == [(0, 4, ONE), (4, 2, TWO), (6, 2, ONE)]
    assert [space.policy_at(index) for index in (3, 4, 8)] == [ONE, TWO, None]


def test_equal_policies_side_by_side_are_one() -> None:
    head, tail = PolicyRun(0, 9, ONE).split(4)
    assert head.join(tail) == PolicyRun(0, 9, ONE)
    assert head.join(tail._replace(policy=TWO)) is None
