"""SQLite: the SQL that writes values as text, with functions of ours where its own are not exact.

The forms are right for values of the classes that their column should hold (``values.CLASSES``). A line's field is
right for any of these; its cheaper form is right for values that Django would have stored (``values.usual``).
"""

from __future__ import annotations

from django.conf import settings

from ...tables import Column, Kind
from ..base.digests import local_times_agree
from ..base.server_lines import LineField, TextFormat
from ..base.session import DatabaseSession
from ..base.text_forms import TextForms
from .decimals import decimal_text, declared_digits, shortest_decimal
from .values import nul_condition, usual

# In bytes. Longer values would be in memory too often at once; their rows are converted one by one.
LONGEST_FIELD = 2 * 1024 * 1024
DAY, SECOND = 86_400_000_000, 1_000_000  # in microseconds


def text_forms(session: DatabaseSession, column: Column) -> TextForms:
    """Return the expressions for one column."""
    name = session.quote(column.name)
    text = f"CAST({name} AS TEXT)"
    match column.kind:
        case Kind.INTEGER:
            return TextForms(text, lines={TextFormat.INTEGER: LineField(name)})
        case Kind.BOOLEAN:
            digit = LineField(f"CASE WHEN {name} IN (0, 1) THEN {name} END", cheaper=LineField(name))
            return TextForms(text, lines={TextFormat.BOOLEAN: digit})
        case Kind.FLOAT:
            number = LineField(f"migrator_float_field({name})")
            return TextForms(f"migrator_float({name})", lines={TextFormat.FLOAT: number})
        case Kind.DECIMAL:
            return _decimal(column, name)
        case Kind.TEXT:
            return TextForms(characters=name, lines={TextFormat.TEXT: _characters(name)})
        case Kind.JSON:
            return TextForms(lines={TextFormat.JSON: _characters(name)})
        case Kind.BINARY:
            field = LineField(_unless_long(name, f"'\\x' || hex({name})"))
            return TextForms(characters=f"lower(hex({name}))", lines={TextFormat.BINARY: field})
        case Kind.DATE:
            return TextForms(name, lines={TextFormat.DATE: _written(column, name, TextFormat.DATE)})
        case Kind.TIME:
            time = _to_microseconds(name, len("00:00:00.000000"))
            return TextForms(time, lines={TextFormat.TIME: _written(column, name, TextFormat.TIME)})
        case Kind.DATETIME if local_times_agree(session.connection, uses_time_zones=settings.USE_TZ):
            moment = _to_microseconds(name, len("0001-01-01 00:00:00.000000"))
            return TextForms(moment, lines={TextFormat.DATETIME: _written(column, name, TextFormat.DATETIME)})
        case Kind.DURATION:
            lines = {TextFormat.MICROSECONDS: LineField(name), TextFormat.SPAN: LineField(_span(name))}
            return TextForms(text, lines=lines)
        case Kind.UUID:
            digits = f"lower(replace({name}, '-', ''))"
            return TextForms(digits, lines={TextFormat.UUID: _written(column, name, TextFormat.UUID)})
        case Kind.ADDRESS:
            address = LineField(f"migrator_field('address', {name})")
            lines = {TextFormat.ADDRESS: address, TextFormat.ADDRESS_TEXT: _characters(name)}
            return TextForms(name, lines=lines)
    return TextForms()


def _decimal(column: Column, name: str) -> TextForms:
    digits, places = declared_digits(column)
    exact = f"migrator_decimal_field({name}, {digits}, {places})"
    lines = {TextFormat.DECIMAL: _if_usual(column, name, decimal_text(name, places), exact)}
    any_number = f"migrator_decimal({name}, {places})"
    if (shortest := shortest_decimal(name, digits, places)) is None:
        return TextForms(any_number, lines=lines)
    text, is_right = shortest
    return TextForms(f"CASE WHEN {is_right} THEN {text} ELSE {any_number} END", lines=lines)


def _characters(name: str) -> LineField:
    text = _unless_long(name, name)
    return LineField(text, cheaper=LineField(text, nul_condition(name)), may_have_nul=True)


def _written(column: Column, name: str, form: TextFormat) -> LineField:
    # An expression has no declared type, so that none of Django's converters is applied to it.
    return _if_usual(column, name, f"+{name}", f"migrator_field('{form.name.lower()}', {name})")


def _if_usual(column: Column, name: str, text: str, exact: str) -> LineField:
    is_usual = usual(column, name)
    if is_usual is None:
        return LineField(exact)
    cheaper = LineField(text, f"NOT ({is_usual})")
    return LineField(f"CASE WHEN {is_usual} THEN {text} ELSE {exact} END", cheaper=cheaper)


def _unless_long(name: str, text: str) -> str:
    return f"CASE WHEN length(CAST({name} AS BLOB)) <= {LONGEST_FIELD} THEN {text} END"


def _span(name: str) -> str:
    rest = f"(({name} %% {DAY} + {DAY}) %% {DAY})"
    days = f"({name} / {DAY} - ({name} %% {DAY} < 0))"
    return f"printf('%%d days %%d.%%06d seconds', {days}, {rest} / {SECOND}, {rest} %% {SECOND})"


def _to_microseconds(name: str, length: int) -> str:
    """Fill a fraction of a second up to six digits: Django stores none if all are zero."""
    whole = length - len(".000000")
    filled = f"substr({name} || CASE WHEN instr({name}, '.') THEN '' ELSE '.' END || '000000', 1, {length})"
    most = f"WHEN {length} THEN {name} WHEN {whole} THEN {name} || '.000000'"
    return f"CASE length({name}) {most} ELSE CASE WHEN length({name}) > {length} THEN {name} ELSE {filled} END END"
