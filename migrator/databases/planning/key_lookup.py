"""Keys of one database looked up in the other, page by page, as each database's driver takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from ..chunks import Restriction, any_of
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..engines.base.values import Convert
from ..findings import Cause, FoundRows
from ..primary_keys import key_text
from ..tables import Column, Kind, Reference, Table, converting_field

EXAMPLES = 3
# Values in one statement; builds of SQLite before 3.32 allow 999 (sqlite.org/limits.html, SQLITE_MAX_VARIABLE_NUMBER).
LOOKUP = 500


class KeyConverter:
    """Converts keys of a table between the values of its database's driver and neutral values.

    ``columns``: the columns that say which kind of value it is, by the name of the table's own column. ``prepare``
    converts neutral values for columns that the engine has no conversion for.
    """

    def __init__(
        self, engine: Engine, table: str, columns: Mapping[str, Column], prepare: Convert | None = None
    ) -> None:
        stored = engine.catalogue.stored_columns(table)
        values = engine.values
        self._loaders = [values.key_loader(column, stored[name]) for name, column in columns.items()]
        self._dumpers = [values.dumper(column, stored[name]) or prepare for name, column in columns.items()]

    @classmethod
    def of_primary_key(cls, engine: Engine, table: Table) -> KeyConverter:
        """Return the converter for a table's primary key."""
        return cls(engine, table.name, {name: table.column(name) for name in table.key})

    def neutral(self, key: Row) -> Row:
        """Convert a key from the driver's values to neutral ones."""
        return tuple(load(value) if load else value for load, value in zip(self._loaders, key, strict=True))

    def params(self, key: Row) -> Row:
        """Convert a key from neutral values to parameters for the driver."""
        return tuple(dump(value) if dump else value for dump, value in zip(self._dumpers, key, strict=True))

    def folded(self, key: Row) -> Row:
        """Convert a key to values that are equal in both databases, even if only one of them ignores case."""
        return tuple(value.casefold().rstrip(" ") if isinstance(value, str) else value for value in self.neutral(key))


def pages(values: Iterable[Any], size: int = LOOKUP) -> Iterator[list[Any]]:
    """Yield values in lists of at most ``size``."""
    page: list[Any] = []
    for value in values:
        page.append(value)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page


def absent_in(dest: Engine, source: Engine, table: Table, reference: Reference, values: Iterable[Any]) -> Iterator[Any]:
    """Yield those ``values`` of a foreign key that no row of ``dest`` has; values are of the driver of ``source``."""
    column = table.column(reference.column)
    prepare = partial(converting_field(column.field).get_db_prep_value, connection=dest.connection, prepared=False)
    there = KeyConverter(dest, reference.target_table, {reference.target_column: column}, prepare)
    here = KeyConverter(source, table.name, {reference.column: column})
    name = dest.quote(reference.target_column)
    for page in pages(values):
        wanted = {}
        for value in page:
            neutral = here.neutral((value,))
            wanted[there.params(neutral)] = (value, neutral)
        marks = ", ".join(["%s"] * len(wanted))
        sql = f"SELECT {name} FROM {dest.quote(reference.target_table)} WHERE {name} IN ({marks})"
        present = {tuple(row) for row in dest.fetch_all(sql, [param for (param,) in wanted])}
        if column.kind is not Kind.OTHER:
            present |= {there.neutral(row) for row in present}
        yield from (value for params, (value, neutral) in wanted.items() if present.isdisjoint((params, neutral)))


# -- primary keys of chosen rows -------------------------------------------------------------------------------------


def existing_keys(
    source: Engine, dest: Engine, table: Table, restriction: Restriction | None
) -> tuple[int, tuple[str, ...]]:
    """Return how many chosen rows have primary keys that exist in the destination, and a few of the keys as text."""
    count = 0
    examples: list[str] = []
    for _, found in _looked_up(source, dest, table, restriction):
        count += len(found)
        examples += [key_text(table, row) for row in found[: EXAMPLES - len(examples)]]
    return count, tuple(examples)


def taken_rows(dest: Engine, table: Table, restriction: Restriction | None) -> FoundRows:
    """Return how to read the chosen rows whose primary key exists in the destination."""
    return FoundRows(table.name, Cause.TAKEN, lambda source: _taken_keys(source, dest, table, restriction))


def _taken_keys(source: Engine, dest: Engine, table: Table, restriction: Restriction | None) -> Iterator[Row]:
    """Yield the primary keys of these rows, in the source's own values."""
    here, there = KeyConverter.of_primary_key(source, table), KeyConverter.of_primary_key(dest, table)
    for page, found in _looked_up(source, dest, table, restriction):
        taken = {there.folded(row) for row in found}
        yield from (row for row in page if here.folded(row) in taken)


def chosen_among(
    source: Engine, dest: Engine, table: Table, restriction: Restriction | None, keys: Iterable[Row]
) -> Iterator[tuple[Row, Row]]:
    """Yield the chosen rows' primary keys that are among the destination's ``keys``, as each of the two has them."""
    here, there = KeyConverter.of_primary_key(source, table), KeyConverter.of_primary_key(dest, table)
    wanted = {there.folded(key): key for key in keys}
    if not wanted:
        return
    for row in _chosen_keys(source, table, restriction):
        if (folded := here.folded(row)) in wanted:
            yield row, wanted[folded]


def _chosen_keys(source: Engine, table: Table, restriction: Restriction | None) -> Iterator[Row]:
    names = ", ".join(source.quote(name) for name in table.key)
    where, params = (f" WHERE {restriction.sql}", restriction.params) if restriction else ("", ())
    for batch in source.stream(f"SELECT {names} FROM {source.quote(table.name)}{where}", params):
        yield from batch


def _looked_up(
    source: Engine, dest: Engine, table: Table, restriction: Restriction | None
) -> Iterator[tuple[list[Row], list[Row]]]:
    """Yield the chosen rows' primary keys in pages, each with those that exist in the destination, as it has them."""
    if not table.key or dest.is_empty(table.name):
        return
    there, here = KeyConverter.of_primary_key(dest, table), KeyConverter.of_primary_key(source, table)
    names = ", ".join(dest.quote(name) for name in table.key)
    for page in pages(_chosen_keys(source, table, restriction), LOOKUP // len(table.key)):
        test, params = any_of(dest, table.key, [there.params(here.neutral(row)) for row in page])
        yield page, dest.fetch_all(f"SELECT {names} FROM {dest.quote(table.name)} WHERE {test}", params)
