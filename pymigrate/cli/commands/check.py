"""``pymigrate check``."""

from __future__ import annotations

import click

from pymigrate.cli.common import Options, common_options
from pymigrate.cli.helped import Command, option


@click.command(cls=Command)
@click.argument("claims", metavar="CLAIM...", nargs=-1, required=True)
@option("-q", "--quiet", is_flag=True, help="Say only which claims do not hold.")
@common_options()
def command(options: Options, claims: tuple[str, ...]) -> None:
    """Check claims about the machine; exit with 1 if one does not hold.

    A CLAIM compares two values: 'vmstat.pgmigrate_fail == 0', 'numa_maps(db).heap.N1 >= 90%',
    'node(1).MemFree > 2GiB', "task(db).policy == 'bind:1'", 'accesses(db).local > 75%',
    'stayed == 0'. `pymigrate help check` lists everything that can be named.
    """
    from pymigrate.claims.judge import judge
    from pymigrate.claims.parse import parse

    try:
        parsed = [parse(text) for text in claims]
        with options.session() as machine:
            verdicts = [judge(machine, claim) for claim in parsed]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    lines = [
        f"{'ok  ' if verdict.holds else 'FAIL'} {verdict}\n"
        for verdict in verdicts
        if not (options.quiet and verdict.holds)
    ]
    options.show([verdict._asdict() for verdict in verdicts], "".join(lines))
    if not all(verdict.holds for verdict in verdicts):
        raise click.exceptions.Exit(1)
