"""Segments of a range of rows, by their keys: if a range differs, it mostly does in a few of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ..chunks import Bounds, Restriction
from ..engines.base.engine import Engine
from ..planning.comparable_columns import RowTexts

# Of a range whose keys are whole numbers.
SEGMENTS = 64
# Of any other range, a segment has about so many rows, unless that takes more hexadecimal digits.
SEGMENT_ROWS, MOST_DIGITS = 1_000, 4
# That a statement names; some databases take no more than 999 parameters (SQLITE_MAX_VARIABLE_NUMBER before 3.32).
MOST_SEGMENTS = 500
# To compare all rows of a smaller range is cheaper.
FEWEST_ROWS = 1_000


@dataclass(frozen=True)
class Segments:
    """The segment that a row belongs to, as SQL of both databases; nearly always the same if the keys are."""

    here: str
    there: str

    def chosen(self, segments: Collection[Any]) -> tuple[Restriction, Restriction]:
        """Return the condition that the rows of these segments meet, for both sides."""
        marks = ", ".join(["%s"] * len(segments)) or "NULL"
        return (
            Restriction(f"{self.here} IN ({marks})", tuple(segments)),
            Restriction(f"{self.there} IN ({marks})", tuple(segments)),
        )


def segments_of_numbers(source: Engine, dest: Engine, key: str, bounds: Bounds, rows: int) -> Segments:
    """Divide a range with so many ``rows``, whose key is a whole number, into consecutive segments."""
    limits = [key[0] for key in (bounds.lower, bounds.upper) if key is not None and type(key[0]) is int]
    width = max(1, (limits[1] - limits[0] if len(limits) == 2 else rows) // SEGMENTS)
    return Segments(source.digests.segment_of_number(key, width), dest.digests.segment_of_number(key, width))


def segments_of_texts(source: Engine, dest: Engine, keys: RowTexts, rows: int) -> Segments:
    """Divide ``rows`` rows by the digests of their keys' texts."""
    digits = next((digits for digits in range(1, MOST_DIGITS) if rows < SEGMENT_ROWS * 16**digits), MOST_DIGITS)
    return Segments(source.digests.segment_of_text(keys.here, digits), dest.digests.segment_of_text(keys.there, digits))
