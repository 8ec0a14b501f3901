"""Where in a YAML text each part of its data stands, and what its scalars stand for."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pymigrate.errors import ScenarioError
from pymigrate.records import NamedTuple
from pymigrate.scenario.text.fields import shown

Path = tuple[str | int, ...]
Key = str | int

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
TAG = "tag:yaml.org,2002:"
_SCALARS = SafeConstructor()


class Mistake(NamedTuple):
    """What is wrong at a path of the data: in the value there, or in its key."""

    path: Path
    message: str
    at_key: bool = False


class Document:
    """A YAML text: its plain data, what is wrong with it as YAML, and where each part stands.

    The tree of nodes, which tells that, is only made for the first mistake.
    """

    def __init__(self, text: str, data: object, errors: list[ScenarioError]) -> None:
        self.data, self.errors = data, errors
        self._text = text
        self._children: dict[int, dict[Key, tuple[Node, Node]]] = {}  # of the nodes seen so far

    @cached_property
    def _root(self) -> Node:
        root = yaml.compose(self._text, Loader=LOADER)
        assert root is not None, "it holds something"
        return root

    def position(self, path: Sequence[Key], at_key: bool = False) -> tuple[int, int]:
        """Line and column, from 1, of what *path* leads to.

        Steps of *path* that lead nowhere are passed over: the place is that of what holds it.
        """
        node = holder = self._root
        for step in path:
            found = self._child(node, step)
            if found is not None:
                holder, node = found
        return place((holder if at_key else node).start_mark)

    def text(self, path: Sequence[Key]) -> str:
        """The scalar at *path* as it is written, without quotes; "" if there is none."""
        node = self._root
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
        if id(node) not in self._children:
            known: dict[Key, tuple[Node, Node]] = {}
            for key, value in node.value:
                name = None
                with suppress(ValueError):
                    name = construct(key) if isinstance(key, ScalarNode) and key.value else None
                if isinstance(name, str | int):
                    known.setdefault(name, (key, value))
            self._children[id(node)] = known
        return self._children[id(node)].get(step)


def construct(node: ScalarNode) -> object:
    """What a scalar stands for. Raises ValueError."""
    kind = node.tag.removeprefix(TAG)
    if kind in ("str", "timestamp", "merge", "value"):
        return node.value
    if kind == "null":
        return None
    number = {
        "int": _SCALARS.construct_yaml_int,
        "float": _SCALARS.construct_yaml_float,
        "bool": _SCALARS.construct_yaml_bool,
    }.get(kind)
    if number is None:
        raise ValueError(f"unknown tag {shown(node.tag)}; expected no tag")
    try:
        return number(node)
    except (ValueError, KeyError, IndexError, OverflowError):
        raise ValueError(f"{shown(node.value)} is not a number that can be used here") from None


def place(mark: Any) -> tuple[int, int]:  # Any: libyaml's Mark or PyYAML's
    """Line and column, from 1."""
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)
