"""What the flags of a kernel say."""

from pymigrate.mm.base.release import RELEASES, Release


def test_6_12_has_no_peculiarity() -> None:
    assert RELEASES["6.12"] == Release()


def test_each_release_knows_its_name() -> None:
    assert {name: release.name for name, release in RELEASES.items()} == {
        name: name for name in ("6.1", "6.12", "7.2")
    }
