"""What the checks before the first write have to say."""

from __future__ import annotations

from dataclasses import dataclass

from ..terminal import visible


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

    def __str__(self) -> str:
        return visible(f"{self.subject}: {self.text.rstrip('.')}. {self.advice}".strip())
