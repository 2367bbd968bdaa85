"""How each column gets from one database to the other: which way, and by which pair of conversions.

Three ways, chosen once per column: ``raw`` (both columns have the same type of the same engine), ``proven`` (Django's
own field, or a plain storage type on both sides: the engines' shortcuts), and ``field`` (the field's own converters,
for everything else).
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models.query import QuerySet

from ..engines.base.engine import Engine
from ..engines.base.json_text import depth, has_wide_whole_number
from ..engines.base.limits import UNIX_TIME, is_shown_otherwise
from ..engines.base.loading import Target
from ..engines.base.values import Convert, FilledUp, Limit, LimitName, Unstorable
from ..tables import Column, Kind, StoredColumn, Table
from .field_values import lenient, meaning_of

Stored = Mapping[str, StoredColumn]

FAMILIES: Mapping[str, Kind] = {"text": Kind.TEXT, "binary": Kind.BINARY, "integer": Kind.INTEGER}


class Way(enum.StrEnum):
    """How a column travels."""

    RAW = "raw"
    PROVEN = "proven"
    FIELD = "field"


@dataclass(frozen=True)
class Conversion:
    """One column on its way: read by ``expression``, turned by ``convert``, written to ``target``."""

    column: Column
    way: Way
    expression: str
    convert: Convert | None
    target: Target
    limits: tuple[Limit, ...]
    mapping: Mapping[Any, Any] | None = None


@dataclass(frozen=True)
class Reading:
    """How a column is read as a value that can be compared with another database's."""

    column: Column
    way: Way
    expression: str
    load: Convert | None


def conversions(
    table: Table,
    source: Engine,
    dest: Engine,
    source_stored: Stored,
    dest_stored: Stored,
    mappings: Mapping[str, Mapping[Any, Any]],
) -> tuple[Conversion, ...]:
    """Choose the way of every column of a table.

    ``mappings`` gives, by column name, values that are replaced on the way: the ids of rows which both databases have
    under other ids.
    """
    return tuple(
        _conversion(
            table, column, source, dest, source_stored[column.name], dest_stored[column.name],
            mappings.get(column.name),
        )
        for column in table.columns
    )  # fmt: skip


def travels_as(
    column: Column,
    source: Engine,
    dest: Engine,
    source_stored: StoredColumn,
    dest_stored: StoredColumn,
    *,
    is_mapped: bool = False,
) -> tuple[Way, Column]:
    """Choose the way of one column, and give the column with the kind that it has on that way.

    ``is_mapped``: its values are replaced on the way, so they have to be understood.
    """
    is_same_type = source.vendor == dest.vendor and source_stored.declared == dest_stored.declared
    if is_mapped:
        return Way.PROVEN, column
    if column.kind is Kind.DATETIME and source.connection.timezone_name != dest.connection.timezone_name:
        is_same_type = False  # the same local time would be another instant
    if is_same_type and source.features.raw_values_are_exact:
        return Way.RAW, dataclasses.replace(column, kind=source.features.raw_kind)
    kind = column.kind
    if kind is not Kind.OTHER and source.values.stores(kind, source_stored) and dest.values.stores(kind, dest_stored):
        return Way.PROVEN, column
    family = source.values.storage(source_stored)
    is_unknown = kind is Kind.OTHER or not (
        source.values.stores(kind, source_stored) or dest.values.stores(kind, dest_stored)
    )
    if is_unknown and family in FAMILIES and family == dest.values.storage(dest_stored):
        # What the field reads back is what is stored, so the stored value is what has to arrive.
        return Way.PROVEN, dataclasses.replace(column, kind=FAMILIES[family])
    are_documents = source.values.stores_documents(column, source_stored) and dest.values.stores_documents(
        column, dest_stored
    )
    if kind is Kind.OTHER and are_documents:
        # A document is the same whatever the field's class makes of it.
        return Way.PROVEN, dataclasses.replace(column, kind=Kind.JSON)
    if kind is Kind.OTHER and is_same_type:
        return Way.RAW, column
    return Way.FIELD, column


