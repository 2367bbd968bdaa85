"""Chunks: ranges of primary keys of any type, composite ones included, found through the key's index, not by OFFSET."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from django.db import DatabaseError

from .engines.base.engine import Engine
from .engines.base.session import LARGEST_FETCH
from .engines.base.values import Unreadable
from .primary_keys import Key, decode_text

# At this share of the integers between the least and the largest key, ranges of integers are as good as counted ones.
MIN_DENSITY = 0.8
WHERE = " WHERE "


@dataclass(frozen=True)
class Restriction:
    """The condition that selects a run's rows of a table, as SQL with its parameters."""

    sql: str
    params: tuple[Any, ...]

    def and_also(self, other: Restriction | None) -> Restriction:
        """Return the restriction to rows that meet both conditions; ``None`` is met by every row."""
        if other is None:
            return self
        return Restriction(f"({self.sql}) AND ({other.sql})", (*self.params, *other.params))


@dataclass(frozen=True)
class Bounds:
    """A range of keys: greater than ``lower``, and at most ``upper``; ``None`` leaves that end open."""

    lower: Key | None = None
    upper: Key | None = None


def comparison(engine: Engine, key: Sequence[str], operator: str, bound: Key) -> tuple[str, list[Any]]:
    """Return the SQL, with parameters, that compares a key with a bound by ``>`` or ``<=``.

    Not with row values such as ``(a, b) > (1, 2)``, for which MySQL uses less of the key's index (its manual, "Row
    Constructor Expression Optimization").
    """
    names = [f"{engine.quote(name)}" for name in key]
    marks, values = zip(*map(engine.key_parameter, bound), strict=True)
    strict = operator[0]
    if len(names) == 1:
        return f"{names[0]} {operator} {marks[0]}", [*values]
    branches, params = [], [values[0]]
    for position in range(len(names)):
        last = position == len(names) - 1
        equal = [f"{name} = {mark}" for name, mark in zip(names[:position], marks[:position], strict=True)]
        branches.append(" AND ".join([*equal, f"{names[position]} {operator if last else strict} {marks[position]}"]))
        params += values[: position + 1]
    first = (
        f"{names[0]} {strict}= {marks[0]}"  # implied by the rest, and what the optimizer derives the index range from
    )
    return f"{first} AND ({' OR '.join(f'({branch})' for branch in branches)})", params


def equality(engine: Engine, key: Sequence[str], values: Key) -> tuple[str, list[Any]]:
    """Return the SQL, with parameters, that finds the row with a key."""
    bound = [engine.key_parameter(value) for value in values]
    test = " AND ".join(f"{engine.quote(name)} = {mark}" for name, (mark, _) in zip(key, bound, strict=True))
    return test, [param for _, param in bound]


def any_of(engine: Engine, key: Sequence[str], keys: Sequence[Key]) -> tuple[str, list[Any]]:
    """Return the SQL, with parameters, that finds the rows with any of these keys.

    The optimizers plan a chain of OR term by term, which takes several times as long as IN.
    """
    if len(key) > 1:
        tests, params = [], []
        for values in keys:
            test, bound = equality(engine, key, values)
            tests.append(f"({test})")
            params += bound
        return " OR ".join(tests), params
    bound_keys = [engine.key_parameter(value) for (value,) in keys]
    marks = ", ".join(mark for mark, _ in bound_keys)
    return f"{engine.quote(key[0])} IN ({marks})", [param for _, param in bound_keys]


def where_clause(
    engine: Engine, key: Sequence[str], bounds: Bounds, restriction: Restriction | None
) -> tuple[str, list[Any]]:
    """Build the WHERE clause for a chunk, keyword included; it is empty for a whole table."""
    parts: list[str] = []
    params: list[Any] = []
    for operator, bound in ((">", bounds.lower), ("<=", bounds.upper)):
        if bound is not None:
            sql, values = comparison(engine, key, operator, bound)
            parts.append(sql)
            params += values
    if restriction:
        parts.append(restriction.sql)
        params += restriction.params
    return (f"{WHERE}{' AND '.join(f'({part})' for part in parts)}" if parts else ""), params


def where_in_any(engine: Engine, key: Sequence[str], ranges: Sequence[Bounds]) -> tuple[str, list[Any]]:
    """Build the WHERE clause for the rows of any of these ranges, keyword included; it is empty for a whole table."""
    clauses = [where_clause(engine, key, bounds, None) for bounds in ranges]
    if len(clauses) == 1 or not all(sql for sql, _ in clauses):
        return clauses[0] if len(clauses) == 1 else ("", [])
    tests = " OR ".join(f"({sql.removeprefix(WHERE)})" for sql, _ in clauses)
    return f"{WHERE}{tests}", [value for _, params in clauses for value in params]


def order_by(engine: Engine, key: Sequence[str], direction: str = "", *, table: str | None = None) -> str:
    """Build the ORDER BY clause for a key; it is empty for a table without a key.

    A query that selects expressions must name its ``table``. PostgreSQL takes an unqualified name for an output column
    first (its manual, 7.5), and ``"id"::text`` is an output column ``id``, so it would sort by text.
    """
    if not key:
        return ""
    of = "" if table is None else f"{engine.quote(table)}."
    return " ORDER BY " + ", ".join(f"{of}{engine.quote(name)}{direction}" for name in key)


