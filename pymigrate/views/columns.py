"""Tables of text, as the pictures and reports have them."""


def aligned(table: list[list[str]], left: set[int], gap: str = " ") -> list[str]:
    """The lines of *table*, each column as wide as its widest cell; those in *left* begin there."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        gap.join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        for cells in table
    ]
