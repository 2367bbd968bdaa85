"""Findings: the answers of the checks that run before the first write."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..console.reports import record
from ..console.safe_text import visible


class Cause(enum.Enum):
    """Why a row cannot be stored, which decides what that means for other rows."""

    VALUE = "value"  # a value of the row itself
    REPEATED = "repeated"  # an earlier row has the same unique value
    CONFLICTING = "conflicting"  # earlier rows exclude it; each pair names one of them
    ORPHAN = "orphan"  # the row that it references is missing
    TAKEN = "taken"  # the destination has a row with its primary key, which others can reference


@dataclass(frozen=True)
class FoundRows:
    """The rows of one table that a finding is about.

    ``keys`` reads their primary keys with the source's engine, as its own values. The key of a repeated row is followed
    by that of the first row with its value, and the key of a conflicting row by that of each row that excludes it.
    """

    table: str
    cause: Cause
    keys: Callable[[Any], Iterable[tuple[Any, ...]]]


@dataclass(frozen=True)
class Finding:
    """One answer of a check.

    ``stops``: nothing is written because of it. ``is_about_rows``: rows are its cause, so a run can skip them.
    """

    subject: str
    text: str
    advice: str
    stops: bool = True
    is_about_rows: bool = False
    rows: FoundRows | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return visible(f"{self.subject}: {self.text.rstrip('.')}. {self.advice}".strip())

    def document(self) -> dict[str, Any]:
        """Describe the finding for programs."""
        return record(self, "subject", "text", "advice", "stops")
