"""Rows on their way into a table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from ...tables import Kind
from .session import Row


@dataclass(frozen=True)
class Target:
    """A column to write: its name, what its values are, and a field's own SQL around the parameter, if any."""

    name: str
    kind: Kind
    placeholder: str | None = None


class Writer(ABC):
    """Loads rows into one table, in the current transaction."""

    @abstractmethod
    def write(self, rows: Sequence[Row]) -> int:
        """Load converted rows and return the bytes that were sent."""
