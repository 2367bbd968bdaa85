"""PostgreSQL: checksums of rows."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings

from ...tables import Column, Kind, StoredColumn
from ..base.digests import LONGEST_TEXT, Checksum, Digests
from ..base.session import Row

# Types whose text never holds a semicolon, so that it needs no length before it.
HARMLESS = ("int2", "int4", "int8", "bool", "numeric", "float4", "float8", "date", "time", "timestamptz", "uuid")


class PostgreSQLDigests(Digests):
    """Checksums by ``sha256()``, over text in UTF-8 whatever the database's own encoding."""

    def plain_text(self, column: Column, stored: StoredColumn) -> str | None:
        name = self.quote(column.name)
        match column.kind:
            case Kind.INTEGER:
                return f"{name}::text"
            case Kind.BOOLEAN:
                return f"{name}::int::text"
            case Kind.FLOAT:
                return _fewest_digits(f"{name}::float8")
            case Kind.DECIMAL:
                return f"trim_scale({name})::text"
            case Kind.UUID:
                return f"replace({name}::text, '-', '')"
            case Kind.DATE:
                return _calendar(name, name, "YYYY-MM-DD")
            case Kind.TIME:
                return f"to_char({name}, 'HH24:MI:SS.US')"
            case Kind.DATETIME:
                local = f"({name} AT TIME ZONE 'UTC')" if settings.USE_TZ else f"{name}::timestamp"
                return _calendar(name, local, "YYYY-MM-DD HH24:MI:SS.US")
            case Kind.DURATION:
                return f"round(extract(epoch from {name}) * 1000000)::text"
            case Kind.ADDRESS:
                return f"abbrev({name})"
        return None

    def any_text(self, column: Column, stored: StoredColumn) -> str | None:
        name = self.quote(column.name)
        if column.kind is Kind.BINARY:
            return f"encode({name}, 'hex')"
        return name if column.kind is Kind.TEXT else None

    def raw_text(self, column: Column, stored: StoredColumn) -> str | None:
        return f"{self.quote(column.name)}::text"

    def raw_column_text(self, column: Column, stored: StoredColumn) -> str | None:
        if stored.type in HARMLESS:
            return f"COALESCE({self.quote(column.name)}::text || ';', {self.null})"
        return super().raw_column_text(column, stored)

    def framed(self, text: str) -> str:
        length = f"length({text})"
        short, long = f"{length} || ':' || {text}", f"'#' || {self.digest(text)}"
        return f"CASE WHEN {length} > {LONGEST_TEXT} THEN {long} ELSE {short} END"

    def joined(self, texts: Sequence[str]) -> str:
        return " || ".join(texts)

    def digest(self, text: str) -> str:
        return f"encode(sha256(convert_to({text}, 'UTF8')), 'hex')"

    def checksum_query(self, text: str, table: str, where: str, part: str | None = None) -> str:
        # OFFSET keeps the planner from writing the digest into both sums, to be made twice.
        digest, rows = f"('x' || {self.digest(text)})::bit(120) AS digest", f"FROM {self.quote(table)}{where} OFFSET 0"
        first, second = (f"sum(substring(digest FROM {start} FOR 60)::bigint)" for start in (1, 61))
        sums = f"count(*), {first}, {second}, count(digest)"
        if part is None:
            return f"SELECT {sums} FROM (SELECT {digest} {rows}) rows"
        return f"SELECT {sums}, part FROM (SELECT {digest}, {part} AS part {rows}) rows GROUP BY part"

    def checksum(self, row: Row) -> Checksum:
        return Checksum.of_halves(*row)


def _calendar(value: str, shown: str, form: str) -> str:
    """Spell a date; those outside of Python's years get a sign that no other engine's text has."""
    return f"to_char({shown}, '{form}') || CASE WHEN {value} >= '0001-01-01' AND isfinite({value}) THEN '' ELSE '?' END"


def _fewest_digits(value: str) -> str:
    """Spell a float in the fewest digits that give it back, in the form of MySQL's."""
    text, size = f"{value}::text", f"abs({value})"
    return (
        f"CASE WHEN {size} = 0 OR ({size} >= 1e-4 AND {size} < 1e15) THEN {text} "
        f"WHEN ({size} >= 1e-15 AND {size} < 1e-4) OR ({size} >= 1e15 AND {size} < 1e16 AND {size} <> trunc({size})) "
        f"THEN {text}::numeric::text ELSE replace({text}, 'e+', 'e') END"
    )
