"""MySQL and MariaDB: column types."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from ...tables import Kind, StoredColumn
from ..base.types import Types
from .values import BITS, BLOBS, STORES, TEXTS, UUID_LENGTH

# Types that hold the values of a kind, in addition to STORES; see limits_of_type() in values.py.
ALSO_HOLD: Mapping[Kind, tuple[str, ...]] = {
    Kind.INTEGER: ("decimal", "double"),
    Kind.FLOAT: ("float",),
    Kind.TEXT: ("enum", "set"),
}
# MySQL manual, "Numeric Data Type Syntax" and "Using Data Types from Other Database Engines".
SYNONYMS: Mapping[str, str] = {
    "integer": "int",
    "bool": "tinyint(1)",
    "boolean": "tinyint(1)",
    "numeric": "decimal",
    "dec": "decimal",
    "double precision": "double",
    "real": "double",
    "float8": "double",
    "fixed": "decimal",
    "character varying": "varchar",
    "nvarchar": "varchar",
}
DIGITS_SHOWN = re.compile(r"\b(tinyint|smallint|mediumint|int|bigint)\(\d+\)")
# Attributes that change no value.
ATTRIBUTES = re.compile(r" (auto_increment|zerofill|character set \S+|charset \S+|collate \S+)")
NAME = re.compile(r"[a-z0-9_]+")
FAMILIES = (TEXTS, BLOBS, tuple(BITS), ("json", *TEXTS))
HEXADECIMAL_LENGTH = 32


class MySQLTypes(Types):
    """The types of MySQL and MariaDB."""

    def declared(self, db_types: Collection[str]) -> Mapping[str, str]:
        return {db_type: _normalized(db_type, is_mariadb=self._is_mariadb) for db_type in db_types}

    def is_declared(self, declared: str, stored: StoredColumn) -> bool:
        return declared == _normalized(stored.declared, is_mariadb=self._is_mariadb)

    @property
    def _is_mariadb(self) -> bool:
        return bool(self.connection.mysql_is_mariadb)  # type: ignore[attr-defined]

    def holds(self, kind: Kind, stored: StoredColumn) -> bool:
        if stored.type in ("double", "float", "decimal") and kind is not Kind.DECIMAL and stored.scale:
            return False  # it rounds to that many digits
        if kind is Kind.UUID and stored.type != "uuid" and stored.type in STORES[kind]:
            # Django stores UUIDs with dashes if the server has a type for them (DatabaseOperations in
            # db/backends/mysql/operations.py).
            is_native = self.connection.features.has_native_uuid_field
            return (stored.max_length or 0) >= (UUID_LENGTH if is_native else HEXADECIMAL_LENGTH)
        return stored.type in (*STORES.get(kind, ()), *ALSO_HOLD.get(kind, ()))

    def widens(self, declared: str, stored: StoredColumn) -> bool:
        found = NAME.match(declared)
        own = found[0] if found else declared
        if own == stored.type and own in ("decimal", "datetime", "time", "timestamp", "double", "float"):
            return _digits(declared) <= _digits(_normalized(stored.declared, is_mariadb=self._is_mariadb))
        return own == stored.type or any(own in family and stored.type in family for family in FAMILIES)


def _normalized(db_type: str, *, is_mariadb: bool) -> str:
    """Return a type as the catalogue writes it, without the attributes that change no value."""
    text = ATTRIBUTES.sub("", " ".join(db_type.lower().split())).replace(", ", ",")
    name = next((name for name in SYNONYMS if re.match(rf"{name}\b", text)), None)
    if name is not None:
        text = SYNONYMS[name] + text.removeprefix(name)
    if text == "json" and is_mariadb:
        return "longtext"  # MariaDB's JSON is LONGTEXT with a CHECK (its manual, "JSON Data Type")
    return DIGITS_SHOWN.sub(lambda shown: shown[0] if shown[0] == "tinyint(1)" else shown[1], text)


def _digits(declared: str) -> tuple[int, ...]:
    """Return how many digits a type has after the decimal point, then how many before it."""
    numbers = [int(number) for number in re.findall(r"\d+", declared)]
    scale = numbers[-1] if numbers else 0
    return scale, numbers[0] - scale if len(numbers) > 1 else 0


def cast_to(stored: StoredColumn) -> str:
    """Return the SQL that casts a parameter to a column's type, without a limit of its length; ``%s`` if none can.

    See "Cast Functions and Operators" in the MySQL manual. Binary values of a fixed length are padded as stored ones.
    """
    match stored.type:
        case kind if kind in BITS:
            return f"CAST(%s AS {'UNSIGNED' if stored.is_unsigned else 'SIGNED'})"
        case "decimal":
            return f"CAST(%s AS DECIMAL({stored.precision}, {stored.scale or 0}))"
        case "date" | "uuid":
            return f"CAST(%s AS {stored.type.upper()})"
        case "datetime":
            return "CAST(%s AS DATETIME(6))"
        case "binary":
            return f"CAST(%s AS BINARY({stored.max_bytes}))"
        case kind if kind in TEXTS:
            return "CAST(%s AS CHAR)"
        case kind if kind in BLOBS:
            return "CAST(%s AS BINARY)"
    return "%s"
