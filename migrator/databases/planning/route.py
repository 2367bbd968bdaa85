"""A table's route from one database to the other: how its rows are read, and how they are written."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..chunks import Bounds, Restriction, order_by, where_clause
from ..engines.base.engine import Engine, Severity
from ..engines.base.lines import Block, LineField
from ..engines.base.loading import Target, TextWriter, Writer
from ..tables import Table
from .columns import Conversion, Stored, Way


class ReadFailed(Exception):
    """The source failed while it was read; the cause is its error."""


@dataclass(frozen=True)
class Route:
    """A table's way from one database to the other."""

    table: Table
    source: Engine
    dest: Engine
    conversions: tuple[Conversion, ...]
    # The columns as the catalogue of each side has them, by name.
    stored: Stored
    dest_stored: Stored
    restriction: Restriction | None = None
    # How the source renders each column of a line, where it and the destination can do without Python's values.
    fields: tuple[LineField, ...] | None = None
    # Both keep all columns alike, so that the rows need not become text.
    is_binary: bool = False
    # What each column needs where nothing was found against its values; ``None`` where they have to be looked at.
    trusted: tuple[Conversion, ...] | None = None
    # References are only right once a whole group of tables is there.
    binds_late: bool = False
    # Each transaction keeps the table's triggers from firing for its rows.
    silences_triggers: bool = False

    @property
    def is_within(self) -> bool:
        """Whether the destination reads the source by itself."""
        # A restriction may name other tables, which both have.
        is_raw = self.restriction is None and all(conversion.way is Way.RAW for conversion in self.conversions)
        return is_raw and self.dest.can_copy_within(self.source)

    def copy_within(self, bounds: Bounds) -> tuple[int, int] | None:
        """Let the destination copy a chunk by itself; return the rows and bytes, or ``None`` where it cannot now."""
        where, params = where_clause(self.dest, self.table.key, bounds, None)
        names = [conversion.column.name for conversion in self.conversions]
        tail = (
            where + order_by(self.dest, self.table.key) if where else ""
        )  # a whole table in the order it is stored in
        return self.dest.copy_within(self.table.name, names, tail, params)

    def rows_in_chunk(self, rows: int) -> int:
        """Tell how many rows, of so many in the table, the destination wants in a chunk at least."""
        return self.dest.rows_in_chunk(rows, is_within=self.is_within)

    @property
    def method(self) -> str:
        """Name the way for people."""
        if self.is_within:
            return "within the destination"
        if self.fields is not None:
            return "binary" if self.is_binary else "text"
        by_field = [c.column.attname for c in self.conversions if c.way is Way.FIELD]
        return f"rows; through the field: {', '.join(by_field)}" if by_field else "rows"

    @property
    def mappings(self) -> Mapping[str, Mapping[Any, Any]]:
        """By column, the values that are replaced on the way."""
        return {c.column.name: c.mapping for c in self.conversions if c.mapping is not None}

    def query(self, bounds: Bounds, expressions: Sequence[str]) -> tuple[str, list[Any]]:
        """Build the query for a chunk's rows, in the order of their keys."""
        where, params = where_clause(self.source, self.table.key, bounds, self.restriction)
        name, ordering = (
            self.source.quote(self.table.name),
            order_by(self.source, self.table.key, table=self.table.name),
        )
        return f"SELECT {', '.join(expressions)} FROM {name}{where}{ordering}", params

    def writer(self) -> Writer:
        """Open the destination's bulk loader."""
        return self.dest.writer(self.table.name, self._targets)

    def row_writer(self) -> Writer:
        """Open the destination's loader for rows of which one is in the way."""
        return self.dest.row_writer(self.table.name, self._targets)

    def text_writer(self) -> TextWriter | None:
        """Open the destination's loader of lines; ``None`` where the rows cannot travel as lines."""
        if self.fields is None:
            return None
        open_writer = self.dest.binary_writer if self.is_binary else self.dest.text_writer
        return open_writer(self.table.name, self._targets)

    def lines(self, bounds: Bounds) -> Generator[Block]:
        """Read a chunk as blocks of lines, in the order of their keys; it has to be closed."""
        lines = self.source.lines
        selected = lines.selected(self.fields or ())
        read = lines.read_binary if self.is_binary else lines.read
        return read(*self.query(bounds, [selected]))

    @property
    def _targets(self) -> list[Target]:
        return [conversion.target for conversion in self.conversions]


def severity_of(route: Route, error: Exception) -> Severity:
    """Tell what an error on the way asks for, whichever side it came from."""
    if isinstance(error, ReadFailed):
        cause = error.__cause__ or error
        return Severity.DATA if route.source.is_about_rows(cause) else route.source.severity(cause)
    if isinstance(error, ValueError | OverflowError | ArithmeticError | TypeError):  # a conversion's own
        return Severity.DATA
    return route.dest.severity(error)
