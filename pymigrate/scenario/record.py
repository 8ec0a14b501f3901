"""What a step answers."""

from typing import Any

Record = dict[str, Any]  # as JSON has it
