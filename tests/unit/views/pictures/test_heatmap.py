from pymigrate.mm.clock.simulated_time import balance
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import AccessPattern, Region
from pymigrate.store.codec import copy_machine, rows_of
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.pictures import heatmap, show
from tests.conftest import balancing_nodes, new_task, touched


def accessed_from_afar() -> Machine:
    """A task on node 0 whose memory lies on node 1, the first quarter of it hot."""
    machine = balancing_nodes()
    task = new_task(machine)
    addr = touched(machine, task, "4MiB", node=1)
    machine.regions["a", "heap"] = Region("a", "heap", addr >> PAGE_SHIFT, 1024)
    task.accesses.append(AccessPattern("heap", 1000.0, hot=0.25, hot_rate=0.9))
    return machine


def watched(machine: Machine, ms: int, cells: int = 8) -> heatmap.Heatmap:
    watcher = heatmap.Watcher(machine, ms, cells)
    balance(machine, ms, watcher.look)
    watcher.note(machine)
    [found] = watcher.maps
    return found


def test_pages_are_followed_as_they_move() -> None:
    found = watched(accessed_from_afar(), 8000)

    assert found.moments[0] == heatmap.Moment(0, [1] * 8)
    assert [moment.time for moment in found.moments][-1] == 8000
    assert found.moments[-1].cells[:2] == [0, 0]
    homes = [moment.cells.count(0) for moment in found.moments]
    assert homes == sorted(homes)


def test_no_more_moments_are_kept_than_are_drawn() -> None:
    found = watched(accessed_from_afar(), 600_000)
    times = [moment.time for moment in found.moments]

    assert 4 <= len(times) <= heatmap.LINES + 2
    assert times == sorted(set(times))


def test_who_looks_changes_nothing() -> None:
    machine = accessed_from_afar()
    other = copy_machine(machine)
    watched(machine, 8000)
    balance(other, 8000)

    assert rows_of(machine) == rows_of(other)


def test_a_line_for_each_moment() -> None:
    found = heatmap.Heatmap(7, "db", "heap", 0, 512, [8.0, 1.0, 0.0, 0.0])
    found.moments += [heatmap.Moment(0, [0, 0, -1, -1]), heatmap.Moment(12_345, [0, 1, -1, -2])]

    assert show.plain_text(heatmap.lines([found])).splitlines()[:4] == [
        "7 db: heap 2MiB",
        "    heat  @*",
        " 0.000 s  00..",
        "12.345 s  01.z",
    ]
    assert heatmap.as_json([found])[0]["moments"] == [
        {"time": 0, "cells": [0, 0, -1, -1]},
        {"time": 12_345, "cells": [0, 1, -1, -2]},
    ]


def test_without_declared_accesses_there_is_nothing_to_draw() -> None:
    machine = balancing_nodes()
    touched(machine, new_task(machine), "64KiB")

    assert heatmap.Watcher(machine, 1000, 8).maps == []
    assert list(heatmap.lines([])) == []
