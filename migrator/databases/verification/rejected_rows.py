"""The rows that a run has rejected, as its reject file lists them, looked up in both databases."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import DataError
from django.utils import timezone

from ...console.wording import plural
from ...errors import UsageError
from ..chunks import equality
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..planning.columns import TableEnds
from ..primary_keys import key_text
from ..tables import Table
from .compared_side import ComparedSide, Mapped, sides
from .rows import LOOKUP, by_key, look_up

# A row's values in the file, by column.
_Line = Mapping[str, Any]


@dataclass
class RejectedRows:
    """What became of the rows in a reject file, by table name.

    ``missing``: neutral keys of rows that the source has and the destination lacks, as the run left them; ``there``:
    primary keys of rows that the destination has after all, by label; ``gone``: how many the source does not have, by
    label.
    """

    path: Path
    missing: dict[str, frozenset[Row]] = field(default_factory=dict)
    there: dict[str, list[str]] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows are missing in the destination because they were rejected."""
        return sum(map(len, self.missing.values()))


def read_rejects(path: Path) -> dict[str, list[_Line]]:
    """Read a reject file into rows by table name.

    Raises :exc:`UsageError` for a file that ``--on-error skip`` of a run did not write.
    """
    if not path.is_file():
        raise UsageError(f"--rejects: the file {str(path)!r} does not exist. Name the reject file of the run.")
    known = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    found: dict[str, list[_Line]] = {}
    for number, line in enumerate(_lines(path), 1):
        try:
            entry = json.loads(line)
            table, row = entry["table"], dict(entry["row"])
        except (ValueError, TypeError, KeyError):
            raise UsageError(
                f"--rejects: line {number} of {str(path)!r} is not a row that --on-error skip has rejected. "
                "Name the reject file of the run."
            ) from None
        if table not in known:
            raise UsageError(f"--rejects: {_foreign(path)}: line {number} names a table that none of its models has.")
        found.setdefault(table, []).append(row)
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--rejects: {str(path)!r} cannot be read: {error}.") from None


def _foreign(path: Path) -> str:
    return f"{str(path)!r} does not belong to this project's databases"


def find_rejected(
    path: Path,
    lines: Mapping[str, Sequence[_Line]],
    tables: Sequence[Table],
    source: Engine,
    dest: Engine,
    mappings: Mapping[str, Mapped],
) -> RejectedRows:
    """Look up the rows of a reject file on both sides, those of ``tables`` that both have.

    ``mappings``: by table and column, the values that the destination has in place of the source's.

    Raises :exc:`UsageError` if none of the rows is in the source: then it is the file of another run.
    """
    found = RejectedRows(path)
    asked = 0
    for table in tables:
        source_has, dest_has = (engine.catalogue.stored_columns(table.name) for engine in (source, dest))
        rows = lines.get(table.name, ())
        if not (rows and table.key and source_has and dest_has):
            continue
        if any(name not in row for row in rows for name in table.key):
            raise UsageError(f"--rejects: {_foreign(path)}: {table.label} has another primary key.")
        both = sides(table, TableEnds(source, dest, source_has, dest_has), mappings.get(table.name))
        left, right = (side.narrowed({*table.key}) for side in both)  # other values may be why a row was rejected
        with source.reading_everything(), dest.reading_everything():
            keys = _keys_in_source(left, rows)
            there = _keys_in(right, keys)
        listed = len({json.dumps([row[name] for name in table.key], sort_keys=True) for row in rows})
        asked += listed
        found.missing[table.name] = frozenset(keys) - frozenset(there)
        found.there[table.label] = [key_text(table, key) for key in there]
        found.gone[table.label] = max(listed - len(keys), 0)
    if asked and asked == sum(found.gone.values()):
        raise UsageError(
            f"--rejects: {str(path)!r} does not belong to {source.alias!r}: none of its {plural(asked, 'row')} "
            "is there. Name the reject file of the run that filled the destination from it."
        )
    return found


def _keys_in_source(side: ComparedSide, rows: Sequence[_Line]) -> list[Row]:
    """Return the neutral keys of those rows that the source has."""
    found: dict[Row, None] = {}
    params = [key for row in rows if (key := _key(side, row)) is not None]
    size = max(1, LOOKUP // len(side.table.key))
    for start in range(0, len(params), size):
        found.update(dict.fromkeys(_look_up(side, params[start : start + size])))
    return list(found)


def _look_up(side: ComparedSide, keys: Sequence[Row]) -> Iterator[Row]:
    tests, params = [], []
    for key in keys:
        test, values = equality(side.engine, side.table.key, key)
        tests.append(f"({test})")
        params += values
    try:
        with side.engine.tentatively():
            rows = side.engine.fetch_all(side.query(f" WHERE {' OR '.join(tests)}"), params)
    except DataError:  # a key that no such column can hold
        if len(keys) == 1:
            return
        for key in keys:
            yield from _look_up(side, [key])
        return
    yield from by_key(side, [side.neutral(row) for row in rows])


def _key(side: ComparedSide, row: _Line) -> Row | None:
    """Convert the key of a line into parameters; ``None`` if a field cannot."""
    values = []
    for name in side.table.key:
        field, value = side.table.column(name).field, row[name]
        if isinstance(value, dict) and isinstance(value.get("base64"), str):
            value = base64.b64decode(value["base64"])
        try:
            value = field.to_python(value) if not isinstance(value, bytes) else value
            if settings.USE_TZ and isinstance(value, datetime.datetime) and timezone.is_naive(value):
                value = timezone.make_aware(value, side.engine.connection.timezone)
            values.append(field.get_db_prep_value(value, side.engine.connection, prepared=False))
        except (ValidationError, ValueError, TypeError):
            return None
    return tuple(values)


def _keys_in(side: ComparedSide, keys: Sequence[Row]) -> list[Row]:
    """Return those of the neutral keys that a database has."""
    found: list[Row] = []
    for start in range(0, len(keys), LOOKUP):
        page = keys[start : start + LOOKUP]
        there = look_up(side, page)
        found += [key for key in page if key in there]
    return found
