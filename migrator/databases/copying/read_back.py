"""Values that went through a field's own conversions, read back from the destination before they are committed.

Such conversions need not be each other's inverse: one may encode a value twice, another may round it. That shows only
when the field reads the value back.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing

from ..chunks import Bounds, Restriction
from ..engines.base.session import Row
from ..engines.base.values import Unstorable
from ..planning.columns import Way
from ..planning.table_route import Route
from ..verification.compared_side import ComparedSide, sides
from ..verification.rows import LOOKUP, Found, RowDifference, compare_rows, differing_rows


class NotReadBack(Unstorable):
    """A value that its field does not read back unchanged. ``field``: the attributes in question."""

    def __init__(self, difference: RowDifference) -> None:
        super().__init__(
            "value",
            "the field does not read it back unchanged from the destination",
            "Check that its conversions to and from the database are each other's inverse.",
        )
        self.field = ", ".join(difference.fields) or None


class ReadBack:
    """Compares the columns of a table that went through their fields with what was just written."""

    def __init__(self, source: ComparedSide, dest: ComparedSide, names: Iterable[str]) -> None:
        chosen = {*source.table.key, *names}
        self._positions = [at for at, reading in enumerate(source.readings) if reading.column.name in chosen]
        self._source, self._dest = source.narrowed(chosen), dest.narrowed(chosen)

    def check(self, bounds: Bounds, restriction: Restriction | None) -> None:
        """Compare the rows of a range. Raises :exc:`NotReadBack` for the first that differs."""
        self._raise_first(differing_rows(self._source, self._dest, bounds, restriction, Found()))

    def check_rows(self, rows: Sequence[Row]) -> None:
        """Compare rows as the source's driver returned them. Raises :exc:`NotReadBack` for the first that differs."""
        for start in range(0, len(rows), LOOKUP):
            page = [tuple(row[at] for at in self._positions) for row in rows[start : start + LOOKUP]]
            self._raise_first(compare_rows(self._source, self._dest, [self._source.neutral(row) for row in page]))

    def _raise_first(self, differences: Generator[RowDifference]) -> None:
        # Closed at once: a session of MySQL with an open result runs nothing else (manual, "Commands out of sync").
        with closing(differences):
            if (difference := next(differences, None)) is not None:
                raise NotReadBack(difference)


def read_back(route: Route) -> ReadBack | None:
    """Return the comparison for a table; ``None`` if none of its columns go through their fields, or it has no key."""
    names = [conversion.column.name for conversion in route.conversions if conversion.way is Way.FIELD]
    if not (names and route.table.key):
        return None
    compared = sides(route.table, route.ends, route.mappings)
    return ReadBack(*compared, names)
