"""Which table and columns hold keys and values, and what a row of them is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class LayoutColumn:
    """A column beside key, value and expiry, with what turns its database value into a plain one and back."""

    name: str
    load: Convert | None = None
    dump: Convert | None = None
    is_moment: bool = False


@dataclass(frozen=True)
class Layout:
    """The table's name and those of its columns."""

    table: str
    key: str
    value: str
    expires: str
    more: tuple[LayoutColumn, ...] = ()
    missing_hint: str = "Create it first"

    def names(self) -> list[str]:
        return [self.key, self.value, self.expires, *(column.name for column in self.more)]


class KeyedRow(NamedTuple):
    """A row; ``expires`` in microseconds of Unix time, ``more`` in the order of the layout."""

    key: str
    value: str
    expires: int
    more: tuple[Any, ...] = ()
