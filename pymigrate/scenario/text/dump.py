"""A scenario's plain data as text."""

from collections.abc import Mapping

import yaml

WIDTH = 100


class Hex(int):
    """A number that is written in hex: an address."""


class Line(dict[str, object]):
    """A mapping that is written on one line, if it fits."""


try:
    from yaml import CSafeDumper as _Safe  # libyaml's: the same text in a third of the time
except ImportError:
    from yaml import SafeDumper as _Safe  # type: ignore[assignment]  # either will do


class _Dumper(_Safe):
    """Writes what a scenario's data may hold."""


_Dumper.add_representer(
    Hex, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:int", f"{value:#x}")
)
_Dumper.add_representer(
    Line,
    lambda dumper, value: dumper.represent_mapping(
        "tag:yaml.org,2002:map", value.items(), flow_style=True
    ),
)


def dump(data: Mapping[str, object]) -> str:
    """YAML that the loader reads as *data*, small mappings and lists on one line.

    Raises ValueError for what YAML has no form for.
    """
    try:
        return yaml.dump(
            dict(data),
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=None,
            width=WIDTH,
        )
    except yaml.YAMLError as error:
        raise ValueError(f"no scenario: {error}") from None
