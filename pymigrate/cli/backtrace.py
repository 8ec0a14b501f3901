"""Through which functions of the package the engine was called."""

from __future__ import annotations

import sys
from types import FrameType

_PACKAGE = "pymigrate."


def backtrace() -> str:
    """The functions that are being executed, as `MODULE.NAME`, the innermost first."""
    frame: FrameType | None = sys._getframe(1)  # there is no public way that costs as little
    names = []
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith(_PACKAGE):
            names.append(f"{module.removeprefix(_PACKAGE)}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    return " ".join(names)