def find_bounds(
    engine: Engine, table: str, key: Sequence[str], rows: int, size: int, restriction: Restriction | None
) -> Iterator[Bounds]:
    """Yield ranges of at most ``size`` rows, which together hold a table of ``rows`` rows.

    The first has no lower bound and the last no upper bound, so that every key is in one. A table without a key is one
    range, and so is one whose key has no index: each range would be searched for in all rows.
    """
    lower: Key | None = None
    is_cut = bool(key) and rows > size and engine.catalogue.is_indexed(table, key[0])
    for upper in _upper_bounds(engine, table, key, rows, size, restriction) if is_cut else ():
        yield Bounds(lower, upper)
        lower = upper
    yield Bounds(lower, None)


def _upper_bounds(
    engine: Engine, table: str, key: Sequence[str], rows: int, size: int, restriction: Restriction | None
) -> Iterator[Key]:
    with engine.following_keys():
        if restriction is None and (numbers := _dense_keys(engine, table, key, rows)):
            yield from (
                (upper,) for upper in numbers[size - 1 : -1 : size]
            )  # that many keys have at most that many rows
            return
        bound: Key | None = None
        while rows > size:
            bound = upper_bound(engine, table, key, Bounds(bound), size, restriction)
            if bound is None:
                return
            yield bound
            rows -= size


def parts_of(engine: Engine, table: str, key: Sequence[str], count: int) -> tuple[Bounds, ...]:
    """Return so many ranges with equal shares of a table's keys if they are integers, otherwise one for all rows."""
    limits = integer_limits(engine, table, key) if count > 1 else None
    if limits is None:
        return (Bounds(),)
    least, largest = limits
    inner = [((least * (count - number) + largest * number) // count,) for number in range(1, count)]
    return tuple(Bounds(lower, upper) for lower, upper in pairwise([None, *inner, None]))


def _dense_keys(engine: Engine, table: str, key: Sequence[str], rows: int) -> range:
    """Return the integers from the least key to the largest; an empty range if too few of them are keys."""
    limits = integer_limits(engine, table, key)
    if limits is not None and limits[1] - limits[0] < rows / MIN_DENSITY:
        return range(limits[0], limits[1] + 1)
    return range(0)


def integer_limits(engine: Engine, table: str, key: Sequence[str]) -> tuple[int, int] | None:
    """Return the least and the largest key if both are integers, otherwise ``None``."""
    if len(key) != 1:
        return None
    first = f"SELECT {engine.quote(key[0])} FROM {engine.quote(table)}"
    queries = (f"({first}{order_by(engine, key, direction)} LIMIT 1)" for direction in ("", " DESC"))
    try:
        with engine.reading_everything():
            least, largest = engine.fetch_all(f"SELECT {', '.join(queries)}")[0]
    except DatabaseError as error:
        _recover(engine, error)
        return None
    return (least, largest) if type(least) is int and type(largest) is int else None


def upper_bound(
    engine: Engine,
    table: str,
    key: Sequence[str],
    bounds: Bounds,
    size: int,
    restriction: Restriction | None = None,
) -> Key | None:
    """Return the key of the last of the first ``size`` rows in a range, or ``None`` if it has no row."""
    names = ", ".join(engine.quote(name) for name in key)
    where, params = where_clause(engine, key, bounds, restriction)
    page = f"SELECT {names} FROM {engine.quote(table)}{where}{order_by(engine, key)} LIMIT {size}"
    return _first_key(engine, key, f"({page}) page{order_by(engine, key, ' DESC')}", params)


def _first_key(engine: Engine, key: Sequence[str], rest: str, params: Sequence[Any] = ()) -> Key | None:
    """Return the first key that a query returns, or the first that is readable, or ``None``.

    ``rest`` is what follows FROM in the query, without a limit.
    """
    names = ", ".join(engine.quote(name) for name in key)
    try:
        with engine.reading_everything():
            rows = engine.fetch_all(f"SELECT {names} FROM {rest} LIMIT 1", params)
        return tuple(rows[0]) if rows else None
    except DatabaseError as error:
        if len(key) > 1:
            raise
        _recover(engine, error)
    stored = engine.values.stored_bytes(names)
    rows = engine.fetch_all(f"SELECT {stored} FROM {rest} LIMIT {LARGEST_FETCH}", params)
    keys = (decode_text(bytes(data)) for (data,) in rows)
    return next(((key,) for key in keys if not isinstance(key, Unreadable)), None)


def _recover(engine: Engine, error: DatabaseError) -> None:
    """Continue in the same snapshot after an error that a row has caused; raise any other."""
    if not engine.is_about_rows(error):
        raise error
    engine.recover()


def outer_bounds(engine: Engine, table: str, key: Sequence[str], size: int) -> list[Bounds]:
    """Return the ranges of the first ``size`` rows and of the last, in this database's order of keys."""
    names = ", ".join(engine.quote(name) for name in key)
    found = []
    for direction, opposite in ((" ASC", " DESC"), (" DESC", " ASC")):
        page = f"SELECT {names} FROM {engine.quote(table)}{order_by(engine, key, direction)} LIMIT {size + 1}"
        bound = _first_key(engine, key, f"({page}) page{order_by(engine, key, opposite)}")
        if bound is not None:
            found.append(Bounds(None, bound) if direction == " ASC" else Bounds(bound, None))
    return found
