"""PostgreSQL: the SQL that writes values as text."""

from __future__ import annotations

from django.conf import settings

from ...tables import Column, Kind
from ..base.server_lines import LineField, TextFormat
from ..base.session import DatabaseSession
from ..base.text_forms import TextForms

DATE, TIME = "YYYY-MM-DD", "HH24:MI:SS.US"


def text_forms(session: DatabaseSession, column: Column) -> TextForms:
    """Return the expressions for one column. Formats of lines that COPY writes by itself are left out."""
    name = session.quote(column.name)
    text = f"{name}::text"
    match column.kind:
        case Kind.INTEGER:
            return TextForms(text)
        case Kind.BOOLEAN:
            digit = f"{name}::int"
            return TextForms(f"{digit}::text", lines={TextFormat.BOOLEAN: LineField(digit)})
        case Kind.FLOAT:
            return TextForms(_fewest_digits(f"{name}::float8"))
        case Kind.DECIMAL:
            return TextForms(f"trim_scale({name})::text", stored=text)
        case Kind.TEXT:
            return TextForms(characters=name)
        case Kind.BINARY:
            return TextForms(characters=f"encode({name}, 'hex')")
        case Kind.DATE:
            return TextForms(_marked(name, f"to_char({name}, '{DATE}')"), stored=text)
        case Kind.TIME:
            time = f"to_char({name}, '{TIME}')"
            return TextForms(time, stored=_as_django_writes(time))
        case Kind.DATETIME:
            return _datetime(name, is_utc=session.connection.timezone_name == "UTC")
        case Kind.DURATION:
            microseconds = f"round(extract(epoch from {name}) * 1000000)"
            lines = {TextFormat.MICROSECONDS: LineField(microseconds)}
            return TextForms(f"{microseconds}::text", stored=f"{microseconds}::bigint", lines=lines)
        case Kind.UUID:
            digits = f"replace({text}, '-', '')"
            return TextForms(digits, stored=digits, lines={TextFormat.UUID: LineField(digits)})
        case Kind.ADDRESS:
            # Python prints an IPv6 address that ends like an IPv4 one in another way (ipaddress, IPv6Address).
            host = LineField(f"host({name})", f"host({name}) LIKE '%%:%%.%%'")
            return TextForms(f"abbrev({name})", lines={TextFormat.ADDRESS: host, TextFormat.ADDRESS_TEXT: host})
    return TextForms()


def _datetime(name: str, *, is_utc: bool) -> TextForms:
    local = f"{name} AT TIME ZONE 'UTC'" if settings.USE_TZ else f"{name}::timestamp"
    text = f"to_char({local}, '{DATE} {TIME}')"
    if settings.USE_TZ and not is_utc:
        return TextForms(_marked(name, text))
    return TextForms(_marked(name, text), stored=_as_django_writes(text), lines={TextFormat.DATETIME: LineField(local)})


def _as_django_writes(text: str) -> str:
    """Leave out a fraction of zero, as ``isoformat()`` does."""
    return f"replace({text}, '.000000', '')"


def _marked(value: str, text: str) -> str:
    """Mark a date outside of Python's years with a character that no other engine's text has."""
    return f"{text} || CASE WHEN {value} >= '0001-01-01' AND isfinite({value}) THEN '' ELSE '?' END"


def _fewest_digits(value: str) -> str:
    """Write a float in the fewest digits that give it back, in MySQL's format."""
    text, size = f"{value}::text", f"abs({value})"
    return (
        f"CASE WHEN {size} = 0 OR ({size} >= 1e-4 AND {size} < 1e15) THEN {text} "
        f"WHEN ({size} >= 1e-15 AND {size} < 1e-4) OR ({size} >= 1e15 AND {size} < 1e16 AND {size} <> trunc({size})) "
        f"THEN {text}::numeric::text ELSE replace({text}, 'e+', 'e') END"
    )
