"""The words for the numbers of system calls."""

from typing import get_args

from pymigrate.mm.base.advice import ADVICE
from pymigrate.mm.base.release import RELEASES, Kernel
from pymigrate.uapi import MODE_TEXTS, MODE_WORDS, MODES, MPOL, THP, THP_DEFRAG


def test_modes_have_the_words_of_the_manual_pages() -> None:
    assert MODES == {
        "default": 0,
        "preferred": 1,
        "bind": 2,
        "interleave": 3,
        "local": 4,
        "preferred-many": 5,
        "weighted-interleave": 6,
    }


def test_each_mode_has_a_word_and_a_text() -> None:
    assert list(MODE_WORDS) == list(MODE_TEXTS) == list(MPOL)


def test_advice_has_the_numbers_of_the_kernel() -> None:
    assert len(ADVICE) == 25
    assert (ADVICE["dontneed"], ADVICE["free"], ADVICE["dontneed_locked"]) == (4, 8, 24)


def test_each_kernel_that_has_a_word_has_a_release() -> None:
    assert list(RELEASES) == list(get_args(Kernel))


def test_words_of_huge_pages_are_in_the_order_of_their_files() -> None:
    assert THP == ("always", "madvise", "never")
    assert THP_DEFRAG == ("always", "defer", "defer+madvise", "madvise", "never")
