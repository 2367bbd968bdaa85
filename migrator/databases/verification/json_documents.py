"""JSON documents, which are equal if they mean the same, however each database formats them."""

from __future__ import annotations

import decimal
import json
import math
from contextlib import suppress
from typing import Any


class Document:
    """A JSON document, equal to one that means the same."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Document) and mean_the_same(self._text, other._text)


# Reads numbers as bytes, as nothing else is read: equal only to a number with the same characters.
_read_quickly = json.JSONDecoder(parse_float=str.encode, parse_int=str.encode).raw_decode


def mean_the_same(one: str, other: str) -> bool:
    """Whether two JSON documents are equal, whatever the order of their keys and the white space around them."""
    if one == other:
        return True
    with suppress(ValueError):  # quick, and proves only equality
        (read, end), (other_read, other_end) = _read_quickly(one), _read_quickly(other)
        if read == other_read and end == len(one) and other_end == len(other):
            return True
    try:
        return bool(_parsed(one) == _parsed(other))
    except ValueError:  # one of them is not JSON
        return False


def _parsed(text: str) -> Any:
    return json.loads(text, parse_float=_Number, parse_int=_Number)


class _Number:
    """A JSON number, equal to one that is the same in plain digits, or that Python reads as the same.

    1e2 and 100 are such a pair to a database that stores numbers as numerics. 1 and 1.0 are not equal.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, text: str) -> None:
        self._read = json.loads(text)
        sign, digits, exponent = decimal.Decimal(text).as_tuple()
        plain = "".join(map(str, digits)).lstrip("0")
        significant = plain.rstrip("0")
        scale = max(0, -int(exponent))
        zeros = len(plain) - len(significant)
        self._plain = (sign, significant, int(exponent) + zeros, scale) if significant else (0, "", 0, scale)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Number):
            return False
        is_same = type(self._read) is type(other._read) and self._read == other._read
        return (is_same and math.isfinite(self._read)) or self._plain == other._plain
