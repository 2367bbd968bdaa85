"""Workers on other hosts, as the parent of this host's processes sees them."""

from __future__ import annotations

from typing import Protocol

from ...processes.workers import Event
from .worker_tasks import CopyChunk, KeyRange


class RemoteWorkers(Protocol):
    """Workers on other hosts that copy chunks and compare ranges: there is a number for each that they can be given."""

    @property
    def numbers(self) -> set[int]:
        """These numbers, none of which is that of a process."""

    @property
    def idle(self) -> set[int]:
        """Those that can be given something now."""

    def assign(self, number: int, task: CopyChunk | KeyRange) -> None:
        """Give them a chunk or a range."""

    def events(self) -> list[Event]:
        """Return what has happened since the last call. A range whose rows may differ is done without a result."""

    def recall(self) -> list[Event]:
        """Do the same, after taking back the chunks that they have not begun."""
