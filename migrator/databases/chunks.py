"""Ranges of primary keys: any type, composite ones too, found by following the key's index and never by OFFSET."""

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

MOST_OF_KEYS = 0.8  # of the numbers between the least and the largest, for which ranges are as good as counted ones


@dataclass(frozen=True)
class Restriction:
    """A condition that chosen rows meet, as SQL with its parameters."""

    sql: str
    params: tuple[Any, ...]


@dataclass(frozen=True)
class Bounds:
    """The keys above ``lower`` up to and with ``upper``; ``None`` leaves that end open."""

    lower: Key | None = None
    upper: Key | None = None


def comparison(engine: Engine, key: Sequence[str], operator: str, bound: Key) -> tuple[str, list[Any]]:
    """Compare a key with a bound by ``>`` or ``<=``, column after column, in a form that every index can follow."""
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
    first = f"{names[0]} {strict}= {marks[0]}"  # implied by the rest; it is what the optimizer takes the range from
    return f"{first} AND ({' OR '.join(f'({branch})' for branch in branches)})", params


def equality(engine: Engine, key: Sequence[str], values: Key) -> tuple[str, list[Any]]:
    """Compare a key with the one of a row."""
    bound = [engine.key_parameter(value) for value in values]
    test = " AND ".join(f"{engine.quote(name)} = {mark}" for name, (mark, _) in zip(key, bound, strict=True))
    return test, [param for _, param in bound]


def conditions(
    engine: Engine, key: Sequence[str], bounds: Bounds, restriction: Restriction | None
) -> tuple[str, list[Any]]:
    """Build the WHERE clause, keyword included, for a chunk; empty where it is the whole table."""
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


def order(engine: Engine, key: Sequence[str], direction: str = "", *, table: str | None = None) -> str:
    """Build the ORDER BY clause for a key; empty where the table has none.

    ``table`` is the one that is read, where a query gives expressions: to PostgreSQL a name by itself is first that of
    a column of the result, which ``"id"::text`` is called ``id`` in (its manual, 7.5), and so it would sort texts.
    """
    if not key:
        return ""
    of = "" if table is None else f"{engine.quote(table)}."
    return " ORDER BY " + ", ".join(f"{of}{engine.quote(name)}{direction}" for name in key)


