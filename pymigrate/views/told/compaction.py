"""The outcome of runs of compaction, zone by zone."""

from pymigrate.mm.compact.compaction import ZoneRun
from pymigrate.units import counted


def format_runs(runs: list[ZoneRun], before: list[int], after: list[int]) -> str:
    """A line for each run, with the zone's free 2 MiB blocks *before* and *after*."""
    return "".join(
        f"node {run.node}, zone {run.zone}: {run.result.name.lower()},"
        f" {counted(run.moved, 'page')} moved, 2MiB blocks free: {old} -> {new}\n"
        for run, old, new in zip(runs, before, after, strict=True)
    )


def as_json(runs: list[ZoneRun], before: list[int], after: list[int]) -> list[dict[str, object]]:
    """An object for each run, with the zone's free 2 MiB blocks *before* and *after*."""
    return [
        {
            **run._asdict(),
            "result": run.result.name.lower(),
            "free_blocks_before": old,
            "free_blocks": new,
        }
        for run, old, new in zip(runs, before, after, strict=True)
    ]
