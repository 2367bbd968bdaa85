"""The message by which a worker on another host learns of a chunk: names and numbers, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ChunkMessage:
    """A chunk that a worker may copy.

    It is a hint: the journal in the destination decides whether the chunk is still to be copied. ``run`` is the token
    of the command, and ``source`` and ``dest`` are aliases of ``DATABASES``.
    """

    run: str
    source: str
    dest: str
    table: str
    chunk: int

    def document(self) -> dict[str, Any]:
        """Return the message in a form that JSON has."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ChunkMessage:
        """Return the message of a document. Raises :exc:`TypeError` for one that another release has sent."""
        return cls(**document)
