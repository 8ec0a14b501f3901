"""What may be wrong with a line, and what is left alone."""

import pytest

from tests.mutants.__main__ import ROOT, equivalents
from tests.mutants.mutate import mutants


def changed(source: str) -> list[str]:
    """The lines of all its mutants."""
    text = source.encode()
    return [mutant.shown(text)[1] for mutant in mutants("x.py", text)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b\n", ["(a <= b)", "pass"]),
        ("x = a <= b != c\n", ["x = (a < b != c)", "x = (a <= b == c)"]),
        ("x = a and -b\n", ["x = (a or -b)", "x = a and (b)"]),
        ("x = not a + 1\n", ["x = (a + 1)", "x = not (a - 1)", "x = not a + (2)"]),
        ("x.y = True\n", ["pass", "x.y = (False)"]),
        ("x |= y\n", ["pass", "x &= y"]),
        ("if a: f()\n", ["if (not (a)): f()", "if a: pass"]),
        ("zip(a, b, strict=True)\n", ["pass"]),
        ("def f(x: int = 2) -> int:\n    return x\n", ["def f(x: int = (3)) -> int:"]),
        ('"""1"""\nassert a < b\nx = f"{1 + 1}"\n@f(1)\ndef g(): ...\n', []),
        ("if TYPE_CHECKING:\n    f(1)\nfrom a import b\n", []),
    ],
)
def test_a_line_has_these_mutants(source: str, expected: list[str]) -> None:
    assert changed(source) == expected


def test_a_mutant_knows_its_statement_whose_tests_are_run() -> None:
    source = b"if (a\n    and b):\n    f()\n"
    assert {mutant.lines for mutant in mutants("x.py", source)} == {range(1, 3), range(3, 4)}


def test_what_is_left_out_as_equivalent_is_there() -> None:
    files = {path: (ROOT / path).read_bytes() for path, *_ in equivalents()}
    there = {
        (path, *mutant.shown(source))
        for path, source in files.items()
        for mutant in mutants(path, source)
    }
    assert equivalents() <= there
