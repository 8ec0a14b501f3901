"""The mutants of a source file: what is left when one small thing in it is wrong.

An operator, a number or a condition is another one, or a statement is not there. Left out is what
no behaviour hangs on: docstrings and other text, annotations, decorators, assertions, what is
imported for types alone, and `strict=` of zip().
"""

import ast
from collections.abc import Iterator
from types import EllipsisType
from typing import NamedTuple

_OTHER: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
_REMOVABLE = (ast.AugAssign, ast.Raise, ast.Continue, ast.Break)


class Mutant(NamedTuple):
    """A change of one place: *text* for what lies between two offsets."""

    path: str
    start: int  # in bytes
    end: int
    text: str
    lines: range  # of the statement, from 1

    def applied(self, source: bytes) -> bytes:
        """The file with the change."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def line(self, source: bytes) -> int:
        """Where it is."""
        return source.count(b"\n", 0, self.start) + 1

    def shown(self, source: bytes) -> tuple[str, str]:
        """What stood on its lines, and what stands there now."""
        first = source.rfind(b"\n", 0, self.start) + 1
        last = source.find(b"\n", self.end)
        new = source[first : self.start] + self.text.encode() + source[self.end : last]
        old = source[first:last]
        return " ".join(old.decode().split()), " ".join(new.decode().split())


def mutants(path: str, source: bytes) -> list[Mutant]:
    """All that *source* has, by their places; *path* names it."""
    sizes = [0]
    for line in source.splitlines(keepends=True):
        sizes.append(sizes[-1] + len(line))
    tree = ast.parse(source)
    found = []
    for node, new, lines in _of_block(tree.body):
        start = sizes[node.lineno - 1] + node.col_offset
        end = sizes[node.end_lineno - 1] + node.end_col_offset
        found.append(Mutant(path, start, end, new, lines))
    return sorted(found, key=lambda mutant: mutant[:4])


def _of_block(block: list[ast.stmt]) -> Iterator[tuple[ast.AST, str, range]]:
    for at, statement in enumerate(block):
        if isinstance(statement, ast.Assert | ast.Import | ast.ImportFrom) or _is_text(statement):
            continue
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            continue
        yield from _of_statement(statement, is_last=at == len(block) - 1)


def _of_statement(statement: ast.stmt, is_last: bool) -> Iterator[tuple[ast.AST, str, range]]:
    inner = [
        part
        for name in ("body", "orelse", "finalbody", "handlers", "cases")
        for part in getattr(statement, name, [])
    ]
    end = min((part.lineno if hasattr(part, "lineno") else 0 for part in inner), default=0)
    lines = range(statement.lineno, max(end, statement.lineno + 1))
    if not inner:
        lines = range(statement.lineno, statement.end_lineno + 1)
        if _is_removable(statement, is_last):
            yield statement, "pass", lines
    if not isinstance(statement, ast.Raise):
        for node, new in _of_expressions(statement):
            yield node, new, lines
    for name in ("body", "orelse", "finalbody"):
        yield from _of_block(getattr(statement, name, []))
    for part in [*getattr(statement, "handlers", []), *getattr(statement, "cases", [])]:
        yield from _of_block(part.body)


def _is_removable(statement: ast.stmt, is_last: bool) -> bool:
    """Whether a program without it is a program; a name that is bound must be."""
    if isinstance(statement, ast.Assign):
        return not isinstance(statement.targets[0], ast.Name | ast.Tuple)
    if isinstance(statement, ast.Return):
        return not is_last or statement.value is None
    return isinstance(statement, (ast.Expr, *_REMOVABLE))


def _of_expressions(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """The changes of the expressions that belong to *node* itself, no matter how deep."""
    if isinstance(node, ast.AugAssign):
        yield node, f"{ast.unparse(node.target)} {_sign(node.op)}= {ast.unparse(node.value)}"
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "type_params", "keywords"):
            if name == "keywords" and isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if keyword.arg != "strict":
                        yield from _of_expression(keyword.value)
            continue
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.expr):
                yield from _of_expression(part, name in ("test", "ifs"))
            elif isinstance(part, ast.AST) and not isinstance(
                part, ast.stmt | ast.ExceptHandler | ast.match_case
            ):
                yield from _of_expressions(part)


def _of_expression(node: ast.expr, is_condition: bool = False) -> Iterator[tuple[ast.AST, str]]:
    if isinstance(node, ast.JoinedStr):
        return
    if is_condition and not isinstance(node, ast.Compare | ast.UnaryOp):
        yield node, f"(not ({ast.unparse(node)}))"
    for new in _others(node):
        yield node, f"({ast.unparse(new)})"
    yield from _of_expressions(node)


def _others(node: ast.expr) -> Iterator[ast.expr]:
    """What may stand in the place of *node*."""
    match node:
        case ast.Compare(left, ops, comparators):
            for i, op in enumerate(ops):
                yield ast.Compare(left, [*ops[:i], _OTHER[type(op)](), *ops[i + 1 :]], comparators)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(_OTHER[type(op)](), values)
        case ast.BinOp(left, op, right) if type(op) in _OTHER and not _is_text(left):
            yield ast.BinOp(left, _OTHER[type(op)](), right)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() | float() as value):
            yield ast.Constant(value + 1)


def _sign(op: ast.operator) -> str:
    other = _OTHER[type(op)]()
    return ast.unparse(ast.BinOp(ast.Name("a"), other, ast.Name("b")))[2:-2]


def _is_text(node: ast.AST) -> bool:
    value = node.value if isinstance(node, ast.Expr) else node
    return isinstance(value, ast.JoinedStr) or (
        isinstance(value, ast.Constant) and isinstance(value.value, str | EllipsisType)
    )
