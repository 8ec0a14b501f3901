"""How declared accesses spread over the pages of a region."""

from pymigrate.mm.state.task import Accessed, AccessPattern, accessed


def test_accesses_are_even_without_a_hot_set() -> None:
    assert accessed(AccessPattern("heap", 500.0), 10, 100) == [Accessed(10, 110, 500.0)]


def test_hot_pages_get_their_share_and_the_others_what_is_left() -> None:
    pattern = AccessPattern("heap", 1000.0, hot=0.1, hot_rate=0.75)
    assert accessed(pattern, 0, 100) == [Accessed(0, 10, 750.0), Accessed(10, 100, 250.0)]


def test_hot_pages_may_begin_anywhere() -> None:
    pattern = AccessPattern("heap", 900.0, hot=0.1, hot_rate=0.0, hot_at=80 * 4096)
    assert [(part.start, part.end) for part in accessed(pattern, 0, 100)] == [
        (0, 80),
        (80, 90),
        (90, 100),
    ]
    late = pattern._replace(hot_at=1 << 30)
    assert accessed(late, 0, 100)[-1] == Accessed(90, 100, 0.0)


def test_smallest_hot_set_is_a_page() -> None:
    pattern = AccessPattern("heap", 100.0, hot=0.001, hot_rate=0.5)
    assert accessed(pattern, 0, 100)[0] == Accessed(0, 1, 50.0)
