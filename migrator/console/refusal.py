"""What a command reports that an error has ended."""

from __future__ import annotations

from typing import Any

from ..errors import ERROR_SCHEMA, DataRejected, Declined, Interrupted, MigratorError, Refused
from .reports import Mood, Point, Report, Verdict

WORDS = {Refused: "REFUSED", Declined: "NOT STARTED", Interrupted: "INTERRUPTED", DataRejected: "STOPPED"}
FIX = "Fix what is listed above, and run the command again."


def refusal_report(
    command: str, error: MigratorError, preface: Report | None = None, *, is_dry_run: bool = False
) -> Report:
    """Return the report of an error; ``preface`` is what the command had shown before."""
    word = WORDS.get(type(error), "FAILED")
    sentence = f"{error.message.removesuffix(':')}." if error.message.endswith(":") else error.message
    steps = [*([FIX] if error.reasons else []), *(line.strip() for line in error.steps)]
    document: dict[str, Any] = {"schema": ERROR_SCHEMA, "error": str(error)}
    if isinstance(error, Refused) and error.findings:
        document["findings"] = list(error.findings)
    return Report(
        title=preface.title if preface else command,
        verdict=Verdict(Mood.BAD, word, sentence),
        points=tuple(Point(Mood.BAD, one.sentence, statements=one.details) for one in error.reasons),
        next=tuple(steps),
        document=document,
        exit_code=error.exit_code,
        preface=preface,
        is_dry_run=is_dry_run,
    )
