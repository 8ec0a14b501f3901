"""What the oracle needs besides Python, and what it says where that is missing."""

import shutil
from collections.abc import Iterable

PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "gcc": "gcc libc6-dev",
    "mke2fs": "e2fsprogs",
    "busybox": "busybox-static",
    "apt-get": "apt",
    "dpkg": "dpkg",
}
TO_RECORD = ("qemu-system-x86_64", "mke2fs")
TO_PREPARE = ("apt-get", "dpkg", "gcc", "busybox", *TO_RECORD)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class MissingError(Exception):
    """What there is to install or to do first, in one line."""


def program(name: str) -> str:
    """Where a program is. Raises MissingError."""
    found = shutil.which(name) or shutil.which(name, path=_PATH)
    if found is None:
        raise MissingError(message([name]))
    return found


def check(names: Iterable[str]) -> None:
    """Raise MissingError unless all of the programs are there."""
    missing = [n for n in names if not (shutil.which(n) or shutil.which(n, path=_PATH))]
    if missing:
        raise MissingError(message(missing))


def message(missing: Iterable[str]) -> str:
    """The one line for programs that are missing."""
    packages = " ".join(dict.fromkeys(PACKAGES[name] for name in missing))
    return f"the oracle needs {', '.join(missing)}: apt-get install {packages}"
