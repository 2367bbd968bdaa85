"""SQL of one engine's catalogue in the words that all engines share: comparisons of columns and literals, or nothing.

A condition with anything else in it is not translated, for it might mean something else to another engine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping

from ..tables import Kind

# Strings, quoted names, numbers, words, operators; whatever else there is ends the translation.
TOKEN = re.compile(
    r"""\s*(?:(?P<string>'(?:[^'\\]|'')*')|(?P<quoted>"(?:[^"]|"")+"|`(?:[^`]|``)+`)|(?P<number>\d+(?:\.\d+)?)"""
    r"|(?P<word>[^\W\d]\w*)|(?P<sign>::|<>|!=|<=|>=|[-=<>+*(),\[\]])|(?P<end>$))",
)
KEYWORDS = frozenset(("AND", "OR", "NOT", "IS", "NULL", "IN", "BETWEEN", "TRUE", "FALSE"))
# No other function means the same everywhere: SQLite changes the case of ASCII letters alone.
FUNCTIONS = frozenset(("COALESCE", "ABS", "TRIM"))
# Kinds that have one order everywhere. Texts have another one in each collation.
ORDERED = (Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL, Kind.BOOLEAN, Kind.DATE, Kind.TIME, Kind.DATETIME)
ORDER = frozenset(("<", ">", "<=", ">="))
# Casts of literals that change nothing in a comparison, and the words that their names go on with.
CASTS = frozenset(
    ("text", "character", "varchar", "bpchar", "smallint", "integer", "bigint", "numeric", "double", "real", "boolean",
     "date", "timestamp")
)  # fmt: skip
# Those of columns that change nothing, without a length or a precision.
WIDENING = {
    Kind.TEXT: ("text", "character", "varchar"),
    Kind.INTEGER: ("integer", "bigint", "numeric", "double"),
    Kind.DECIMAL: ("numeric",),
    Kind.FLOAT: ("double",),
}
MORE_OF_CASTS = frozenset(("varying", "precision", "with", "without", "time", "zone"))
# A moment as PostgreSQL prints it in a session in UTC; other engines keep it as the local time of UTC.
OFFSET = re.compile(r"[+-]\d\d(:\d\d)?'$")
IN_UTC = re.compile(r"'(.*)\+00'")
NUMBERS = frozenset(("smallint", "integer", "bigint", "numeric", "double", "real"))
# What a string before such a cast is, if that is a number below zero: PostgreSQL prints -1 as '-1'::integer.
NEGATIVE = re.compile(r"'(-\d+(?:\.\d+)?)'")


class _Untranslatable(Exception):
    """There is something in it that engines don't share."""


def translate(
    expression: str,
    columns: Mapping[str, Kind],
    quote: Callable[[str], str],
    *,
    length: str | None = None,
    lengths: Collection[str] = (),
) -> str | None:
    """Return a condition over columns, which ``quote`` quotes, or ``None`` if it isn't certain to mean the same.

    ``lengths`` are the functions that count characters in the engine that the expression is of, in capitals, and
    ``length`` is the one of the engine that it is for.
    """
    try:
        return " ".join(_Translation(expression, columns, quote, length, lengths).translated())
    except _Untranslatable:
        return None