def _conversion(
    table: Table,
    column: Column,
    source: Engine,
    dest: Engine,
    source_stored: StoredColumn,
    dest_stored: StoredColumn,
    mapping: Mapping[Any, Any] | None,
) -> Conversion:
    way, typed = travels_as(column, source, dest, source_stored, dest_stored, is_mapped=mapping is not None)
    if way is Way.RAW:
        target = Target(column.name, typed.kind)
        return Conversion(typed, way, source.values.raw_expression(column), None, target, ())
    if way is Way.FIELD:
        expression, load = _field_reading(table, column, source)
        dump, placeholder = _field_dump(table, column, dest)
        target = Target(column.name, Kind.OTHER, placeholder)
        # A type that holds a part of the kind's values can be asked about, if the source has the kind's own type.
        can_ask = source.values.stores(column.kind, source_stored) and dest.types.holds(column.kind, dest_stored)
        limits = _limits(column, source, dest, source_stored, dest_stored) if can_ask else ()
        convert = chain(_never_none(load), meaning_of(column), dump)
        return Conversion(column, way, expression, convert, target, limits)
    limits = _limits(typed, source, dest, source_stored, dest_stored)
    steps = [source.values.loader(typed, source_stored), *map(guard, limits)]
    steps += [_mapped(mapping) if mapping is not None else None, dest.values.dumper(typed, dest_stored)]
    expression = source.values.read_expression(typed, source_stored)
    return Conversion(typed, way, expression, chain(*steps), Target(column.name, typed.kind), limits, mapping)


def unchecked(
    conversions: Iterable[Conversion], source: Engine, dest: Engine, source_stored: Stored, dest_stored: Stored
) -> tuple[Conversion, ...]:
    """Return the conversions for values that are known to fit: without checks, and without Python where possible."""
    return tuple(
        _unchecked(one, source, dest, source_stored[one.column.name], dest_stored[one.column.name])
        for one in conversions
    )


def _unchecked(
    checked: Conversion, source: Engine, dest: Engine, source_stored: StoredColumn, dest_stored: StoredColumn
) -> Conversion:
    column = checked.column
    if checked.way is not Way.PROVEN or checked.mapping is not None:
        return checked
    text_form = source.values.text_form(column, source_stored)
    if text_form is not None and dest.values.accepts_text_form(column, dest_stored):
        return dataclasses.replace(checked, expression=text_form, convert=None)
    steps = source.values.loader(column, source_stored), dest.values.dumper(column, dest_stored)
    return dataclasses.replace(checked, convert=chain(*steps))


def _limits(
    column: Column, source: Engine, dest: Engine, source_stored: StoredColumn, dest_stored: StoredColumn
) -> tuple[Limit, ...]:
    """List what the destination's column cannot hold and the source's may."""
    return tuple(
        limit
        for limit in dest.values.limits(column, dest_stored)
        if source.values.violation(limit, source.quote(column.name), source_stored) is not None
    )


def readings(
    table: Table, engine: Engine, stored: Stored, other: Engine, other_stored: Stored, mapped: Collection[str] = ()
) -> tuple[Reading, ...]:
    """Choose how ``engine`` reads a table's columns so that they compare with ``other``'s.

    ``mapped`` names columns whose values differ between the two on purpose.
    """
    found = []
    for column in table.columns:
        is_mapped = column.name in mapped
        way, typed = travels_as(
            column, engine, other, stored[column.name], other_stored[column.name], is_mapped=is_mapped
        )
        if way is Way.RAW:
            found.append(Reading(typed, way, engine.values.raw_expression(column), None))
        elif way is Way.FIELD:
            expression, load = _field_reading(table, column, engine)
            is_padded = stored[column.name].is_padded or other_stored[column.name].is_padded
            text = FilledUp if is_padded and column.kind is Kind.TEXT else None
            found.append(Reading(column, way, expression, chain(load, lenient(meaning_of(column)), text)))
        else:
            own = stored[column.name]
            load = engine.values.loader(typed, own)
            found.append(Reading(typed, way, engine.values.read_expression(typed, own), load))
    return tuple(found)


