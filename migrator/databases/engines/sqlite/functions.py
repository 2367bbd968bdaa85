"""SQLite: SQL functions for what its own SQL lacks: digests, sums of digests, and the digits of floats."""

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

from ..base.digests import BLOCK_KEYS
from ..base.json_text import depth, has_wide_whole_number

DIGITS = 15  # of a decimal, which SQLite stores as a double; Django's get_decimalfield_converter() rounds to as many
ROUNDED = decimal.Context(prec=DIGITS)
EXACT = decimal.Context(prec=decimal.MAX_PREC)
ADDED_BYTES = 15  # of a row's digest
MOST_ARGUMENTS = 100  # of a function (sqlite.org/limits.html)


def register(connection: sqlite3.Connection) -> None:
    """Register these functions on a connection."""
    connection.create_function("migrator_float", 1, _float, deterministic=True)
    connection.create_function("migrator_decimal", 2, _decimal, deterministic=True)
    connection.create_function("migrator_is_beyond", 3, _is_beyond, deterministic=True)
    connection.create_function("migrator_digest", 1, _digest, deterministic=True)
    connection.create_aggregate("migrator_checksum", 1, _SumOfTexts)  # type: ignore[arg-type]
    connection.create_aggregate("migrator_checksums", 2, _SumsByBucket)  # type: ignore[arg-type]
    connection.create_aggregate("migrator_checksum_of_blocks", 2, _SumOfBlocks)  # type: ignore[arg-type]
    connection.create_aggregate("migrator_checksum_of_stored_blocks", -1, _SumOfStoredBlocks)  # type: ignore[arg-type]
    connection.create_aggregate("migrator_checksum_of_rows", -1, _SumOfRows)  # type: ignore[arg-type]
    connection.create_aggregate("migrator_checksums_of_rows", -1, _SumsOfRowsByBucket)  # type: ignore[arg-type]


def _is_beyond(limit: str, value: Any, argument: int) -> bool | None:
    """Whether a value exceeds a limit that SQL cannot check; ``None`` if the limit is about values of another class."""
    if limit == "single" and isinstance(value, float):
        from ..base.limits import is_shown_otherwise  # this import takes longer than all others, and few runs need it

        return is_shown_otherwise(value, argument)
    if limit == "whole numbers" and isinstance(value, str):
        return has_wide_whole_number(value)
    if limit == "levels" and isinstance(value, str):
        return depth(value) > argument
    return None


class _SumOfTexts:
    """Adds up digests of texts, and counts the rows without one. Its result is text: the sum exceeds 64 bits."""

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
    """Adds up digests of the values of rows, each in its storage class.

    Version 2 of Python's marshal format has no references, so equal values have equal bytes
    (docs.python.org/3/library/marshal.html). Both sides are written by the same Python.
    """

    def __init__(self) -> None:
        self._rows = self._sum = 0

    def step(self, *values: Any) -> None:
        self._rows += 1
        self._sum += int.from_bytes(sha256(marshal.dumps(values, 2)).digest()[:ADDED_BYTES], "big")

    def finalize(self) -> str:
        return f"{self._rows} {self._sum} 0"


class _SumOfBlocks:
    """Adds up digests of blocks of texts, which are given in the order of their keys; see ``Digests``."""

    def __init__(self) -> None:
        self._rows = self._sum = self._undigested = 0
        self._block: Any = None
        self._texts: list[bytes | None] = []

    def step(self, key: Any, text: bytes | None) -> None:
        is_key = type(key) is int
        block = (key // BLOCK_KEYS if key >= 0 else -(-key // BLOCK_KEYS)) if is_key else None  # rounded like in SQL
        if block != self._block:
            self._end_block()
            self._block = block
        self._texts.append(text if is_key else None)

    def _end_block(self) -> None:
        rows, self._texts = self._texts, []
        self._rows += len(rows)
        if None in rows:
            self._undigested += len(rows)
        elif rows:
            self._sum += int.from_bytes(sha256(b"".join(rows)).digest()[:ADDED_BYTES], "big")  # type: ignore[arg-type]

    def finalize(self) -> str:
        self._end_block()
        return f"{self._rows} {self._sum} {self._undigested}"


class _SumOfStoredBlocks(_SumOfBlocks):
    """Adds up digests of blocks of rows, whose values are taken in their storage class."""

    def step(self, key: Any, *values: Any) -> None:
        super().step(key, marshal.dumps(values, 2))


class _SumsByBucket:
    """Adds up digests of texts by bucket. Its result is JSON: a list of buckets, each with its sum."""

    make_sum: ClassVar[Callable[[], Any]] = _SumOfTexts

    def __init__(self) -> None:
        self._sums: defaultdict[Any, Any] = defaultdict(type(self).make_sum)

    def step(self, bucket: Any, *values: Any) -> None:
        self._sums[bucket].step(*values)

    def finalize(self) -> str:
        return json.dumps([(bucket, added.finalize()) for bucket, added in self._sums.items()])


class _SumsOfRowsByBucket(_SumsByBucket):
    """Adds up digests of the values of rows by bucket."""

    make_sum = _SumOfRows


def _digest(text: bytes | None) -> str | None:
    return None if text is None else sha256(text).hexdigest()


def _float(value: Any) -> str | None:
    """Return the shortest text that reads back as the same float, in the format of MySQL's."""
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
    if len(text) <= DIGITS and "e" not in text and "n" not in text:  # so few digits are exact
        return text.removesuffix(".0") if value else "0"
    exact = ROUNDED.create_decimal_from_float(value)
    if isinstance(value, int) and exact != value:  # an integer with more digits, which Django would round
        return None
    return "0" if not exact else f"{exact.normalize(EXACT):f}"