def find_bounds(
    engine: Engine, table: str, key: Sequence[str], rows: int, size: int, restriction: Restriction | None
) -> Iterator[Bounds]:
    """Cut a table of ``rows`` rows into ranges of at most ``size``.

    The first range is open below and the last above, so that no key can fall outside of them all. A table without a
    key is one range.
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
            yield from ((upper,) for upper in numbers[size - 1 : -1 : size])  # so many keys cannot be more rows
            return
        bound: Key | None = None
        while rows > size:
            bound = _upper_bound(engine, table, key, Bounds(bound), size, restriction)
            if bound is None:
                return
            yield bound
            rows -= size


def halves(engine: Engine, table: str, key: Sequence[str]) -> tuple[Bounds, ...]:
    """Cut a table in two, in the middle of its keys where they are whole numbers; else leave it whole."""
    ends = _whole_ends(engine, table, key)
    if ends is None:
        return (Bounds(),)
    middle = (sum(ends) // 2,)
    return Bounds(None, middle), Bounds(middle, None)


def _dense_keys(engine: Engine, table: str, key: Sequence[str], rows: int) -> range:
    """Return the whole numbers from the least key to the largest; none where not nearly all of them are keys."""
    ends = _whole_ends(engine, table, key)
    if ends is not None and ends[1] - ends[0] < rows / MOST_OF_KEYS:
        return range(ends[0], ends[1] + 1)
    return range(0)


def _whole_ends(engine: Engine, table: str, key: Sequence[str]) -> tuple[int, int] | None:
    """Return the least and the largest key where both are whole numbers."""
    if len(key) != 1:
        return None
    first = f"SELECT {engine.quote(key[0])} FROM {engine.quote(table)}"
    ends = (f"({first}{order(engine, key, direction)} LIMIT 1)" for direction in ("", " DESC"))
    try:
        with engine.reading_everything():
            least, largest = engine.fetch_all(f"SELECT {', '.join(ends)}")[0]
    except DatabaseError as error:
        _pass_over(engine, error)
        return None
    return (least, largest) if type(least) is int and type(largest) is int else None


def _upper_bound(
    engine: Engine, table: str, key: Sequence[str], bounds: Bounds, size: int, restriction: Restriction | None
) -> Key | None:
    names = ", ".join(engine.quote(name) for name in key)
    where, params = conditions(engine, key, bounds, restriction)
    page = f"SELECT {names} FROM {engine.quote(table)}{where}{order(engine, key)} LIMIT {size}"
    return _first_key(engine, key, f"({page}) page{order(engine, key, ' DESC')}", params)


def _first_key(engine: Engine, key: Sequence[str], rest: str, params: Sequence[Any] = ()) -> Key | None:
    """Return the first key of a query, or, if the database cannot give that one, the first one that it can.

    ``rest`` is the query from its FROM on, without the keyword and a limit.
    """
    names = ", ".join(engine.quote(name) for name in key)
    try:
        with engine.reading_everything():
            rows = engine.fetch_all(f"SELECT {names} FROM {rest} LIMIT 1", params)
        return tuple(rows[0]) if rows else None
    except DatabaseError as error:
        if len(key) > 1:
            raise
        _pass_over(engine, error)
    stored = engine.values.stored_bytes(names)
    rows = engine.fetch_all(f"SELECT {stored} FROM {rest} LIMIT {LARGEST_FETCH}", params)
    keys = (decoded(bytes(data)) for (data,) in rows)
    return next(((key,) for key in keys if not isinstance(key, Unreadable)), None)


def _pass_over(engine: Engine, error: DatabaseError) -> None:
    """Go on in the same snapshot after an error that is about a row; raise any other."""
    if not engine.is_about_rows(error):
        raise error
    engine.recover()


def decoded(data: bytes) -> str | Unreadable:
    """Return the text of these bytes, as far as they are one."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return Unreadable("a text that is not valid UTF-8", data)


def outer_bounds(engine: Engine, table: str, key: Sequence[str], size: int) -> list[Bounds]:
    """Return the ranges of the first ``size`` rows and of the last, in the order of this database."""
    names = ", ".join(engine.quote(name) for name in key)
    found = []
    for direction, opposite in ((" ASC", " DESC"), (" DESC", " ASC")):
        page = f"SELECT {names} FROM {engine.quote(table)}{order(engine, key, direction)} LIMIT {size + 1}"
        bound = _first_key(engine, key, f"({page}) page{order(engine, key, opposite)}")
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
    """Write a key as JSON that tells each value's class.

    Raises :exc:`TypeError` for a class that no database driver gives for a key.
    """
    if key is None:
        return None
    values = [bytes(value) if isinstance(value, memoryview) else value for value in key]
    for value in values:
        if type(value) not in ENCODERS:
            raise TypeError(f"a key of class {type(value).__name__} cannot be written down")
    return json.dumps([[type(value).__name__, ENCODERS[type(value)](value)] for value in values])


def decode_key(text: str | None) -> Key | None:
    """Read a key that :func:`encode_key` wrote."""
    if text is None:
        return None
    return tuple(DECODERS[name](value) for name, value in json.loads(text))


def key_text(table: Table, key: Sequence[Any]) -> str:
    """Write a row's key for people; that of a session, which is as good as a password, as a digest of it.

    Of what cannot be read the bytes are shown, as SQL writes them.
    """
    if any(table.column(name).attname == "session_key" for name in table.key):
        return f"sha256:{hashlib.sha256(_text(key[0]).encode()).hexdigest()[:16]}"
    texts = [_text(value) for value in key]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"


def _text(value: Any) -> str:
    if isinstance(value, Unreadable) and value.stored is not None:
        return f"x'{value.stored.hex()}'"
    return value.hex() if isinstance(value, bytes | memoryview) else str(value)
