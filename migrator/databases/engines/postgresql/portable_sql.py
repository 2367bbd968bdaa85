"""PostgreSQL: how ``pg_get_expr()`` prints casts, lists, negative numbers and moments (source, ruleutils.c)."""

from __future__ import annotations

import re

from ...tables import Kind
from ..base.portable_sql import Translation, Untranslatable

# Casts of literals that change nothing in a comparison, and the further words of their names.
CASTS = frozenset(
    ("text", "character", "varchar", "bpchar", "smallint", "integer", "bigint", "numeric", "double", "real", "boolean",
     "date", "timestamp")
)  # fmt: skip
MORE_OF_CASTS = frozenset(("varying", "precision", "with", "without", "time", "zone"))
# Casts of columns that change nothing, without a length or a precision.
WIDENING = {
    Kind.TEXT: ("text", "character", "varchar"),
    Kind.INTEGER: ("integer", "bigint", "numeric", "double"),
    Kind.DECIMAL: ("numeric",),
    Kind.FLOAT: ("double",),
}
WITH_TIME_ZONE = "with time zone"
# A moment printed by a session in UTC; other engines store it as local time in UTC.
OFFSET = re.compile(r"[+-]\d\d(:\d\d)?'$")
IN_UTC = re.compile(r"'(.*)\+00'")
NUMBERS = frozenset(("smallint", "integer", "bigint", "numeric", "double", "real"))
# The string before a cast to a number, if it is negative: -1 is printed as '-1'::integer.
NEGATIVE = re.compile(r"'(-\d+(?:\.\d+)?)'")


class PostgreSQLTranslation(Translation):
    """A condition that PostgreSQL printed."""

    def translated(self) -> str:
        if WITH_TIME_ZONE in self._expression and not self._target.stores_utc:
            raise Untranslatable  # the target compares local times of another zone
        return super().translated()

    def _take_sign(self, sign: str) -> None:
        follows = self._peek().upper()
        if sign == "::":
            self._take_cast()
        elif (sign, follows) in (("=", "ANY"), ("<>", "ALL")):
            self._next()
            self._take_array("IN" if sign == "=" else "NOT IN")
        else:
            super()._take_sign(sign)

    def _take_array(self, operator: str) -> None:
        """Translate the printed form of a list: ``= ANY ((ARRAY['a'::text])::text[])``."""
        self._operand = None
        depth = 0
        while self._peek() == "(":
            self._next()
            depth += 1
        if self._next()[1].upper() != "ARRAY" or self._next()[1] != "[":
            raise Untranslatable
        self._done += [operator, "("]
        while self._peek() != "]":
            kind, text = self._next()
            if text == "::":
                self._take_cast()
            elif kind in ("string", "number") or text in ("-", ","):
                self._done.append(text.replace("%", "%%"))
            else:
                raise Untranslatable
        self._next()
        self._done.append(")")
        while depth:
            text = self._next()[1]
            if text == "::":
                self._take_cast()
            elif text == ")":
                depth -= 1
            else:
                raise Untranslatable

    def _take_cast(self) -> None:
        name = self._next()[1].lower()
        if name not in (CASTS if self._operand is None else WIDENING.get(self._operand, ())):
            raise Untranslatable
        while self._peek().lower() in MORE_OF_CASTS:
            self._next()
        if self._peek() == "(" and self._peek(2) == ")":
            if self._operand is not None:
                raise Untranslatable
            self._position += 3
        if self._peek() == "[":
            self._position += 2
        if name == "timestamp" and (found := IN_UTC.fullmatch(self._done[-1])):
            self._done[-1] = f"'{found[1]}'"
        elif name == "timestamp" and OFFSET.search(self._done[-1]):
            raise Untranslatable
        if name in NUMBERS and (found := NEGATIVE.fullmatch(self._done[-1])):
            self._done[-1] = found[1]
