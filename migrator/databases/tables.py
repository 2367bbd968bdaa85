"""Tables and columns as data: as the models declare them, and as a database's catalogue describes them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, cast

from django.db.models import Field, ForeignKey, GeneratedField, Model


class Kind(enum.StrEnum):
    """The neutral Python value of a column: engines convert what they read to it, and write from it."""

    INTEGER = "integer"  # int
    BOOLEAN = "boolean"  # bool
    FLOAT = "float"  # float
    DECIMAL = "decimal"  # decimal.Decimal
    TEXT = "text"  # str
    JSON = "json"  # str: the document's text, which keeps SQL NULL and JSON null apart, and large numbers exact
    BINARY = "binary"  # bytes
    DATE = "date"  # datetime.date
    TIME = "time"  # datetime.time, naive
    DATETIME = "datetime"  # datetime.datetime, aware if USE_TZ is True
    DURATION = "duration"  # datetime.timedelta
    UUID = "uuid"  # uuid.UUID
    ADDRESS = "address"  # str: an IP address
    OTHER = "other"  # what the field itself converts it to


# Django's own fields, by internal type. Only these have proven conversions; see kind_of().
KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(
        (
            "AutoField",
            "BigAutoField",
            "SmallAutoField",
            "IntegerField",
            "BigIntegerField",
            "SmallIntegerField",
            "PositiveIntegerField",
            "PositiveBigIntegerField",
            "PositiveSmallIntegerField",
        ),
        Kind.INTEGER,
    ),
    **dict.fromkeys(("CharField", "TextField", "SlugField", "FileField", "FilePathField"), Kind.TEXT),
    "BinaryField": Kind.BINARY,
    "BooleanField": Kind.BOOLEAN,
    "DateField": Kind.DATE,
    "DateTimeField": Kind.DATETIME,
    "DecimalField": Kind.DECIMAL,
    "DurationField": Kind.DURATION,
    "FloatField": Kind.FLOAT,
    "GenericIPAddressField": Kind.ADDRESS,
    "JSONField": Kind.JSON,
    "TimeField": Kind.TIME,
    "UUIDField": Kind.UUID,
}

# A field class that overrides one of these decides itself what is stored.
CONVERTING_METHODS = (
    "db_type",
    "from_db_value",
    "get_db_converters",
    "get_db_prep_save",
    "get_db_prep_value",
    "get_internal_type",
    "get_placeholder",
    "get_prep_value",
    "select_format",
)


@dataclass(frozen=True)
class Column:
    """One concrete column of a model's table; ``field`` is the field that converts its values."""

    name: str
    attname: str
    field: Field[Any, Any]
    kind: Kind
    nullable: bool


@dataclass(frozen=True)
class Reference:
    """A foreign key: a column that references a column of a table."""

    column: str
    target_table: str
    target_column: str
    nullable: bool
    has_constraint: bool


@dataclass(frozen=True)
class Table:
    """One concrete table, read and written column by column.

    Each database computes the ``generated`` columns itself: they are compared and never written.
    """

    label: str
    name: str
    model: type[Model]
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    references: tuple[Reference, ...]
    generated: tuple[Column, ...] = ()

    def column(self, name: str) -> Column:
        """Return the column with this name in the database."""
        return next(column for column in self.columns if column.name == name)

    @property
    def refers_to_itself(self) -> bool:
        return any(reference.target_table == self.name for reference in self.references)

    def with_generated(self) -> Table:
        """Return the table with its generated columns among its columns."""
        return replace(self, columns=(*self.columns, *self.generated))


@dataclass(frozen=True)
class StoredColumn:
    """A column as a database's catalogue describes it. Lengths are in characters unless the name has ``bytes``."""

    name: str
    type: str
    declared: str
    nullable: bool
    has_default: bool = False
    is_generated: bool = False
    max_length: int | None = None
    max_bytes: int | None = None
    precision: int | None = None
    scale: int | None = None
    is_unsigned: bool = False
    ignores_case: bool = False
    # Only the case of ASCII letters.
    ignores_ascii_case: bool = False
    # Its collation takes texts for equal that differ only in spaces at the end.
    ignores_spaces: bool = False
    is_three_byte_utf8: bool = False
    # The values of an enumerated type.
    labels: tuple[str, ...] = ()
    # The name of the domain, if the type is one; all else here describes the domain's underlying type.
    domain: str | None = None
    # The database pads texts with spaces, and ignores spaces at the end.
    is_padded: bool = False


def shown_name(table: str) -> str:
    """Format a table's name for people: ``schema"."table`` is a ``db_table`` in another schema."""
    return table.strip('"').replace('"."', ".")


def converting_field(field: Field[Any, Any]) -> Field[Any, Any]:
    """Return the field that decides a column's type: foreign keys are followed, as ``ForeignKey.get_col`` does.

    For a generated column it is the output field, which has no model of its own and gets that of the column.
    """
    while isinstance(field, ForeignKey):
        field = field.target_field
    if isinstance(field, GeneratedField):
        output = cast("Field[Any, Any]", field.output_field).clone()
        output.set_attributes_from_name(field.name)
        output.model, output.column = field.model, field.column
        return output
    return field


def kind_of(field: Field[Any, Any]) -> Kind:
    """Return the kind of a field's values: ``OTHER`` unless all its conversions are Django's own."""
    of: Any = type(field)  # mypy takes the __hash__ of its instances for its own
    if _has_own_conversions(of):
        return Kind.OTHER
    return KINDS.get(field.get_internal_type(), Kind.OTHER)


@cache
def _has_own_conversions(of: type[Field[Any, Any]]) -> bool:
    for method in CONVERTING_METHODS:
        owner = next((cls for cls in of.__mro__ if method in vars(cls)), None)
        if owner is not None and not owner.__module__.startswith("django."):
            return True
    return False


def _columns(model: type[Model], *, generated: bool) -> tuple[Column, ...]:
    columns = []
    for field in model._meta.local_concrete_fields:
        if field.generated is not generated:
            continue
        source = converting_field(field)
        columns.append(Column(str(field.column), field.attname, source, kind_of(source), nullable=bool(field.null)))
    return tuple(columns)


def _references(model: type[Model]) -> tuple[Reference, ...]:
    return tuple(
        Reference(
            column=str(field.column),
            target_table=field.target_field.model._meta.db_table,
            target_column=str(field.target_field.column),
            nullable=bool(field.null),
            has_constraint=bool(vars(field)["db_constraint"]),
        )
        for field in model._meta.local_concrete_fields
        if isinstance(field, ForeignKey)
    )


def table_of(model: type[Model]) -> Table:
    """Describe the table of a concrete model: its own columns only, because a parent has its own table."""
    meta = model._meta
    names = {str(field.column) for field in meta.local_concrete_fields}
    key = tuple(str(field.column) for field in meta.pk_fields)
    return Table(
        label=meta.label,
        name=meta.db_table,
        model=model,
        columns=_columns(model, generated=False),
        key=key if set(key) <= names else (),
        references=_references(model),
        generated=_columns(model, generated=True),
    )
