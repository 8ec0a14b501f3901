"""YAML as plain data, made while it is parsed."""

import re
from collections.abc import Callable
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from yaml.nodes import ScalarNode
from yaml.resolver import Resolver

from pymigrate.errors import ScenarioError
from pymigrate.scenario.text.fields import shown
from pymigrate.scenario.text.positions import LOADER, TAG, Document, Key, construct, place

MAX_DEPTH = 32  # the deepest value of a scenario lies 7 down
_SURROGATE = re.compile("[\ud800-\udfff]")
_resolve: Callable[..., str] = Resolver().resolve


def parse(text: str, path: str) -> Document:
    """The document that *text*, the content of file *path*, holds.

    Raises ScenarioError if it is not YAML or holds nothing.
    """
    lone = _SURROGATE.search(text)
    if lone is not None:
        message = "half of a surrogate pair; expected text"
        raise ScenarioError(message, path, *_place_of(lone.start(), text))
    builder = _Builder(text, path)
    try:
        return Document(text, builder.document(), builder.errors)
    except (yaml.YAMLError, _NoDocumentError):
        raise _refusal(text, path) from None


class _NoDocumentError(Exception):
    """What composing refuses, though the text is made of the parts of YAML."""


class _Builder:
    """Makes plain data of a text as it is parsed; goes on after a mistake, so as to find all."""

    def __init__(self, text: str, path: str) -> None:
        self.path = path
        self.errors: list[ScenarioError] = []
        self._loader = LOADER(text)
        self._next = self._loader.get_event
        self._depth = 0
        self._plain: dict[str, object] = {}  # what scalars without quotes stand for
        self._anchored: dict[str, Any] = {}  # what begins at an anchor
        self._data: dict[str, object] = {}  # and its data, once it is complete

    def document(self) -> object:
        """The data of the text. Raises yaml.YAMLError, _NoDocumentError and ScenarioError."""
        self._next()  # the stream begins
        if not isinstance(self._next(), DocumentStartEvent):
            message = "the file is empty; expected a scenario with key 'machine'"
            raise ScenarioError(message, self.path, 1, 1)
        data = self._value(self._next())
        self._next()  # the document ends
        if not isinstance(self._next(), StreamEndEvent):
            raise _NoDocumentError
        self._loader.dispose()
        return data

    def _value(self, event: Any) -> object:  # Any: types-PyYAML leaves out what events hold
        """The data that begins with *event*."""
        kind, anchor = type(event), event.anchor
        if kind is ScalarEvent and anchor is None:
            return self._scalar(event)
        if kind is AliasEvent:
            node = self._node(event)
            if anchor not in self._data:
                message = "an alias inside of what it stands for; expected no cycle"
                return self._report(node, message)
            return self._data[anchor]
        build = self._scalar if kind is ScalarEvent else self._collection
        if anchor is None:
            return build(event)
        if anchor in self._anchored:
            raise _NoDocumentError
        self._anchored[anchor] = event
        self._data[anchor] = data = build(event)
        return data

    def _node(self, event: Any) -> Any:
        """The event that begins what *event* is, or is an alias of."""
        if type(event) is not AliasEvent:
            return event
        if event.anchor not in self._anchored:
            raise _NoDocumentError
        return self._anchored[event.anchor]

    def _scalar(self, event: Any) -> object:
        tag, value = event.tag, event.value
        if tag is None:
            if not event.implicit[0]:
                return value
            if value in self._plain:
                return self._plain[value]
        if tag in (None, "!"):
            tag = _resolve(ScalarNode, value, event.implicit)
        try:
            data = construct(ScalarNode(tag, value))
        except ValueError as error:
            return self._report(event, str(error))
        if event.tag is None:
            self._plain[value] = data
        return data

    def _collection(self, event: Any) -> object:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _too_deep_error(event, self.path)
        is_list, nr_errors = type(event) is SequenceStartEvent, len(self.errors)
        data: object = self._list() if is_list else self._mapping()
        self._depth -= 1
        if event.tag in (None, "!", TAG + "map", TAG + "seq"):
            return data
        del self.errors[nr_errors:]
        return self._report(event, f"unknown tag {shown(event.tag)}; expected no tag")

    def _list(self) -> tuple[object, ...]:
        items: list[object] = []
        while type(event := self._next()) is not SequenceEndEvent:
            items.append(self._value(event))
        return tuple(items)

    def _mapping(self) -> dict[Key, object]:
        data: dict[Key, object] = {}
        while type(event := self._next()) is not MappingEndEvent:
            key = self._key(event)
            nr_errors = len(self.errors)
            value = self._value(self._next())
            if key is None or key in data:  # the key is what is wrong
                del self.errors[nr_errors:]
            if key in data:
                self._report(self._node(event), f"duplicate key {shown(key)}; expected it once")
            elif key is not None:
                data[key] = value
        return data

    def _key(self, event: Any) -> Key | None:
        nr_errors = len(self.errors)
        key = self._value(event)
        if isinstance(key, str) or type(key) is int:
            return key
        node = self._node(event)
        if isinstance(key, bool):
            message = f"YAML reads key {node.value} as {shown(key)}; expected it in quotes"
        elif type(node) is ScalarEvent:
            message = f"{shown(node.value)} cannot be a key; expected a name or a number"
        else:
            del self.errors[nr_errors:]
            message = "a collection cannot be a key; expected a name or a number"
        self._report(node, message)
        return None

    def _report(self, event: Any, message: str) -> object:
        self.errors.append(ScenarioError(message, self.path, *place(event.start_mark)))
        return None


