"""``pymigrate compare``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from pymigrate.cli.common import print_json
from pymigrate.session import scenario_path
from pymigrate.views.columns import aligned

if TYPE_CHECKING:
    from pymigrate.compare.outcome import Outcome
    from pymigrate.compare.variants import Change


@click.command()
@click.argument("scenario", metavar="SCENARIO")
@click.option("--policy", "policies", multiple=True, metavar="TASK=POLICY", help="Its mempolicy.")
@click.option("--kernel", "kernels", multiple=True, metavar="RELEASE", help="The kernel's rules.")
@click.option("--set", "settings", multiple=True, metavar="KEY.KEY=VALUE", help="Any key.")
@click.option("-j", "--jobs", type=click.IntRange(1), default=1, help="So many at a time.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
def command(
    scenario: str,
    policies: tuple[str, ...],
    kernels: tuple[str, ...],
    settings: tuple[str, ...],
    jobs: int,
    as_json: bool,
) -> None:
    """Compare variants of SCENARIO: what comes of each, once its steps are done.

    An option that is repeated varies what it sets; several multiply. The best local share,
    distance and time are marked with `*`, of variants that nothing was refused to.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from pymigrate.compare.sweep import outcomes
    from pymigrate.compare.variants import policy, setting, sweep
    from pymigrate.scenario.read.loader import load

    path = scenario_path(scenario)
    load(path)  # it has to be right as it is
    with open(path, encoding="utf-8-sig") as file:
        text = file.read()
    changes = [*_parsed(policy, policies)]
    changes += _parsed(setting, tuple(f"kernel={name}" for name in kernels))
    changes += _parsed(setting, settings)
    variants = sweep(changes)
    if jobs == 1:
        rows = [*outcomes(text, variants)]
    else:
        with ProcessPoolExecutor(jobs, get_context("spawn")) as executor:
            rows = [*outcomes(text, variants, executor)]
    order = {variant.name: number for number, variant in enumerate(variants)}
    rows.sort(key=lambda row: order[row.variant])
    if as_json:
        print_json([row._asdict() for row in rows])
    else:
        click.echo(_table(rows), nl=False)


def _parsed(parse: Callable[[str], Change], texts: tuple[str, ...]) -> list[Change]:
    try:
        return [parse(text) for text in texts]
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _table(rows: list[Outcome]) -> str:
    nodes = sorted({nid for row in rows for nid in row.pages or ()}, key=int)
    done = [row for row in rows if not (row.refused or row.oom_kills)]
    local = _best(max, [row.local for row in done])
    far = _best(min, [row.distance for row in done])
    time = _best(min, [row.time_us for row in done])
    head = ["VARIANT", "REFUSED", "OOM", *(f"N{nid}" for nid in nodes)]
    table = [[*head, "LOCAL", "DISTANCE", "TIME/ms"]]
    for row in rows:
        if row.wrong is not None:
            continue
        cells = [row.variant, str(row.refused), str(row.oom_kills)]
        cells += [str((row.pages or {}).get(nid, 0)) for nid in nodes]
        best = (local, far, time) if row in done else (None, None, None)
        cells.append(_cell(row.local, best[0], "{:.1%}"))
        cells.append(_cell(row.distance, best[1], "{:.1f}"))
        table.append([*cells, _cell(row.time_us, best[2], "{:.3f}", 1e3)])
    lines = [line.rstrip() for line in aligned(table, {0})]
    lines += [f"{row.variant}: {row.wrong}" for row in rows if row.wrong is not None]
    return "".join(f"{line}\n" for line in lines)


def _best(choose: Callable[[list[float]], float], values: list[float | None]) -> float | None:
    """The best of them; None if all are as good."""
    there = [value for value in values if value is not None]
    return choose(there) if len(set(there)) > 1 else None


def _cell(value: float | None, best: float | None, form: str, unit: float = 1) -> str:
    if value is None:
        return "-"
    return form.format(value / unit) + ("*" if value == best else " ")
