"""Parts of a range of rows, by their keys: where the range differs, it is mostly in a few of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ..chunks import Bounds, Restriction
from ..engines.base.engine import Engine
from ..planning.columns import RowTexts

# Of a range, where its keys are whole numbers.
PARTS = 64
# Else a part has about so many rows, if that takes no more hexadecimal digits.
PART_ROWS, MOST_DIGITS = 1_000, 4
# That a statement names; some databases take no more than 999 parameters.
MOST_PARTS = 500
# To look at all rows of a smaller range is cheaper.
FEWEST_ROWS = 1_000


@dataclass(frozen=True)
class Segments:
    """The part that a row belongs to, as SQL of both databases; nearly always the same where the keys are."""

    here: str
    there: str

    def chosen(self, parts: Collection[Any]) -> tuple[Restriction, Restriction]:
        """Give the condition that the rows of these parts meet, on both sides."""
        marks = ", ".join(["%s"] * len(parts)) or "NULL"
        return (
            Restriction(f"{self.here} IN ({marks})", tuple(parts)),
            Restriction(f"{self.there} IN ({marks})", tuple(parts)),
        )


def segments_of_numbers(source: Engine, dest: Engine, key: str, bounds: Bounds, rows: int) -> Segments:
    """Cut a range with so many ``rows``, whose key is a whole number, into parts that follow each other."""
    ends = [end[0] for end in (bounds.lower, bounds.upper) if end is not None and type(end[0]) is int]
    width = max(1, (ends[1] - ends[0] if len(ends) == 2 else rows) // PARTS)
    return Segments(source.digests.segment_of_number(key, width), dest.digests.segment_of_number(key, width))


def segments_of_texts(source: Engine, dest: Engine, keys: RowTexts, rows: int) -> Segments:
    """Cut ``rows`` rows by the digests of their keys' texts."""
    digits = next((digits for digits in range(1, MOST_DIGITS) if rows < PART_ROWS * 16**digits), MOST_DIGITS)
    return Segments(source.digests.segment_of_text(keys.here, digits), dest.digests.segment_of_text(keys.there, digits))
