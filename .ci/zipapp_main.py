"""What `python pymigrate.pyz` runs: pymigrate, once it is unpacked into the user's cache."""

import hashlib
import os
import sys
import tempfile
import zipfile

ARCHIVE = os.path.dirname(os.path.abspath(__file__))


def unpacked() -> str:
    """The directory that holds what this archive does; it is made if it is not there."""
    with open(ARCHIVE, "rb") as file:
        name = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    above = os.path.join(cache, "pymigrate")
    folder = os.path.join(above, name)
    if not os.path.isdir(folder):
        os.makedirs(above, mode=0o700, exist_ok=True)
        half = tempfile.mkdtemp(dir=above)
        with zipfile.ZipFile(ARCHIVE) as archive:
            archive.extractall(half)
        try:
            os.rename(half, folder)
        except OSError:  # another one was faster
            if not os.path.isdir(folder):
                raise
    return folder


sys.path[0] = unpacked()

from pymigrate.__main__ import main  # noqa: E402  (it is there from here on)

main()
