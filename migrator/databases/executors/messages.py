"""The messages by which workers on other hosts learn what to do: names and numbers, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..journal.worker_mail import PartName


@dataclass(frozen=True)
class Message:
    """A message about a run. ``run`` is the token of the command; ``source`` and ``dest`` are aliases."""

    run: str
    source: str
    dest: str

    def document(self) -> dict[str, Any]:
        """Return the message in a form that JSON has."""
        return {"kind": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class JoinMessage(Message):
    """An invitation to begin the snapshot of the source together with the command, in the seat of this number."""

    seat: int


@dataclass(frozen=True)
class ChunkMessage(Message):
    """A chunk that a worker may copy.

    It is a hint: the journal in the destination decides whether the chunk is still to be copied.
    """

    table: str
    chunk: int

    @property
    def part(self) -> PartName:
        """The name of the chunk."""
        return self.table, self.chunk


@dataclass(frozen=True)
class CompareMessage(Message):
    """A range of keys whose rows a worker may compare, by its number, as if it were a chunk.

    ``with_generated``: whether generated columns are compared as well.
    """

    table: str
    range: int
    with_generated: bool

    @property
    def part(self) -> PartName:
        """The name of the range."""
        return self.table, self.range


PartMessage = ChunkMessage | CompareMessage


def invitation_name(run: str) -> str:
    """Return the name by which both sides of a run find each other in the source."""
    return f"migrator-{run}"


def message_of(document: Mapping[str, Any]) -> JoinMessage | PartMessage:
    """Return the message of a document. Raises :exc:`ValueError` or :exc:`TypeError` for that of another release."""
    fields = dict(document)
    kind = fields.pop("kind", None)
    for known in (JoinMessage, ChunkMessage, CompareMessage):
        if kind == known.__name__:
            return known(**fields)
    raise ValueError(f"unknown kind of message: {kind!r}")
