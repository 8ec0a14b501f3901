"""A scenario's plain data as text."""

from collections.abc import Callable, Mapping

import yaml
from yaml.events import (
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)
from yaml.nodes import Node, ScalarNode
from yaml.representer import SafeRepresenter
from yaml.resolver import Resolver

WIDTH = 100


class Hex(int):
    """A number that is written in hex: an address."""


class Line(dict[str, object]):
    """A mapping that is written on one line, if it fits."""


class _Representer(SafeRepresenter):
    """What scalars are in YAML."""


_Representer.add_representer(
    Hex, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:int", f"{value:#x}")
)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml's, if it is there
_COLLECTIONS, _OFTEN = (dict, Line, list, tuple), (str, int, Hex)
_resolve: Callable[..., str] = Resolver().resolve
_IMPLICIT = ((True, False), (False, True))  # without quotes, and with them
# In a block, and on a line.
_SEQUENCE = [SequenceStartEvent(None, None, True, flow_style=flow) for flow in (False, True)]
_MAPPING = [MappingStartEvent(None, None, True, flow_style=flow) for flow in (False, True)]
_END_SEQUENCE, _END_MAPPING = SequenceEndEvent(), MappingEndEvent()


def dump(data: Mapping[str, object]) -> str:
    """YAML that the loader reads as *data*, small mappings and lists on one line.

    Raises ValueError for what YAML has no form for.
    """
    events: list[Event] = [StreamStartEvent(), DocumentStartEvent(explicit=False)]
    try:
        _Events(events).add(dict(data))
        events += [DocumentEndEvent(explicit=False), StreamEndEvent()]
        text: str = yaml.emit(events, Dumper=_DUMPER, allow_unicode=True, width=WIDTH)
    except yaml.YAMLError as error:
        raise ValueError(f"no scenario: {error}") from None
    except RecursionError:
        raise ValueError("no scenario: it is nested too deep, or holds itself") from None
    return text


class _Events:
    """What is to be written, part by part: each scalar is looked at once."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events
        self._known: dict[tuple[type, object], Event] = {}
        self._represent: Callable[[object], Node] = _Representer().represent_data

    def add(self, value: object) -> None:
        """Write *value*."""
        kind = type(value)
        if kind in _OFTEN:
            self._events.append(self._known.get((kind, value)) or self._scalar(value))
        elif isinstance(value, dict) and kind in _COLLECTIONS:
            on_line = kind is Line or not any(type(v) in _COLLECTIONS for v in value.values())
            self._events.append(_MAPPING[on_line])
            for key, part in value.items():
                self.add(key)
                self.add(part)
            self._events.append(_END_MAPPING)
        elif isinstance(value, list | tuple) and kind in _COLLECTIONS:
            self._events.append(_SEQUENCE[not any(type(v) in _COLLECTIONS for v in value)])
            for part in value:
                self.add(part)
            self._events.append(_END_SEQUENCE)
        else:
            self._events.append(self._scalar(value))

    def _scalar(self, value: object) -> Event:
        node = self._represent(value)
        if not isinstance(node, ScalarNode):
            raise yaml.YAMLError(f"{type(value).__name__} is neither a mapping nor a list")
        plain, quoted = (_resolve(ScalarNode, node.value, how) == node.tag for how in _IMPLICIT)
        event = ScalarEvent(None, node.tag, (plain, quoted), node.value, style=node.style)
        if type(value) in _OFTEN:
            self._known[type(value), value] = event
        return event
