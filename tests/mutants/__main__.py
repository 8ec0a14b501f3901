"""`make mutants`: how many random one-line mutants of mm/ the unit tests kill.

Each line of mm/ that can be wrong is as likely as any other. A mutant is killed when a test fails
or does not end. The project is copied, so that nothing here changes; for each mutant only the
tests that run its line are run, those of its own file and layer first, until one fails.
"""

import argparse
import json
import os
import queue
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.mutate import Mutant, mutants

ROOT = Path(__file__).parents[2]
COPIED = ("pymigrate", "tests", "scenarios", "pyproject.toml", "README.md")
TESTED = ("tests/unit/mm", "tests/unit/syscalls")
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
FIRST = 25  # tests that are tried before all others
NO_TESTS = 5  # what pytest then ends with
MEMORY = 4 << 30  # bytes, for what never ends
PYTEST = (
    *"-m pytest -x -q -p tests.mutants.plugin -p no:cacheprovider".split(),
    "--hypothesis-seed=0",
)


class Tests:
    """Which tests run a line, and how long they take."""

    def __init__(self) -> None:
        self.of_line: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.seconds: dict[str, float] = {}

    def add(self, record: Path) -> None:
        """Take over what plugin.py wrote."""
        found = json.loads(record.read_text())
        self.seconds |= found["seconds"]
        for test, files in found["lines"].items():
            for path, lines in files.items():
                for line in lines:
                    self.of_line[path, line].add(test)

    def of(self, mutant: Mutant) -> list[str]:
        """Those that run the statement, in the order in which they are to be tried."""
        named = set().union(*(self.of_line[mutant.path, line] for line in mutant.lines))
        if "" in named:  # at import, for everyone
            named = set(self.seconds)
        path = Path(mutant.path)
        folder = f"tests/unit/{path.parent.relative_to('pymigrate')}/"
        own = f"{folder}test_{path.stem}.py"
        return sorted(
            named,
            key=lambda t: (not t.startswith(own), not t.startswith(folder), self.seconds[t]),
        )


def copies(folder: Path, jobs: int) -> list[Path]:
    """Copies of the project, one for each job."""
    made = [folder / str(job) for job in range(jobs)]
    for copy in made:
        copy.mkdir()
        for name in COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, copy / name)
    return made


def pytest(copy: Path, paths: list[str], limit: float | None, **environ: str) -> int | None:
    """How pytest ends in a copy, or None if it does not."""
    environ = os.environ | environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, *PYTEST, *paths],
            cwd=copy,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=limit,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        )
    except subprocess.TimeoutExpired:
        return None
    if "MUTANTS_RECORD" in environ and done.returncode:
        sys.exit(done.stdout)
    return done.returncode


def recorded(made: list[Path]) -> Tests:
    """Run all tests once, each copy its share, and note what runs what."""
    files = sorted(
        str(path.relative_to(ROOT)) for top in TESTED for path in ROOT.glob(f"{top}/**/test_*.py")
    )
    tests = Tests()
    with ThreadPoolExecutor(len(made)) as pool:
        shares = [
            pool.submit(pytest, copy, files[i :: len(made)], None, MUTANTS_RECORD="record.json")
            for i, copy in enumerate(made)
        ]
        for copy, share in zip(made, shares, strict=True):
            share.result()
            tests.add(copy / "record.json")
    return tests


def outcome(copy: Path, mutant: Mutant, source: bytes, names: list[str], tests: Tests) -> str:
    """What the tests say of a mutant: killed, timed out, or survived."""
    place = copy / mutant.path
    place.write_bytes(mutant.applied(source))
    chosen = copy / "chosen.json"
    try:
        for some in (names[:FIRST], names[FIRST:]):
            if not some:
                break
            chosen.write_text(json.dumps(some))
            paths = list(dict.fromkeys(name.partition("::")[0] for name in some))
            limit = 60 + 20 * sum(tests.seconds[name] for name in some)
            status = pytest(copy, paths, limit, MUTANTS_TESTS=str(chosen))
            assert status != NO_TESTS, f"{some[0]} and others are not found"
            if status is None:
                return "timed out"
            if status:
                return "killed"
    finally:
        place.write_bytes(source)
    return "survived"


def equivalents() -> set[tuple[str, str, str]]:
    """The mutants that are known to change nothing: path, old and new line."""
    found = []
    for block in EQUIVALENT.read_text(encoding="utf-8").split("\n\n"):
        rows = [row for row in block.strip().splitlines() if not row.startswith("#")]
        if rows:
            path, old, new, reason = rows
            assert old[:2] + new[:2] + reason[:2] == "- + = ", block
            found.append((path, old[2:], new[2:]))
    return set(found)


def drawn(sources: dict[str, bytes], seed: int) -> Iterator[Mutant]:
    """Mutants of random lines, none of them twice."""
    of_line: dict[tuple[str, int], list[Mutant]] = defaultdict(list)
    for path, source in sources.items():
        for mutant in mutants(path, source):
            of_line[path, mutant.line(source)].append(mutant)
    rng = random.Random(seed)
    lines = list(of_line)
    rng.shuffle(lines)
    print(f"{sum(map(len, of_line.values()))} mutants of {len(lines)} lines", flush=True)
    return (rng.choice(of_line[line]) for line in lines)


def main() -> None:
    """Draw mutants, run their tests, and print which survive."""
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("jobs", type=int)
    args = parser.parse_args()
    sources = {
        str(path.relative_to(ROOT)): path.read_bytes()
        for path in sorted((ROOT / "pymigrate/mm").rglob("*.py"))
    }
    known = equivalents()
    chosen: list[Mutant] = []
    left_out = 0
    for mutant in drawn(sources, args.seed):
        if len(chosen) == args.count:
            break
        if (mutant.path, *mutant.shown(sources[mutant.path])) in known:
            left_out += 1
        else:
            chosen.append(mutant)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.jobs) as pool:
        made = copies(Path(folder), args.jobs)
        tests = recorded(made)
        idle: queue.Queue[Path] = queue.Queue()
        for copy in made:
            idle.put(copy)

        def judge(mutant: Mutant) -> str:
            copy = idle.get()
            source = sources[mutant.path]
            try:
                found = outcome(copy, mutant, source, tests.of(mutant), tests)
            finally:
                idle.put(copy)
            if found == "survived":
                old, new = mutant.shown(source)
                print(f"\n{mutant.path}:{mutant.line(source)}\n- {old}\n+ {new}", flush=True)
            return found

        found = list(pool.map(judge, chosen))
    killed = len(found) - found.count("survived")
    print(
        f"\nseed {args.seed}: {killed} of {len(found)} mutants are killed"
        f" ({100 * killed / max(len(found), 1):.0f} %), {found.count('timed out')} of them because"
        f" a test did not end; {left_out} that are equivalent left out"
    )


if __name__ == "__main__":
    main()
