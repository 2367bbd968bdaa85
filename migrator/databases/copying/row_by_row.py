"""The slow copy of a chunk with rows that cannot be stored: it finds them, and copies the others."""

from __future__ import annotations

import time
import traceback
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any

from django.db import Error, transaction

from ..chunks import Bounds
from ..engines.base.engine import Engine
from ..engines.base.errors import Severity
from ..engines.base.session import Row
from ..engines.base.values import Unreadable, Unstorable
from ..planning.foreign_keys import constrained
from ..planning.key_lookup import LOOKUP
from ..planning.table_route import ReadFailed, Route, severity_of
from ..primary_keys import key_text
from ..row_counts import RowCounts
from ..row_reader import RowReader
from ..tables import Reference
from .read_back import NotReadBack, read_back
from .refusal_reasons import reason_for
from .rejects import NO_KEY, Problem, Rejects, row_of

ADVICE = "Correct the row in the source."


def copy_row_by_row(route: Route, bounds: Bounds, number: int, rejects: Rejects) -> RowCounts:
    """Copy a chunk's rows, and add every row that cannot be stored to ``rejects``, with the chunk's ``number``."""
    return _RowByRowCopy(route, number, rejects).run(bounds)


def release_values(error: BaseException | None) -> None:
    """Release the rows that the frames of an error and of its causes refer to: they may be large."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


class _RowByRowCopy:
    """Copies a chunk by halves of what the database refuses, down to the rows that cannot be stored or converted."""

    def __init__(self, route: Route, number: int, rejects: Rejects) -> None:
        self._route, self._number, self._rejects = route, number, rejects
        self._names = [conversion.column.name for conversion in route.conversions]
        self._expressions = [conversion.expression for conversion in route.conversions]
        self._writer = route.row_writer()
        self._read_back = read_back(route)
        self._counts = RowCounts()

    def run(self, bounds: Bounds) -> RowCounts:
        started = time.perf_counter()
        with closing(self._batches(bounds)) as batches:
            for batch in batches:
                self._copy(batch)
        self._counts.writing += time.perf_counter() - started
        return self._counts

    def _batches(self, bounds: Bounds) -> Generator[Sequence[Row]]:
        route = self._route
        reader = RowReader(route.source, route.table, self._names, self._expressions, route.restriction)
        try:
            with closing(reader.rows(bounds)) as batches:
                yield from batches
        except Error as error:
            raise ReadFailed(str(error)) from error

    def _reject_unreadable(self, row: Row) -> None:
        """Reject a row with all of its values; those that cannot be read are kept as bytes."""
        table = self._route.table
        unreadable = [
            (conversion.column.attname, value)
            for conversion, value in zip(self._route.conversions, row, strict=True)
            if isinstance(value, Unreadable)
        ]
        read = row_of(self._names, row)
        values = {name: value.stored if isinstance(value, Unreadable) else value for name, value in read.items()}
        key = key_text(table, [read[name] for name in table.key])
        fields, reason = ", ".join(name for name, _ in unreadable), unreadable[0][1].reason
        problem = Problem(table.label, table.name, key, fields, "value", reason, "read", ADVICE)
        self._counts.rows_rejected += 1
        self._rejects.add(problem, values, self._number)

    def _copy(self, batch: Sequence[Row]) -> None:
        pairs = []
        for raw in batch:
            self._counts.rows_read += 1
            if any(isinstance(value, Unreadable) for value in raw):
                self._reject_unreadable(raw)
                continue
            converted = self._convert(raw)
            if converted is not None:
                pairs.append((raw, converted))
        if pairs:
            self._write(pairs)

    def _convert(self, raw: Row) -> Row | None:
        values = []
        for conversion, value in zip(self._route.conversions, raw, strict=True):
            try:
                values.append(value if value is None or conversion.convert is None else conversion.convert(value))
            except Unstorable as error:
                self._reject(raw, conversion.column.attname, error.kind, error.reason, "value", error.advice)
                return None
            except Exception as error:
                reason = f"its conversion failed with {type(error).__name__}"
                self._reject(raw, conversion.column.attname, type(value).__name__, reason, "value", ADVICE)
                return None
        return tuple(values)

    def _write(self, pairs: Sequence[tuple[Row, Row]]) -> None:
        if (error := self._refusal(pairs)) is None:
            return
        if len(pairs) == 1:
            self._reject_written(pairs[0], error)
        elif orphans := self._orphans(pairs, error):
            self._reject_all([pairs[number] for number in sorted(orphans)], error)
            if others := [pair for number, pair in enumerate(pairs) if number not in orphans]:
                self._write(others)
        else:
            half = len(pairs) // 2
            self._write(pairs[:half])
            self._write(pairs[half:])

    def _refusal(self, pairs: Sequence[tuple[Row, Row]]) -> Exception | None:
        """Write rows; return the error if the destination refuses some of them."""
        route = self._route
        try:
            with transaction.atomic(using=route.dest.alias):
                size = self._writer.write([converted for _, converted in pairs])
                self._writer.finish()
                if not route.binds_late:
                    route.dest.bind_now()
                if self._read_back is not None:
                    self._read_back.check_rows([raw for raw, _ in pairs])
        except Exception as error:
            if severity_of(route, error) is not Severity.DATA:
                raise
            release_values(error)
            return error
        self._counts.rows_written += len(pairs)
        self._counts.bytes_written += size
        return None

    def _reject_written(self, pair: tuple[Row, Row], error: Exception) -> None:
        raw, converted = pair
        if isinstance(error, Unstorable):
            self._reject(
                raw,
                error.field if isinstance(error, NotReadBack) else None,
                error.kind,
                error.reason,
                "value",
                error.advice,
            )
            return
        position = self._refused_column(converted, error)
        if position is not None:
            conversion = self._route.conversions[position]
            reason = f"the driver cannot send it ({type(error).__name__})"
            kind = type(raw[position]).__name__
            self._reject(raw, conversion.column.attname, kind, reason, "value", ADVICE)
            return
        self._reject_all([pair], error)

    def _orphans(self, pairs: Sequence[tuple[Row, Row]], error: Exception) -> set[int]:
        """Return which rows have no parent, as numbers, if a foreign key refused one of them.

        The parents may be among the rows if it refers to the same table: such rows are found one by one.
        """
        dest, table = self._route.dest, self._route.table
        if not dest.is_missing_parent(error):
            return set()
        column = dest.fault(error, table.name).column
        reference = next((one for one in constrained(table) if one.column == column), None)
        if reference is None or reference.target_table == table.name:
            return set()
        position = self._names.index(reference.column)
        values = [converted[position] for _, converted in pairs]
        found: set[int] = set()
        for start in range(0, len(values), LOOKUP):
            page = values[start : start + LOOKUP]
            found.update(start + number for number in _without_parent(dest, table.name, reference, page))
        return found

    def _reject_all(self, pairs: Sequence[tuple[Row, Row]], error: Exception) -> None:
        """Reject rows that the destination refuses for the same reason."""
        raw, converted = pairs[0]
        fault = self._route.dest.fault(error, self._route.table.name)
        found = reason_for(self._route, row_of(self._names, converted), fault)
        kinds = row_of(self._names, raw)
        kind = type(kinds[fault.column]).__name__ if fault.column in kinds else "row"
        for raw, _ in pairs:
            self._reject(raw, found.fields, kind, found.reason, fault.code, ADVICE)

    def _refused_column(self, converted: Row, error: Exception) -> int | None:
        """Return the position of the value that the driver could not encode; ``None`` after any other error."""
        if not isinstance(error, UnicodeError):
            return None
        for position, value in enumerate(converted):
            if isinstance(value, str):
                try:
                    value.encode()
                except UnicodeError:
                    return position
        return None

    def _reject(self, raw: Row, field: str | None, kind: str, reason: str, code: str, advice: str) -> None:
        row = row_of(self._names, raw)
        table = self._route.table
        key = key_text(table, [row[name] for name in table.key]) if table.key else NO_KEY
        self._counts.rows_rejected += 1
        self._rejects.add(Problem(table.label, table.name, key, field, kind, reason, code, advice), row, self._number)


def _without_parent(dest: Engine, table: str, reference: Reference, values: Sequence[Any]) -> list[int]:
    """Return the positions of the foreign key's ``values`` that no row of the parent table has.

    The server compares them as its constraint does.
    """
    typed = dest.typed_parameter(dest.catalogue.stored_columns(table)[reference.column])
    asked = " UNION ALL ".join(f"SELECT {number} AS number_, {typed} AS value_" for number in range(len(values)))
    parent = f"SELECT 1 FROM {dest.quote(reference.target_table)} parent"
    equal = f"parent.{dest.quote(reference.target_column)} = asked.value_"
    sql = f"SELECT number_ FROM ({asked}) asked WHERE value_ IS NOT NULL AND NOT EXISTS ({parent} WHERE {equal})"
    return [number for (number,) in dest.fetch_all(sql, values)]
