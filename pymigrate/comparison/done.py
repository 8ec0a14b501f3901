"""The rows of a sweep that was begun before: JSON Lines, one more as each is done."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pymigrate.comparison.outcome import Outcome
from pymigrate.comparison.variants import Variant


class Done:
    """A file of rows, each with the sum of the scenario's text that it is of."""

    def __init__(self, path: str, texts: Mapping[str, str], variants: Sequence[Variant]) -> None:
        """Read what is there of *variants* of the scenarios *texts*.

        A last line that was cut off is left out, and overwritten.
        Raises OSError, and ValueError for a file that holds anything else.
        """
        sums = {name: f"{zlib.crc32(text.encode()):08x}" for name, text in texts.items()}
        self.path, self.sums = path, {each.name: sums[each.scenario] for each in variants}
        self.rows: list[Outcome] = []
        self._length = 0
        try:
            with open(path, encoding="utf-8") as file:
                known = file.read()
        except FileNotFoundError:
            return
        *lines, _ = known.split("\n")
        for line in lines:
            row = json.loads(line)
            scenario, found = row.pop("scenario"), Outcome(**row)
            if self.sums.get(found.variant) == scenario:
                self.rows.append(found)
        self._length = sum(len(line.encode()) + 1 for line in lines)

    @property
    def names(self) -> set[str]:
        """The variants that are done."""
        return {row.variant for row in self.rows}

    def kept(self, rows: Iterable[Outcome]) -> Iterator[Outcome]:
        """*rows* as they come, each in the file by then."""
        with open(self.path, "ab") as file:
            file.truncate(self._length)
            for row in rows:
                line = json.dumps({"scenario": self.sums[row.variant], **row._asdict()})
                file.write(f"{line}\n".encode())
                file.flush()
                yield row