@dataclass(frozen=True)
class RowTexts:
    """The SQL for the text of a row in two databases, equal where the values are, but those of some columns.

    The columns ``without`` have no text of which that is known.
    """

    here: str
    there: str
    without: tuple[Column, ...] = ()


def row_texts(
    columns: Iterable[Column], source: Engine, dest: Engine, source_stored: Stored, dest_stored: Stored
) -> RowTexts | None:
    """Find the texts by which two databases' rows can be compared; ``None`` where no column has any."""
    here, there, without = [], [], []
    for column in columns:
        own, other = source_stored[column.name], dest_stored[column.name]
        one, another = _column_text(column, source, dest, own, other), _column_text(column, dest, source, other, own)
        if one is None or another is None:
            without.append(column)
        else:
            here.append(one)
            there.append(another)
    if not here:
        return None
    return RowTexts(source.digests.joined(here), dest.digests.joined(there), tuple(without))


def _column_text(column: Column, engine: Engine, other: Engine, own: StoredColumn, others: StoredColumn) -> str | None:
    way, typed = travels_as(column, engine, other, own, others)
    text = engine.digests.column_text(typed, own) if way is Way.PROVEN else None
    if way is Way.RAW or (text is None and engine.vendor == other.vendor and own.declared == others.declared):
        text = engine.digests.raw_column_text(column, own)
    return text


def chain(*steps: Convert | None) -> Convert | None:
    """Make one conversion of several, or ``None`` where there is nothing to do."""
    real = [step for step in steps if step is not None]
    if len(real) < 2:
        return real[0] if real else None
    if len(real) == 2:
        first, second = real
        return lambda value: second(first(value))

    def chained(value: Any) -> Any:
        for step in real:
            value = step(value)
        return value

    return chained


def _mapped(mapping: Mapping[Any, Any]) -> Convert:
    def replace(value: Any) -> Any:
        try:
            return mapping[value]
        except KeyError:
            raise Unstorable(
                "id", "the row it points at does not exist in the destination", "Copy that model too."
            ) from None

    return replace


# -- the field's own converters ---------------------------------------------------------------------------------


def _field_reading(table: Table, column: Column, engine: Engine) -> tuple[str, Convert | None]:
    connection = engine.connection
    compiler = QuerySet(table.model, using=engine.alias).query.get_compiler(using=engine.alias)
    col = column.field.get_col(table.name)
    expression, _ = column.field.select_format(compiler, engine.quote(column.name), ())
    if column.kind is not Kind.OTHER:
        expression = engine.values.unconverted(expression)
    if column.kind in (Kind.DECIMAL, Kind.DATE):  # their only converters round a number, and drop a time of day
        return expression, None
    converters = [*connection.ops.get_db_converters(col), *col.get_db_converters(connection)]
    if not converters:
        return expression, None

    def load(value: Any) -> Any:
        for converter in converters:
            value = converter(value, col, connection)
        return value

    return expression, load


def _never_none(load: Convert | None) -> Convert | None:
    """Refuse a stored value that its field reads as ``None``: written back, it would have become NULL."""
    if load is None:
        return None

    def check(value: Any) -> Any:
        loaded = load(value)
        if loaded is None:
            raise Unstorable(
                type(value).__name__, "its field reads it as None", "Correct the value, or set it to NULL."
            )
        return loaded

    return check


