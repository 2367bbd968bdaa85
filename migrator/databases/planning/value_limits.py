"""Checks of one value against the limits of a destination's column."""

from __future__ import annotations

import datetime
import decimal
import math
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ..engines.base.json_text import depth, has_wide_whole_number
from ..engines.base.limits import UNIX_TIME, is_shown_otherwise
from ..engines.base.values import Convert, Limit, LimitName, Unstorable

NUL_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def _size(value: Any) -> int:
    return len(value.encode(errors="surrogatepass") if isinstance(value, str) else value)


def _whole(value: Any) -> int:
    return value // datetime.timedelta(microseconds=1) if isinstance(value, datetime.timedelta) else value


def _digits(value: decimal.Decimal) -> int:
    digits = "".join(map(str, value.as_tuple().digits)).strip("0")
    return len(digits)


def _decimals(value: decimal.Decimal) -> int:
    exponent = value.normalize(decimal.Context(prec=decimal.MAX_PREC)).as_tuple().exponent
    return -exponent if isinstance(exponent, int) and value else -sys.maxsize  # below zero: zeros before the point


def _microsecond(value: Any) -> int:
    return value.microseconds if isinstance(value, datetime.timedelta) else value.microsecond


def _instant(value: datetime.datetime) -> datetime.datetime:
    return value if value.tzinfo else value.replace(tzinfo=datetime.UTC)


# By limit: whether a value is beyond it, given the value and the limit's arguments.
BEYOND: Mapping[LimitName, Callable[..., bool]] = {
    LimitName.LONGER_THAN: lambda value, most: len(value) > most,
    LimitName.LARGER_THAN: lambda value, most: _size(value) > most,
    LimitName.OUTSIDE: lambda value, low, high: not low <= _whole(value) <= high,
    LimitName.NUL_CHARACTER: lambda value: "\0" in value,
    LimitName.NUL_ESCAPE: lambda value: NUL_ESCAPE.search(value) is not None,
    LimitName.FOUR_BYTE_CHARACTER: lambda value: max(value, default="") > "\uffff",
    LimitName.NOT_A_NUMBER: lambda value: bool(value != value),
    LimitName.INFINITE: math.isinf,
    LimitName.MORE_DIGITS_THAN: lambda value, most: _digits(value) > most,
    LimitName.MORE_WHOLE_DIGITS_THAN: lambda value, most: abs(value) >= 10**most,
    LimitName.MORE_DECIMALS_THAN: lambda value, most: _decimals(value) > most,
    LimitName.FRACTIONAL_SECONDS: lambda value, digits: bool(_microsecond(value) % 10 ** (6 - digits)),
    LimitName.SPACE_AT_END: lambda value: value.endswith(" "),
    LimitName.FILLED_UP_TO: lambda value, characters: len(value) < characters,
    LimitName.SHORTER_THAN: lambda value, fewest: _size(value) < fewest,
    LimitName.NOT_AMONG: lambda value, *texts: value not in texts,
    LimitName.NOT_SOME_OF: lambda value, *texts: value != ",".join(t for t in texts if t in value.split(",")),
    LimitName.SINGLE_PRECISION: is_shown_otherwise,
    LimitName.OUTSIDE_UNIX_TIME: lambda value: not UNIX_TIME[0] <= _instant(value) <= UNIX_TIME[1],
    LimitName.WIDE_WHOLE_NUMBER: has_wide_whole_number,
    LimitName.DEEPER_THAN: lambda value, levels: depth(value) > levels,
    LimitName.HIGH_VERSION: lambda value: value.hex[12] >= "8" and "01" <= value.hex[16:18] <= "80",
}


def guard(limit: Limit) -> Convert:
    """Return a check of one limit, which returns the value or raises :exc:`Unstorable`."""
    is_beyond, arguments = BEYOND[limit.name], limit.arguments

    def check(value: Any) -> Any:
        if is_beyond(value, *arguments):
            raise Unstorable(type(value).__name__, limit.reason, limit.advice)
        return value

    return check
