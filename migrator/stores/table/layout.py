"""The table and columns that hold keys and values, and a row of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class LayoutColumn:
    """A column in addition to key, value and expiry, with the conversions from and to its database value."""

    name: str
    load: Convert | None = None
    dump: Convert | None = None
    is_moment: bool = False


@dataclass(frozen=True)
class Layout:
    """The names of a table and its columns."""

    table: str
    key: str
    value: str
    expires: str
    more: tuple[LayoutColumn, ...] = ()
    missing_hint: str = "Create it first"

    def names(self) -> list[str]:
        return [self.key, self.value, self.expires, *(column.name for column in self.more)]


class KeyedRow(NamedTuple):
    """A row; ``expires`` is in microseconds of Unix time, ``more`` in the order of the layout."""

    key: str
    value: str
    expires: int
    more: tuple[Any, ...] = ()
