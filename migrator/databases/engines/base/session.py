"""One connection, with the same calls whatever its driver."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

Row = tuple[Any, ...]
Query = tuple[str, Sequence[Any]]

# Rows fetched from the driver at once: few at first, so that wide rows cannot fill the memory, then as many as fit.
FIRST_FETCH = 1
LARGEST_FETCH = 500
FETCH_BYTES = 4 * 1024 * 1024
ASKED_AT_ONCE = 100  # short queries in one statement


# The names of tables in a database, by its alias and by the run's names, if they differ. Every session needs them.
_CALLED: dict[str, Mapping[str, str]] = {}


@contextmanager
def with_table_names(alias: str, names: Mapping[str, str]) -> Iterator[None]:
    """Make every session of a database find tables under other names than the run's."""
    _CALLED[alias] = names
    try:
        yield
    finally:
        del _CALLED[alias]


class DatabaseSession:
    """One connection, and how statements are run on it."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    @property
    def alias(self) -> str:
        return self.connection.alias

    def stored_name(self, table: str) -> str:
        """Return a table's name in the database."""
        return _CALLED.get(self.alias, {}).get(table, table)

    @property
    def has_renamed_tables(self) -> bool:
        """Whether some table has another name in the database than in the run."""
        return bool(_CALLED.get(self.alias))

    def identifier(self, name: str) -> str:
        """Quote an identifier and escape the quotes in it, which Django's ``quote_name()`` does not."""
        name = self.stored_name(name)
        mark = self.connection.ops.quote_name("name")[0]
        if name.startswith(mark) and name.endswith(mark):  # Django also leaves a quoted ``db_table`` as it is
            return name
        if (between := f"{mark}.{mark}") in name:  # ``schema"."table``, which Django's quotes make a qualified name
            return ".".join(self.identifier(part) for part in name.split(between))
        return mark + name.replace(mark, 2 * mark) + mark

    def quote(self, name: str) -> str:
        """Quote an identifier for a statement that is executed with parameters."""
        return self.identifier(name).replace("%", "%%")

    def identifiers(self, names: Iterable[str]) -> list[str]:
        """Quote several identifiers, for a parameter that is an array."""
        return [self.identifier(name) for name in names]

    def execute(self, sql: str, params: Sequence[Any] = ()) -> None:
        """Run one statement; ``%`` in it must be doubled, as everywhere in this package."""
        with self.connection.cursor() as cursor:
            cursor.execute(*prepared(sql, params))

    def fetch_all(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """Run one query and return its rows, for results that are known to be short."""
        with self.connection.cursor() as cursor:
            cursor.execute(*prepared(sql, params))
            return list(cursor.fetchall())

    def fetch_each(self, queries: Sequence[Query]) -> list[Row]:
        """Run short queries that return one row each, and return the rows in this order.

        Many run in one statement: the round trip to a remote server takes longer than such a query.
        """
        found: list[Row] = []
        for start in range(0, len(queries), ASKED_AT_ONCE):
            batch = queries[start : start + ASKED_AT_ONCE]
            sql = " UNION ALL ".join(
                f"SELECT {number}, one.* FROM ({query}) one" for number, (query, _) in enumerate(batch)
            )
            rows = self.fetch_all(sql, [param for _, params in batch for param in params])
            found += [row[1:] for row in sorted(rows, key=itemgetter(0))]
        return found

    def fetch_value(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """Run one query and return the first value of its first row, or ``None``."""
        rows = self.fetch_all(sql, params)
        return rows[0][0] if rows else None


def prepared(sql: str, params: Sequence[Any]) -> tuple[str, tuple[Any, ...] | None]:
    """Return a statement and its parameters as every driver accepts them.

    Drivers differ in whether ``%%`` means ``%`` without parameters, so it is replaced here.
    """
    return (sql, tuple(params)) if params else (sql.replace("%%", "%"), None)


def batches(cursor: Any, sql: str, params: Sequence[Any]) -> Generator[list[Row]]:
    """Run a query and yield its rows in batches of a few megabytes at most."""
    cursor.execute(*prepared(sql, params))
    size = FIRST_FETCH
    while rows := cursor.fetchmany(size):
        size = next_fetch(rows, size)
        yield rows


def cause_of(error: BaseException) -> BaseException:
    """Return the driver's error behind Django's."""
    return error.__cause__ or error


def row_bytes(rows: Sequence[Row]) -> int:
    """Estimate the memory that one row takes, from the texts and bytes in the rows."""
    return (
        sum(len(value) for row in rows for value in row if isinstance(value, str | bytes | memoryview)) // len(rows)
        + 64
    )


def next_fetch(rows: Sequence[Row], current: int) -> int:
    """Return how many rows to fetch next, given how large the last ones were."""
    fitting = FETCH_BYTES // row_bytes(rows[-64::4])
    return max(1, min(LARGEST_FETCH, current * 8, fitting))
