"""A scenario's plain data as text."""

from collections.abc import Mapping

import yaml

WIDTH = 100


def dump(data: Mapping[str, object]) -> str:
    """YAML that the loader reads as *data*, small mappings and lists on one line.

    Raises ValueError for what YAML has no form for.
    """
    try:
        return yaml.safe_dump(
            dict(data), sort_keys=False, allow_unicode=True, default_flow_style=None, width=WIDTH
        )
    except yaml.YAMLError as error:
        raise ValueError(f"no scenario: {error}") from None
