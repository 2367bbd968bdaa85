"""What the checks before the first write have to say."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..console.safe_text import visible


class Cause(enum.Enum):
    """Why a row cannot be stored, which decides what follows from that for others."""

    VALUE = "value"  # the row by itself
    REPEATED = "repeated"  # another row before it has the same unique value
    CONFLICTING = "conflicting"  # another row before it, of which each pair tells, keeps it out
    ORPHAN = "orphan"  # what it points at is missing
    TAKEN = "taken"  # the destination has a row with its primary key, at which others can point


@dataclass(frozen=True)
class FoundRows:
    """The rows of one table that a finding is about.

    ``keys`` reads their primary keys from the source's engine, in its own values. Of repeated rows each is followed
    by the key of the row which is the first of those that have the value, and of conflicting rows by each in its way.
    """

    table: str
    cause: Cause
    keys: Callable[[Any], Iterable[tuple[Any, ...]]]


@dataclass(frozen=True)
class Finding:
    """One answer of a check.

    ``stops``: nothing is written because of it. ``is_about_rows``: rows are the cause, so that skipping them goes on.
    """

    subject: str
    text: str
    advice: str
    stops: bool = True
    is_about_rows: bool = False
    rows: FoundRows | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return visible(f"{self.subject}: {self.text.rstrip('.')}. {self.advice}".strip())
