"""Put rows into a database as they are, and compare what two databases hold, value by value.

Nothing here goes through instances, managers or signals: the helpers stand apart from what they help to test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connections, models, transaction
from django.db.models import BooleanField, ExpressionWrapper, JSONField, Q, QuerySet, Value

from migrator.databases.journal.records import Chunk

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

Row = Mapping[str, Any]
# {model label: {primary key: {attname: value}}}, keys and values as exact text
Snapshot = dict[str, dict[str, dict[str, str]]]

LONGEST_TEXT_SHOWN = 120


class JSONNull:
    """The JSON value null, which Django reads as None like the NULL of a column without a value."""

    def __repr__(self) -> str:
        return "JSON null"


JSON_NULL = JSONNull()


def tables(app_label: str) -> list[type[models.Model]]:
    """List the models of an app that have a table, many-to-many tables among them."""
    found = apps.get_app_config(app_label).get_models(include_auto_created=True)
    return [model for model in found if not model._meta.proxy and not model._meta.swapped]


def written_fields(model: type[models.Model]) -> list[models.Field[Any, Any]]:
    """List the fields of the model's own table that take a value."""
    return [field for field in model._meta.local_concrete_fields if not field.generated]


def insert_rows(model: type[models.Model], alias: str, rows: Iterable[Row]) -> None:
    """Insert rows given by attname; what is left out is NULL, or the row's position for a counted key."""
    connection = connections[alias]
    fields = written_fields(model)
    objects = [_prepared(fields, row, position) for position, row in enumerate(rows, start=1)]
    size = max(1, connection.ops.bulk_batch_size(fields, objects)) if objects else 1
    with unchecked(connection):
        for start in range(0, len(objects), size):
            batch = objects[start : start + size]
            rows_of: Any = models.QuerySet(model, using=alias)
            rows_of._insert(batch, fields=fields, using=alias, raw=True)


def _prepared(fields: Sequence[models.Field[Any, Any]], row: Row, position: int) -> SimpleNamespace:
    unknown = set(row) - {field.attname for field in fields}
    assert not unknown, f"no such columns: {sorted(unknown)}"
    values = {}
    for field in fields:
        given = field.primary_key and isinstance(field, models.AutoField) and field.attname not in row
        value = position if given else row.get(field.attname)
        values[field.attname] = Value(None, JSONField()) if value is JSON_NULL else value
    return SimpleNamespace(**values)


@contextmanager
def unchecked(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Open a transaction in which foreign keys may point at rows to come, and a counted key may be 0."""
    with connection.constraint_checks_disabled(), transaction.atomic(using=connection.alias):
        if connection.vendor != "mysql":
            yield
            return
        # Django looks into its copy of the session's mode before it lets a 0 through.
        server_data: dict[str, Any] = connection.mysql_server_data  # type: ignore[attr-defined]
        usual = server_data["sql_mode"]
        server_data["sql_mode"] = f"{usual},NO_AUTO_VALUE_ON_ZERO"
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION sql_mode = %s", [server_data["sql_mode"]])
            try:
                yield
            finally:
                server_data["sql_mode"] = usual
                cursor.execute("SET SESSION sql_mode = %s", [usual])


def exact(value: Any) -> str:
    """Render a value as text that differs wherever the value does: 1, 1.0 and True are three values."""
    if isinstance(value, bytes | bytearray | memoryview):
        return repr(bytes(value))
    if isinstance(value, float):
        return "NaN" if value != value else f"{value!r} ({value.hex()})"
    if isinstance(value, datetime) and value.tzinfo is not None:
        return _instant(value)
    if isinstance(value, dict):
        members = sorted(f"{key!r}: {exact(member)}" for key, member in value.items())
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(exact(member) for member in value) + "]"
    return repr(value)


def _instant(value: datetime) -> str:
    try:
        return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=' ')} UTC"
    except OverflowError:  # the year 1 or 9999 does not exist in UTC
        return value.isoformat(sep=" ")


def snapshot(alias: str, of: Iterable[type[models.Model]]) -> Snapshot:
    """Read every row of the models' own tables, computed columns too."""
    return {model._meta.label: dict(read_rows(model, alias)) for model in of}


def read_rows(model: type[models.Model], alias: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Read a table through Django's converters: each row's primary key, and its values by attname."""
    names = [field.attname for field in model._meta.local_concrete_fields]
    documents = [field.attname for field in model._meta.local_concrete_fields if isinstance(field, JSONField)]
    flags = {f"{name}_is_null": _is_null(name) for name in documents}
    key_names = [field.attname for field in model._meta.pk_fields]
    query: models.QuerySet[Any, Any] = models.QuerySet(model, using=alias)
    for row in query.annotate(**flags).order_by().values_list(*names, *flags):
        values = dict(zip([*names, *flags], row, strict=True))
        for name in documents:
            if values[name] is None and not values[f"{name}_is_null"]:
                values[name] = JSON_NULL
        keys = [exact(values[name]) for name in key_names]
        yield ", ".join(keys), {name: exact(values[name]) for name in names}


def _is_null(name: str) -> ExpressionWrapper[Any]:
    return ExpressionWrapper(Q(**{f"{name}__isnull": True}), output_field=BooleanField())


def differences(expected: Snapshot, found: Snapshot) -> list[str]:
    """Name each value that differs and each row on one side only; an empty list means the same."""
    lines = []
    for label in sorted(expected.keys() | found.keys()):
        wanted, there = expected.get(label, {}), found.get(label, {})
        lines += [f"{label} {key}: missing" for key in wanted if key not in there]
        lines += [f"{label} {key}: not in the source" for key in there if key not in wanted]
        for key in wanted:
            lines += _row_differences(f"{label} {key}", wanted[key], there.get(key, wanted[key]))
    return lines


def _row_differences(place: str, wanted: Mapping[str, str], there: Mapping[str, str]) -> Iterator[str]:
    title = f"{place} ({wanted['label']})" if "label" in wanted else place
    for name, value in wanted.items():
        if there[name] != value:
            yield f"{title}: {name} was {shortened(value)} and is {shortened(there[name])}"


def shortened(text: str) -> str:
    """Cut long text, keeping what tells two long texts apart."""
    if len(text) <= LONGEST_TEXT_SHOWN:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{text[:LONGEST_TEXT_SHOWN]}… ({len(text)} characters, sha256 {digest})"


def recorded_chunks(alias: str, table: str) -> list[Chunk]:
    """Return the chunks of a table that a run's journal has, in their order, with what was rejected afterwards."""
    return list(QuerySet(Chunk, using=alias).filter(table=table).order_by("number"))
