"""numastat's tables: columns of fixed or least width, folded to the screen, sorted, without zeros.

A cell is a text, a number, or RULE: a row of dashes one narrower than its column.
"""

from __future__ import annotations

from dataclasses import dataclass, field

RULE = None
Cell = str | float | int | None

_WIDTH = 16


@dataclass(slots=True)
class Row:
    """A row of the table's body: its label, its values, and whether it is shown in any case."""

    label: Cell
    values: list[Cell]
    is_rule: bool = False

    @property
    def has_data(self) -> bool:
        """Whether some value is not exactly 0."""
        return any(value for value in self.values)


@dataclass(slots=True)
class Table:
    """Header rows, each a label and a cell for each column, and the rows of the body.

    *widths* are those of the label's column and of the others, 16 if not given; *places* is how
    many digits numbers have after the point.
    """

    header: list[Row]
    rows: list[Row] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    places: int = 2

    def __post_init__(self) -> None:
        self.widths = self.widths or [_WIDTH] * (self.nr_columns + 1)

    @property
    def nr_columns(self) -> int:
        """The columns but the label's."""
        return len(self.header[0].values)

    def fit(self, column: int, least: int, most: int) -> None:
        """Make a column (0 is the label's) as wide as its widest cell and a blank.

        Mirrors auto_set_col_width(), numastat.c.
        """
        cells = [
            row.label if column == 0 else row.values[column - 1]
            for row in (*self.header, *self.rows)
        ]
        lengths = [len(self._text(cell, most)) for cell in cells if cell is not RULE]
        self.widths[column] = min(max([least, *lengths]) + 1, most)

    def sort(self, column: int) -> None:
        """Put the largest rows first, by the values of a column, above the first rule.

        Equal ones may change places. Mirrors sort_rows_descending_by_col(), numastat.c.
        """
        end = next((i for i, row in enumerate(self.rows) if row.is_rule), len(self.rows))
        for i in range(end):
            best = max(range(i, end), key=lambda j: (_number(self.rows[j].values[column]), -j))
            self.rows[i], self.rows[best] = self.rows[best], self.rows[i]

    def format(self, screen: int, *, zeros: bool = True) -> str:
        """The table for a screen so wide; without *zeros*, no rows and columns of nothing else.

        Mirrors display_table(), numastat.c.
        """
        rows = [*self.header, *(r for r in self.rows if zeros or r.is_rule or r.has_data)]
        shown = [zeros or self._has_data(column) for column in range(self.nr_columns)]
        if not any(shown):
            return "Table has no non-zero data.\n"
        sections = []
        first = 0
        while first < self.nr_columns:
            if not shown[first]:
                first += 1
                continue
            end = self._fold(first, shown, screen)
            columns = [column for column in range(first, end) if shown[column]]
            sections.append("".join(f"{self._line(row, columns)}\n" for row in rows))
            first = end
        return "\n".join(sections)

    def _fold(self, first: int, shown: list[bool], screen: int) -> int:
        """The column that the section that begins with *first* ends before."""
        width, column = self.widths[0], first
        while True:
            width += self.widths[column + 1] if shown[column] else 0
            column += 1
            if column == self.nr_columns or width + self.widths[column + 1] > screen:
                return column

    def _line(self, row: Row, columns: list[int]) -> str:
        width = self.widths[0]
        label = self._text(row.label, width).ljust(width)
        return label + "".join(
            self._text(row.values[column], self.widths[column + 1]).rjust(self.widths[column + 1])
            for column in columns
        )

    def _has_data(self, column: int) -> bool:
        return any(row.values[column] for row in self.rows)

    def _text(self, cell: Cell, width: int) -> str:
        if cell is RULE:
            return "-" * (width - 1)
        text = f"{cell:.{self.places}f}" if isinstance(cell, float) else str(cell)
        return text[:width]


def _number(cell: Cell) -> float:
    return cell if isinstance(cell, float | int) else 0.0
