"""Chunks: ranges of primary keys of any type, composite ones included, found through the key's index, not by OFFSET."""

from __future__ import annotations

import base64
import datetime
import decimal
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError

from .engines.base.engine import Engine
from .engines.base.session import LARGEST_FETCH
from .engines.base.values import Unreadable
from .tables import Table

Key = tuple[Any, ...]

# At this share of the integers between the least and the largest key, ranges of integers are as good as counted ones.
MIN_DENSITY = 0.8


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
    return (f" WHERE {' AND '.join(f'({part})' for part in parts)}" if parts else ""), params


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
    range.
    """
    lower: Key | None = None
    for upper in _upper_bounds(engine, table, key, rows, size, restriction) if key and rows > size else ():
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
            bound = _upper_bound(engine, table, key, Bounds(bound), size, restriction)
            if bound is None:
                return
            yield bound
            rows -= size


def halves(engine: Engine, table: str, key: Sequence[str]) -> tuple[Bounds, ...]:
    """Return two ranges that meet in the middle of a table's keys if they are integers, otherwise one for all rows."""
    limits = _integer_limits(engine, table, key)
    if limits is None:
        return (Bounds(),)
    middle = (sum(limits) // 2,)
    return Bounds(None, middle), Bounds(middle, None)


def _dense_keys(engine: Engine, table: str, key: Sequence[str], rows: int) -> range:
    """Return the integers from the least key to the largest; an empty range if too few of them are keys."""
    limits = _integer_limits(engine, table, key)
    if limits is not None and limits[1] - limits[0] < rows / MIN_DENSITY:
        return range(limits[0], limits[1] + 1)
    return range(0)


def _integer_limits(engine: Engine, table: str, key: Sequence[str]) -> tuple[int, int] | None:
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


def _upper_bound(
    engine: Engine, table: str, key: Sequence[str], bounds: Bounds, size: int, restriction: Restriction | None
) -> Key | None:
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
    keys = (decoded(bytes(data)) for (data,) in rows)
    return next(((key,) for key in keys if not isinstance(key, Unreadable)), None)


def _recover(engine: Engine, error: DatabaseError) -> None:
    """Continue in the same snapshot after an error that a row has caused; raise any other."""
    if not engine.is_about_rows(error):
        raise error
    engine.recover()


def decoded(data: bytes) -> str | Unreadable:
    """Decode UTF-8 bytes, or return :class:`Unreadable` if they are not valid."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return Unreadable("a text that is not valid UTF-8", data)


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


# -- keys as text, for the journal --------------------------------------------------------------------------------

ENCODERS: Mapping[type, Callable[[Any], Any]] = {
    int: int,
    str: str,
    bool: bool,
    float: float.hex,
    bytes: lambda value: base64.b64encode(value).decode(),
    decimal.Decimal: str,
    uuid.UUID: str,
    datetime.datetime: datetime.datetime.isoformat,
    datetime.date: datetime.date.isoformat,
    datetime.time: datetime.time.isoformat,
    datetime.timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    Unreadable: lambda value: [value.reason, base64.b64encode(value.stored).decode()],
}
DECODERS: Mapping[str, Callable[[Any], Any]] = {
    "int": int,
    "str": str,
    "bool": bool,
    "float": float.fromhex,
    "bytes": base64.b64decode,
    "Decimal": decimal.Decimal,
    "UUID": uuid.UUID,
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda value: datetime.timedelta(*value),
    "Unreadable": lambda value: Unreadable(value[0], base64.b64decode(value[1])),
}


def encode_key(key: Key | None) -> str | None:
    """Encode a key as JSON with the class of each value.

    Raises :exc:`TypeError` for a class that no database driver returns for a key.
    """
    if key is None:
        return None
    values = [bytes(value) if isinstance(value, memoryview) else value for value in key]
    for value in values:
        if type(value) not in ENCODERS:
            raise TypeError(f"a key of class {type(value).__name__} cannot be encoded")
    return json.dumps([[type(value).__name__, ENCODERS[type(value)](value)] for value in values])


def decode_key(text: str | None) -> Key | None:
    """Decode a key that :func:`encode_key` has encoded."""
    if text is None:
        return None
    return tuple(DECODERS[name](value) for name, value in json.loads(text))


def key_text(table: Table, key: Sequence[Any]) -> str:
    """Format a row's key for people; a session key, which is as good as a password, as its digest.

    An unreadable value is shown as its bytes, in SQL's hexadecimal form.
    """
    if any(table.column(name).attname == "session_key" for name in table.key):
        return f"sha256:{hashlib.sha256(_text(key[0]).encode()).hexdigest()[:16]}"
    texts = [_text(value) for value in key]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"


def _text(value: Any) -> str:
    if isinstance(value, Unreadable) and value.stored is not None:
        return f"x'{value.stored.hex()}'"
    return value.hex() if isinstance(value, bytes | memoryview) else str(value)