class _Translation:
    """One condition on its way."""

    def __init__(
        self,
        expression: str,
        columns: Mapping[str, Kind],
        quote: Callable[[str], str],
        length: str | None,
        lengths: Collection[str],
    ) -> None:
        self._tokens = list(_tokens(expression))
        self._columns, self._quote = columns, quote
        self._length, self._lengths = length, lengths
        self._position = 0
        self._done: list[str] = []
        # Of the comparison that is being read: whether it asks for an order, and whether a text is part of it.
        self._is_ordering = self._has_text = self._is_between = False
        self._measured = 0  # how deep in the brackets of a length
        self._operand: Kind | None = None  # what a cast would be of; a literal has no kind

    def translated(self) -> list[str]:
        while self._position < len(self._tokens):
            kind, text = self._next()
            if kind == "sign":
                self._take_sign(text)
            elif kind == "word":
                self._take_word(text)
            elif kind == "quoted":
                self._take_column(text[1:-1].replace(text[0] * 2, text[0]))
            else:
                self._operand = None
                self._done.append(text.replace("%", "%%"))
        self._end_comparison()
        return self._done

    def _end_comparison(self) -> None:
        if self._is_ordering and self._has_text:
            raise _Untranslatable
        self._is_ordering = self._has_text = False

    def _next(self) -> tuple[str, str]:
        if self._position >= len(self._tokens):
            raise _Untranslatable
        self._position += 1
        return self._tokens[self._position - 1]

    def _peek(self, ahead: int = 0) -> str:
        position = self._position + ahead
        return self._tokens[position][1] if position < len(self._tokens) else ""

    def _take_sign(self, sign: str) -> None:
        follows = self._peek().upper()
        if sign == "::":
            self._take_cast()
        elif (sign, follows) in (("=", "ANY"), ("<>", "ALL")):
            self._next()
            self._take_array("IN" if sign == "=" else "NOT IN")
        elif sign in "[]+*" or (sign == "-" and not self._is_negative_number()):
            raise _Untranslatable
        else:
            self._is_ordering |= sign in ORDER
            if self._measured and sign in "()":
                self._measured += 1 if sign == "(" else -1
                self._measured *= self._measured > 1
            self._done.append(sign)

    def _is_negative_number(self) -> bool:
        before = self._done[-1] if self._done else "("
        is_first = before in ("(", ",", "=", "<>", "!=", *ORDER, *KEYWORDS)
        return is_first and self._position < len(self._tokens) and self._tokens[self._position][0] == "number"

    def _take_array(self, operator: str) -> None:
        """Translate what PostgreSQL makes of a list: ``= ANY ((ARRAY['a'::text])::text[])``."""
        self._operand = None
        depth = 0
        while self._peek() == "(":
            self._next()
            depth += 1
        if self._next()[1].upper() != "ARRAY" or self._next()[1] != "[":
            raise _Untranslatable
        self._done += [operator, "("]
        while self._peek() != "]":
            kind, text = self._next()
            if text == "::":
                self._take_cast()
            elif kind in ("string", "number") or text in ("-", ","):
                self._done.append(text.replace("%", "%%"))
            else:
                raise _Untranslatable
        self._next()
        self._done.append(")")
        while depth:
            text = self._next()[1]
            if text == "::":
                self._take_cast()
            elif text == ")":
                depth -= 1
            else:
                raise _Untranslatable

    def _take_cast(self) -> None:
        name = self._next()[1].lower()
        if name not in (CASTS if self._operand is None else WIDENING.get(self._operand, ())):
            raise _Untranslatable
        while self._peek().lower() in MORE_OF_CASTS:
            self._next()
        if self._peek() == "(" and self._peek(2) == ")":
            if self._operand is not None:
                raise _Untranslatable
            self._position += 3
        if self._peek() == "[":
            self._position += 2
        if name == "timestamp" and (found := IN_UTC.fullmatch(self._done[-1])):
            self._done[-1] = f"'{found[1]}'"
        elif name == "timestamp" and OFFSET.search(self._done[-1]):
            raise _Untranslatable
        if name in NUMBERS and (found := NEGATIVE.fullmatch(self._done[-1])):
            self._done[-1] = found[1]

    def _take_word(self, word: str) -> None:
        upper = word.upper()
        if self._peek() == "(" and upper in self._lengths and self._length is not None:
            self._done.append(self._length)
            self._measured = self._measured or 1
        elif (self._peek() == "(" and upper in FUNCTIONS) or upper in KEYWORDS:
            self._done.append(upper)
            if upper == "BETWEEN":
                self._is_ordering = self._is_between = True
            elif upper == "AND" and self._is_between:
                self._is_between = False
            elif upper in ("AND", "OR"):
                self._end_comparison()
        elif upper.startswith("_UTF8") and self._peek().startswith("'"):
            return  # MySQL prints which character set a literal is in
        else:
            self._take_column(word)

    def _take_column(self, name: str) -> None:
        found = [column for column in self._columns if column == name]
        found = found or [column for column in self._columns if column.lower() == name.lower()]
        if len(found) != 1:
            raise _Untranslatable
        self._operand = self._columns[found[0]]
        self._has_text |= not self._measured and self._operand not in ORDERED
        self._done.append(self._quote(found[0]))


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(expression):
        found = TOKEN.match(expression, position)
        if found is None:
            raise _Untranslatable
        position = found.end()
        if found.lastgroup == "end":
            return
        yield str(found.lastgroup), found[str(found.lastgroup)]
