"""YAML as plain data, together with where in the text each part of it stands."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pymigrate.errors import ScenarioError
from pymigrate.scenario.text.fields import shown

Path = tuple[str | int, ...]
Key = str | int

MAX_DEPTH = 32  # the deepest value of a scenario lies 7 down
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SURROGATE = re.compile("[\ud800-\udfff]")
_TAG = "tag:yaml.org,2002:"
_SCALARS = SafeConstructor()


class Mistake(NamedTuple):
    """What is wrong at a path of the data: in the value there, or in its key."""

    path: Path
    message: str
    at_key: bool = False


class Document(NamedTuple):
    """A YAML text: its plain data, its node tree, and what is wrong with it as YAML."""

    data: object
    root: Node
    errors: list[ScenarioError]
    children: dict[int, dict[Key, tuple[Node, Node]]]  # by key, of the nodes looked into so far

    def position(self, path: Sequence[Key], at_key: bool = False) -> tuple[int, int]:
        """Line and column, from 1, of what *path* leads to.

        Steps of *path* that lead nowhere are passed over: the place is that of what holds it.
        """
        node = place = self.root
        for step in path:
            found = self._child(node, step)
            if found is not None:
                place, node = found
        return _mark(place if at_key else node)

    def text(self, path: Sequence[Key]) -> str:
        """The scalar at *path* as it is written, without quotes; "" if there is none."""
        node: Node = self.root
        for step in path:
            found = self._child(node, step)
            if found is None:
                return ""
            node = found[1]
        return str(node.value) if isinstance(node, ScalarNode) else ""

    def _child(self, node: Node, step: Key) -> tuple[Node, Node] | None:
        """The node of the key and that of the value that *step* of a path leads to."""
        if isinstance(node, SequenceNode):
            if isinstance(step, int) and 0 <= step < len(node.value):
                return node.value[step], node.value[step]
            return None
        if not isinstance(node, MappingNode):
            return None
        if id(node) not in self.children:
            builder = _Builder("")
            known: dict[Key, tuple[Node, Node]] = {}
            for key, value in node.value:
                name = builder.build(key) if isinstance(key, ScalarNode) and key.value else None
                if isinstance(name, str | int):
                    known.setdefault(name, (key, value))
            self.children[id(node)] = known
        return self.children[id(node)].get(step)


def parse(text: str, path: str) -> Document:
    """The document that *text*, the content of file *path*, holds.

    Raises ScenarioError if it is not YAML or holds nothing.
    """
    lone = _SURROGATE.search(text)
    if lone is not None:
        message = "half of a surrogate pair; expected text"
        raise ScenarioError(message, path, *_place_of(lone.start(), text))
    _check_depth(text, path)
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, path) from None
    except yaml.reader.ReaderError as error:
        raise _reader_error(error, text, path) from None
    if root is None:
        raise ScenarioError("the file is empty; expected a scenario with key 'machine'", path, 1, 1)
    builder = _Builder(path)
    return Document(builder.build(root), root, builder.errors, {})


class _Builder:
    """Makes plain data of nodes; goes on after a mistake, so as to find them all."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.errors: list[ScenarioError] = []
        self._done: dict[int, object] = {}
        self._open: set[int] = set()

    def build(self, node: Node) -> object:
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            return self._report(node, "an alias inside of what it stands for; expected no cycle")
        if id(node) not in self._done:
            self._open.add(id(node))
            self._done[id(node)] = self._collection(node)
            self._open.remove(id(node))
        return self._done[id(node)]

    def _collection(self, node: Node) -> object:
        if node.tag not in (_TAG + "map", _TAG + "seq"):
            return self._report(node, f"unknown tag {shown(node.tag)}; expected no tag")
        if isinstance(node, SequenceNode):
            return tuple(self.build(item) for item in node.value)
        data: dict[Key, object] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key is None:
                continue
            if key in data:
                self._report(key_node, f"duplicate key {shown(key)}; expected it once")
                continue
            data[key] = self.build(value_node)
        return data

    def _key(self, node: Node) -> Key | None:
        key = self._scalar(node) if isinstance(node, ScalarNode) else None
        if isinstance(key, bool):
            self._report(
                node, f"YAML reads key {node.value} as {shown(key)}; expected it in quotes"
            )
            return None
        if isinstance(key, str | int):
            return key
        written = shown(node.value) if isinstance(node, ScalarNode) else "a collection"
        self._report(node, f"{written} cannot be a key; expected a name or a number")
        return None

    def _scalar(self, node: ScalarNode) -> object:
        kind = node.tag.removeprefix(_TAG)
        if kind in ("str", "timestamp", "merge", "value"):
            return node.value
        if kind == "null":
            return None
        construct = {
            "int": _SCALARS.construct_yaml_int,
            "float": _SCALARS.construct_yaml_float,
            "bool": _SCALARS.construct_yaml_bool,
        }.get(kind)
        if construct is None:
            return self._report(node, f"unknown tag {shown(node.tag)}; expected no tag")
        try:
            return construct(node)
        except (ValueError, KeyError, IndexError, OverflowError):
            return self._report(node, f"{shown(node.value)} is not a number that can be used here")

    def _report(self, node: Node, message: str) -> object:
        self.errors.append(ScenarioError(message, self.path, *_mark(node)))
        return None


def _mark(node: Node) -> tuple[int, int]:
    return _place(node.start_mark)


def _place(mark: Any) -> tuple[int, int]:  # Any: libyaml's Mark or PyYAML's
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _check_depth(text: str, path: str) -> None:
    """Refuse deep nesting before libyaml's recursion meets it."""
    place, read = _too_deep(text)
    if place is None and read is not None:
        # libyaml reads ahead, and with a limit of its own: it may give up before it tells of
        # what it has read so far, which is deep enough.
        place, _ = _too_deep(text[:read])
    if place is not None:
        message = f"nested more than {MAX_DEPTH} deep; expected a scenario"
        raise ScenarioError(message, path, *place)


def _too_deep(text: str) -> tuple[tuple[int, int] | None, int | None]:
    """Where nesting becomes too deep, and how much was read if the parser gives up before.

    Composing meets again what makes it give up, and reports it.
    """
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                return _place(event.start_mark), None
    except yaml.MarkedYAMLError as error:
        return None, error.problem_mark.index if error.problem_mark else None
    except yaml.YAMLError:
        return None, None
    return None, None


def _syntax_error(error: yaml.MarkedYAMLError, text: str, path: str) -> ScenarioError:
    problem = error.problem or "it cannot be read"
    context = f"{error.context}, " if error.context else ""
    mark = error.problem_mark
    if mark and "cannot start any token" in problem and text[mark.index : mark.index + 1] == "\t":
        context, problem = "", "a tab where a line or a value begins; YAML is indented by spaces"
    message = f"not YAML: {context}{problem}; expected valid YAML"
    return ScenarioError(message, path, *_place(error.problem_mark or error.context_mark))


def _reader_error(error: "yaml.reader.ReaderError", text: str, path: str) -> ScenarioError:
    message = f"not YAML: {error.reason}; expected text without control characters"
    return ScenarioError(message, path, *_place_of(error.position, text))


def _place_of(index: int, text: str) -> tuple[int, int]:
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)