def _field_dump(table: Table, column: Column, engine: Engine) -> tuple[Convert, str | None]:
    connection = engine.connection
    field = column.field
    placeholder = None
    if hasattr(field, "get_placeholder"):
        compiler = QuerySet(table.model, using=engine.alias).query.get_compiler(using=engine.alias)
        placeholder = field.get_placeholder(None, compiler, connection)
    return (lambda value: field.get_db_prep_save(value, connection)), None if placeholder == "%s" else placeholder


# -- guards: the limits of a destination, held against one value --------------------------------------------------

NUL_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def _size(value: Any) -> int:
    return len(value.encode(errors="surrogatepass") if isinstance(value, str) else value)


def _whole(value: Any) -> int:
    return value // datetime.timedelta(microseconds=1) if isinstance(value, datetime.timedelta) else value


def _digits(value: decimal.Decimal) -> int:
    digits = "".join(map(str, value.as_tuple().digits)).strip("0")
    return len(digits)


def _decimals(value: decimal.Decimal) -> int:
    exponent = value.normalize(decimal.Context(prec=decimal.MAX_PREC)).as_tuple().exponent
    return -exponent if isinstance(exponent, int) and value else -sys.maxsize  # below zero: zeros before the point


def _microsecond(value: Any) -> int:
    return value.microseconds if isinstance(value, datetime.timedelta) else value.microsecond


def _instant(value: datetime.datetime) -> datetime.datetime:
    return value if value.tzinfo else value.replace(tzinfo=datetime.UTC)


BEYOND: Mapping[LimitName, Callable[..., bool]] = {
    LimitName.LONGER_THAN: lambda value, most: len(value) > most,
    LimitName.LARGER_THAN: lambda value, most: _size(value) > most,
    LimitName.OUTSIDE: lambda value, low, high: not low <= _whole(value) <= high,
    LimitName.NUL_CHARACTER: lambda value: "\0" in value,
    LimitName.NUL_ESCAPE: lambda value: NUL_ESCAPE.search(value) is not None,
    LimitName.FOUR_BYTE_CHARACTER: lambda value: max(value, default="") > "\uffff",
    LimitName.NOT_A_NUMBER: lambda value: bool(value != value),
    LimitName.INFINITE: math.isinf,
    LimitName.MORE_DIGITS_THAN: lambda value, most: _digits(value) > most,
    LimitName.MORE_WHOLE_DIGITS_THAN: lambda value, most: abs(value) >= 10**most,
    LimitName.MORE_DECIMALS_THAN: lambda value, most: _decimals(value) > most,
    LimitName.FRACTIONAL_SECONDS: lambda value, digits: bool(_microsecond(value) % 10 ** (6 - digits)),
    LimitName.SPACE_AT_END: lambda value: value.endswith(" "),
    LimitName.FILLED_UP_TO: lambda value, characters: len(value) < characters,
    LimitName.SHORTER_THAN: lambda value, fewest: _size(value) < fewest,
    LimitName.NOT_AMONG: lambda value, *texts: value not in texts,
    LimitName.NOT_SOME_OF: lambda value, *texts: value != ",".join(t for t in texts if t in value.split(",")),
    LimitName.SINGLE_PRECISION: is_shown_otherwise,
    LimitName.OUTSIDE_UNIX_TIME: lambda value: not UNIX_TIME[0] <= _instant(value) <= UNIX_TIME[1],
    LimitName.WIDE_WHOLE_NUMBER: has_wide_whole_number,
    LimitName.DEEPER_THAN: lambda value, levels: depth(value) > levels,
    LimitName.HIGH_VERSION: lambda value: value.hex[12] >= "8" and "01" <= value.hex[16:18] <= "80",
}


def guard(limit: Limit) -> Convert:
    """Make a check of one limit, which gives the value back or raises :exc:`Unstorable`."""
    is_beyond, arguments = BEYOND[limit.name], limit.arguments

    def check(value: Any) -> Any:
        if is_beyond(value, *arguments):
            raise Unstorable(type(value).__name__, limit.reason, limit.advice)
        return value

    return check
