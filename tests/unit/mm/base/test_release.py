"""What the flags of a kernel say."""

from pymigrate.mm.base.release import RELEASES, Release


def test_6_12_has_no_peculiarity() -> None:
    assert RELEASES["6.12"] == Release()


def test_7_2_merges_where_6_12_does_not() -> None:
    new = {
        name for name, flag in RELEASES["7.2"]._asdict().items() if flag != getattr(Release(), name)
    }
    assert new == {
        "name",
        "merges_unfaulted_neighbour",
        "huge_zero_becomes_thp",
        "mprotect_keeps_huge_dirty",
        "counts_proactive",
    }


def test_each_release_knows_its_name() -> None:
    assert {name: release.name for name, release in RELEASES.items()} == {
        name: name for name in ("6.1", "6.12", "7.2")
    }
