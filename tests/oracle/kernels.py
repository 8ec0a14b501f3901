"""The kernels that answer: where `make oracle` keeps them, and which release each is."""

import json
import os
import re
from pathlib import Path
from typing import NamedTuple

from tests.oracle.needs import MissingError

# The stable releases that the recorded cases are of. A newer one is told apart and never mixed
# with them: whoever goes over to it records all cases anew, and changes the number here.
REFERENCE = {"6.1": "6.1.176", "6.12": "6.12.117", "7.2": "7.2.13"}
FOLDER = "PYMIGRATE_ORACLE"
_DEBIAN = re.compile(r"Debian (\d+\.\d+\.\d+)")  # in uname -v; 6.1's uname -r lacks the release
_PLAIN = re.compile(r"\d+\.\d+\.\d+")


class Kernel(NamedTuple):
    """A kernel that was prepared: its series, its image, its modules."""

    series: str
    image: Path
    modules: Path


def folder() -> Path:
    """Where the kernels and the guest are kept: $PYMIGRATE_ORACLE, or in the user's cache."""
    if os.environ.get(FOLDER):
        return Path(os.environ[FOLDER])
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "pymigrate-oracle"


def prepared() -> dict[str, Kernel]:
    """The kernels that there are. Raises MissingError."""
    index = folder() / "kernels.json"
    if not index.exists():
        raise MissingError(f"there are no kernels in {folder()}: make oracle")
    found = json.loads(index.read_text(encoding="utf-8"))
    return {
        series: Kernel(series, folder() / paths["image"], folder() / paths["modules"])
        for series, paths in found.items()
    }


def kernel(series: str) -> Kernel:
    """The prepared kernel of a series. Raises MissingError."""
    found = prepared()
    if series not in found:
        raise MissingError(f"there is no kernel {series}, but {', '.join(found)}: make oracle")
    return found[series]


def release_of(uname: str) -> str:
    """The stable release in what `uname -rv` prints; '' if it shows none.

    >>> release_of("6.1.0-50-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-01-01)")
    '6.1.176'
    """
    match = _DEBIAN.search(uname)
    if match:
        return match[1]
    plain = _PLAIN.match(uname)
    return plain[0] if plain else ""
