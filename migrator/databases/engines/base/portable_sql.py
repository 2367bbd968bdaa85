"""Conditions of one engine's catalogue in the SQL that all engines share: comparisons of columns and literals.

A condition with anything else in it is not translated, because it might mean something else to another engine. How an
engine prints lists, casts and literals is in the engine's own subclass of :class:`Translation`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from ...tables import Kind

# Strings, quoted names, numbers, words, operators; anything else ends the translation.
TOKEN = re.compile(
    r"""\s*(?:(?P<string>'(?:[^'\\]|'')*')|(?P<quoted>"(?:[^"]|"")+"|`(?:[^`]|``)+`)|(?P<number>\d+(?:\.\d+)?)"""
    r"|(?P<word>[^\W\d]\w*)|(?P<sign>::|<>|!=|<=|>=|[-=<>+*(),\[\]])|(?P<end>$))",
)
KEYWORDS = frozenset(("AND", "OR", "NOT", "IS", "NULL", "IN", "BETWEEN", "TRUE", "FALSE"))
# No other function means the same everywhere: SQLite's LOWER and UPPER change ASCII letters only
# (sqlite.org/lang_corefunc.html#lower).
FUNCTIONS = frozenset(("COALESCE", "ABS", "TRIM"))
# Kinds with the same order in all engines. The order of texts depends on the collation.
ORDERED = (Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL, Kind.BOOLEAN, Kind.DATE, Kind.TIME, Kind.DATETIME)
ORDER = frozenset(("<", ">", "<=", ">="))
# Signs that no engine shares with all others.
UNSHARED = frozenset(("::", "[", "]", "+", "*"))


class Untranslatable(Exception):
    """The condition has a part that engines don't share."""


@dataclass(frozen=True)
class TargetSql:
    """What differs in the SQL of the engine that a condition is translated for.

    ``quote`` quotes a column's name; ``character_length`` is the function that counts a text's characters;
    ``stores_utc``: its dates and times are compared as UTC.
    """

    quote: Callable[[str], str]
    character_length: str
    stores_utc: bool = True


class Translation:
    """One condition, read token by token. A subclass reads what only its engine prints."""

    # The names of the functions that count characters, in upper case.
    length_functions: ClassVar[frozenset[str]] = frozenset(("CHAR_LENGTH", "CHARACTER_LENGTH", "LENGTH"))

    def __init__(self, expression: str, columns: Mapping[str, Kind], target: TargetSql) -> None:
        self._expression, self._tokens = expression, list(_tokens(expression))
        self._columns, self._target = columns, target
        self._position = 0
        self._done: list[str] = []
        # Of the comparison that is being read: whether it asks for an order, and whether a text is part of it.
        self._is_ordering = self._has_text = self._is_between = False
        self._measured = 0  # how deep in the parentheses of a length function
        self._operand: Kind | None = None  # what a cast would be of; a literal has no kind

    def translated(self) -> str:
        """Return the condition for the target.

        Raises :exc:`Untranslatable` if it isn't certain to mean the same there.
        """
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
        return " ".join(self._done)

    def _end_comparison(self) -> None:
        if self._is_ordering and self._has_text:
            raise Untranslatable
        self._is_ordering = self._has_text = False

    def _next(self) -> tuple[str, str]:
        if self._position >= len(self._tokens):
            raise Untranslatable
        self._position += 1
        return self._tokens[self._position - 1]

    def _peek(self, ahead: int = 0) -> str:
        position = self._position + ahead
        return self._tokens[position][1] if position < len(self._tokens) else ""

    def _take_sign(self, sign: str) -> None:
        if sign in UNSHARED or (sign == "-" and not self._is_negative_number()):
            raise Untranslatable
        self._is_ordering |= sign in ORDER
        if self._measured and sign in "()":
            self._measured += 1 if sign == "(" else -1
            self._measured *= self._measured > 1
        self._done.append(sign)

    def _is_negative_number(self) -> bool:
        before = self._done[-1] if self._done else "("
        is_first = before in ("(", ",", "=", "<>", "!=", *ORDER, *KEYWORDS)
        return is_first and self._position < len(self._tokens) and self._tokens[self._position][0] == "number"

    def _take_word(self, word: str) -> None:
        upper = word.upper()
        if self._peek() == "(" and upper in self.length_functions:
            self._done.append(self._target.character_length)
            self._measured = self._measured or 1
        elif (self._peek() == "(" and upper in FUNCTIONS) or upper in KEYWORDS:
            self._done.append(upper)
            if upper == "BETWEEN":
                self._is_ordering = self._is_between = True
            elif upper == "AND" and self._is_between:
                self._is_between = False
            elif upper in ("AND", "OR"):
                self._end_comparison()
        else:
            self._take_column(word)

    def _take_column(self, name: str) -> None:
        found = [column for column in self._columns if column == name]
        found = found or [column for column in self._columns if column.lower() == name.lower()]
        if len(found) != 1:
            raise Untranslatable
        self._operand = self._columns[found[0]]
        self._has_text |= not self._measured and self._operand not in ORDERED
        self._done.append(self._target.quote(found[0]))


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(expression):
        found = TOKEN.match(expression, position)
        if found is None:
            raise Untranslatable
        position = found.end()
        if found.lastgroup == "end":
            return
        yield str(found.lastgroup), found[str(found.lastgroup)]
