"""The guides, pymigrate/docs/, as text for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from textwrap import wrap

import click

_BULLET = re.compile(r"(- |\d+\. )(.*)")


def guides() -> dict[str, str]:
    """The guides: the text of each by its name."""
    folder = resources.files("pymigrate") / "docs"
    found = {path.name: path for path in folder.iterdir() if path.name.endswith(".md")}
    return {
        name.removesuffix(".md"): found[name].read_text(encoding="utf-8") for name in sorted(found)
    }


def title_of(guide: str) -> str:
    """The title of a guide's text."""
    return guide.partition("\n")[0].removeprefix("# ").replace("`", "")


def as_text(guide: str, width: int) -> str:
    """Markdown as it is read on a terminal *width* columns wide, with headings in bold."""
    return "".join(f"{line}\n" for block in _blocks(guide) for line in (*_lines(block, width), ""))


def _blocks(text: str) -> Iterator[list[str]]:
    """Paragraphs, items, tables and fenced blocks: what is told apart from its neighbours."""
    block: list[str] = []
    fenced = False
    for line in text.splitlines():
        starts = line.startswith("```")
        if fenced:
            block.append(line)
            fenced = not starts
        elif block and (not line or starts or line.startswith("#") or _BULLET.match(line)):
            yield block
            block = [line] if line else []
            fenced = starts
        elif line:
            block.append(line)
            fenced = starts
    if block:
        yield block


def _lines(block: list[str], width: int) -> list[str]:
    first = block[0]
    if first.startswith("```"):
        return [f"    {line}".rstrip() for line in block[1:-1]]
    if first.startswith("|"):
        return _table(block, width)
    text = _plain(" ".join(line.strip() for line in block))
    if heading := re.match(r"#+ ", text):
        return [click.style(text[heading.end() :], bold=True)]
    if item := _BULLET.match(text):
        return _wrapped(item[2], width, f"  {item[1]}", " " * (len(item[1]) + 2))
    return _wrapped(text, width)


def _table(rows: list[str], width: int) -> list[str]:
    """Each row as its first cell, and the others below it."""
    cells = [[_plain(cell.strip()) for cell in _cells(row)] for row in rows]
    heads, lines = cells[0], []
    for first, *others in cells[2:]:
        lines += _wrapped(first or "-", width, "  ", "  ")
        told = [
            f"{head}: {text}" if head and len(heads) > 2 else text
            for head, text in zip(heads[1:], others, strict=False)
            if text
        ]
        lines += [line for text in told for line in _wrapped(text, width, " " * 6, " " * 6)]
    return lines


def _cells(row: str) -> list[str]:
    return re.split(r"(?<!\\)\|", row.strip().strip("|"))


def _wrapped(text: str, width: int, first: str = "", others: str = "") -> list[str]:
    return wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _plain(text: str) -> str:
    """A line without Markdown: a link to another guide says how to read that."""
    text = re.sub(r"\[([\w-]+)\.md\]\(\1\.md[^)]*\)", r"`pymigrate help \1`", text)
    text = re.sub(r"\[([^]]+)\]\((\w+)\.md[^)]*\)", r"\1 (`pymigrate help \2`)", text)
    text = re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\*\*(.+?)\*\*", r"\1", text).replace("\\|", "|").replace("`", "")
