"""The state of a frame."""

from pymigrate.mm.base.memmap import Folio, Frame, FrameFlag, FrameRun, nid_of


def test_a_pfn_names_its_node() -> None:
    assert [nid_of(pfn) for pfn in (0, 5, (1 << 32) - 1, 1 << 32, (9 << 32) + 3)] == [0, 0, 0, 1, 9]


def test_flags_are_set_and_cleared_on_a_copy() -> None:
    frame = Frame(1, FrameFlag.ANON)
    assert frame.with_flags(FrameFlag.DIRTY).flags == FrameFlag.ANON | FrameFlag.DIRTY
    assert frame.with_flags(FrameFlag.ANON) is frame
    assert frame.without_flags(FrameFlag.ANON).flags == 0
    assert frame.without_flags(FrameFlag.DIRTY) is frame


def test_a_base_page_is_likely_shared_when_two_entries_map_it() -> None:
    assert [Frame(1, 0).mapped(times).likely_shared for times in (0, 1, 2)] == [False, False, True]
    assert Frame(1, 0).mapped(3).mapped(-1).mapcount == 2


def test_pins_and_references_hold_a_frame() -> None:
    assert [
        frame.is_held for frame in (Frame(1, 0), Frame(1, 0, pins=1), Frame(1, 0, extra_refs=1))
    ] == [False, True, True]


def test_frames_that_are_alike_are_one_run() -> None:
    run = FrameRun(4, 6, Frame(1, 0))
    head, tail = run.split(6)
    assert (head, tail) == (FrameRun(4, 2, Frame(1, 0)), FrameRun(6, 4, Frame(1, 0)))
    assert head.join(tail) == run
    assert head.join(FrameRun(6, 4, Frame(2, 0))) is None


def test_one_frame_stands_for_a_folio_whose_pages_differ() -> None:
    frame = Frame(1, FrameFlag.ANON | FrameFlag.ZEROED, 2, order=1)
    first, second = FrameRun(4, 1, frame), FrameRun(5, 1, frame._replace(pte_maps=1, pins=1))
    mixed = frame.with_flags(FrameFlag.MIXED)._replace(pins=1)
    assert Folio(4, 1, (first, second)).merged() == mixed
    stored = second._replace(frame=second.frame.without_flags(FrameFlag.ZEROED))
    assert Folio(4, 1, (first, stored)).merged() == mixed.without_flags(FrameFlag.ZEROED)


def test_a_folio_adds_up_what_its_pages_have() -> None:
    some = FrameRun(4, 3, Frame(1, FrameFlag.ANON, 2, 1, order=2, pins=2, extra_refs=1))
    folio = Folio(4, 2, (some, FrameRun(7, 1, some.frame._replace(pte_maps=3, pins=0))))
    assert (folio.nr, folio.mapcount, folio.pins, folio.extra_refs) == (4, 3 * 2 + 3 + 1, 6, 4)
