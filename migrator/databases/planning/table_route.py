"""A table's route from the source to the destination: how its rows are read and written."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..chunks import Bounds, Restriction, order_by, where_clause
from ..engines.base.engine import Engine
from ..engines.base.errors import Severity
from ..engines.base.loading import Target, TextWriter, Writer
from ..engines.base.server_lines import Block
from ..tables import Table
from .columns import Conversion, Stored, TableEnds, Way
from .transports import BinaryStream, ConvertedRows, ServerSideCopy, TextStream, Transport


class ReadFailed(Exception):
    """Reading the source failed; the cause is its error."""


@dataclass(frozen=True)
class Route:
    """A table's route from the source to the destination."""

    table: Table
    source: Engine
    dest: Engine
    # These check each value; a row that a faster transport cannot bring is copied by them.
    conversions: tuple[Conversion, ...]
    # The columns as each database's catalogue describes them, by name.
    stored: Stored
    dest_stored: Stored
    transport: Transport
    restriction: Restriction | None = None
    # The table's foreign keys hold only when its whole group has been copied.
    binds_late: bool = False
    # Each transaction disables the table's triggers for its own rows.
    disables_triggers: bool = False

    @property
    def ends(self) -> TableEnds:
        """Both databases, and how they store the table's columns."""
        return TableEnds(self.source, self.dest, self.stored, self.dest_stored)

    def restricted_to(self, restriction: Restriction) -> Route:
        """Return the route for some rows of the table, which are not copied by the destination itself."""
        transport = self.transport.fallback if isinstance(self.transport, ServerSideCopy) else self.transport
        return replace(self, restriction=restriction, transport=transport)

    def guarded(self) -> Route:
        """Return the route for rows that were not examined before: each of their values is checked."""
        return replace(self, transport=ConvertedRows(self.conversions))

    def copy_within(self, bounds: Bounds) -> tuple[int, int] | None:
        """Have the destination copy a chunk itself; return the rows and bytes, or ``None`` if it cannot now."""
        where, params = where_clause(self.dest, self.table.key, bounds, None)
        names = [conversion.column.name for conversion in self.conversions]
        # A whole table is copied in the order in which it is stored.
        tail = where + order_by(self.dest, self.table.key) if where else ""
        return self.dest.copy_within(self.table.name, names, tail, params)

    def rows_within(self, rows: int) -> int:
        """Return how many rows, of so many in the table, the destination itself can copy in one chunk, or 0."""
        return self.dest.rows_within(rows) if isinstance(self.transport, ServerSideCopy) else 0

    @property
    def method(self) -> str:
        """The name of the transport in reports."""
        match self.transport:
            case ServerSideCopy():
                return "within the destination"
            case BinaryStream():
                return "binary"
            case TextStream():
                return "text"
            case ConvertedRows():
                by_field = [c.column.attname for c in self.conversions if c.way is Way.FIELD]
                return f"rows; through the field: {', '.join(by_field)}" if by_field else "rows"

    @property
    def mappings(self) -> Mapping[str, Mapping[Any, Any]]:
        """The values that are replaced, by column."""
        return {c.column.name: c.mapping for c in self.conversions if c.mapping is not None}

    def query(self, bounds: Bounds, expressions: Sequence[str]) -> tuple[str, list[Any]]:
        """Build the query for a chunk's rows, in the order of their primary keys."""
        where, params = where_clause(self.source, self.table.key, bounds, self.restriction)
        ordering = order_by(self.source, self.table.key, table=self.table.name)
        return f"SELECT {', '.join(expressions)} FROM {self.source.quote(self.table.name)}{where}{ordering}", params

    def writer(self) -> Writer:
        """Open the destination's bulk loader."""
        return self.dest.writer(self.table.name, self._targets)

    def row_writer(self) -> Writer:
        """Open the destination's loader for rows that include one that it rejects."""
        return self.dest.row_writer(self.table.name, self._targets)

    def text_writer(self) -> TextWriter | None:
        """Open the destination's loader of lines of text; ``None`` if it loads none at the moment."""
        return self.dest.text_writer(self.table.name, self._targets)

    def binary_writer(self) -> TextWriter:
        """Open the destination's loader of its own binary form."""
        return self.dest.binary_writer(self.table.name, self._targets)

    def lines(self, bounds: Bounds) -> Generator[Block]:
        """Read a chunk of a streamed table in blocks, in the order of its keys; the caller closes the generator."""
        lines = self.source.lines
        match self.transport:
            case BinaryStream(fields):
                return lines.read_binary(*self.query(bounds, [lines.selected(fields)]))
            case TextStream(fields):
                return lines.read(*self.query(bounds, [lines.selected(fields)]))
        raise TypeError(f"{self.table.label} is not streamed")

    @property
    def _targets(self) -> list[Target]:
        return [conversion.target for conversion in self.conversions]


def severity_of(route: Route, error: Exception) -> Severity:
    """Return how severe an error of a copy is, whichever database raised it."""
    if isinstance(error, ReadFailed):
        cause = error.__cause__ or error
        return Severity.DATA if route.source.is_about_rows(cause) else route.source.severity(cause)
    if isinstance(error, ValueError | OverflowError | ArithmeticError | TypeError):  # a conversion's own
        return Severity.DATA
    return route.dest.severity(error)
