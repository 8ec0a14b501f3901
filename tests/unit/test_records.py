import ast
import pickle
from pathlib import Path

import pytest

from pymigrate.records import Factory, NamedTuple, field, names_of, record, replaced

ROOT = Path(__file__).parents[2] / "pymigrate"


class Point(NamedTuple):
    """Where something is."""

    x: int
    y: int = 2

    @property
    def length(self) -> int:
        """How far that is."""
        return abs(self.x) + abs(self.y)

    @classmethod
    def origin(cls) -> "Point":
        """Where all begins."""
        return cls(0, 0)


@record
class Basket:
    """What somebody carries."""

    owner: str
    nr: int = 3
    held: list[int] = field(default_factory=list)

    @property
    def weight(self) -> int:
        """All of it."""
        return self.nr * sum(self.held)


def test_named_tuple() -> None:
    point = Point(1)
    assert point == (1, 2)
    assert (point.x, point.y, point.length, point._replace(y=-5).length) == (1, 2, 3, 6)
    assert Point.origin() == (0, 0)
    assert repr(point) == "Point(x=1, y=2)"
    assert (Point.__doc__, Point.__module__, Point.__qualname__) == (
        "Where something is.",
        __name__,
        "Point",
    )
    assert pickle.loads(pickle.dumps(point)) == point
    with pytest.raises(TypeError, match="missing 1 required"):
        Point()  # type: ignore[call-arg]


def test_record() -> None:
    basket, other = Basket("a"), Basket("a", 4, [1, 2])
    assert (basket.owner, basket.nr, basket.held, other.weight) == ("a", 3, [], 12)
    assert basket.held is not Basket("a").held
    assert basket != Basket("a")
    assert Basket.__match_args__ == names_of(basket) == ("owner", "nr", "held")
    with pytest.raises(TypeError, match="missing 1 required"):
        Basket()  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        basket.weigth = 1  # type: ignore[attr-defined]


def test_what_fields_are_without_an_argument() -> None:
    defaults = Basket._field_defaults  # type: ignore[attr-defined]
    assert defaults["nr"] == 3
    assert isinstance(defaults["held"], Factory)
    assert set(defaults) == {"nr", "held"}


def test_copies_of_a_record() -> None:
    basket = Basket("a", 4, [1])
    other = replaced(basket, nr=5)
    assert (other.owner, other.nr, basket.nr) == ("a", 5, 4)
    assert other.held is basket.held
    again = pickle.loads(pickle.dumps(basket))
    assert [getattr(again, name) for name in names_of(again)] == ["a", 4, [1]]


def test_what_is_no_record_has_no_names() -> None:
    assert names_of(Point(1)) == names_of("x") == ()


def test_all_named_tuples_are_made_quickly() -> None:
    slow = [
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "typing"
        if any(name.name == "NamedTuple" for name in node.names)
    ]
    assert slow == ["records.py"]
