"""Values that went through a field's own converters, read from the destination again before they are committed.

Such converters need not be each other's inverse: one may encode a value twice, another may round it. Only what the
field reads back tells.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing

from ..chunks import Bounds, Restriction
from ..engines.base.session import Row
from ..engines.base.values import Unstorable
from ..planning.columns import Way
from ..planning.route import Route
from ..verification.compared_side import ComparedSide, sides
from ..verification.rows import LOOKUP, Found, RowDifference, compare_rows, differing_rows


class NotReadBack(Unstorable):
    """A value that its field does not read back as it was; ``field`` is the attribute that holds it."""

    def __init__(self, difference: RowDifference) -> None:
        super().__init__(
            "value",
            "the field does not read it back from the destination as it was",
            "Check that its conversions to and from the database are each other's inverse.",
        )
        self.field = ", ".join(difference.fields) or None


class ReadBack:
    """The comparison of one table's rows, as far as they went through fields, with what was just written."""

    def __init__(self, source: ComparedSide, dest: ComparedSide, names: Iterable[str]) -> None:
        chosen = {*source.table.key, *names}
        self._positions = [at for at, reading in enumerate(source.readings) if reading.column.name in chosen]
        self._source, self._dest = source.narrowed(chosen), dest.narrowed(chosen)

    def check(self, bounds: Bounds, restriction: Restriction | None) -> None:
        """Compare the rows of a range. Raises :exc:`NotReadBack` for the first that differs."""
        self._judge(differing_rows(self._source, self._dest, bounds, restriction, Found()))

    def check_rows(self, rows: Sequence[Row]) -> None:
        """Compare rows as the source's driver gave them. Raises :exc:`NotReadBack` for the first that differs."""
        for start in range(0, len(rows), LOOKUP):
            page = [tuple(row[at] for at in self._positions) for row in rows[start : start + LOOKUP]]
            self._judge(compare_rows(self._source, self._dest, [self._source.neutral(row) for row in page]))

    def _judge(self, differences: Generator[RowDifference]) -> None:
        # Closed at once, for a session of MySQL can do nothing else before.
        with closing(differences):
            if (difference := next(differences, None)) is not None:
                raise NotReadBack(difference)


def read_back(route: Route) -> ReadBack | None:
    """Return what compares a table's values that go through their fields; ``None`` if it has none, or no key."""
    names = [conversion.column.name for conversion in route.conversions if conversion.way is Way.FIELD]
    if not (names and route.table.key):
        return None
    compared = sides(route.table, route.source, route.dest, route.stored, route.dest_stored, route.mappings)
    return ReadBack(*compared, names)
