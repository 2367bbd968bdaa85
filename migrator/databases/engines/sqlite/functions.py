"""SQLite: functions of ours where its SQL has none for a digest, for a float's digits or for a sum of digests."""

from __future__ import annotations

import decimal
import json
import marshal
import math
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from hashlib import sha256
from typing import Any, ClassVar

from ..base.json_text import depth, has_wide_whole_number

DIGITS = 15  # of a decimal, which SQLite keeps as a double (Django's converter rounds to as many)
ROUNDED = decimal.Context(prec=DIGITS)
EXACT = decimal.Context(prec=decimal.MAX_PREC)
ADDED_BYTES = 15  # of a row's digest
MOST_ARGUMENTS = 100  # of a function (sqlite.org/limits.html)


def register(connection: sqlite3.Connection) -> None:
    """Give a connection these functions."""
    connection.create_function("migrator_float", 1, _float, deterministic=True)
    connection.create_function("migrator_decimal", 2, _decimal, deterministic=True)
    connection.create_function("migrator_is_beyond", 3, _is_beyond, deterministic=True)
    connection.create_function("migrator_digest", 1, _digest, deterministic=True)
    connection.create_aggregate("migrator_checksum", 1, _SumOfTexts)  # type: ignore[arg-type]
    connection.create_aggregate("migrator_checksums", 2, _SumsByPart)  # type: ignore[arg-type]
    connection.create_aggregate("migrator_checksum_of_rows", -1, _SumOfRows)  # type: ignore[arg-type]
    connection.create_aggregate("migrator_checksums_of_rows", -1, _SumsOfRowsByPart)  # type: ignore[arg-type]


def _is_beyond(limit: str, value: Any, argument: int) -> bool | None:
    """Ask of a value what SQL alone cannot; whatever is of another class is none of these limits' business."""
    if limit == "single" and isinstance(value, float):
        from ..base.limits import is_shown_otherwise  # takes longer than all else here, and is seldom needed

        return is_shown_otherwise(value, argument)
    if limit == "whole numbers" and isinstance(value, str):
        return has_wide_whole_number(value)
    if limit == "levels" and isinstance(value, str):
        return depth(value) > argument
    return None


class _SumOfTexts:
    """Adds up digests of texts, and counts the rows that have none; the sum is given as text, for it is too long."""

    def __init__(self) -> None:
        self._rows = self._sum = self._undigested = 0

    def step(self, text: bytes | None) -> None:
        self._rows += 1
        if text is None:
            self._undigested += 1
        else:
            self._sum += int.from_bytes(sha256(text).digest()[:ADDED_BYTES], "big")

    def finalize(self) -> str:
        return f"{self._rows} {self._sum} {self._undigested}"


class _SumOfRows:
    """Adds up digests of the values of rows, each in the class that it is stored in.

    Version 2 of Python's own notation has no references, so that equal values are written alike; both sides are
    written by the same Python.
    """

    def __init__(self) -> None:
        self._rows = self._sum = 0

    def step(self, *values: Any) -> None:
        self._rows += 1
        self._sum += int.from_bytes(sha256(marshal.dumps(values, 2)).digest()[:ADDED_BYTES], "big")

    def finalize(self) -> str:
        return f"{self._rows} {self._sum} 0"


class _SumsByPart:
    """Adds up digests of texts by the part that each belongs to; gives JSON, a list of parts and their sums."""

    make_sum: ClassVar[Callable[[], Any]] = _SumOfTexts

    def __init__(self) -> None:
        self._sums: defaultdict[Any, Any] = defaultdict(type(self).make_sum)

    def step(self, part: Any, *values: Any) -> None:
        self._sums[part].step(*values)

    def finalize(self) -> str:
        return json.dumps([(part, added.finalize()) for part, added in self._sums.items()])


class _SumsOfRowsByPart(_SumsByPart):
    """Adds up digests of the values of rows in the same way."""

    make_sum = _SumOfRows


def _digest(text: bytes | None) -> str | None:
    return None if text is None else sha256(text).hexdigest()


def _float(value: Any) -> str | None:
    """Write a float in the fewest digits that give it back, in the form of MySQL's."""
    if not isinstance(value, float | int):
        return None
    value, text = float(value), repr(float(value))
    if math.isinf(value):
        return text.replace("inf", "Infinity")
    if "e" not in text and (abs(value) < 1e15 or not value.is_integer()):
        return text.removesuffix(".0")
    if 1e-15 <= abs(value) < 1e-4:
        return f"{decimal.Decimal(text):f}"
    digits, exponent = f"{decimal.Decimal(text).normalize(EXACT):e}".split("e")
    return f"{digits}e{int(exponent)}"


def _decimal(value: Any, places: int) -> str | None:
    if not isinstance(value, float | int):
        return None
    text = repr(value)
    if len(text) <= DIGITS and "e" not in text and "n" not in text:  # so few digits are exactly these
        return text.removesuffix(".0") if value else "0"
    exact = ROUNDED.create_decimal_from_float(value)
    if isinstance(value, int) and exact != value:  # an integer of more digits, which Django would read rounded
        return None
    return "0" if not exact else f"{exact.normalize(EXACT):f}"