def _refusal(text: str, path: str) -> ScenarioError:
    """Why *text* is no document, which composing it says."""
    event, read = _too_deep(text)
    if event is None and read is not None:
        # libyaml reads ahead, and with a limit of its own: it may give up before it tells of
        # what it has read so far, which is deep enough.
        event, _ = _too_deep(text[:read])
    if event is not None:
        return _too_deep_error(event, path)
    try:
        yaml.compose(text, Loader=LOADER)
    except yaml.MarkedYAMLError as error:
        return _syntax_error(error, text, path)
    except yaml.reader.ReaderError as error:
        return _reader_error(error, text, path)
    raise AssertionError("composing refuses what parsing does")


def _too_deep(text: str) -> tuple[Any, int | None]:
    """Where nesting becomes too deep, and how much was read if the parser gives up before."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                return event, None
    except yaml.MarkedYAMLError as error:
        return None, error.problem_mark.index if error.problem_mark else None
    except yaml.YAMLError:
        return None, None
    return None, None


def _too_deep_error(event: Any, path: str) -> ScenarioError:
    """Refuse deep nesting before recursion meets it, libyaml's too."""
    message = f"nested more than {MAX_DEPTH} deep; expected a scenario"
    return ScenarioError(message, path, *place(event.start_mark))


def _syntax_error(error: yaml.MarkedYAMLError, text: str, path: str) -> ScenarioError:
    problem = error.problem or "it cannot be read"
    context = f"{error.context}, " if error.context else ""
    mark = error.problem_mark
    if mark and "cannot start any token" in problem and text[mark.index : mark.index + 1] == "\t":
        context, problem = "", "a tab where a line or a value begins; YAML is indented by spaces"
    message = f"not YAML: {context}{problem}; expected valid YAML"
    return ScenarioError(message, path, *place(error.problem_mark or error.context_mark))


def _reader_error(error: "yaml.reader.ReaderError", text: str, path: str) -> ScenarioError:
    message = f"not YAML: {error.reason}; expected text without control characters"
    return ScenarioError(message, path, *_place_of(error.position, text))


def _place_of(index: int, text: str) -> tuple[int, int]:
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)
