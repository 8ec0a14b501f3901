"""Pages of drivers that are on no LRU list and can be moved all the same.

A driver marks its pages as movable and answers three calls: isolate_page, migrate_page
(migratepage in the interface of 2016) and putback_page. Mirrors isolate_movable_page(),
migrate_movable_ops_page() and putback_movable_pages(), mm/migrate.c.
"""

from __future__ import annotations

from collections.abc import Iterable

from pymigrate.mm.base.memmap import Frame, FrameFlag, is_movable, looks_movable
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.frames.frames import frame_of, update_folio, update_frames
from pymigrate.mm.state.events import Name, Step
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Called, Driver
from pymigrate.mm.state.trace import step_event

AGAIN = "EAGAIN"


def new_pages(machine: Machine, driver: Driver, pfns: Iterable[int]) -> None:
    """Frames that *driver* has allocated become movable. Mirrors __SetPageMovable()."""
    for pfn in pfns:
        driver.pages.append(pfn)
        update_frames(machine, [(pfn, 1)], lambda frame: frame.with_flags(FrameFlag.MOVABLE))


def clear_movable(machine: Machine, pfn: int) -> None:
    """The driver gives a page up: only the mark that it was movable stays.

    Mirrors __ClearPageMovable().
    """
    update_frames(machine, [(pfn, 1)], _cleared)


def isolate_movable_page(machine: Machine, driver: Driver, number: int) -> bool:
    """Take page *number* of *driver* for a migration.

    The driver is not asked for a page that it does not own, whose lock is not free, or that is
    isolated already.
    """
    pfn = driver.pages[number]
    if pfn < 0:
        return False
    if why := _skipped(frame_of(machine, pfn)):
        _tell(machine, driver, number, f"{why}: skipped")
        return False
    answer = _isolate(driver)
    _note(machine, Called("isolate_page", number, "false" if answer == "false" else "true"))
    if answer == "false":
        _tell(machine, driver, number, "isolate_page() says false: skipped")
        return False
    update_frames(machine, [(pfn, 1)], lambda f: f.with_flags(FrameFlag.ISOLATED))
    if answer == "free":
        clear_movable(machine, pfn)
    return True


def _skipped(frame: Frame) -> str:
    """Why the driver is not even asked for a page; "" if it is."""
    if not looks_movable(frame):
        return "__PageMovable() says no, without the lock"
    if frame.flags & FrameFlag.LOCKED:
        return "its lock is not free"
    if not is_movable(frame):
        return "PageMovable() says no, under the lock"
    return "PG_isolated is set, another CPU has it" if frame.flags & FrameFlag.ISOLATED else ""


def _tell(machine: Machine, driver: Driver, number: int, found: str) -> None:
    """Note that a page is not isolated, if somebody wants to see the steps."""
    about = Name(number, owner=driver.driver_id), driver.pages[number], 1, 1
    step_event(machine, Step("0a", "isolate", found, "", *about, "isolate_movable_page"))


def queue_of(machine: Machine, driver: Driver, numbers: Iterable[int]) -> list[Slice]:
    """Isolated pages as the engine takes them."""
    queue = []
    for number in numbers:
        pfn = driver.pages[number]
        run = PteRun(number, 1, (pfn,), 0, Pte.PRESENT)
        queue.append(Slice.whole(run, frame_of(machine, pfn), number))
    return queue


def migrate_movable_page(machine: Machine, number: int, pfn: int, dst: int) -> str:
    """Let the driver move page *number* to frame *dst*; "" or an errno.

    A page that its driver has cleared needs no move. Mirrors migrate_movable_ops_page().
    """
    frame = frame_of(machine, pfn)
    driver = driver_of(machine, frame)
    if not is_movable(frame):
        driver.pages[number] = -1
        return ""
    answer = _migrate(machine, driver, pfn)
    _note(machine, Called(driver.migrate_name, number, answer or "0"))
    if not answer:
        driver.pages[number] = dst
    return answer


def putback_movable_page(machine: Machine, driver: Driver, number: int) -> None:
    """Give a page that was isolated and did not move back to the driver."""
    pfn = driver.pages[number]
    if pfn < 0:
        return
    frame = frame_of(machine, pfn)
    if not frame.flags & FrameFlag.ISOLATED:
        return
    if is_movable(frame):
        _note(machine, Called("putback_page", number, ""))
        if driver.kind == "virtio-balloon":
            driver.isolated -= 1
    update_folio(machine, pfn, lambda f: f.without_flags(FrameFlag.ISOLATED))
    if not is_movable(frame):
        driver.pages[number] = -1
        update_folio(machine, pfn, lambda _: None)


def driver_of(machine: Machine, frame: Frame) -> Driver:
    """The driver that owns a page."""
    return next(d for d in machine.drivers.values() if d.driver_id == frame.owner)


def moved_frame(frame: Frame) -> Frame:
    """The state of the destination, which is the driver's, and not isolated."""
    return frame.without_flags(FrameFlag.ISOLATED | FrameFlag.HWPOISON)


def _note(machine: Machine, call: Called) -> None:
    if machine.watch.driver_calls is not None:
        machine.watch.driver_calls.append(call)


def _isolate(driver: Driver) -> str:
    if driver.kind == "virtio-balloon":
        driver.isolated += 1
    return _next(driver.isolates, "true") if driver.kind == "scripted" else "true"


def _migrate(machine: Machine, driver: Driver, pfn: int) -> str:
    """What migrate_page() answers: zsmalloc never refuses, the balloon when its lock is taken."""
    if driver.kind == "scripted":
        answer = _next(driver.migrates, "success")
        return "" if answer == "success" else answer
    if driver.kind == "virtio-balloon":
        if _next(driver.migrates, "success") == AGAIN:
            return AGAIN
        driver.isolated -= 1
        machine.counters.add("balloon_migrate")
    return ""


def _next(answers: list[str], default: str) -> str:
    """The next answer; the last one stays."""
    if not answers:
        return default
    return answers.pop(0) if len(answers) > 1 else answers[0]


def _cleared(frame: Frame) -> Frame:
    return frame.without_flags(FrameFlag.MOVABLE).with_flags(FrameFlag.CLEARED)
