"""`python -m tests.oracle`: what `make oracle`, `make record` and `make fuzz-kernel` run."""

import argparse
import sys
from pathlib import Path

from tests.oracle.needs import MissingError

CANNOT = 2


def main(words: list[str] | None = None) -> int:
    """Run one of the commands; the exit status is 2 where something has to be installed first."""
    options = _parser().parse_args(words)
    try:
        return int(options.run(options))
    except MissingError as error:
        print(error, file=sys.stderr)
        return CANNOT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    commands = parser.add_subparsers(required=True)
    prepare = commands.add_parser("prepare", help="bring kernels and the guest's programs")
    prepare.set_defaults(run=_prepare)
    record = commands.add_parser("record", help="record what a kernel answers to cases")
    record.set_defaults(run=_record)
    record.add_argument("cases", nargs="+", type=Path, help="cases, or folders of them")
    record.add_argument("--kernel", default="6.12")
    record.add_argument("--trace", action="store_true", help="record the events of migration")
    record.add_argument("--again", action="store_true", help="also cases that have an answer")
    record.add_argument("--show", action="store_true", help="print the answers, write nothing")
    fuzz = commands.add_parser("fuzz", help="compare a kernel with pymigrate")
    fuzz.set_defaults(run=_fuzz)
    fuzz.add_argument("folder", type=Path, help="where minimal cases of differences are written")
    fuzz.add_argument("--count", type=int, default=500)
    fuzz.add_argument("--only", default="", help="the numbers of single programs: 3,17")
    fuzz.add_argument("--seed", type=int, default=1)
    fuzz.add_argument("--kind", choices=["any", "full", "fork"], default="any")
    fuzz.add_argument("--kernel", default="6.12")
    fuzz.add_argument("--shrink", type=int, default=12, help="so many differences at most")
    return parser


def _prepare(_: argparse.Namespace) -> int:
    from tests.oracle.kernels import prepared
    from tests.oracle.prepare import prepare

    prepare()
    for series, kernel in prepared().items():
        print(f"{series}: {kernel.image}")
    return 0


def _record(options: argparse.Namespace) -> int:
    from tests.oracle.record import record

    paths = [
        path
        for case in options.cases
        for path in (sorted(case.glob("*.yaml")) if case.is_dir() else [case])
    ]
    return record(
        paths, options.kernel, trace=options.trace, again=options.again, show=options.show
    )


def _fuzz(options: argparse.Namespace) -> int:
    from tests.oracle.fuzz import fuzz
    from tests.oracle.hardware import numbers

    chosen = numbers(options.only) or range(options.count)
    return fuzz(options.kernel, options.kind, options.seed, chosen, options.folder, options.shrink)


if __name__ == "__main__":
    sys.exit(main())
