"""Values too large for an index entry, found before the first write: the entry is built and rolled back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from django.db import Error

from ..chunks import Bounds, Restriction
from ..endpoints import Endpoints
from ..engines.base.catalogue import EntryLimit
from ..engines.base.session import Row, row_bytes
from ..engines.base.values import Limit, LimitName
from ..findings import Cause, Finding, FoundRows
from ..primary_keys import key_text
from ..row_reader import RowReader
from .destination_trials import converted_row
from .plan import TablePlan

EXAMPLES = 3
# How many of the values that may be too large are tried: those that repeat themselves are compressed, and fit.
MOST_TRIED, MOST_BYTES = 500, 32 * 1024 * 1024


def check_entries(endpoints: Endpoints, tables: Sequence[TablePlan]) -> Iterator[Finding]:
    """Find rows that an index of the destination rejects because of their size."""
    filled = [planned for planned in tables if planned.source_rows and planned.table.key]
    limits = endpoints.dest.catalogue.entry_limits([planned.table.name for planned in filled])
    for planned in filled:
        for limit in limits.get(planned.table.name, ()):
            try:
                found = list(_EntryTrial(planned, limit).too_large())
            except Error:  # no temporary table may be created there: recreating the index will show it
                endpoints.source.recover()
                continue
            if found:
                yield _finding(planned, limit, found)


def _finding(planned: TablePlan, limit: EntryLimit, found: Sequence[Row]) -> Finding:
    table = planned.table
    fields = ", ".join(column.attname for column in table.columns if column.name in limit.columns)
    examples = ", ".join(key_text(table, key) for key in found[:EXAMPLES])
    return Finding(
        f"{table.label}.{fields}",
        f"{len(found):,} of the rows tried {'is' if len(found) == 1 else 'are'} too large for an entry of the index "
        f"{limit.name!r} of {planned.route.dest.alias!r}, which can hold {limit.bytes:,} bytes after "
        f"compression (for example primary key {examples})",
        "Shorten the values in the source, or drop the index.",
        is_about_rows=True,
        rows=FoundRows(table.name, Cause.VALUE, lambda engine: found),
    )


@dataclass(frozen=True)
class _EntryTrial:
    """Builds index entries of a table's largest rows in the destination."""

    planned: TablePlan
    limit: EntryLimit

    def too_large(self) -> Iterator[Row]:
        """Yield the primary keys of rows whose entry the index rejects."""
        pairs = list(self._candidates())
        if pairs and not self._accepts([row for _, row in pairs]):
            yield from (key for key, row in pairs if not self._accepts([row]))

    def _accepts(self, rows: Sequence[Row]) -> bool:
        dest = self.planned.route.dest
        targets = [conversion.target for conversion in self.planned.route.conversions]

        def fill(probe: str) -> None:
            writer = dest.writer(probe, targets)
            writer.write(rows)
            writer.finish()

        return dest.catalogue.accepts_entries(self.limit, fill)

    def _candidates(self) -> Iterator[tuple[Row, Row]]:
        """Yield the primary keys of rows that may be too large, each with the row as it would be stored."""
        route, table = self.planned.route, self.planned.table
        restriction = self._restriction()
        if restriction is None:
            return
        names = [conversion.column.name for conversion in route.conversions]
        reader = RowReader(route.source, table, names, [c.expression for c in route.conversions], restriction)
        tried = size = 0
        keys = iter(reader.keys(Bounds(), MOST_TRIED))
        with closing(reader.rows(Bounds())) as batches:
            for batch in batches:
                for row in batch:
                    tried, size = tried + 1, size + row_bytes([row])
                    key = next(keys, None)
                    if key is None or size > MOST_BYTES:
                        return
                    if (converted := converted_row(route.conversions, row)) is not None:
                        yield key, converted

    def _restriction(self) -> Restriction | None:
        values, route = self.planned.route.source.values, self.planned.route
        share = self.limit.bytes // max(len(self.limit.columns), 1)
        larger = Limit(LimitName.LARGER_THAN, (share,), "too large for an index", "")
        # The destination fills the other columns itself.
        present = sorted(name for name in self.limit.columns if name in route.stored)
        columns = [(route.source.quote(name), route.stored[name]) for name in present]
        tests = [values.violation(larger, name, column) for name, column in columns]
        if not tests or any(test is None for test in tests):
            return None
        condition = " OR ".join(f"({test})" for test in tests)
        return Restriction(condition, ()).and_also(route.restriction)
